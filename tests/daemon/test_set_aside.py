"""Rule E9: a run whose record cannot be read keeps no other from going on, and nothing of it is lost or made up."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

import apsw

from tests.daemon.instance import Instance
from tests.waiting import wait_until

HOLD = """\
tasks:
  hold:
    run: |
      echo here > "$PYFLOW_SCRATCH/file"
      until [ -e %s ]; do sleep 0.01; done
      cat "$PYFLOW_SCRATCH/file"
      exit 3
    success_codes: [3]
"""


@contextlib.contextmanager
def store(instance: Instance) -> Iterator[apsw.Connection]:
    """While no daemon has it; the write-ahead log stays, or the next one would miss it."""
    connection = apsw.Connection(str(instance.root / "state" / "pyflow.db"))
    stays = ctypes.c_int(1)
    connection.file_control("main", apsw.SQLITE_FCNTL_PERSIST_WAL, ctypes.addressof(stays))
    yield connection
    connection.close()


def put(instance: Instance, event: int, body: bytes) -> None:
    with store(instance) as opened:
        opened.execute("UPDATE event SET body = ? WHERE event = ?", (body, event))


def test_one_bad_row_of_a_run_keeps_no_other_run_from_going_on(instance: Instance) -> None:
    go = instance.root / "go"
    instance.start()
    instance.install("bad.yaml", HOLD % go)
    instance.install("good.yaml", HOLD % go)
    bad, good = instance.run("bad"), instance.run("good")
    for run in (bad, good):
        instance.wait_task(run, "hold", "running")
    instance.kill()
    with store(instance) as opened:
        newest, body = list(opened.execute("SELECT event, body FROM event WHERE run = ? ORDER BY event", (bad,)))[-1]
    put(instance, newest, b"\xc1")

    instance.start()
    checks = {check["subject"]: check for check in instance.json("doctor")["checks"]}
    assert checks[f"run {bad}"]["level"] == "error"
    assert "of bad, set aside" in checks[f"run {bad}"]["found"]
    for command in ("cancel", "explain"):
        done = instance.ctl(command, bad)
        assert done.returncode == 6
        assert "is set aside" in done.stderr
    behind = instance.run("bad")
    assert instance.status(behind)["state"] == "queued", "a process of the other may still be at work"
    assert instance.status(behind)["waits_for"] == bad
    assert f"waits for run {bad}" in instance.ctl("explain", behind).stdout
    go.touch()
    assert instance.wait_run(good)["state"] == "succeeded"
    assert instance.wait_run(behind)["state"] == "succeeded"
    assert instance.status(bad)["state"] == "running", "nothing is made up"

    instance.kill()
    put(instance, newest, body)
    instance.start()
    ended = instance.wait_run(bad)
    assert (ended["state"], ended["tasks"]["hold"]["exit_code"]) == ("succeeded", 3), "the keeper has kept its end"
    assert f"run {bad}" not in {check["subject"] for check in instance.json("doctor")["checks"]}


NIGHTLY = "schedule: '30 2 * * *'\nexpect: {max_duration: 1h}\ntasks: {t: {run: 'true'}}\n"


def checks(instance: Instance) -> dict[str, str]:
    return {check["subject"]: check["found"] for check in instance.json("doctor")["checks"]}


def test_one_bad_definition_of_the_store_keeps_no_other_from_work_and_its_file_gives_it_back(
    instance: Instance,
) -> None:
    instance.start()
    instance.install("bad.yaml", NIGHTLY)
    instance.install("good.yaml", "tasks: {t: {run: echo good}}\n")
    run = instance.run("bad")
    instance.wait_run(run)
    since = instance.json("show", "bad")["loaded_at"]
    instance.kill()
    with store(instance) as opened:
        ((digest, compiled),) = opened.execute(
            "SELECT digest, compiled FROM workflow JOIN definition USING (digest) WHERE workflow = 'bad'"
        )
        not_utf8 = b"\xa1\xff"
        opened.execute("UPDATE definition SET compiled = ? WHERE digest = ?", (not_utf8, digest))
        opened.execute("UPDATE trigger SET cursor_us = cursor_us - 86400000000 WHERE workflow = 'bad'")
    aside = instance.root / "bad.yaml"
    (instance.root / "workflows" / "bad.yaml").rename(aside)

    instance.start()
    assert "the store cannot give it back" in checks(instance)["definition of bad"]
    assert instance.wait_run(instance.run("good"))["state"] == "succeeded"
    assert "the definition cannot be read in the store" in instance.ctl("status", run).stderr
    aside.rename(instance.root / "workflows" / "bad.yaml")
    wait_until(lambda: instance.ctl("show", "bad").returncode == 0, "it is in force again")
    assert "definition of bad" not in checks(instance)
    assert instance.json("show", "bad")["loaded_at"] == since
    assert instance.status(run)["state"] == "succeeded"
    assert [slot["fate"] for slot in instance.json("slots", "bad")] == ["skipped"], "the day that was missed is told"
    instance.stop()
    with store(instance) as opened:
        assert list(opened.execute("SELECT compiled FROM definition WHERE digest = ?", (digest,))) == [(compiled,)]


def test_bad_rows_of_backfills_and_expectations_keep_nobody_from_work(instance: Instance) -> None:
    instance.start()
    instance.install("w.yaml", NIGHTLY)
    instance.kill()
    with store(instance) as opened:
        opened.execute(
            "INSERT INTO backfill (backfill, workflow, trigger, from_us, until_us, params, parallel, newest_first,"
            " only_missing, requested_by, created_us, total) VALUES (1, 'w', 's', 0, 1, x'c1', 1, 0, 0, 'x', 1, 1)"
        )
        opened.execute(
            "INSERT INTO expectation (workflow, sort, trigger, subject, missed_us, text)"
            " VALUES ('w', '?', '', 0, 1, '')"
        )
    instance.start()
    told = checks(instance)
    assert "the store cannot give it back" in told["backfill 1"]
    assert "the store cannot give it back" in told["expectation of w"]
    assert instance.ctl("backfills").returncode == 0
    assert instance.wait_run(instance.run("w"))["state"] == "succeeded"
