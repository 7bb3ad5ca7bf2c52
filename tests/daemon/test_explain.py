"""Explanations of a real daemon: each thing that keeps a workflow, a run or a task from going on, and each end."""

from __future__ import annotations

import getpass
import shlex
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from pyflowd.handlers.explain_words import SLOT_REASONS
from pyflowd.model.states import SlotReason
from tests.daemon.instance import Instance
from tests.waiting import wait_until

ME = getpass.getuser()
WAIT_FOR = 'until [ -e "HERE/%s" ]; do sleep 0.01; done'
LATE_US = 1_700_000_040_000_000
"""A whole minute of November 2023."""


def install(instance: Instance, name: str, text: str) -> None:
    """`HERE` stands for the folder in which its tasks run."""
    instance.install(f"{name}.yaml", f"cwd: {instance.root}\n" + text.replace("HERE", str(instance.root)))


def explain(instance: Instance, *words: object) -> Any:
    return instance.json("explain", *words)


def codes(found: Any) -> list[str]:
    return [fact["code"] for fact in found["facts"]]


def fact(found: Any, code: str) -> Any:
    return next(each for each in found["facts"] if each["code"] == code)


def until_code(instance: Instance, code: str, *words: object) -> Any:
    """The explanation, once it has a fact of that code."""
    return wait_until(lambda: code in codes(found := explain(instance, *words)) and found, f"{words}: {code}")


def is_coming(at: str) -> bool:
    return datetime.fromisoformat(at) > datetime.now(UTC)


# ---- Runs under way -------------------------------------------------------------------------------------------------


def test_the_chain_goes_over_called_runs_and_locks_to_the_approval_at_its_root(daemon: Instance) -> None:
    install(daemon, "holder", "locks: disk\ntasks: {ask: {approval: {message: 'may I?', allow: ['user:nobody']}}}\n")
    install(daemon, "waiter", "locks: disk\ntasks: {t: {run: 'true'}}\n")
    install(daemon, "caller", "tasks: {c: {workflow: waiter}}\n")
    holder = daemon.run("holder")
    daemon.wait_task(holder, "ask", "running")
    caller = daemon.run("caller")
    found = until_code(daemon, "place", caller)
    called = fact(found, "called")
    assert [(each["code"], each["depth"]) for each in found["facts"][:5]] == [
        ("called", 0), ("run", 1), ("place", 2), ("run", 3), ("approval", 4),
    ]  # fmt: skip
    assert (called["run"], called["task"]) == (caller, "c")
    assert found["answer"].endswith(f"at the root of it ask of run {holder} waits for an answer of nobody: may I?")
    assert found["next"][0]["command"] == f"pyflowctl approve {holder} ask"
    assert explain(daemon, "waiter")["answer"] == explain(daemon, fact(found, "place")["run"])["answer"]
    shown = daemon.ctl("explain", caller, "c").stdout
    assert "waits for lock disk, held by" in shown
    assert "\nnext\n" in shown


def test_the_command_that_answers_an_approval_is_one_that_is_taken(daemon: Instance) -> None:
    install(daemon, "a", "tasks: {bc: {approval: {message: go?, choices: ['blue sky', green]}}}\n")
    run = daemon.run("a")
    daemon.wait_task(run, "bc", "running")
    command = explain(daemon, run)["next"][0]["command"]
    assert command == f"pyflowctl approve {run} bc --choose 'blue sky'"
    assert daemon.ctl(*shlex.split(command)[1:]).returncode == 0


def test_a_run_behind_another_of_its_workflow_says_so(daemon: Instance) -> None:
    install(daemon, "a", f"tasks: {{t: {{run: '{WAIT_FOR % 'go'}'}}}}\n")
    first, second, third = (daemon.run("a") for _ in range(3))
    found = until_code(daemon, "running", third)
    assert fact(found, "overlap")["text"] == (
        f"run {third} of a waits for run {first} of the same workflow: one may be live at a time; "
        "1 run stands before it"
    )
    assert f"pyflowctl logs {first} t -f" in [step["command"] for step in found["next"]]
    assert fact(explain(daemon, second), "requested")["by"] == ME


