"""What handlers answer with, and its frames for typed clients. Knows nothing of how an answer comes to be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from pyflowd.base.peer import Peer
from pyflowd.control.control import Answer, Frame, Wait
from pyflowd.model.states import RunState
from pyflowd.protocol.figures import AttemptPage, OutcomesPage
from pyflowd.protocol.frames import frame, parted
from pyflowd.protocol.requests import Request
from pyflowd.protocol.tokens import TokenPage
from pyflowd.protocol.views import ArtifactOpen, BackupOpen, Done, LogClose, LogOpen, Reply
from pyflowd.protocol.views_host import AuditPage
from pyflowd.protocol.views_runs import ApprovalPage, ArtifactPage, EventPage, RunPage, TaskPage
from pyflowd.protocol.views_workflows import NextPage, SlotPage, WorkflowPage


class Attached(NamedTuple):
    """A reply that carries descriptors; whoever takes it owns them."""

    reply: LogOpen | ArtifactOpen | BackupOpen
    descriptors: tuple[int, ...]


Spoken = Reply | LogClose | Done | Attached | Wait
Replies = Iterator[Spoken]
EXIT_OF_RUN = {RunState.SUCCEEDED: 0, RunState.FAILED: 1, RunState.CANCELLED: 7}


PAGES = (
    RunPage, TaskPage, WorkflowPage, SlotPage, EventPage, NextPage, ApprovalPage, ArtifactPage, AuditPage,
    OutcomesPage, AttemptPage, TokenPage,
)  # fmt: skip
"""Replies of one list, which may come in any number."""


def framed(handle: Callable[[Request, Peer], Replies]) -> Callable[[Request, Peer], Answer]:
    """Answers for typed clients: every reply a frame, and Done or Failure at the end."""

    def answer(request: Request, peer: Peer) -> Answer:
        return _frames(handle(request, peer))

    return answer


def _parts(reply: Reply | LogClose | Done) -> Iterator[bytes]:
    """A reply as frames: a page that does not fit one is cut in two, anything else comes in parts."""
    try:
        data = frame(reply)
    except ValueError:
        field = reply.__struct_fields__[0]
        items = getattr(reply, field)
        if not isinstance(reply, PAGES) or len(items) < 2:
            yield from parted(reply)
            return
        for half in (items[: len(items) // 2], items[len(items) // 2 :]):
            yield from _parts(msgspec.structs.replace(reply, **{field: half}))
        return
    yield data


def _frames(replies: Replies) -> Answer:
    done = False
    for reply in replies:
        if isinstance(reply, Wait):
            yield reply
        elif isinstance(reply, Attached):
            yield Frame(frame(reply.reply), reply.descriptors)
        else:
            done = isinstance(reply, Done)
            for part in _parts(reply):
                yield Frame(part)
    if not done:
        yield Frame(frame(Done()))
