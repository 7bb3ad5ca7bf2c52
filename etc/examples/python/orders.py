"""For orders-sync.yaml and warehouse-load.yaml: one file of a day's orders, and the table that it goes into."""

import csv
import hashlib
import os
import sqlite3
from pathlib import Path


def merge(parts, missing, file):
    """All orders of all accounts as one CSV file, in an order that does not depend on who answered first."""
    orders = sorted((order["id"], order["account"], order["cents"]) for part in parts for order in part)
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    with beside.open("w", newline="") as text:
        csv.writer(text).writerows(orders)
    os.replace(beside, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"orders": len(orders), "missing": missing, "sha256": digest}


def load(file, day, database):
    """The day's rows in place of those that were there: it may be done again."""
    with open(file, newline="") as text:
        rows = [(day, *row) for row in csv.reader(text)]
    connection = sqlite3.connect(database)
    try:
        with connection:
            connection.execute("CREATE TABLE IF NOT EXISTS orders (day TEXT, id TEXT, account TEXT, cents INTEGER)")
            connection.execute("DELETE FROM orders WHERE day = ?", (day,))
            connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", rows)
    finally:
        connection.close()
    return {"rows": len(rows)}