def test_a_closed_gate_is_told_with_the_time_when_it_gives_up(daemon: Instance) -> None:
    install(daemon, "a", "gates: {path_exists: HERE/open, wait: 1h, every: 50ms}\ntasks: {t: {run: 'true'}}\n")
    found = until_code(daemon, "gate", daemon.run("a"))
    assert fact(found, "gate")["text"].endswith(f"{daemon.root}/open does not exist")
    assert is_coming(found["next"][0]["at"])


def test_max_parallel_is_what_a_task_waits_for(daemon: Instance) -> None:
    install(
        daemon, "a",
        f"max_parallel: 1\ntasks:\n  one: {{run: '{WAIT_FOR % 'go'}'}}\n  two: {{run: 'true'}}\n",
    )  # fmt: skip
    run = daemon.run("a")
    daemon.wait_task(run, "one", "running")
    found = explain(daemon, run, "two")
    assert codes(found)[0] == "max_parallel"
    assert found["answer"].endswith("waits for another task of the run to end (max_parallel is 1): one")


def test_a_full_host_is_what_a_task_waits_for(instance: Instance) -> None:
    instance.settings(max_tasks=1)
    instance.start()
    install(instance, "a", f"tasks: {{t: {{run: '{WAIT_FOR % 'go'}'}}}}\n")
    install(instance, "b", "tasks: {t: {run: 'true'}}\n")
    instance.wait_task(instance.run("a"), "t", "running")
    found = until_code(instance, "max_tasks", instance.run("b"))
    assert "1 run (max_tasks is 1)" in fact(found, "max_tasks")["text"]


def test_a_back_off_and_a_wait_tell_until_when(daemon: Instance) -> None:
    install(daemon, "a", "tasks: {t: {run: 'exit 3', retry: {attempts: 3, delay: 1h, jitter: none}}}\n")
    install(daemon, "b", "tasks: {w: {wait: {for: 1h}}}\n")
    found = until_code(daemon, "back_off", daemon.run("a"))
    assert is_coming(fact(found, "back_off")["at"])
    assert fact(found, "attempt")["text"] == "attempt 1 failed: exit code 3"
    found = until_code(daemon, "wait", daemon.run("b"))
    assert is_coming(found["at"])
    assert found["next"][0]["at"] == found["at"]


def test_a_run_that_is_being_stopped_says_by_whom(daemon: Instance) -> None:
    install(daemon, "a", "tasks: {t: {run: 'trap \"\" TERM; while :; do sleep 0.05; done', kill_grace: 1h}}\n")
    run = daemon.run("a")
    daemon.wait_task(run, "t", "running")
    daemon.ctl("cancel", run)
    found = explain(daemon, run)
    assert found["answer"] == f"run {run} of a is being cancelled"
    assert fact(found, "cancelled")["by"] == ME
    daemon.ctl("cancel", run)
    daemon.wait_run(run)
    assert explain(daemon, run)["answer"] == f"run {run} of a was cancelled by {ME}"


# ---- Runs that have ended -------------------------------------------------------------------------------------------


def test_a_failed_run_tells_its_attempts_what_they_said_what_did_not_run_and_its_handlers(daemon: Instance) -> None:
    install(
        daemon, "a",
        "tasks:\n"
        "  dump: {run: 'echo no space; exit 7', retry: {attempts: 2, delay: 10ms}}\n"
        "  ship: {needs: dump, run: 'true'}\n"
        "  mail: {needs: ship, run: 'true'}\n"
        "on_failure: {tell: {run: 'true'}}\n",
    )  # fmt: skip
    run = daemon.run("a")
    daemon.wait_run(run)
    found = explain(daemon, run)
    assert codes(found) == [
        "task", "attempt", "attempt", "output", "retries", "not_run", "handlers", "requested",
    ]  # fmt: skip
    assert (fact(found, "output")["text"], fact(found, "output")["depth"]) == ("no space", 2)
    assert fact(found, "not_run")["text"].endswith("ship, mail")
    assert [step["command"] for step in found["next"]] == [
        f"pyflowctl logs {run} dump", f"pyflowctl rerun {run} --failed",
    ]  # fmt: skip
    mail = explain(daemon, run, "mail")
    assert mail["answer"] == f"mail of run {run} of a did not run: dump, which it needs, failed: exit code 7"
    assert [each["task"] for each in mail["facts"] if each["code"] == "dependency"] == ["ship", "dump"]


