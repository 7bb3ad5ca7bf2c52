"""One instance under a fault, again and again: ask for a run, let the fault happen, start again, wait, judge."""

from __future__ import annotations

import json
import time
from contextlib import AbstractContextManager
from pathlib import Path

from tests.daemon.checker import check_fold
from tests.daemon.instance import Instance
from tests.faults.figures import Figures
from tests.faults.history import History, Verdict, judge, read
from tests.waiting import wait_until

NAME = "w"


def workflow(root: Path) -> str:
    """Four tasks, two of them at once, one of them tried twice; each says what it is, and how it is about to end.

    Shell built-ins only, and each line one write: a witness that is torn would prove nothing.
    """
    told = f'echo "$WHAT $PYFLOW_RUN_ID $PYFLOW_TASK $PYFLOW_ATTEMPT" >> {root}/witness'
    run = (
        f"WHAT=start; {told}; code=$(( ($PYFLOW_ATTEMPT + ${{#PYFLOW_TASK}}) % 3 )); "
        f'echo "exit $PYFLOW_RUN_ID $PYFLOW_TASK $PYFLOW_ATTEMPT $code" >> {root}/witness; exit $code'
    )
    needs = {"a": [], "bb": ["a"], "ccc": ["a"], "dddd": ["bb", "ccc"]}
    tasks = {
        name: {
            "argv": ["/bin/sh", "-c", run], "needs": parents, "trigger_rule": "all_done",
            "retry": {"attempts": 2, "delay": "1ms"},
        }
        for name, parents in needs.items()
    }  # fmt: skip
    return json.dumps({"overlap": "allow", "tasks": tasks})


class Trial:
    """What was acknowledged over all trials on one root, and how long it took to be back."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.acknowledged: list[tuple[int, str]] = []
        self.back_s: list[float] = []
        self.asked = 0
        self.said = ""
        """Why the last request was not acknowledged."""

    def begin(self) -> None:
        self.instance.start()
        self.instance.install(f"{NAME}.yaml", workflow(self.instance.root))

    def ask(self) -> int | None:
        """Ask for a run, with a key of its own; its number where that was acknowledged."""
        self.asked += 1
        return self.ask_again()

    def ask_again(self) -> int | None:
        key = f"k{self.asked}"
        done = self.instance.ctl("-o", "json", "run", NAME, "--key", key)
        self.said = done.stderr
        if done.returncode:
            return None
        run = int(json.loads(done.stdout)["run"])
        self.acknowledged.append((run, key))
        return run

    def dies(self, fault: AbstractContextManager[object]) -> bool:
        """A run is asked for under a fault that kills the daemon sooner or later; whether it has."""
        with fault:
            run = self.ask()
            wait_until(lambda: self.is_dead() or (run is not None and self.has_ended(run)), "a death, or the end")
        return self.is_dead()

    def is_dead(self) -> bool:
        assert self.instance.process is not None
        return self.instance.process.poll() is not None

    def has_ended(self, run: int) -> bool:
        done = self.instance.ctl("-o", "json", "status", run)
        return done.returncode == 0 and bool(json.loads(done.stdout)["ended_at"])

    def come_back(self) -> None:
        """Start again after a death; how long it took is kept. What was asked last is asked again by its key."""
        began = time.monotonic()
        self.instance.start()
        self.back_s.append(time.monotonic() - began)
        self.settle()

    def settle(self) -> None:
        run = self.ask_again()
        assert run is not None, self.said
        self.instance.wait_run(run)

    def end(self, fault: str, trials: int, note: str = "") -> tuple[Verdict, Figures]:
        """Stop, and look at everything: the record is the fold of its events, and no promise is broken."""
        wait_until(lambda: all(one["ended_at"] for one in self.instance.json("history", "-n", "9999")), "all ends", 60)
        self.instance.stop()
        runs = check_fold(self.instance.root)
        history = read(self.instance.root, self.acknowledged)
        verdict = judge(history)
        assert runs == len(history.runs)
        assert all(run.ended for run in history.runs), "a run never ended"
        return verdict, of_verdict(fault, trials, history, verdict, self.back_s, note)


def of_verdict(
    fault: str, trials: int, history: History, verdict: Verdict, back_s: list[float], note: str = ""
) -> Figures:
    return Figures(
        fault=fault, trials=trials, acknowledged=len(set(history.acknowledged)), lost=len(verdict.lost),
        doubled=len(verdict.doubled), invented=len(verdict.invented), unknown=verdict.unknown, back_s=back_s, note=note,
    )  # fmt: skip
