"""Every state and every reason has its sentence, and every code of a fact stands in the manual."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

import pytest

from pyflowd.handlers.explain import Code
from pyflowd.handlers.explain_words import REASONS, RULES, RUN_STATES, SLOT_REASONS, TASK_STATES, Skipped
from pyflowd.model.states import Reason, RunState, SlotReason, TaskState
from pyflowd.model.workflow import TriggerRule
from pyflowd.render.commandline import parse
from pyflowd.render.layout import zone_of

MAN = Path(__file__).resolve().parent.parent.parent / "man" / "pyflowctl.1"


@pytest.mark.parametrize(
    ("sentences", "words"),
    [
        (RUN_STATES, RunState),
        (TASK_STATES, TaskState),
        (REASONS, Reason),
        (RULES, TriggerRule),
        (SLOT_REASONS, SlotReason),
    ],
    ids=["runs", "tasks", "reasons", "rules", "slots"],
)
def test_every_word_of_a_closed_set_has_its_sentence(sentences: dict[StrEnum, object], words: type[StrEnum]) -> None:
    assert set(sentences) == set(words)


def test_no_two_reasons_have_one_sentence() -> None:
    assert len(set(REASONS.values())) == len(REASONS)
    assert len({skipped.why for skipped in SLOT_REASONS.values()}) == len(SLOT_REASONS)


@pytest.mark.parametrize("skipped", SLOT_REASONS.values(), ids=[str(reason) for reason in SLOT_REASONS])
def test_a_skipped_slot_has_a_remedy_whose_command_is_understood(skipped: Skipped) -> None:
    assert skipped.remedy
    if skipped.command:
        words = skipped.command.format(workflow="nightly", run=42).split()
        assert words[0] == "pyflowctl"
        parse(words[1:], now_us=1_772_400_000_000_000, zone=zone_of("UTC"))


def test_every_code_of_a_fact_stands_in_the_manual() -> None:
    page = MAN.read_text()
    entry = page[page.index(".B code\nis one of\n") :].split(".TP")[0]
    assert set(re.findall(r"[a-z_]+", entry)) - {"code", "is", "one", "of"} == {code.value for code in Code}