def test_a_secret_in_the_output_is_masked(instance: Instance) -> None:
    folder = instance.root / "secrets"
    folder.mkdir(mode=0o700)
    (folder / "key").write_text("tops3cret-value")
    (folder / "key").chmod(0o600)
    instance.settings(secrets=[{"file": str(folder)}])
    instance.start()
    install(
        instance, "a",
        "tasks: {t: {run: 'echo \"has $KEY\"; exit 1', env: {KEY: '${{ secrets.key }}'}}}\n",
    )  # fmt: skip
    run = instance.run("a")
    instance.wait_run(run)
    said = instance.ctl("explain", run).stdout
    assert "| has " in said
    assert "tops3cret" not in said


def test_a_skipped_task_tells_its_condition_with_values_and_what_depends_on_it_why_not(daemon: Instance) -> None:
    install(
        daemon, "a",
        "params: {full: {type: boolean, default: false}}\n"
        "tasks:\n  b: {if: params.full, run: 'true'}\n  c: {needs: b, run: 'true'}\n",
    )  # fmt: skip
    run = daemon.run("a")
    daemon.wait_run(run)
    found = explain(daemon, run, "b")
    assert found["answer"].endswith("was skipped: its condition is false: params.full is false")
    assert "condition" in codes(found)
    assert explain(daemon, run, "c")["answer"].endswith("was skipped: every task that it needs was skipped")


def test_a_fan_out_tells_the_items_that_failed_and_an_item_its_own_end(daemon: Instance) -> None:
    install(
        daemon, "a", "tasks: {t: {for_each: [1, 2, 3], run: 'echo at $PYFLOW_ITEM_KEY; test $PYFLOW_ITEM_KEY != 2'}}\n"
    )
    run = daemon.run("a")
    daemon.wait_run(run)
    found = explain(daemon, run, "t")
    assert fact(found, "items")["text"]
    assert [each["task"] for each in found["facts"] if each["code"] == "output"] == ["t[2]"]
    assert explain(daemon, run, "t[2]")["answer"] == f"t[2] of run {run} of a failed: exit code 1"
    assert explain(daemon, run)["facts"][0]["task"] == "t[2]"


def test_a_cached_task_tells_which_run_it_has_its_outputs_from(daemon: Instance) -> None:
    install(daemon, "a", "tasks: {t: {run: 'true', cache: {key: k, ttl: 1h}}}\n")
    first = daemon.run("a")
    daemon.wait_run(first)
    second = daemon.run("a")
    daemon.wait_run(second)
    assert f"what run {first} gave" in fact(explain(daemon, second, "t"), "cache")["text"]


def test_names_that_are_not_there_are_refused_with_the_nearest(daemon: Instance) -> None:
    install(daemon, "nightly", "tasks: {dump: {run: 'true'}}\n")
    run = daemon.run("nightly")
    for words, said in (
        (("nihgtly",), 'no workflow "nihgtly" (did you mean "nightly"?)'),
        ((run, "dmup"), 'no task "dmup" (did you mean "dump"?)'),
        ((999,), "no run 999"),
        (("nihgtly", "--at", "02:30"), 'did you mean "nightly"?'),
    ):
        done = daemon.ctl("explain", *words)
        assert (done.returncode, done.stderr.count("\n")) == (3, 1)
        assert said in done.stderr


# ---- Workflows ------------------------------------------------------------------------------------------------------


def test_a_paused_workflow_says_by_whom_and_a_resumed_one_is_on_again(daemon: Instance) -> None:
    install(daemon, "a", "schedule: '30 2 * * *'\ntasks: {t: {run: 'true'}}\n")
    daemon.ctl("pause", "a")
    found = explain(daemon, "a")
    assert (found["state"], fact(found, "paused")["by"]) == ("paused", ME)
    assert found["next"][0]["command"] == "pyflowctl resume a"
    daemon.ctl("resume", "a")
    found = explain(daemon, "a")
    assert found["state"] == "active"
    assert is_coming(found["next"][0]["at"])
    assert f"a: resumed by {ME}" in daemon.ctl("events").stdout


