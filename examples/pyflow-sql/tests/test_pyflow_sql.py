"""SQL on SQLite, and on PostgreSQL where its server programs and pg8000 are installed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pyflow_sql
import pytest
from pyflow_sql import Inputs


class Log:
    """Stands in for a context."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, text: str) -> None:
        self.lines.append(text)


def sql(**given: Any) -> dict[str, Any]:
    defaults = {name: getattr(Inputs, name) for name in Inputs.__annotations__ if hasattr(Inputs, name)}
    return pyflow_sql.run(SimpleNamespace(**{**defaults, **given}), Log())


@pytest.fixture
def connect(tmp_path: Path) -> dict[str, Any]:
    where = {"database": str(tmp_path / "a.db")}
    sql(connect=where, script="create table t (n integer, name text); insert into t values (1, 'a'), (2, 'b');")
    return where


def test_rows_are_told_by_the_names_of_their_columns(connect: dict[str, Any]) -> None:
    found = sql(connect=connect, query="select n, name from t order by n")
    assert found == {"rows": [{"n": 1, "name": "a"}, {"n": 2, "name": "b"}], "columns": ["n", "name"], "count": 2}


def test_a_value_is_bound_and_never_part_of_the_statement(connect: dict[str, Any]) -> None:
    hostile = "a'; drop table t; --"
    assert sql(connect=connect, query="select n from t where name = ?", params=[hostile])["rows"] == []
    assert sql(connect=connect, query="select ? as x", params=[hostile])["rows"] == [{"x": hostile}]
    assert sql(connect=connect, query="select n from t where name = :who", params={"who": "b"})["rows"] == [{"n": 2}]


def test_a_script_is_all_or_nothing(connect: dict[str, Any]) -> None:
    with pytest.raises(sqlite3.OperationalError):
        sql(connect=connect, script="create table u (x); insert into t values (3, 'c'); select nonsense;")
    names = sql(connect=connect, query="select name from sqlite_master union select name from t order by 1")
    assert [row["name"] for row in names["rows"]] == ["a", "b", "t"]


def test_what_is_changed_is_counted(connect: dict[str, Any]) -> None:
    assert sql(connect=connect, query="update t set name = ?", params=["x"])["count"] == 2


def test_a_file_is_a_script(connect: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "s.sql").write_text("delete from t where n = 1;\nselect count(*) as left_over from t;\n")
    assert sql(connect=connect, file=str(tmp_path / "s.sql"))["rows"] == [{"left_over": 1}]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "one of query, script and file is needed, found none"),
        ({"query": "select 1", "script": "select 1"}, "found query and script"),
        ({"script": "select ?", "params": [1]}, "params go with query"),
        ({"file": "/nowhere.sql"}, "No such file"),
        ({"query": "select n from t", "max_rows": 1}, "more than 1 rows"),
        ({"query": "select n from t", "rows": "one"}, "rows: one, and there are 2"),
        ({"query": "select n, n from t"}, "two columns are called n"),
        ({"query": "select 1", "driver": "no_such_driver"}, "install it for the Python that runs pyflowd"),
        ({"query": "select 1", "driver": "json"}, "json is no DB-API driver"),
        ({"query": "select 1", "driver": "../x"}, "is no name of a module"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(connect: dict[str, Any], given: dict[str, Any], message: str) -> None:
    with pytest.raises(SystemExit) as caught:
        sql(connect=connect, **given)
    assert message in str(caught.value)


def test_what_may_not_run_in_a_transaction_can_be_run(connect: dict[str, Any]) -> None:
    with pytest.raises(sqlite3.OperationalError, match="VACUUM"):
        sql(connect=connect, query="vacuum")
    assert sql(connect=connect, query="vacuum", transaction=False)["count"] == 0


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("a; b ;", ["a", "b"]),
        ("a 'x;''y' ; b \";\" ", ["a 'x;''y'", 'b ";"']),
        ("a -- ;\n; /* ; */ ; b", ["a -- ;", "b"]),
        ("do $$ begin; end $$; a $x$ ; $$ ; $x$; b", ["do $$ begin; end $$", "a $x$ ; $$ ; $x$", "b"]),
        ("a $1; b", ["a $1", "b"]),
        (" ;; ", []),
        ("a 'open ; b", ["a 'open", "b"]),
    ],
)
def test_a_script_is_taken_apart_at_its_semicolons_only(text: str, statements: list[str]) -> None:
    assert list(pyflow_sql.split(text, sqlite=False)) == statements


