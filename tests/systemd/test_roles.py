"""Who may do what on an installed system instance: accounts as an administrator makes them, each with a login's groups.

A stranger, a reader (`pyflow`), an operator (`pyflow-op`), and Dora, who is in none of these groups but in the one that
`ledger` is for. What the rules are in each case, `tests/daemon/test_roles.py` says.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.systemd.machine import Done, Machine

OPEN = "tasks: {t: {run: 'until [ -e /tmp/go ]; do sleep 0.05; done'}}\n"
LEDGER = "visible_to: dba\noperate_by: dba\n" + OPEN
NOT_FOUND, FORBIDDEN = 3, 5


@pytest.fixture(scope="module")
def people(machine: Machine) -> Machine:
    """The accounts, and two workflows: `report` for all, `ledger` for one group."""
    machine.run("groupadd dba")
    for name, groups in {"stan": (), "rita": ("pyflow",), "otto": ("pyflow-op",), "dora": ("dba",)}.items():
        machine.add_user(name, *groups)
    machine.workflow("report", OPEN)
    machine.workflow("ledger", LEDGER)
    return machine


def _ask(machine: Machine, user: str, *words: object) -> Done:
    done: Done = machine.ctl(*map(str, words), user=user, check=False)
    return done


def _sees(machine: Machine, user: str) -> list[str]:
    done = _ask(machine, user, "list")
    assert done.returncode == 0, done.stderr
    return sorted(one["workflow"] for one in json.loads(done.stdout))


def _may(machine: Machine, user: str, workflow: str) -> list[int]:
    """Exit statuses of what somebody tries with a workflow and a run of it that root has begun."""
    run = machine.start(workflow)
    machine.wait_task(run, "t")
    tries = (["status", run], ["logs", run], ["run", workflow], ["pause", workflow], ["resume", workflow])
    statuses = [_ask(machine, user, *words).returncode for words in (*tries, ["cancel", run])]
    cancelled = machine.wait_state(run)["state"] if statuses[-1] == 0 else machine.status(run)["state"]
    assert cancelled == ("cancelled" if statuses[-1] == 0 else "running")
    for live in machine.ctl("history", "--state", "running"):
        machine.ctl("cancel", str(live["run"]))
        machine.wait_state(live["run"])
    return statuses


def test_each_sees_what_is_theirs_to_see(people: Machine) -> None:
    assert _ask(people, "stan", "list").returncode == FORBIDDEN
    assert _sees(people, "rita") == ["report"]
    assert _sees(people, "otto") == ["report"]
    assert _sees(people, "dora") == ["ledger"]
    assert {"ledger", "report"} <= {one["workflow"] for one in people.ctl("list")}


@pytest.mark.parametrize(
    ("user", "workflow", "expected"),
    [
        ("stan", "report", [FORBIDDEN] * 6),
        ("rita", "report", [0, 0, FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN]),
        ("otto", "report", [0] * 6),
        ("rita", "ledger", [NOT_FOUND, NOT_FOUND, FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN]),
        ("otto", "ledger", [NOT_FOUND] * 6),
        ("dora", "ledger", [0] * 6),
        ("dora", "report", [NOT_FOUND] * 6),
    ],
)
def test_each_may_do_what_their_groups_allow(people: Machine, user: str, workflow: str, expected: list[int]) -> None:
    assert _may(people, user, workflow) == expected


def test_what_is_hidden_has_the_words_of_what_is_not_there(people: Machine) -> None:
    hidden, absent = (_ask(people, "rita", "status", name).stderr for name in ("ledger", "nothing"))
    assert "ledger" in hidden
    assert hidden.replace("ledger", "nothing") == absent


def test_the_audit_names_who_did_it(people: Machine) -> None:
    run = people.start("ledger", user="dora")
    people.wait_task(run, "t")
    assert _ask(people, "dora", "cancel", run).returncode == 0
    people.wait_state(run)
    assert _ask(people, "stan", "run", "report").returncode == FORBIDDEN
    assert _ask(people, "rita", "run", "report").returncode == FORBIDDEN
    assert _ask(people, "otto", "pause", "report").returncode == 0
    assert _ask(people, "otto", "resume", "report").returncode == 0
    told: list[dict[str, Any]] = people.ctl("audit")
    done = [(one["user"], one["request"], one["workflow"], one["result"]) for one in reversed(told)]
    assert done[-6:] == [
        ("dora", "start_run", "ledger", "done"),
        ("dora", "cancel_run", "ledger", "done"),
        ("stan", "start_run", "report", "forbidden"),
        ("rita", "start_run", "report", "forbidden"),
        ("otto", "pause_workflow", "report", "done"),
        ("otto", "pause_workflow", "report", "done"),
    ]
