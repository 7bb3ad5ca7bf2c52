"""The console: what a waiting command line tells the client to ask for, should the daemon go away."""

from __future__ import annotations

import msgspec
import pytest

from pyflowd.base.peer import Peer
from pyflowd.control.control import Frame
from pyflowd.control.replies import Replies
from pyflowd.handlers.console import Console
from pyflowd.protocol.frames import Command
from pyflowd.protocol.requests import GetRun, Request
from pyflowd.protocol.views import Done
from pyflowd.protocol.views_runs import TaskPage
from tests.fakes import FakeClock
from tests.unit.views import FAILED, RUNNING, TASKS

PEER = Peer(uid=0, gid=0, pid=1)


def handle(request: Request, _: Peer) -> Replies:
    """Of a run that fails while it is watched."""
    if isinstance(request, GetRun):
        return iter([FAILED, TaskPage(tasks=TASKS)])
    return iter([RUNNING, FAILED, Done()])


def said(line: str) -> list[list[object]]:
    answer = Console(handle, FakeClock(), "UTC").answer(Command(argv=line.split()), PEER)
    return [msgspec.msgpack.decode(item.data[4:]) for item in answer if isinstance(item, Frame)]


@pytest.mark.parametrize("line", ["run deploy --wait", "rerun deploy --wait", "wait deploy"])
def test_the_client_is_told_early_what_goes_on_with_the_wait(line: str) -> None:
    assert said(line)[0] == ["again", ["wait", "57", "-o", "table"]]


@pytest.mark.parametrize(
    ("line", "argv"),
    [
        ("run deploy --wait -o json", ["wait", "57", "-o", "json"]),
        ("run deploy --follow", ["wait", "57", "-o", "table", "--follow"]),
    ],
)
def test_it_goes_on_in_the_same_way(line: str, argv: list[str]) -> None:
    assert said(line)[0] == ["again", argv]


def test_nothing_is_to_be_asked_again_once_the_value_has_begun() -> None:
    kinds = [(frame[0], frame[1] == []) for frame in said("run deploy --wait -o json")]
    assert kinds[:3] == [("again", False), ("again", True), ("print", False)]


def test_a_run_that_is_not_waited_for_is_not_asked_for_again() -> None:
    assert "again" not in [frame[0] for frame in said("run deploy")]
