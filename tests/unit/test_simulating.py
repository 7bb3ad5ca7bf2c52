"""What `pyflowctl simulate` says: its text, its JSON, and what is wrong with a command line or a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyflowctl import simulating
from pyflowd.errors import NotFound, Refused, UsageError
from pyflowd.model.workflow import Overlap
from pyflowd.render.commandline import split
from pyflowd.render.layout import Style
from pyflowd.simulation.render_simulation import lines, value
from pyflowd.simulation.simulation import simulate, with_definition
from pyflowd.simulation.simulation_changes import compare
from pyflowd.simulation.simulation_model import Simulation
from tests.unit.simulated import HOUR_US, NOON_US, basis, flow, task

STYLE = Style(timezone="UTC", now_us=NOON_US, width=120)


def text(simulation: Simulation, **given: bool) -> list[str]:
    return lines(simulation, None, STYLE, **given)


def one_hour(*workflows: object, **given: object) -> Simulation:
    return simulate(basis(*workflows, **given), NOON_US, NOON_US + HOUR_US)  # type: ignore[arg-type]


def told_of(found: list[str], word: str) -> str:
    return next(" ".join(line.split()) for line in found if word in line)


def test_a_run_that_waits_says_how_long_and_behind_which() -> None:
    found = text(one_hour(flow("w", "*/20 * * * *", overlap=Overlap.QUEUE), took_s={"w": 1500}))
    assert told_of(found, "waits 5m00s") == "11:40 w waits waits 5m00s, behind w of 11:20; not over at the end"


def test_a_skipped_slot_says_why() -> None:
    found = text(one_hour(flow("w", "*/20 * * * *"), took_s={"w": 1500}))
    assert told_of(found, "skipped ") == "11:40 w skipped overlap with w of 11:20"


def test_a_place_and_its_holder_are_named() -> None:
    given = flow("a", "10 * * * *", locks=("db",)), flow("b", "11 * * * *", locks=("db",))
    found = text(one_hour(*given, took_s={"a": 600}))
    assert told_of(found, "lock db") == "11:11 b waits waits 9m00s for lock db, behind a of 11:10; takes 1m00s"


def test_a_full_pool_is_said_at_the_peak() -> None:
    pooled = [flow(name, "10 * * * *", task("t", pools={"net": 1})) for name in ("a", "b")]
    found = text(one_hour(*pooled, pools={"net": 1}))
    assert "pool net: 1 of 1 (full), at 11:10" in told_of(found, "peak:")


def test_nothing_due_is_a_sentence() -> None:
    assert "nothing is due: no schedule has a slot in this span" in text(one_hour(flow("w")))


def test_of_many_slots_only_the_odd_ones_are_shown() -> None:
    many = one_hour(*(flow(f"w{number}", "*/10 * * * *") for number in range(12)))
    assert not [line for line in text(many) if "fired" in line]


def test_all_slots_are_shown_where_all_are_asked_for() -> None:
    many = one_hour(*(flow(f"w{number}", "*/10 * * * *") for number in range(12)))
    assert len([line for line in text(many, everything=True) if " fired " in line]) == 72


def test_the_changes_of_a_file_come_first() -> None:
    given = basis(flow("a", "10 * * * *"))
    before = simulate(given, NOON_US, NOON_US + HOUR_US)
    after = simulate(with_definition(given, flow("a", "20 * * * *"), "a.yaml", "new"), NOON_US, NOON_US + HOUR_US)
    found = lines(after, compare(before, after), STYLE)
    assert [" ".join(line.split()) for line in found[2:4]] == ["what changes: 1 moved", "11:10 a moved: 11:20"]


def test_json_has_slots_runs_totals_and_peaks() -> None:
    found = value(one_hour(flow("w", "*/20 * * * *"), took_s={"w": 1500}), None, STYLE)
    assert found["slots"][1] == {
        "workflow": "w", "trigger": "schedule", "scheduled_at": "2026-01-05T11:40:00.000000+00:00",
        "fate": "skipped", "reason": "overlap", "detail": None,
        "because": {"workflow": "w", "scheduled_at": "2026-01-05T11:20:00.000000+00:00", "run": None},
    }  # fmt: skip
    assert set(found) == {"from", "to", "totals", "peak", "slots", "runs", "changes", "assumptions"}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["simulate", "--to", "0s"], "--to: it must come after --from"),
        (["simulate", "--to", "400d"], "by 366 days at most"),
        (["simulate", "--to", "soon"], '--to: "soon" is no time'),
        (["simulate", "--from", "2026-13-01"], '--from: "2026-13-01" is no time'),
    ],
)
def test_a_span_that_makes_no_sense_is_told_before_anybody_is_asked(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        simulating.run_simulation(split([*argv, "--root", "/nowhere"]), STYLE)


def test_a_duration_without_a_unit_is_refused() -> None:
    with pytest.raises(UsageError, match="--duration: "):
        simulating.run_simulation(split(["simulate", "--duration", "5"]), STYLE)


def test_durations_count_from_now_and_from_the_beginning() -> None:
    words = split(["simulate", "--from", "1h", "--to", "2h"])
    assert simulating.span_of(words, STYLE, NOON_US) == (NOON_US + HOUR_US, NOON_US + 3 * HOUR_US)


def test_an_unknown_workflow_is_named_with_the_nearest() -> None:
    with pytest.raises(NotFound, match=r'no workflow "backpu" \(did you mean "backup"'):
        simulating.named(("backpu",), {"backup", "report"})


def test_a_file_that_is_wrong_is_refused_with_its_place(tmp_path: Path) -> None:
    wrong = tmp_path / "w.yaml"
    wrong.write_text("schedule: nonsense\ntasks: {t: {run: x}}\n")
    with pytest.raises(Refused, match=r"w\.yaml:1:11"):
        simulating.with_files(basis(flow("w")), [str(wrong)])


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "w.yaml").write_text("tasks: {t: {run: x}}\n")
    with pytest.raises(Refused, match="defines w, too"):
        simulating.with_files(basis(flow("w")), [str(tmp_path / "a/w.yaml"), str(tmp_path / "b/w.yaml")])
