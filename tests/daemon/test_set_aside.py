"""Rule E9: a run whose record cannot be read keeps no other from going on, and nothing of it is lost or made up."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

import apsw

from tests.daemon.instance import Instance

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
