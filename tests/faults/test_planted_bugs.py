"""Bugs planted into a real daemon: the faults and the judge together must find each of them."""

from __future__ import annotations

import sys

from tests.daemon.instance import Instance
from tests.faults.calls import injected, needs_strace
from tests.faults.history import Verdict, judge, read
from tests.faults.trial import NAME, Trial
from tests.waiting import wait_until

RUN = "sys.argv = ['pyflowd', *sys.argv[4:]]\nfrom pyflowd.cli import main\nsys.exit(main())\n"
EARLY = """
import sys
from pyflowd.runtime.dispatcher import Dispatcher
commit = Dispatcher._commit
def early(self):
    self._act()
    return commit(self)
Dispatcher._commit = early
"""
ZERO_FOR_LOST = """
import sys
from pyflowd.model.ends import Exit, LostAttempt
from pyflowd.runtime.endings import Endings
take = Endings.take
def invent(self, attempt, end):
    if isinstance(end, LostAttempt):
        end = Exit(exit_code=0, signal=None, started_us=end.at_us, ended_us=end.at_us)
    take(self, attempt, end)
Endings.take = invent
"""


def start_with(instance: Instance, bug: str) -> Trial:
    """A daemon with the bug, on a root that has the workflow already."""
    trial = Trial(instance)
    trial.begin()
    instance.stop()
    instance.start(prefix=(sys.executable, "-c", bug + RUN))
    return trial


def judged(trial: Trial) -> Verdict:
    return judge(read(trial.instance.root, trial.acknowledged))


@needs_strace
def test_a_start_before_the_intent_is_committed_is_found(instance: Instance) -> None:
    trial = start_with(instance, EARLY)
    witness = instance.root / "witness"
    assert instance.process is not None
    assert trial.dies(injected(instance.process.pid, "pwrite64", "signal=KILL:when=1"))
    wait_until(witness.exists, "a task that nobody knows of")
    assert judged(trial).doubled


def test_zero_for_lost_is_found(instance: Instance) -> None:
    trial = start_with(instance, ZERO_FOR_LOST)
    told = 'echo "start $PYFLOW_RUN_ID $PYFLOW_TASK $PYFLOW_ATTEMPT"'
    instance.write(f"{NAME}.yaml", f"tasks: {{a: {{run: '{told} >> {instance.root}/witness; sleep 60'}}}}")
    wait_until(lambda: "sleep 60" in instance.ctl("show", NAME).stdout, "the new text")
    run = trial.ask()
    assert run is not None, trial.said
    wait_until((instance.root / "witness").exists, "it runs")
    instance.keeper().kill()
    assert instance.wait_run(run)["tasks"]["a"]["exit_code"] == 0, "the planted bug does nothing"
    instance.stop()
    assert judged(trial).invented