def test_a_trigger_of_sqlite_is_one_statement() -> None:
    trigger = "create trigger x after insert on t begin update t set n = 1; delete from t; end;"
    assert list(pyflow_sql.split(f"{trigger} select 1", sqlite=True)) == [trigger, "select 1"]


def test_values_become_what_json_has() -> None:
    moment = datetime(2026, 2, 28, 3, 0, tzinfo=UTC)
    given = [moment, date(2026, 2, 28), Decimal("1.10"), b"\xff", UUID(int=1), [Decimal(2)], {"a": b""}, 1.5, None]
    assert pyflow_sql.plain(given) == [
        "2026-02-28T03:00:00+00:00", "2026-02-28", "1.10", "/w==", str(UUID(int=1)), ["2"], {"a": ""}, 1.5, None,
    ]  # fmt: skip


# ---- PostgreSQL -----------------------------------------------------------------------------------------------------


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    path = shutil.which("initdb") or (str(found[-1]) if found else None)
    return Path(path).parent if path else None


def _as_postgres() -> list[str]:
    """The server refuses to be run by root."""
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []


@pytest.fixture(scope="module")
def postgres() -> Iterator[dict[str, Any]]:
    """Arguments of connect() to a server of our own that listens on a socket only."""
    pytest.importorskip("pg8000", reason="pg8000 is not installed")
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL's server programs are not installed")
    folder = Path(tempfile.mkdtemp(prefix="pyflow-sql-"))  # short: the name of a socket has 107 bytes
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        run = [
            *_as_postgres(),
            str(programs / "initdb"),
            "-D",
            str(folder / "db"),
            "-U",
            "tester",
            "--no-sync",
            "-A",
            "trust",
        ]
        subprocess.run(run, check=True, capture_output=True, cwd="/")
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        control = [*_as_postgres(), str(programs / "pg_ctl"), "-D", str(folder / "db"), "-w", "-t", "60"]
        subprocess.run(
            [*control, "-o", options, "-l", str(folder / "log"), "start"], check=True, capture_output=True, cwd="/"
        )
        try:
            yield {"user": "tester", "database": "postgres", "unix_sock": str(folder / ".s.PGSQL.5432")}
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd="/")
    finally:
        shutil.rmtree(folder)


def test_postgresql_rows_come_with_their_types(postgres: dict[str, Any]) -> None:
    query = "select %s as name, 1.10::numeric as sum, date '2026-02-28' as day, true as ok, null as none"
    found = sql(driver="pg8000.dbapi", connect=postgres, query=query, params=["O'Neil; --"], rows="one")
    assert found["rows"] == [{"name": "O'Neil; --", "sum": "1.10", "day": "2026-02-28", "ok": True, "none": None}]


def test_postgresql_runs_a_script_whole_or_not_at_all(postgres: dict[str, Any]) -> None:
    function = "create function twice(n int) returns int language sql as $$ select 2 * n; $$;"
    with pytest.raises(Exception, match="division by zero"):
        sql(driver="pg8000.dbapi", connect=postgres, script=f"create table t (n int); {function} select 1 / 0;")
    there = "select count(*) as n from pg_class where relname = 't'"
    assert sql(driver="pg8000.dbapi", connect=postgres, query=there)["rows"] == [{"n": 0}]
    script = f"create table t (n int); {function} insert into t values (21); select twice(n) as n from t;"
    assert sql(driver="pg8000.dbapi", connect=postgres, script=script)["rows"] == [{"n": 42}]


def test_postgresql_runs_outside_of_a_transaction_what_must(postgres: dict[str, Any]) -> None:
    assert sql(driver="pg8000.dbapi", connect=postgres, query="vacuum", transaction=False)["rows"] == []
