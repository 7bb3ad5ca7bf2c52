"""The judge can fail: histories with a planted bug each, and one that is sound; and bugs planted into a real daemon."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.faults.figures import Figures, merge, table
from tests.faults.history import History, StoredAttempt, StoredRun, judge, survivors
from tests.waiting import wait_until

SOUND = History(
    acknowledged=[(1, "k1"), (2, "k2")],
    runs=[
        StoredRun(1, "w", "k1", None, True),
        StoredRun(2, "w", "k2", None, True),
        StoredRun(3, "w", "", ("cron", 60), True),
        StoredRun(4, "w", "", ("cron", 120), True),
    ],
    attempts=[
        StoredAttempt(1, "a", 1, "failed", 3),
        StoredAttempt(1, "a", 2, "succeeded", 0),
        StoredAttempt(2, "a", 1, "unknown", None),
    ],
    witness=["start 1 a 1", "exit 1 a 1 3", "start 1 a 2", "exit 1 a 2 0", "start 2 a 1"],
)


def test_a_sound_history_has_no_fault_and_says_what_is_not_known() -> None:
    verdict = judge(SOUND)
    assert verdict.faults == []
    assert verdict.unknown == 1


PLANTED = {
    "acknowledged before the commit": ("lost", {"acknowledged": [*SOUND.acknowledged, (9, "k9")]}),
    "the key of another run": ("lost", {"acknowledged": [(1, "k2")]}),
    "one key made two runs": ("doubled", {"runs": [*SOUND.runs, StoredRun(5, "w", "k1", None, True)]}),
    "a slot fired twice": ("doubled", {"runs": [*SOUND.runs, StoredRun(5, "w", "", ("cron", 60), True)]}),
    "started twice": ("doubled", {"witness": [*SOUND.witness, "start 1 a 2"]}),
    "started before the intent was committed": ("doubled", {"witness": [*SOUND.witness, "start 7 a 1"]}),
    "zero for lost": ("invented", {"attempts": [*SOUND.attempts[:2], StoredAttempt(2, "a", 1, "succeeded", 0)]}),
    "another code": ("invented", {"attempts": [StoredAttempt(1, "a", 1, "failed", 4), *SOUND.attempts[1:]]}),
    "succeeded, nobody knows how": (
        "invented", {"attempts": [*SOUND.attempts[:2], StoredAttempt(2, "a", 1, "succeeded", None)]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", PLANTED)
def test_the_judge_finds_a_planted_bug(bug: str) -> None:
    which, changes = PLANTED[bug]
    verdict = judge(msgspec.structs.replace(SOUND, **changes))
    found = {name for name in ("lost", "doubled", "invented") if getattr(verdict, name)}
    assert found == {which}


def test_a_kill_of_the_pid_alone_leaves_survivors_that_are_found() -> None:
    mark = f"planted-{os.getpid()}"
    script = 'setsid sh -c "while :; do sleep 1; done" "$0" & exec sleep 60'
    task = subprocess.Popen(["/bin/sh", "-c", script, mark])
    try:
        wait_until(lambda: len(survivors(mark)) > 0 and Path(f"/proc/{task.pid}/comm").read_text() == "sleep\n", "both")
        task.kill()
        task.wait()
        # Between its fork and its exec a `sleep` of the survivor's has the survivor's words, too.
        wait_until(lambda: len(survivors(mark)) == 1, "the one that lives on")
    finally:
        for pid in survivors(mark):
            os.kill(pid, 9)
    wait_until(lambda: not survivors(mark), "their end")


def test_figures_of_one_fault_add_up_and_what_it_does_not_count_stays_open() -> None:
    one, two = Figures(fault="f", trials=1, lost=0, back_s=[0.5]), Figures(fault="f", trials=2, lost=1, back_s=[1.5])
    (row,) = merge([one, two])
    assert (row.trials, row.lost, row.doubled, row.back_s) == (3, 1, None, [0.5, 1.5])
    text = table([one, two, Figures(fault="g", note="said")])
    assert "1.00 s" in text
    assert "g: said" in text
    assert sys.version_info >= (3, 11)
