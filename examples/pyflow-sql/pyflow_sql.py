"""Query or change a database, through any driver that follows Python's DB-API 2.0.

One transaction: all of it, or nothing of it, if the task fails or is stopped. Values go in as bound parameters only,
written as the driver wants them: ? for sqlite3, %s for pg8000 and psycopg, :name for oracledb.
"""

from __future__ import annotations

import base64
import importlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

EXAMPLE = """
uses: sql
with:
  connect: {database: /srv/app/app.db}
  query: select id, total from orders where day = ?
  params: ["${{ params.day }}"]
"""


class Inputs:
    connect: Annotated[dict[str, Any], "arguments of the driver's connect(), such as database, host, user"]
    driver: Annotated[str, "module of the driver, such as sqlite3, pg8000.dbapi, psycopg"] = "sqlite3"
    password: Annotated[str | None, "given to connect() as well", "secret"] = None
    query: Annotated[str | None, "one statement"] = None
    script: Annotated[str | None, "several statements; one of query, script and file is needed"] = None
    file: Annotated[str | None, "a file with several statements"] = None
    params: Annotated[list[Any] | dict[str, Any] | None, "values of the query's parameters"] = None
    rows: Annotated[Literal["all", "one", "none"], "which rows are outputs; one: there must be exactly one"] = "all"
    max_rows: Annotated[int, "more rows than this are an error"] = 1000
    transaction: Annotated[bool, "false for what may not run in one, such as VACUUM"] = True


class Outputs:
    rows: Annotated[list[dict[str, Any]], "of the last statement, each by the names of its columns"]
    columns: Annotated[list[str], "their names, in order"]
    count: Annotated[int, "of rows, or of what the statements changed"]


def run(inputs: Inputs, context: Any) -> dict[str, Any]:
    statements = list(_statements(inputs))
    driver = _driver(inputs.driver)
    secret = {} if inputs.password is None else {"password": inputs.password}
    connection = _connect(driver, {**inputs.connect, **secret}, transaction=inputs.transaction)
    try:
        outputs = _carry_out(connection.cursor(), statements, inputs, context)
        if inputs.transaction:
            connection.commit()
        return outputs
    except BaseException:
        if inputs.transaction:
            with suppress(Exception):  # what went wrong first is what is told
                connection.rollback()
        raise
    finally:
        with suppress(Exception):
            connection.close()


def _driver(name: str) -> Any:
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", name, re.ASCII):
        raise SystemExit(f"driver: {name!r} is no name of a module")
    try:
        driver = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise SystemExit(f"driver: {error}; install it for the Python that runs pyflowd") from None
    if not hasattr(driver, "connect") or not hasattr(driver, "paramstyle"):
        raise SystemExit(f"driver: {name} is no DB-API driver: it has no connect() and paramstyle")
    return driver


def _connect(driver: Any, arguments: dict[str, Any], *, transaction: bool) -> Any:
    """A connection in whose transaction everything runs; sqlite3 by itself leaves CREATE and the like out of it."""
    if driver is sqlite3:
        connection = sqlite3.connect(**{**arguments, "isolation_level": None})
        if transaction:
            connection.execute("BEGIN")
        return connection
    connection = driver.connect(**arguments)
    if not transaction:
        connection.autocommit = True
    return connection


# ---- Statements -----------------------------------------------------------------------------------------------------


def _statements(inputs: Inputs) -> Iterator[str]:
    given = [name for name in ("query", "script", "file") if getattr(inputs, name) is not None]
    if len(given) != 1:
        raise SystemExit(f"one of query, script and file is needed, found {' and '.join(given) or 'none'}")
    if inputs.query is not None:
        yield inputs.query
        return
    if inputs.params is not None:
        raise SystemExit("params go with query: a script has several statements")
    text = inputs.script
    if inputs.file is not None:
        try:
            with open(inputs.file, encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise SystemExit(f"file: {error}") from None
    yield from split(text or "", sqlite=inputs.driver == "sqlite3")


_TOKEN = re.compile(
    r"""'[^']*' | "[^"]*" | `[^`]*` | --[^\n]* | /\*.*?\*/ | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ | ; | .""",
    re.VERBOSE | re.DOTALL,
)
"""What may hold a semicolon that ends nothing. Quotes are doubled inside, as standard SQL has it, not escaped."""


def split(text: str, *, sqlite: bool) -> Iterator[str]:
    """The statements of a script; a trigger of SQLite is one, with the semicolons between its BEGIN and END."""
    statement = ""
    for token in _TOKEN.finditer(text):
        statement += token[0]
        if token[0] == ";" and (not sqlite or sqlite3.complete_statement(statement)):
            if not _is_blank(statement[:-1]):
                yield statement[:-1].strip() if not sqlite else statement.strip()
            statement = ""
    if not _is_blank(statement):
        yield statement.strip()


def _is_blank(text: str) -> bool:
    return not re.sub(r"--[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL).strip()


# ---- Rows -----------------------------------------------------------------------------------------------------------


def _carry_out(cursor: Any, statements: list[str], inputs: Inputs, context: Any) -> dict[str, Any]:
    changed = 0
    columns: list[str] = []
    rows: list[Any] = []
    for number, statement in enumerate(statements, 1):
        if inputs.params is None:
            cursor.execute(statement)
        else:
            cursor.execute(statement, inputs.params)
        if cursor.description is None:
            columns, rows = [], []
            changed += max(0, cursor.rowcount)
        else:
            columns, rows = _columns(cursor), [] if inputs.rows == "none" else _rows(cursor, inputs.max_rows)
        context.log(f"statement {number} of {len(statements)}: {_done(cursor, rows)}")
    if inputs.rows == "one" and len(rows) != 1:
        raise SystemExit(f"rows: one, and there are {len(rows)}")
    named = [dict(zip(columns, map(plain, row), strict=True)) for row in rows]
    return {"rows": named, "columns": columns, "count": len(rows) if columns else changed}


def _done(cursor: Any, rows: list[Any]) -> str:
    return f"{len(rows)} rows" if cursor.description else f"{max(0, cursor.rowcount)} rows changed"


def _columns(cursor: Any) -> list[str]:
    names = [str(column[0]) for column in cursor.description]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SystemExit(f"two columns are called {twice[0]}: name them apart with AS")
    return names


def _rows(cursor: Any, most: int) -> list[Any]:
    rows = cursor.fetchmany(most + 1)
    if len(rows) > most:
        raise SystemExit(f"more than {most} rows: raise max_rows, or ask for less")
    return list(rows)


def plain(value: Any) -> Any:
    """A value as JSON has it: times as ISO 8601, exact numbers and UUIDs as text, bytes as base64."""
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Decimal() | UUID():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(bytes(value)).decode()
        case list() | tuple():
            return [plain(each) for each in value]
        case dict():
            return {str(key): plain(each) for key, each in value.items()}
        case _:
            return value