def test_a_stale_a_broken_a_removed_and_an_uninstalled_workflow_say_so(daemon: Instance) -> None:
    install(daemon, "a", "tasks: {t: {run: 'true'}}\n")
    daemon.write("a.yaml", "tasks: {t: {rum: 'true'}}\n")
    found = until_code(daemon, "stale", "a")
    assert found["state"] == "stale"
    assert fact(found, "stale")["at"]
    daemon.write("b.yaml", "tasks: {t: {rum: 'true'}}\n")
    wait_until(lambda: daemon.ctl("explain", "b").returncode == 0, "b is known to be broken")
    assert explain(daemon, "b")["state"] == "broken"
    (daemon.root / "workflows" / "a.yaml").unlink()
    daemon.ctl("reload")
    found = explain(daemon, "a")
    assert (found["state"], codes(found)[0]) == ("removed", "removed")
    file = daemon.root / "once.yaml"
    file.write_text("tasks: {t: {run: 'true'}}\n")
    daemon.wait_run(daemon.run(file))
    assert explain(daemon, "once")["state"] == "uninstalled"


def test_a_workflow_without_a_trigger_and_one_with_a_disabled_one_say_so(daemon: Instance) -> None:
    install(daemon, "a", "tasks: {t: {run: 'true'}}\n")
    install(daemon, "b", "schedule: {cron: '30 2 * * *', enabled: false}\ntasks: {t: {run: 'true'}}\n")
    assert "unscheduled" in codes(explain(daemon, "a"))
    assert explain(daemon, "b")["answer"] == "b does not start by itself: all its triggers are disabled"


def test_what_keeps_a_slot_from_firing_is_told_of_its_trigger_and_of_its_time(instance: Instance) -> None:
    instance.settings(blackouts={"freeze": {"from": "2020-01-01", "to": "2090-01-01"}})
    instance.start()
    install(instance, "a", "schedule: {cron: '30 2 * * *', blackout: freeze}\ntasks: {t: {run: 'true'}}\n")
    barred = fact(explain(instance, "a"), "barred")
    assert "it falls into a blackout" in barred["text"]
    assert "(freeze)" in barred["text"]
    found = explain(instance, "a", "--at", barred["at"])
    assert (found["state"], codes(found)[0]) == ("coming", "barred")


def test_the_newest_event_of_an_event_trigger_is_told_with_what_became_of_it(daemon: Instance) -> None:
    folder = daemon.root / "in"
    folder.mkdir()
    install(
        daemon, "a",
        "triggers: {come: {file: {path: HERE/in/*, stable_for: 100ms}, if: event.size > 3}}\n"
        "tasks: {t: {run: 'true'}}\n",
    )  # fmt: skip
    (folder / "small").write_text("1")
    found = until_code(daemon, "firing", "a")
    assert "started nothing: the condition (if) of its trigger was false" in fact(found, "firing")["text"]
    (folder / "large").write_text("12345")
    wait_until(lambda: daemon.json("history", "a"), "a run was started")
    found = explain(daemon, "a")
    assert fact(found, "firing")["run"] == daemon.json("history", "a")[0]["run"]
    assert fact(found, "requested")["trigger"] == "come"


# ---- Slots ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A daemon whose ledger has a slot of every reason, a minute apart."""
    made = Instance(tmp_path_factory.mktemp("ledger") / "root")
    try:
        made.start()
        install(made, "a", "schedule: '30 2 * * *'\ntasks: {t: {run: 'true'}}\n")
        run = made.run("a")
        made.wait_run(run)
        made.stop()
        with sqlite3.connect(made.root / "state" / "pyflow.db") as store:
            for number, reason in enumerate(SlotReason):
                row = ("a", "schedule", LATE_US + number * 60_000_000, "skipped", reason.value, run, "a detail")
                store.execute(
                    "INSERT INTO slot (workflow, trigger, scheduled_us, fate, reason, run, detail)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    row,
                )
        store.close()
        made.start()
        yield made
    finally:
        made.end()


