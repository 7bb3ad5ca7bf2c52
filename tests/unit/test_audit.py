"""The record of who changed what: one row for a deed, in its turn, without what is secret."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, get_args

import msgspec
import pytest

from pyflowd.base.peer import Peer
from pyflowd.base.timers import Timers
from pyflowd.control.replies import Replies
from pyflowd.errors import Forbidden, NoRun, Refused
from pyflowd.protocol import requests
from pyflowd.protocol.requests import Request
from pyflowd.runtime.audit import REFUSALS, REFUSALS_PER_USER, WINDOW_US, Audit, Deed, asked_of
from pyflowd.store.batch import Batch

PEER = Peer(uid=4_000_001, gid=1, pid=77)
CANCEL = requests.CancelRun(run=4)


class Host:
    def __init__(self) -> None:
        self.now_us = 0
        self.full = False
        clock = SimpleNamespace(mono_us=lambda: self.now_us, wall_us=lambda: 1_000_000 + self.now_us)
        self.timers = Timers()
        self.runs: Any = SimpleNamespace(clock=clock, batch=Batch(1), timers=self.timers)
        self.audit = Audit(self.runs, SimpleNamespace(has=lambda _: self.full))  # type: ignore[arg-type]

    def rows(self) -> list[tuple[Any, ...]]:
        return [bindings for name, bindings in self.runs.batch.writes if name == "audit"]


@pytest.fixture
def host() -> Host:
    return Host()


def nothing() -> Replies:
    return iter(())


def refused(error: Exception) -> Iterator[Any]:
    raise error


def test_a_deed_is_one_row_with_who_did_it(host: Host) -> None:
    def act() -> Replies:
        host.audit.about("dump", 4)
        return nothing()

    host.audit.during(Deed(CANCEL, PEER), act)
    assert host.rows() == [(1_000_000, 4_000_001, "4000001", 77, "cancel_run", "dump", 4, "{}", None, "done", 0)]


def test_what_only_looks_and_what_is_refused_for_other_reasons_has_no_row(host: Host) -> None:
    host.audit.during(Deed(requests.GetHost(), PEER), nothing)
    host.audit.during(Deed(requests.StartRun(workflow="w", dry_run=True), PEER), nothing)
    for error in (Refused("bad"), NoRun(4)):
        with pytest.raises(type(error)):
            host.audit.during(Deed(CANCEL, PEER), lambda error=error: refused(error))  # type: ignore[misc]
    with pytest.raises(Forbidden):
        host.audit.during(Deed(requests.GetHost(), PEER), lambda: refused(Forbidden("no")))
    assert host.rows() == []


def test_a_refusal_for_lack_of_rights_has_a_row_also_where_it_says_that_there_is_nothing(host: Host) -> None:
    hidden = NoRun(4)
    hidden.denied = True
    for error in (Forbidden("no"), hidden):
        with pytest.raises(type(error)):
            host.audit.during(Deed(CANCEL, PEER), lambda error=error: refused(error))  # type: ignore[misc]
    assert [row[-2] for row in host.rows()] == ["forbidden", "forbidden"]


@pytest.mark.parametrize("at_once", [True, False])
def test_what_is_put_off_is_recorded_once_when_it_is_done(host: Host, at_once: bool) -> None:
    """Also where it turns out that it can be done at once."""
    later: list[Deed] = []

    def act() -> Replies:
        later.append(host.audit.put_off())
        if at_once:
            host.audit.during(later[0], nothing)
        return nothing()

    host.audit.during(Deed(CANCEL, PEER), act)
    assert len(host.rows()) == at_once
    if not at_once:
        host.audit.during(later[0], nothing)
    assert [row[-2] for row in host.rows()] == ["done"]


def test_what_is_put_off_and_refused_then_is_not_recorded_as_done(host: Host) -> None:
    def act() -> Replies:
        with pytest.raises(Forbidden):
            host.audit.during(host.audit.put_off(), lambda: refused(Forbidden("no")))
        return nothing()

    host.audit.during(Deed(CANCEL, PEER), act)
    assert [row[-2] for row in host.rows()] == ["forbidden"]


def refuse(host: Host, times: int, uid: int = 5) -> None:
    for _ in range(times):
        with pytest.raises(Forbidden):
            host.audit.during(Deed(CANCEL, Peer(uid=uid, gid=1, pid=1)), lambda: refused(Forbidden("no")))


def test_refusals_beyond_so_many_a_minute_are_counted_in_one_row(host: Host) -> None:
    refuse(host, REFUSALS_PER_USER + 31)
    assert len(host.rows()) == REFUSALS_PER_USER
    refuse(host, 1, uid=6)
    assert host.rows()[-1][1] == 6
    host.now_us += WINDOW_US
    host.timers.fire(host.now_us)
    assert host.rows()[-1][-2:] == ("forbidden", 31)
    refuse(host, 1)
    assert host.rows()[-1][-1] == 0


def test_accounts_that_are_many_to_the_kernel_have_a_limit_together(host: Host) -> None:
    for uid in range(100_000, 100_000 + REFUSALS * 2):
        refuse(host, 1, uid)
    assert len(host.rows()) == REFUSALS
    host.now_us += WINDOW_US
    host.timers.fire(host.now_us)
    assert sum(row[-1] for row in host.rows()) == REFUSALS


def test_what_cannot_be_committed_does_not_heap_up(host: Host) -> None:
    host.full = True
    refuse(host, 3)
    assert host.rows() == []


SECRET = "c4nary-c4nary"


def test_no_request_tells_bytes_headers_or_words_of_people() -> None:
    """Of every request that there is, filled with a canary wherever a value could be."""
    for kind in get_args(Request):
        fields: dict[str, Any] = {}
        for field in msgspec.structs.fields(kind):
            if field.type is bytes:
                fields[field.name] = SECRET.encode()
            elif field.name in ("headers", "query"):
                fields[field.name] = {"X-Token": SECRET}
            elif field.name in ("text", "comment"):
                fields[field.name] = SECRET
            elif field.required:
                fields[field.name] = 1 if field.name.endswith("_us") or field.name == "backfill" else "x"
        said = str(asked_of(kind(**fields), values=True))
        assert SECRET not in said, kind
        assert str(SECRET.encode()) not in said, kind


def test_values_of_params_are_told_of_what_was_done_only_and_long_ones_not_at_all() -> None:
    asked = requests.StartRun(workflow="w", params={"b": "x", "a": 1}, key="k")
    assert asked_of(asked, values=True) == {"params": {"b": "x", "a": 1}, "key": "k"}
    assert asked_of(asked, values=False) == {"params": ["a", "b"], "key": "k"}
    long = requests.StartRun(workflow="w", params={"a": "x" * 5000}, no_cache=True)
    assert asked_of(long, values=True) == {"params": ["a"], "no_cache": True}
    wide = requests.StartRun(workflow="w", params={f"p{n:04d}": n for n in range(3000)}, no_cache=True)
    assert asked_of(wide, values=True) == {"no_cache": True}
