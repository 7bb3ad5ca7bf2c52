"""What the end of an attempt means, where a cgroup has more to say than the exit status (rule R8)."""

from __future__ import annotations

import pytest

from pyflowd.engine.outcomes import Stopping, judge
from pyflowd.model.ends import Exit, Stop
from pyflowd.model.kinds import Shell
from pyflowd.model.states import AttemptState, Reason
from pyflowd.model.workflow import Resources, Task
from pyflowd.runtime.health import containment


def task(**more: object) -> Task:
    return Task(name="a", kind=Shell(text="x", shell=()), **more)  # type: ignore[arg-type]


def ended(exit_code: int | None = None, signal: int | None = None, **more: object) -> Exit:
    return Exit(exit_code=exit_code, signal=signal, started_us=1, ended_us=2, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", [{"signal": 9}, {"exit_code": 137}, {"exit_code": 1}])
def test_a_failure_with_a_process_killed_for_memory_is_oom(how: dict[str, int]) -> None:
    limited = task(resources=Resources(memory_max_bytes=64 << 20))
    outcome = judge(limited, ended(**how, oom_kills=2), Stopping.NO)
    assert (outcome.state, outcome.reason) == (AttemptState.FAILED, Reason.OOM)
    assert outcome.error == "out of memory (memory_max 64MiB): the kernel killed it"
    assert (outcome.exit_code, outcome.signal) == (how.get("exit_code"), how.get("signal"))


def test_without_a_limit_of_its_own_it_was_the_hosts_memory() -> None:
    outcome = judge(task(), ended(signal=9, oom_kills=1), Stopping.NO)
    assert outcome.reason is Reason.OOM
    assert "the host's" in outcome.error


@pytest.mark.parametrize("how", [{"signal": 9}, {"exit_code": 137}])
def test_it_is_never_guessed_from_the_status(how: dict[str, int]) -> None:
    limited = task(resources=Resources(memory_max_bytes=64 << 20))
    assert judge(limited, ended(**how), Stopping.NO).reason is not Reason.OOM


def test_a_task_that_copes_with_it_has_succeeded() -> None:
    assert judge(task(), ended(0, oom_kills=1), Stopping.NO).state is AttemptState.SUCCEEDED
    assert judge(task(skip_codes=(7,)), ended(7, oom_kills=1), Stopping.NO).reason is Reason.SKIP_CODE


def test_who_was_stopped_was_stopped() -> None:
    outcome = judge(task(), ended(signal=9, oom_kills=1, stop=Stop.TIMEOUT), Stopping.NO)
    assert outcome.state is AttemptState.TIMED_OUT


def test_a_failure_that_tasks_max_may_have_brought_about_says_so() -> None:
    limited = task(resources=Resources(tasks_max=5))
    assert judge(limited, ended(254, tasks_refused=3), Stopping.NO).error == (
        "tasks_max 5 kept it from 3 more processes or threads"
    )
    assert judge(limited, ended(254), Stopping.NO).error == "exit code 254"


@pytest.mark.parametrize(
    ("told", "levels", "words"),
    [
        (
            "cgroup: memory cpu io pids",
            ["ok", "ok"],
            "kept: memory_max, cpu_max, cpu_weight, io_weight, tasks_max, nice",
        ),
        ("cgroup: memory pids", ["ok", "warning"], "not cpu_max, cpu_weight, io_weight: the keeper's cgroup"),
        ("cgroup:", ["ok", "warning"], "kept: nice; not memory_max"),
        ("none: no such host", ["warning", "warning"], "no such host"),
        ("", ["warning", "warning"], "the keeper is older"),
    ],
)
def test_doctor_says_how_sure_containment_is_and_which_limits_hold(told: str, levels: list[str], words: str) -> None:
    checks = containment(told)
    assert [level for level, _, _ in checks] == levels
    assert [subject for _, subject, _ in checks] == ["processes", "limits"]
    assert any(words in text for _, _, text in checks)
