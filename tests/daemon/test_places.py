"""Places that runs share, on a real daemon: locks, pools, groups, gates, priority; with deaths of the daemon meanwhile.

That no two are inside at once is seen by the tasks themselves: each takes a file lock without waiting.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.checker import check_fold, check_witness
from tests.daemon.instance import Instance
from tests.daemon.scenario import items, states
from tests.waiting import wait_until

LONG = bool(os.environ.get("PYFLOW_LONG"))

ALONE = 'exec 9>> "HERE/%s.lock"; flock -n 9 || echo two inside %s >> "HERE/bad"'
WITNESS = 'echo "start $PYFLOW_RUN_ID $PYFLOW_TASK ${PYFLOW_ITEM_KEY:--} $PYFLOW_ATTEMPT" >> witness'
WAIT_FOR = 'until [ -e "HERE/%s" ]; do sleep 0.01; done'


def install(instance: Instance, name: str, text: str) -> None:
    """`HERE` stands for the folder in which its tasks run."""
    instance.install(f"{name}.yaml", f"cwd: {instance.root}\n" + text.replace("HERE", str(instance.root)))


def start(instance: Instance, workflow: str, *more: object) -> int:
    return instance.run(workflow, *more)


def touch(instance: Instance, name: str) -> None:
    (instance.root / name).touch()


def places(instance: Instance) -> dict[str, Any]:
    return {f"{each['place']} {each['name']}": each for each in instance.json("places")}


def check_holders(instance: Instance) -> None:
    """Whoever holds a place, or waits for one, is a live run; one that ends meanwhile is gone then."""
    for _ in range(2):
        found = instance.json("places")
        assert all(place["used"] <= place["size"] for place in found), found
        named = {who["run"] for place in found for who in (*place["holders"], *place["waiting"])}
        ended = {run for run in named if instance.status(run)["ended_at"]}
        again = {who["run"] for place in instance.json("places") for who in (*place["holders"], *place["waiting"])}
        assert not ended & again


# ---- Locks ----------------------------------------------------------------------------------------------------------


def test_a_lock_of_a_run_keeps_another_workflow_out_until_the_first_has_ended_with_its_handlers(
    daemon: Instance,
) -> None:
    install(daemon, "a", f"locks: disk\ntasks: {{t: {{run: 'true'}}}}\nfinally: {{f: {{run: '{WAIT_FOR % 'go'}'}}}}\n")
    install(daemon, "b", "locks: disk\ntasks: {t: {run: 'true'}}\n")
    first, second = start(daemon, "a"), start(daemon, "b")
    daemon.wait_task(first, "t", "succeeded")
    waiting = daemon.status(second)
    assert (waiting["state"], waiting["why_queued"]) == ("queued", f"lock disk, held by run {first} (a)")
    assert [who["run"] for who in places(daemon)["lock disk"]["waiting"]] == [second]
    touch(daemon, "go")
    assert daemon.wait_run(second)["state"] == "succeeded"
    assert daemon.wait_run(first)["ended_at"] <= daemon.status(second)["started_at"]
    assert places(daemon) == {}


def test_a_task_that_waits_for_its_back_off_or_an_answer_holds_nothing(daemon: Instance) -> None:
    install(
        daemon, "a",
        "tasks:\n  t: {run: 'exit 1', locks: disk, pool: crm, retry: {attempts: 2, delay: 1h, jitter: none}}\n",
    )  # fmt: skip
    install(daemon, "b", "tasks: {t: {run: 'true', locks: disk, pool: crm}}\n")
    first = start(daemon, "a")
    daemon.wait_task(first, "t", "retrying")
    assert daemon.wait_run(start(daemon, "b"))["state"] == "succeeded"
    daemon.ctl("cancel", first)
    daemon.wait_run(first)


def test_places_are_given_back_whatever_ends_the_task(daemon: Instance) -> None:
    install(
        daemon, "a",
        "tasks:\n"
        "  fails: {run: 'exit 1', locks: x, continue_on_error: true}\n"
        "  killed: {run: 'kill -9 $$', locks: x, continue_on_error: true}\n"
        "  late: {run: 'sleep 60', timeout: 50ms, kill_grace: 0s, locks: x, continue_on_error: true}\n"
        "  unstarted: {argv: [/no/such/program], locks: x, continue_on_error: true}\n"
        "  no_value: {run: 'true', needs: fails, locks: x, continue_on_error: true,\n"
        "    env: {X: '${{ tasks.fails.outputs.none }}'}}\n",
    )  # fmt: skip
    assert set(states(daemon.wait_run(start(daemon, "a"))).values()) == {"failed"}
    assert places(daemon) == {}


def test_a_cancelled_run_gives_back_what_it_holds_and_waits_for_nothing(daemon: Instance) -> None:
    install(daemon, "a", "locks: disk\ntasks: {t: {run: 'sleep 60', kill_grace: 0s}}\n")
    install(daemon, "b", "locks: disk\ntasks: {t: {run: 'true'}}\n")
    first, second, third = start(daemon, "a"), start(daemon, "b"), start(daemon, "b")
    daemon.wait_task(first, "t", "running")
    daemon.ctl("cancel", second)
    assert daemon.wait_run(second)["state"] == "cancelled"
    daemon.ctl("cancel", first)
    assert daemon.wait_run(third)["state"] == "succeeded"
    assert places(daemon) == {}


# ---- Pools, priority ------------------------------------------------------------------------------------------------


def test_items_of_two_workflows_share_the_slots_of_a_pool(daemon: Instance) -> None:
    for name in "ab":
        install(
            daemon, name,
            f"pools: {{crm: 2}}\ntasks: {{t: {{for_each: [1, 2, 3], pool: crm, run: '{WAIT_FOR % 'go'}'}}}}\n",
        )  # fmt: skip
    runs = start(daemon, "a"), start(daemon, "b")
    wait_until(lambda: places(daemon).get("pool crm", {}).get("waiting_total") == 4, "four wait")
    pool = places(daemon)["pool crm"]
    assert (pool["size"], pool["used"], len(pool["holders"])) == (2, 2, 2)
    queued = [item for run in runs for item in daemon.json("status", run, "--items")["tasks"]["t"]["items"]]
    assert sorted(item["state"] for item in queued) == ["queued"] * 4 + ["running"] * 2
    touch(daemon, "go")
    for run in runs:
        assert set(items(daemon.wait_run(run), "t").values()) == {"succeeded"}


def test_the_size_of_the_settings_comes_before_that_of_a_file(instance: Instance) -> None:
    instance.settings(pools={"crm": 1})
    instance.start()
    install(
        instance, "a", f"pools: {{crm: 9}}\ntasks: {{t: {{for_each: [1, 2], pool: crm, run: '{WAIT_FOR % 'go'}'}}}}\n"
    )
    run = start(instance, "a")
    wait_until(lambda: places(instance)["pool crm"]["used"] == 1, "one is in")
    assert places(instance)["pool crm"]["size"] == 1
    touch(instance, "go")
    instance.wait_run(run)


def test_a_higher_priority_comes_first(daemon: Instance) -> None:
    install(daemon, "first", f"locks: x\ntasks: {{t: {{run: '{WAIT_FOR % 'go'}'}}}}\n")
    install(daemon, "low", "locks: x\npriority: -1\ntasks: {t: {run: 'true'}}\n")
    install(daemon, "high", "locks: x\npriority: 5\ntasks: {t: {run: 'true'}}\n")
    start(daemon, "first")
    low, high = start(daemon, "low"), start(daemon, "high")
    touch(daemon, "go")
    assert daemon.wait_run(high)["ended_at"] <= daemon.wait_run(low)["started_at"]


def test_tasks_of_one_run_start_by_priority(daemon: Instance) -> None:
    install(
        daemon, "a",
        "max_parallel: 1\ntasks:\n"
        "  low: {run: 'echo low >> order', priority: -5}\n"
        "  mid: {run: 'echo mid >> order'}\n"
        "  high: {run: 'echo high >> order', priority: 5}\n",
    )  # fmt: skip
    daemon.wait_run(start(daemon, "a"))
    assert (daemon.root / "order").read_text().split() == ["high", "mid", "low"]


# ---- Concurrency ----------------------------------------------------------------------------------------------------


def test_as_many_runs_of_a_workflow_are_under_way_as_its_limit_says(daemon: Instance) -> None:
    install(daemon, "a", f"concurrency: {{limit: 2}}\ntasks: {{t: {{run: '{WAIT_FOR % 'go'}'}}}}\n")
    runs = [start(daemon, "a") for _ in range(3)]
    daemon.wait_task(runs[1], "t", "running")
    assert daemon.status(runs[2])["state"] == "queued"
    touch(daemon, "go")
    assert {daemon.wait_run(run)["state"] for run in runs} == {"succeeded"}


def test_a_group_may_be_named_by_a_param_and_holds_for_all_workflows_that_name_it(daemon: Instance) -> None:
    for name in "ab":
        install(
            daemon, name,
            "params: {env: {}}\nconcurrency: {group: 'deploy-${{ params.env }}'}\noverlap: allow\n"
            f"tasks: {{t: {{run: '{WAIT_FOR % 'go'}'}}}}\n",
        )  # fmt: skip
    live = start(daemon, "a", "-p", "env=live")
    other = start(daemon, "b", "-p", "env=test")
    waits = start(daemon, "b", "-p", "env=live")
    daemon.wait_task(other, "t", "running")
    assert daemon.status(waits)["why_queued"] == f"group deploy-live, held by run {live} (a)"
    touch(daemon, "go")
    assert {daemon.wait_run(run)["state"] for run in (live, other, waits)} == {"succeeded"}


def test_a_group_whose_name_has_no_value_refuses_the_run(daemon: Instance) -> None:
    install(daemon, "a", "params: {env: {}}\nconcurrency: 'x-${{ params.env }}'\ntasks: {t: {run: 'true'}}\n")
    done = daemon.ctl("run", "a")
    assert done.returncode == 6
    assert "concurrency.group" in done.stderr


def test_more_than_queue_max_waiting_runs_are_refused(daemon: Instance) -> None:
    install(
        daemon, "a",
        f"concurrency: {{limit: 1, queue_max: 1}}\noverlap: allow\ntasks: {{t: {{run: '{WAIT_FOR % 'go'}'}}}}\n",
    )  # fmt: skip
    runs = [start(daemon, "a"), start(daemon, "a")]
    done = daemon.ctl("run", "a")
    assert (done.returncode, "queue_max" in done.stderr) == (6, True)
    touch(daemon, "go")
    for run in runs:
        daemon.wait_run(run)


# ---- Called runs ----------------------------------------------------------------------------------------------------


def test_a_called_run_uses_the_lock_of_its_caller(daemon: Instance) -> None:
    install(daemon, "inner", "locks: disk\ntasks: {t: {run: 'true', locks: disk}}\n")
    install(daemon, "outer", "locks: disk\ntasks: {c: {workflow: inner}}\n")
    assert daemon.wait_run(start(daemon, "outer"))["state"] == "succeeded"
    assert places(daemon) == {}


def test_runs_that_wait_for_each_other_by_way_of_calls_are_told_apart_by_refusing_the_last(daemon: Instance) -> None:
    for mine, other in (("a", "b"), ("b", "a")):
        install(daemon, f"wants-{mine}", f"locks: {mine}\ntasks: {{t: {{run: 'true'}}}}\n")
        install(
            daemon, f"has-{mine}",
            f"locks: {mine}\ntasks:\n  first: {{run: '{WAIT_FOR % 'go'}'}}\n"
            f"  c: {{needs: first, workflow: wants-{other}}}\n",
        )  # fmt: skip
    runs = [start(daemon, "has-a"), start(daemon, "has-b")]
    for run in runs:
        daemon.wait_task(run, "first", "running")
    touch(daemon, "go")
    ended = [daemon.wait_run(run) for run in runs]
    assert sorted(run["state"] for run in ended) == ["failed", "succeeded"]
    (failed,) = [run for run in ended if run["state"] == "failed"]
    assert "it waits for itself" in failed["tasks"]["c"]["error"]
    refused = daemon.status(failed["tasks"]["c"]["called_runs"][0])
    assert (refused["state"], refused["reason"]) == ("failed", "deadlock")
    assert places(daemon) == {}


def test_a_lock_of_a_task_that_sorts_before_those_of_the_run_is_taken_with_them(daemon: Instance) -> None:
    install(daemon, "a", f"locks: b\ntasks: {{t: {{run: '{WAIT_FOR % 'go'}'}}, u: {{run: 'true', locks: [a, c]}}}}\n")
    run = start(daemon, "a")
    daemon.wait_task(run, "t", "running")
    daemon.wait_task(run, "u", "succeeded")
    assert {name for name, place in places(daemon).items() if place["holders"]} == {"lock a", "lock b"}
    touch(daemon, "go")
    daemon.wait_run(run)


# ---- Gates ----------------------------------------------------------------------------------------------------------

GATED = """
gates: {path_exists: HERE/open, every: 20ms, wait: WAIT}
locks: disk
tasks: {t: {run: 'true'}}
on_failure: {tell: {run: 'echo told >> told'}}
"""


def gated(instance: Instance, name: str = "gated", wait: str = "1h") -> None:
    install(instance, name, GATED.replace("WAIT", wait))


def test_a_run_waits_for_its_gate_holding_nothing_and_starts_when_it_is_open(daemon: Instance) -> None:
    gated(daemon)
    install(daemon, "b", "locks: disk\ntasks: {t: {run: 'true'}}\n")
    run = start(daemon, "gated")
    wait_until(lambda: "open does not exist" in (daemon.status(run)["why_queued"] or ""), "the reason is told")
    assert daemon.wait_run(start(daemon, "b"))["state"] == "succeeded"
    touch(daemon, "open")
    assert daemon.wait_run(run)["state"] == "succeeded"


def test_a_gate_that_stays_closed_fails_the_run_and_its_handlers_tell(daemon: Instance) -> None:
    gated(daemon, wait="0s")
    run = daemon.wait_run(start(daemon, "gated"))
    assert (run["state"], run["reason"], run["tasks"]["t"]["state"]) == ("failed", "gate_closed", "cancelled")
    assert (daemon.root / "told").read_text() == "told\n"


def test_a_run_that_waits_for_its_gate_survives_a_death_and_can_be_cancelled(daemon: Instance) -> None:
    gated(daemon)
    run = start(daemon, "gated")
    wait_until(lambda: daemon.status(run)["why_queued"], "the reason is told")
    daemon.kill()
    daemon.start()
    wait_until(lambda: daemon.status(run)["why_queued"], "it is told again")
    daemon.ctl("cancel", run)
    assert daemon.wait_run(run)["state"] == "cancelled"
    assert places(daemon) == {}


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ("command: [/bin/sh, -c, 'echo not yet; exit 3']", "ended with 3: not yet"),
        ("command: [/no/such/program]", "No such file"),
        ("disk_free: {path: /, at_least: 9000000TiB}", "free, less than"),
        ("disk_free: {/no/such/folder: 1MiB}", "No such file"),
        ("disk_free: {/: 100%}", "free, less than 100%"),
        ("path_exists: [/, /no/such/folder]", "/no/such/folder does not exist"),
    ],
)
def test_what_keeps_a_gate_closed_is_told(daemon: Instance, gate: str, said: str) -> None:
    install(daemon, "a", f"gates:\n  wait: 0s\n  {gate}\ntasks: {{t: {{run: 'true'}}}}\n")
    assert said in daemon.wait_run(start(daemon, "a"))["error"]


def test_a_command_of_a_gate_sees_the_params_and_an_open_one_lets_the_run_in(daemon: Instance) -> None:
    install(
        daemon, "a",
        "params: {n: {}}\n"
        "gates: {command: [/bin/sh, -c, '[ $PARAM_N = 7 ] && [ $0 = 7 ]', '${{ params.n }}'], wait: 0s}\n"
        "tasks: {t: {run: 'true'}}\n",
    )  # fmt: skip
    assert daemon.wait_run(start(daemon, "a", "-p", "n=7"))["state"] == "succeeded"
    assert daemon.wait_run(start(daemon, "a", "-p", "n=8"))["reason"] == "gate_closed"


# ---- Deaths ---------------------------------------------------------------------------------------------------------

FIGHT = f"""
overlap: allow
locks: OWN
pools: {{crm: 2}}
tasks:
  t: {{for_each: [1, 2], pool: crm, run: '{WITNESS}; sleep 0.02'}}
  u: {{needs: t, locks: [z, both], run: '{WITNESS}; {ALONE % ("z", "z")}; {ALONE % ("both", "both")}; sleep 0.01'}}
  v:
    locks: OWN
    retry: {{attempts: 2, delay: 10ms}}
    run: '{WITNESS}; {ALONE % ("OWN", "OWN")}; sleep 0.02; exit $((PYFLOW_ATTEMPT == 1))'