def when(number: int) -> str:
    return datetime.fromtimestamp(LATE_US / 1_000_000 + 60 * number, UTC).isoformat()


@pytest.mark.parametrize(("number", "reason"), list(enumerate(SlotReason)), ids=list(SlotReason))
def test_a_skipped_slot_says_why(ledger: Instance, number: int, reason: SlotReason) -> None:
    found = explain(ledger, "a", "--at", when(number))
    assert found["state"] == "skipped"
    assert SLOT_REASONS[reason].why in found["answer"]
    assert SLOT_REASONS[reason].remedy in [step["text"] for step in found["next"]]
    assert found["subject"]["scheduled_at"] == when(number).replace("+00:00", ".000000+00:00")


def test_of_a_workflow_the_newest_skipped_slot_is_told(ledger: Instance) -> None:
    newest = explain(ledger, "a")
    assert fact(newest, "slot_skipped")["at"].startswith(when(len(SlotReason) - 1)[:16])


def test_a_time_without_a_slot_names_the_nearest(ledger: Instance) -> None:
    found = explain(ledger, "a", "--at", when(-1))
    assert found["state"] == "none"
    assert [each["at"][:16] for each in found["facts"] if each["code"] == "slot_none"] == [when(0)[:16]]


def test_a_slot_to_come_is_told_and_what_would_keep_it_from_firing(ledger: Instance) -> None:
    coming = ledger.json("next", "a", "-n", 1)[0]["scheduled_at"]
    assert explain(ledger, "a", "--at", coming)["state"] == "coming"
    ledger.ctl("pause", "a")
    found = explain(ledger, "a", "--slot", coming)
    ledger.ctl("resume", "a")
    assert (found["state"], fact(found, "paused")["by"]) == ("coming", ME)


def test_a_slot_of_a_down_time_says_since_when_the_daemon_was_away_and_when_it_was_back(instance: Instance) -> None:
    instance.start()
    install(instance, "a", "schedule: '30 2 * * *'\ntasks: {t: {run: 'true'}}\n")
    instance.stop()
    at = datetime.now(UTC)
    with sqlite3.connect(instance.root / "state" / "pyflow.db") as store:
        row = ("a", "schedule", round(at.timestamp() * 1_000_000), "skipped", "down")
        store.execute("INSERT INTO slot (workflow, trigger, scheduled_us, fate, reason) VALUES (?, ?, ?, ?, ?)", row)
    store.close()
    instance.start()
    found = explain(instance, "a")
    assert found["answer"] == "a did not run: the slot of its trigger schedule was skipped: pyflowd was not running"
    stopped, started = fact(found, "daemon_stopped"), fact(found, "daemon_started")
    assert stopped["at"] < at.isoformat() < started["at"]


def test_a_slot_of_a_pause_says_who_paused_and_who_resumed(instance: Instance) -> None:
    instance.start()
    install(instance, "a", "schedule: '30 2 * * *'\ntasks: {t: {run: 'true'}}\n")
    instance.ctl("pause", "a")
    instance.stop()
    with sqlite3.connect(instance.root / "state" / "pyflow.db") as store:
        row = ("a", "schedule", round(datetime.now(UTC).timestamp() * 1_000_000), "skipped", "paused")
        store.execute("INSERT INTO slot (workflow, trigger, scheduled_us, fate, reason) VALUES (?, ?, ?, ?, ?)", row)
    store.close()
    instance.start()
    instance.ctl("resume", "a")
    found = explain(instance, "a")
    assert [fact(found, code)["by"] for code in ("paused", "resumed")] == [ME, ME]


def test_a_time_goes_with_a_workflow_only(daemon: Instance) -> None:
    done = daemon.ctl("explain", 1, "--at", "02:30")
    assert (done.returncode, done.stderr) == (
        2, "pyflowctl: explain: --at names a slot of a workflow; leave out TASK, and name a workflow, not a run\n",
    )  # fmt: skip
