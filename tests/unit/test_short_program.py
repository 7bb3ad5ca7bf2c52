"""Short programs that the daemon runs for itself: they end in time, and what they say is bounded."""

from __future__ import annotations

import os
import select
import threading

import pytest

from pyflowd.base.pool import Cancel
from pyflowd.base.short_program import Said, last_line, run
from pyflowd.clock import SystemClock
from pyflowd.model.workflow import Gates
from pyflowd.runtime import gates

ENV = {"PATH": os.environ["PATH"]}


def said(script: str, timeout_s: float = 20.0, cancel: Cancel | None = None, most: int | None = None) -> Said:
    return run(("/bin/sh", "-c", script), ENV, cancel or Cancel(), SystemClock(), timeout_s, most)


def ends(pid: int, within_s: float = 20.0) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], within_s)[0])
    finally:
        os.close(handle)


def test_its_exit_status_and_its_last_line_are_known() -> None:
    found = said("echo first; echo last >&2; exit 3")
    assert (found.exit_status, last_line(found.errors)) == (3, "last")


def test_a_program_that_never_stops_talking_takes_no_memory() -> None:
    found = said("yes", timeout_s=0.3)
    assert found.exit_status is None
    assert len(found.errors) <= 4096


def test_a_program_that_never_stops_complaining_is_ended_in_time() -> None:
    assert said("yes >&2", timeout_s=0.3, most=100).exit_status is None


def test_output_and_errors_are_told_apart_where_they_have_to_be() -> None:
    found = said("echo value; echo note >&2", most=100)
    assert (bytes(found.printed), bytes(found.errors)) == (b"value\n", b"note\n")


def test_one_that_prints_too_much_is_ended() -> None:
    found = said("yes", most=100)
    assert found.exit_status is None
    assert len(found.printed) > 100


def test_who_still_holds_its_pipe_is_not_waited_for_and_is_ended() -> None:
    found = said("sleep 1000 & echo $!")
    assert found.exit_status == 0
    assert ends(int(last_line(found.errors)))


def test_a_cancel_ends_it() -> None:
    cancel = Cancel()
    timer = threading.Timer(0.2, cancel.set)
    timer.start()
    found = said("echo $$; exec sleep 1000", cancel=cancel)
    timer.join()
    assert found.exit_status is None


def test_a_gate_whose_command_leaves_something_behind_is_open() -> None:
    wanted = Gates(command=("/bin/sh", "-c", "sleep 1000 & exit 0"))
    assert gates.closed(wanted, ENV, Cancel()) == ""


@pytest.mark.parametrize("program", ["/nowhere/at/all", "a\0b"])
def test_a_gate_whose_command_cannot_be_started_is_closed_and_says_so(program: str) -> None:
    assert gates.closed(Gates(command=(program,)), ENV, Cancel()).startswith(program)
