"""The record of who changed what, by the identity that the kernel or a token gives, in the commit of the change itself.

`during` is put around all that is done for a request; what is not done yet when it returns is put off, and recorded
when it is. Refusals for lack of rights are recorded too, so many a minute. It knows nothing of what requests mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from pyflowd.base.peer import Peer
from pyflowd.clock import US
from pyflowd.control.replies import Replies
from pyflowd.errors import PyflowError
from pyflowd.protocol.requests import Request, operation
from pyflowd.protocol.words import Level
from pyflowd.runtime.health import Health
from pyflowd.runtime.runs import Runs

REFUSALS_PER_USER = 20
"""A minute, that get a record of their own."""
REFUSALS_OF_NOBODY = 1
"""The same of all who reach the web front and are not logged in: they may be many, and cost nothing."""
REFUSALS = 200
"""The same of all users: one account of the host can be many to the kernel (user namespaces)."""
WINDOW_US = 60 * US
ASKED_MAX_BYTES = 4096
TEXT_MAX = 500
"""Characters of a text that are kept."""
UNTOLD = frozenset({"workflow", "run", "headers", "query", "text", "comment", "params_are_text", "login"})
"""Fields that have a column of their own, may hold what is secret, or say nothing. Bytes are never told."""


class Deed:
    """A request, and what it has come to be about. One that changes nothing is not recorded."""

    __slots__ = ("changes", "found", "is_put_off", "peer", "request", "run", "workflow")

    def __init__(self, request: Request, peer: Peer) -> None:
        self.changes = operation(request).changes
        self.request = request
        self.peer = peer
        self.workflow = str(getattr(request, "workflow", ""))
        self.run: int | None = getattr(request, "run", None) or None
        self.is_put_off = False
        self.found: dict[str, str] = {}


class Audit:
    """One for the instance; part of a turn."""

    def __init__(self, runs: Runs, health: Health) -> None:
        self._runs = runs
        self._health = health
        self._deed: Deed | None = None
        self._refused: Counter[int] = Counter()
        """Those that got a record, by user, since `_window_us`."""
        self._left_out: dict[int, tuple[Deed, int]] = {}
        """The last of each user that got no record, and how many did not."""
        self._window_us = -WINDOW_US

    def during(self, deed: Deed, act: Callable[[], Replies]) -> Replies:
        """Act, and record it in the same turn. Raises what `act` raises."""
        outer, self._deed = self._deed, deed
        try:
            replies = act()
        except PyflowError as error:
            if error.denied and deed.changes:
                self._refuse(deed)
            raise
        finally:
            self._deed = outer
        if deed.changes and not deed.is_put_off:
            self._write(deed, "done")
        return replies

    def about(self, workflow: str, run: int | None = None) -> None:
        """What is being done is done to this workflow, and run."""
        if self._deed is not None:
            self._deed.workflow = workflow
            self._deed.run = run if run is not None else self._deed.run

    def by(self, peer: Peer) -> None:
        """What is being done turns out to be done by somebody else."""
        if self._deed is not None:
            self._deed.peer = peer

    def add(self, name: str, value: str) -> None:
        """A further fact about what is being done, to stand beside what was asked."""
        if self._deed is not None:
            self._deed.found[name] = value

    def put_off(self) -> Deed:
        """What is being done is done later: whoever does it calls `during` with this then, which records it."""
        assert self._deed is not None
        self._deed.is_put_off = True
        return Deed(self._deed.request, self._deed.peer)

    # ---- Refusals

    def _refuse(self, deed: Deed) -> None:
        if self._health.has("disk"):  # what cannot be committed would only heap up
            return
        now_us, uid = self._runs.clock.mono_us(), deed.peer.uid
        if now_us - self._window_us >= WINDOW_US:
            self._window_us = now_us
            self._refused.clear()
        most = REFUSALS_OF_NOBODY if deed.peer.is_nobody else REFUSALS_PER_USER
        if self._refused[uid] < most and self._refused.total() < REFUSALS:
            self._refused[uid] += 1
            self._write(deed, "forbidden")
            return
        if not self._left_out:
            self._runs.timers.at(self._window_us + WINDOW_US, self.tell_left_out)
        known = self._left_out.get(uid)
        if known is not None or len(self._left_out) < REFUSALS:
            self._left_out[uid] = (deed, known[1] + 1 if known else 1)

    def tell_left_out(self) -> None:
        """One record for all that each user got none for."""
        left_out, self._left_out = self._left_out, {}
        for deed, count in left_out.values():
            self._write(deed, "forbidden", count)

    # ---- Rows

    def _write(self, deed: Deed, result: str, left_out: int = 0) -> None:
        peer = deed.peer
        asked = msgspec.json.encode({**asked_of(deed.request, values=result == "done"), **deed.found}).decode()
        self._runs.batch.add(
            "audit", self._runs.clock.wall_us(), peer.uid, peer.name, peer.pid,
            str(type(deed.request).__struct_config__.tag), deed.workflow[:TEXT_MAX], deed.run, asked,
            peer.token or None, result, left_out,
        )  # fmt: skip


def asked_of(request: Request, *, values: bool) -> dict[str, Any]:
    """What a request says beside its workflow and run. `values`: with those of params, unless they are long; what was
    refused was never checked, so a secret may stand where its name should.
    """
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(type(request)):
        value = getattr(request, field.name)
        if field.name in UNTOLD or isinstance(value, bytes) or not value:
            continue
        if isinstance(value, Level):
            value = value.name.lower()
        found[field.name] = value[:TEXT_MAX] if isinstance(value, str) else value
    if "params" in found and not (values and len(msgspec.json.encode(found)) <= ASKED_MAX_BYTES):
        found["params"] = sorted(str(name)[:TEXT_MAX] for name in found["params"])
    if len(msgspec.json.encode(found)) > ASKED_MAX_BYTES:
        return {name: value for name, value in found.items() if isinstance(value, (bool, int))}
    return found