"""


@pytest.mark.parametrize("seed", range(20 if LONG else 2))
def test_two_workflows_fight_over_locks_and_a_pool_while_the_daemon_is_killed(instance: Instance, seed: int) -> None:
    chance = random.Random(seed)
    instance.start()
    for name, own in (("a", "m"), ("b", "both")):
        install(instance, name, FIGHT.replace("OWN", own))
    runs = [start(instance, name) for name in ("a", "b", "b", "a", "b")]
    for _ in range(6):
        lines = _lines(instance.root) + chance.randint(1, 4)
        wait_until(lambda lines=lines: _lines(instance.root) >= lines or _all_ended(instance, runs), "some progress")  # type: ignore[misc]
        instance.kill()
        instance.start()
        check_holders(instance)
    assert {instance.wait_run(run, 60)["state"] for run in runs} == {"succeeded"}
    assert places(instance).keys() == {"pool crm"}
    assert places(instance)["pool crm"]["used"] == 0
    assert not (instance.root / "bad").exists(), (instance.root / "bad").read_text()
    check_witness(instance.root / "witness")
    instance.stop()
    assert check_fold(instance.root) == len(runs)


def _lines(root: Path) -> int:
    witness = root / "witness"
    return len(witness.read_text().splitlines()) if witness.exists() else 0


def _all_ended(instance: Instance, runs: list[int]) -> bool:
    return all(instance.status(run)["ended_at"] for run in runs)
