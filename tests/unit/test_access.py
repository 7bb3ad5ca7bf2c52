"""Who may do what: every request against every sort of peer (promises X1 and X4)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast, get_args

import pytest
from msgspec.structs import replace

from pyflowd.base import names
from pyflowd.base import peer as peer_module
from pyflowd.base.names import KEPT_US, Kept
from pyflowd.base.peer import Peer, Roles
from pyflowd.control.replies import Replies
from pyflowd.errors import Forbidden, NoRun, NotFound, NoWorkflow
from pyflowd.handlers.access import Access, Sight
from pyflowd.handlers.handlers import Handlers
from pyflowd.handlers.handlers_runs import RunHandlers
from pyflowd.protocol import requests
from pyflowd.protocol.requests import OPERATIONS, About, Operation, Request
from pyflowd.protocol.views_runs import EventPage
from pyflowd.protocol.words import Level
from pyflowd.runtime.audit import Audit, Deed
from pyflowd.runtime.rights import Groups

SEE, RUN = 71, 72
"""Groups that the closed workflow names."""
KINDS = {
    "nobody": Peer(uid=1001, gid=1, pid=1, groups=frozenset({1})),
    "sees": Peer(uid=1002, gid=1, pid=1, groups=frozenset({1, SEE})),
    "runs": Peer(uid=1003, gid=1, pid=1, groups=frozenset({1, RUN})),
    "reader": Peer(uid=1004, gid=1, pid=1, level=Level.READ, groups=frozenset({1, 7})),
    "operator": Peer(uid=1005, gid=1, pid=1, level=Level.OPERATE, groups=frozenset({1, 8})),
    "operator who sees": Peer(uid=1006, gid=1, pid=1, level=Level.OPERATE, groups=frozenset({1, 8, SEE})),
    "admin": Peer(uid=0, gid=0, pid=1, level=Level.ADMIN),
}
AS = {
    "who is not logged in": (peer_module.nobody(Peer(uid=0, gid=0, pid=1, level=Level.ADMIN)), "nobody"),
    "a reader's token": (replace(KINDS["reader"], carrier=99, token=1), "reader"),
    "an operator's token for reading": (
        replace(KINDS["operator"], level=Level.READ, carrier=99, token=2, cap=Level.READ), "reader",
    ),
    "the same of one who may operate one workflow": (
        replace(KINDS["runs"], carrier=99, token=3, cap=Level.READ), "sees",
    ),
    "an administrator's token for operating": (
        replace(KINDS["admin"], level=Level.OPERATE, carrier=99, token=4, cap=Level.OPERATE), "operator",
    ),
    "an administrator's session": (replace(KINDS["admin"], carrier=99, token=5), "admin"),
}  # fmt: skip
"""Who speaks by somebody else, and whose answers he gets."""
ALL, NOTHING, REFUSED = "ok", "none", "no"
"""Answered; told that there is no such thing; forbidden."""
EVERYBODY: dict[str, str] = {}
LOOK_AT_HOST = {"nobody": REFUSED, "sees": REFUSED, "runs": REFUSED}
"""Those that are not named are answered."""
LOOK_AT_ALL = {"nobody": REFUSED}
LOOK_AT_OPEN = {"nobody": REFUSED, "sees": NOTHING, "runs": NOTHING}
LOOK_AT_CLOSED = {"nobody": REFUSED, "reader": NOTHING, "operator": NOTHING}
OPERATE_OPEN = {"nobody": REFUSED, "sees": REFUSED, "runs": NOTHING, "reader": REFUSED}
OPERATE_CLOSED = {
    "nobody": REFUSED, "sees": REFUSED, "reader": REFUSED, "operator": NOTHING, "operator who sees": REFUSED,
}  # fmt: skip
OPERATE_HOST = {"nobody": REFUSED, "sees": REFUSED, "runs": REFUSED, "reader": REFUSED}
ADMIN = {kind: REFUSED for kind in KINDS if kind != "admin"}

Expected = Mapping[str, str]
GOLDEN: dict[str, tuple[Expected, ...]] = {
    "GetHost": (LOOK_AT_ALL,),
    "GetRun": (LOOK_AT_OPEN, LOOK_AT_CLOSED),
    "GetGraph": (LOOK_AT_OPEN, LOOK_AT_CLOSED),
    "ListWorkflows": (LOOK_AT_ALL,),
    "ShowWorkflow": (LOOK_AT_OPEN, LOOK_AT_CLOSED),
    "ListChanges": (LOOK_AT_OPEN, LOOK_AT_CLOSED),
    "ListRuns": (LOOK_AT_OPEN, LOOK_AT_CLOSED, LOOK_AT_ALL),
    "StartRun": (OPERATE_OPEN, OPERATE_CLOSED),
    "StartBackfill": (OPERATE_OPEN, OPERATE_CLOSED),
    "CancelBackfill": (OPERATE_OPEN, OPERATE_CLOSED),
    "ListBackfills": (LOOK_AT_ALL,),
    "CancelRun": (OPERATE_OPEN, OPERATE_CLOSED),
    "AnswerApproval": (OPERATE_OPEN, OPERATE_CLOSED),
    "ListApprovals": (LOOK_AT_ALL,),
    "ListArtifacts": (LOOK_AT_OPEN, LOOK_AT_CLOSED),
    "GetArtifact": (LOOK_AT_OPEN, LOOK_AT_CLOSED),
    "RerunRun": (OPERATE_OPEN, OPERATE_CLOSED),
    "PauseWorkflow": (OPERATE_OPEN, OPERATE_CLOSED),
    "GetLogs": (LOOK_AT_OPEN, LOOK_AT_CLOSED),
    "WatchRun": (LOOK_AT_OPEN, LOOK_AT_CLOSED),
    "ListNext": (LOOK_AT_OPEN, LOOK_AT_CLOSED, LOOK_AT_ALL),
    "ListSlots": (LOOK_AT_OPEN, LOOK_AT_CLOSED, LOOK_AT_ALL),
    "Explain": (LOOK_AT_OPEN, LOOK_AT_CLOSED),
    "ListEvents": (LOOK_AT_OPEN, LOOK_AT_CLOSED, LOOK_AT_ALL),
    "Reload": (ADMIN,),
    "SendNotification": (OPERATE_HOST,),
    "ListNotifications": (LOOK_AT_ALL,),
    "ListCache": (LOOK_AT_OPEN, LOOK_AT_CLOSED, LOOK_AT_ALL),
    "ClearCache": (OPERATE_OPEN, OPERATE_CLOSED),
    "SetSecret": (ADMIN,),
    "RemoveSecret": (ADMIN,),
    "ListSecrets": (ADMIN,),
    "RekeySecrets": (ADMIN,),
    "ListPlaces": (LOOK_AT_ALL,),
    "MarkSeen": (OPERATE_OPEN, OPERATE_CLOSED),
    "SaveDefinition": (ADMIN,),
    "GetTimeline": (LOOK_AT_ALL,),
    "GetMetrics": (LOOK_AT_ALL,),
    "GetSamples": (LOOK_AT_OPEN, LOOK_AT_CLOSED),
    "ListAttempts": (LOOK_AT_OPEN, LOOK_AT_CLOSED),
    "GetGrid": (LOOK_AT_OPEN, LOOK_AT_CLOSED),
    "ListOutcomes": (LOOK_AT_OPEN, LOOK_AT_CLOSED, LOOK_AT_ALL),
    "GetSimulationBasis": (LOOK_AT_ALL,),
    "GetHealth": (LOOK_AT_HOST,),
    "GetVersion": (EVERYBODY,),
    "DeliverHook": (EVERYBODY,),
    "ListFirings": (LOOK_AT_OPEN, LOOK_AT_CLOSED, LOOK_AT_ALL),
    "MakeBackup": (ADMIN,),
    "CheckStore": (ADMIN,),
    "DrainHost": (ADMIN,),
    "ListAudit": (ADMIN,),
    "GetIdentity": (EVERYBODY,),
    "CreateToken": (LOOK_AT_ALL,),
    "ListTokens": (LOOK_AT_ALL,),
    "RevokeToken": (EVERYBODY,),
    "OpenSession": (EVERYBODY,),
}
"""Of each request what everybody is answered: about the open workflow, the closed one, and all, as far as it can be
about these; of one that is about no workflow once."""
NEEDED: dict[str, dict[str, Any]] = {
    "GetArtifact": {"task": "a", "name": "f"},
    "StartBackfill": {"from_us": 0, "until_us": 1},
    "AnswerApproval": {"task": "a", "approve": True},
    "SendNotification": {"channel": "c", "text": "t"},
    "SetSecret": {"name": "n", "value": b"v"},
    "RemoveSecret": {"name": "n"},
    "DeliverHook": {"hook": "h"},
    "GetSamples": {"task": "a"},
    "SaveDefinition": {"file": "f.yaml", "data": b"t"},
    "GetTimeline": {"workflows": [], "since_us": 0, "until_us": 1},
}
"""Fields that say nothing of rights."""


def subjects(kind: type, about: About) -> list[list[dict[str, Any]]]:
    """All ways to name the open workflow, the closed one, and none, in a request."""
    fields = kind.__struct_fields__  # type: ignore[attr-defined]
    match about:
        case About.BACKFILL:
            return [[{"backfill": 1}], [{"backfill": 2}]]
        case About.RUN if "of" in fields:
            return [[{"of": "open"}, {"of": "1"}], [{"of": "closed"}, {"of": "2"}]]
        case About.RUN if "workflow" in fields:
            return [[{"workflow": "open"}, {"run": 1}], [{"workflow": "closed"}, {"run": 2}]]
        case About.RUN:
            numbered = [[{"run": 1}], [{"run": 2}]]
            return numbered if len(GOLDEN[kind.__name__]) == 2 else [*numbered, [{}]]
        case About.WORKFLOW:
            named = [[{"workflow": "open"}], [{"workflow": "closed"}]]
            return named if len(GOLDEN[kind.__name__]) == 2 else [*named, [{}]]
        case _:
            return [[{}]]


@pytest.fixture
def access(monkeypatch: pytest.MonkeyPatch) -> Access:
    """Two workflows: `open`, and `closed`, which names groups; each with a run, and a backfill of the same number."""
    groups = {"see": SimpleNamespace(gr_gid=SEE), "run": SimpleNamespace(gr_gid=RUN)}
    monkeypatch.setattr(names, "group_named", groups.get)
    of_run = {1: ("open",), 2: ("closed",)}
    runs: Any = SimpleNamespace(
        live={}, clock=SimpleNamespace(mono_us=lambda: 0),
        store=SimpleNamespace(one_or_none=lambda _, run: of_run.get(run)),
    )  # fmt: skip
    rights = SimpleNamespace(of={"closed": Groups(("see",), ("run",))})
    workflows: Any = SimpleNamespace(entries={"open": None, "closed": None}, rights=rights)
    backfills: Any = SimpleNamespace(workflow_of=lambda number: of_run.get(number, ("",))[0])
    return Access(runs, workflows, backfills, {Level.READ: ["lookers"], Level.OPERATE: ["doers", "makers"]})


def test_every_request_has_its_place_in_the_table_of_rights_and_in_this_one() -> None:
    assert set(OPERATIONS) == set(get_args(Request))
    assert set(GOLDEN) == {kind.__name__ for kind in OPERATIONS}


def answered(access: Access, request: Request, peer: Peer) -> str:
    try:
        access.authorise(request, peer)
    except Forbidden:
        return REFUSED
    except NotFound:
        return NOTHING
    return ALL


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("who", KINDS)
def test_everybody_gets_the_answer_of_the_table(access: Access, name: str, who: str) -> None:
    kind = getattr(requests, name)
    for expected, ways in zip(GOLDEN[name], subjects(kind, OPERATIONS[kind].about), strict=True):
        for subject in ways:
            request = kind(**NEEDED.get(name, {}), **subject)
            assert answered(access, request, KINDS[who]) == expected.get(who, ALL), (request, who)


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("who", AS)
def test_a_token_never_gives_more_than_its_level_and_its_account(access: Access, name: str, who: str) -> None:
    peer, other = AS[who]
    kind = getattr(requests, name)
    for ways in subjects(kind, OPERATIONS[kind].about):
        for subject in ways:
            request = kind(**NEEDED.get(name, {}), **subject)
            assert answered(access, request, peer) == answered(access, request, KINDS[other]), request


def test_whoever_is_refused_by_a_token_is_told_what_would_help(access: Access) -> None:
    nobody, _ = AS["who is not logged in"]
    capped, _ = AS["the same of one who may operate one workflow"]
    with pytest.raises(Forbidden, match=r"^who is not logged in may not do this; log in, or show a token"):
        access.authorise(requests.ListRuns(), nobody)
    with pytest.raises(Forbidden, match=r"^1003 by token 3 may not do this; it is for level read; make one for more"):
        access.authorise(requests.CancelRun(run=2), capped)
    with pytest.raises(Forbidden, match="for level operate"):
        access.authorise(requests.Reload(), AS["an administrator's token for operating"][0])


@pytest.mark.parametrize(
    ("who", "unseen", "number"), [("sees", "open", 1), ("runs", "open", 1), ("reader", "closed", 2)]
)
def test_what_may_not_be_seen_is_told_of_in_the_words_for_what_is_not_there(
    access: Access, who: str, unseen: str, number: int
) -> None:
    """Of a name, of a run, of a backfill."""
    peer = KINDS[who]
    assert str(access.unseen(requests.GetRun(of=unseen), unseen, peer)) == str(NoWorkflow(unseen, []))
    assert "did you mean" not in str(access.no_workflow(f"{unseen}x", peer))
    for request in (requests.GetRun(of=str(number)), requests.CancelRun(run=number), requests.ListEvents(run=number)):
        assert str(access.unseen(request, unseen, peer)) == f"no run {number}; `pyflowctl history` shows what there is"
    error = access.unseen(requests.CancelBackfill(backfill=number), unseen, peer)
    assert str(error) == f"no backfill {number}; `pyflowctl backfills` shows what there is"
    assert error.denied


def test_a_file_that_is_not_installed_and_a_trusted_delivery_are_for_administrators(access: Access) -> None:
    for request in (requests.StartRun(file="x.yaml", data=b"x"), requests.DeliverHook(hook="h", trusted=True)):
        for who, peer in KINDS.items():
            assert answered(access, request, peer) == (ALL if who == "admin" else REFUSED)
        assert requests.operation(request).changes


def test_a_dry_run_needs_the_same_right_and_changes_nothing() -> None:
    known = requests.operation(requests.StartRun(workflow="w", dry_run=True))
    assert known == Operation(Level.OPERATE, About.WORKFLOW, changes=False)


@pytest.mark.parametrize(
    ("groups", "sees", "operates"),
    [
        (Groups(), ["reader", "operator", "admin"], ["operator", "admin"]),
        (Groups(("see",)), ["sees", "operator who sees", "admin"], ["operator who sees", "admin"]),
        (Groups((), ("run",)), ["runs", "reader", "operator", "operator who sees", "admin"], ["runs", "admin"]),
        (Groups(("see",), ("run",)), ["sees", "runs", "operator who sees", "admin"], ["runs", "admin"]),
        (Groups(("gone",), ("gone",)), ["admin"], ["admin"]),
    ],
)
def test_who_sees_and_who_operates(access: Access, groups: Groups, sees: list[str], operates: list[str]) -> None:
    cast("Any", access.workflows).rights.of["closed"] = groups
    found = {who: access.sight(peer) for who, peer in KINDS.items()}
    ordinary = [who for who in KINDS if not groups.visible_to and who == "operator who sees"]
    assert {who for who, sight in found.items() if sight.sees("closed")} == {*sees, *ordinary}
    may = ordinary if not groups.operate_by else []
    assert {who for who, sight in found.items() if sight.operates("closed")} == {*operates, *may}


def test_a_level_that_is_refused_names_the_groups_to_ask_for(access: Access) -> None:
    with pytest.raises(Forbidden, match="make you a member of the group doers or makers"):
        access.authorise(requests.CancelRun(run=1), KINDS["reader"])
    with pytest.raises(Forbidden, match="only root and the account that pyflowd runs as may"):
        access.authorise(requests.Reload(), KINDS["operator"])
    with pytest.raises(Forbidden, match=r"may not operate closed; members of run may \(operate_by in its file\)"):
        access.authorise(requests.CancelRun(run=2), KINDS["operator who sees"])


def test_a_group_that_comes_later_counts_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now_us, known = [0], dict[str, SimpleNamespace]()
    monkeypatch.setattr(names, "group_named", Kept(known.__getitem__, lambda: now_us[0]))
    sight = Sight(KINDS["sees"], {"w": Groups(("dba",))})
    assert not sight.sees("w")
    known["dba"] = SimpleNamespace(gr_gid=SEE)
    now_us[0] = KEPT_US - 1
    assert not sight.sees("w")
    now_us[0] += 1
    assert sight.sees("w")


def test_members_of_a_group_of_administrators_are_such() -> None:
    roles = Roles(admins=frozenset({0}), administrators=frozenset({9}), operators=frozenset({8}), readers=frozenset())
    assert roles.level(1000, frozenset({9, 8})) is Level.ADMIN
    assert roles.level(1000, frozenset({8})) is Level.OPERATE


def test_what_is_done_in_a_later_turn_is_judged_again_then(access: Access) -> None:
    """Between the request and its turn a definition may have come that names groups."""
    rows: list[str] = []
    batch = SimpleNamespace(add=lambda name, *_: rows.append(name))
    clock = SimpleNamespace(mono_us=lambda: 0, wall_us=lambda: 0)
    runs: Any = SimpleNamespace(clock=clock, batch=batch)
    health: Any = SimpleNamespace(has=lambda _: False, check_writable=lambda: None)
    audit = Audit(runs, health)
    workflows: Any = SimpleNamespace(topics=set())
    unused: Any = None
    of_runs = RunHandlers(unused, runs, workflows, unused, unused, health, access, audit)
    later: list[Callable[[], None]] = []
    done: list[str] = []

    def act() -> Replies:
        done.append("it")
        return iter(())

    def ask() -> Replies:
        access.authorise(request, KINDS["operator"])
        return of_runs.deferred(later.append, act)

    request = requests.StartRun(workflow="open")
    replies = audit.during(Deed(request, KINDS["operator"]), ask)
    cast("Any", access.workflows).rights.of["open"] = Groups(("see",), ("run",))
    later[0]()
    with pytest.raises(NoWorkflow):
        list(replies)
    assert (done, rows) == ([], ["audit"])


def test_an_answer_ends_where_its_workflow_may_not_be_seen_any_more(access: Access) -> None:
    handlers = Handlers.__new__(Handlers)
    handlers.access = access
    request, page = requests.ListEvents(run=1, follow=True), EventPage(events=[])
    replies = handlers._guarded(itertools.repeat(page), request, "open", KINDS["reader"])
    assert next(replies) is page
    cast("Any", access.workflows).rights.of["open"] = Groups(("see",), ())
    with pytest.raises(NoRun, match="no run 1;"):
        next(replies)
