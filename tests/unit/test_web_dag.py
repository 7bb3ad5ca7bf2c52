"""The layered drawing: nothing overlaps, order is kept, every edge is drawn, and the same graph is the same picture."""

from __future__ import annotations

import random
import re
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowd.protocol.views_runs import TaskView
from pyflowd.web.dag import layout as layout_module
from pyflowd.web.dag.coordinates import nearest
from pyflowd.web.dag.fold import Sort, Task, fold
from pyflowd.web.dag.layout import ACROSS, DOWN, Measure, Picture, layout
from pyflowd.web.dag.order import SWEEPS, crossings, ordered, swept
from pyflowd.web.dag.ranks import CycleError, TangleError, rank
from pyflowd.web.pages.dag import Links, asked, draw, places
from pyflowd.web.times import Times

Needs = tuple[tuple[int, ...], ...]


@st.composite
def graphs(draw: st.DrawFn) -> Needs:
    count = draw(st.integers(1, 24))
    found = []
    for box in range(count):
        most = min(box, 3)
        found.append(tuple(sorted(draw(st.sets(st.integers(0, max(0, box - 1)), max_size=most)) if box else set())))
    return tuple(found)


def overlapping(picture: Picture, measure: Measure) -> list[tuple[int, int]]:
    boxes = picture.boxes
    return [
        (one.box, other.box)
        for n, one in enumerate(boxes)
        for other in boxes[n + 1 :]
        if abs(one.x - other.x) < measure.width and abs(one.y - other.y) < measure.height
    ]


@given(graphs())
def test_no_two_boxes_overlap_and_all_lie_within_the_picture(needs: Needs) -> None:
    for measure in (DOWN, ACROSS):
        picture = layout(needs, measure)
        assert not overlapping(picture, measure)
        assert all(0 <= at.x <= picture.width - measure.width + 0.2 for at in picture.boxes)
        assert all(0 <= at.y <= picture.height - measure.height + 0.2 for at in picture.boxes)


@given(graphs())
def test_every_need_is_drawn_once_from_its_box_to_the_box_that_has_it(needs: Needs) -> None:
    picture = layout(needs, DOWN)
    at = {each.box: each for each in picture.boxes}
    assert sorted((line.source, line.target) for line in picture.lines) == sorted(
        (parent, child) for child, parents in enumerate(needs) for parent in parents
    )
    for line in picture.lines:
        numbers = [float(each) for each in re.findall(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?", line.path)]
        assert numbers[:2] == pytest.approx([at[line.source].x + 82, at[line.source].y + 46], abs=0.2)
        assert numbers[-2:] == pytest.approx([at[line.target].x + 82, at[line.target].y], abs=0.2)


@given(graphs())
def test_a_box_stands_below_all_that_it_needs(needs: Needs) -> None:
    level = {each.box: each.rank for each in layout(needs, DOWN).boxes}
    assert all(level[parent] < level[child] for child, parents in enumerate(needs) for parent in parents)


@given(graphs())
def test_sweeping_never_adds_a_crossing_and_loses_no_vertex(needs: Needs) -> None:
    graph = rank(needs)
    found = ordered(graph)
    assert crossings(graph, found) <= crossings(graph, graph.ranks)
    assert [sorted(members) for members in found] == [sorted(members) for members in graph.ranks]


def forget() -> None:
    layout_module.layout.cache_clear()
    layout_module._arranged.cache_clear()


@given(graphs())
def test_the_same_graph_is_the_same_picture(needs: Needs) -> None:
    first = layout(needs, DOWN)
    forget()
    assert layout(needs, DOWN) == first


@given(st.lists(st.floats(-500, 500), min_size=1, max_size=20), st.floats(1, 80))
def test_places_keep_their_order_and_gaps_and_wishes_that_fit_are_kept(wishes: list[float], gap: float) -> None:
    offsets = [n * gap for n in range(len(wishes))]
    found = nearest(wishes, offsets)
    assert all(after - before >= gap - 1e-6 for before, after in pairwise(found))
    kept = [offset * 3 for offset in offsets]
    assert nearest(kept, offsets) == pytest.approx(kept)


def woven(seed: int) -> Needs:
    """Ten ranks of ten boxes, each with two or three needs of the rank before."""
    chance = random.Random(seed)
    first: list[tuple[int, ...]] = [()] * 10
    rest = [
        tuple(sorted(chance.sample(range(n // 10 * 10 - 10, n // 10 * 10), chance.choice((2, 3)))))
        for n in range(10, 100)
    ]
    return (*first, *rest)


@pytest.mark.parametrize("seed", range(6))
def test_in_a_dense_graph_most_crossings_go_and_the_best_order_that_was_met_is_kept(seed: int) -> None:
    graph = rank(woven(seed))
    found, ranks = ordered(graph), [list(members) for members in graph.ranks]
    counts = [crossings(graph, ranks)]
    for sweep in range(SWEEPS):
        ranks = swept(graph, ranks, down=sweep % 2 == 0)
        counts.append(crossings(graph, ranks))
    assert crossings(graph, found) == min(counts)
    assert crossings(graph, found) < counts[0] * 0.85


def test_a_tree_has_no_crossing() -> None:
    needs = ((), (0,), (0,), (1,), (2,), (1,), (2,))
    graph = rank(needs)
    assert crossings(graph, ordered(graph)) == 0


def test_two_lines_that_cross_are_counted() -> None:
    graph = rank(((), (), (1,), (0,)))
    assert crossings(graph, [[0, 1], [2, 3]]) == 1
    assert crossings(graph, ordered(graph)) == 0


def test_tasks_in_a_rank_stand_in_the_order_of_the_file() -> None:
    picture = layout(((), (0,), (0,), (0,), (0,)), DOWN)
    second = [each for each in picture.boxes if each.rank == 1]
    assert [each.box for each in sorted(second, key=lambda each: each.x)] == [1, 2, 3, 4]


def test_a_task_more_at_the_end_moves_no_other_out_of_its_rank_or_order() -> None:
    needs: Needs = ((), (0,), (0,), (1,), (2,), (3, 4))
    before, after = layout(needs, DOWN), layout((*needs, (2,)), DOWN)
    ranks = {each.box: each.rank for each in before.boxes}
    assert {each.box: each.rank for each in after.boxes if each.box < 6} == ranks
    for level in range(before.ranks):
        old = [each.box for each in before.boxes if each.rank == level]
        assert [each.box for each in after.boxes if each.rank == level and each.box < 6] == old


def test_a_source_stands_just_above_its_child() -> None:
    level = {each.box: each.rank for each in layout(((), (0,), (1,), (), (2, 3)), DOWN).boxes}
    assert level[3] == 2


def test_a_long_line_has_a_lane_of_its_own() -> None:
    picture = layout(((), (0,), (1,), (0, 2)), DOWN)
    line = next(each for each in picture.lines if (each.source, each.target) == (0, 3))
    middle = next(each for each in picture.boxes if each.box == 1)
    straight = re.findall(r"L(\S+) ", line.path)
    assert straight
    assert all(not middle.x <= float(x) <= middle.x + DOWN.width for x in straight)


def test_a_graph_that_goes_round_is_told() -> None:
    with pytest.raises(CycleError):
        layout(((1,), (0,)), DOWN)


def test_what_would_be_nothing_but_lines_is_not_drawn_and_the_list_says_so() -> None:
    tasks = [
        TaskView(task=f"t{n}", state="waiting", needs=[f"t{m}" for m in range(max(0, n - 60), n)]) for n in range(300)
    ]
    with pytest.raises(TangleError):
        layout(tuple(tuple(range(max(0, n - 60), n)) for n in range(300)), DOWN)
    graph = draw(tasks, Times(ZoneInfo("UTC"), 0), asked({}), Links(of="w", page="/workflows/w"))
    assert not graph.drawings
    assert graph.as_list
    assert [row.indent for row in graph.rows[:8]] == [0, 1, 2, 3, 4, 5, 6, 6]
    assert "not drawn: its lines are too many" in graph.note
    assert places(tasks, asked({})) == []


# ---- Folds ----------------------------------------------------------------------------------------------------------


def many(count: int, **fields: str) -> list[Task]:
    middle = [Task(name=f"m{n}", needs=("first",), **fields) for n in range(count)]
    return [Task(name="first"), *middle, Task(name="last", needs=tuple(task.name for task in middle))]


def test_tasks_alike_become_one_box_with_their_worst_state() -> None:
    tasks = many(30, state="succeeded")
    tasks[3] = Task(name="m2", needs=("first",), state="upstream_failed")
    boxes = fold(tasks)
    assert [(box.key, box.sort, len(box.members)) for box in boxes] == [
        ("first", Sort.TASK, 1), ("m0", Sort.ALIKE, 30), ("last", Sort.TASK, 1),
    ]  # fmt: skip
    assert boxes[1].state == "upstream_failed"
    assert boxes[2].needs == ("m0",)


def test_a_small_graph_is_not_folded() -> None:
    assert len(fold(many(10))) == 12


@pytest.mark.parametrize("state", ["failed", "running", "retrying"])
def test_what_is_looked_for_is_taken_out_of_its_fold(state: str) -> None:
    tasks = many(30)
    tasks[5] = Task(name="m4", needs=("first",), state=state)
    assert next(box for box in fold(tasks) if box.key == "m4").sort is Sort.TASK
    assert next(box for box in fold(many(30), ["m4"]) if box.key == "m4").sort is Sort.TASK


def test_another_rule_is_not_alike() -> None:
    tasks = many(30)
    tasks[1:5] = [Task(name=f"m{n}", needs=("first",), rule="all_done") for n in range(4)]
    assert [len(box.members) for box in fold(tasks)] == [1, 4, 26, 1]


def test_chains_that_went_well_fold_where_too_many_boxes_remain() -> None:
    tasks = [Task(name="root", state="succeeded")]
    for chain in range(60):
        for n in range(4):
            needs = (f"c{chain}-{n - 1}",) if n else ("root",)
            state = "failed" if (chain, n) == (7, 3) else "succeeded"
            tasks.append(Task(name=f"c{chain}-{n}", needs=needs, state=state))
    boxes = fold(tasks)
    rows = [box for box in boxes if box.sort is Sort.ROW]
    assert len(rows) == 60
    assert {len(box.members) for box in rows} == {3}, "the last of a chain has no child"
    assert next(box for box in boxes if box.key == "c7-3").needs == ("c7-0",)


def test_chains_stay_open_while_the_run_lives() -> None:
    chains = [
        Task(name=f"c{chain}-{n}", needs=(f"c{chain}-{n - 1}",) if n else (), state="succeeded")
        for chain in range(60)
        for n in range(4)
    ]
    tasks = [Task(name="live", state="waiting"), *chains]
    assert len(fold(tasks)) == len(tasks)
    assert len(fold(chains)) < len(chains)


@given(graphs(), st.sets(st.integers(0, 23)))
def test_a_fold_holds_every_task_once_and_its_needs_lead_to_boxes(needs: Needs, bad: set[int]) -> None:
    tasks = [
        Task(name=str(n), needs=tuple(map(str, parents)), state="failed" if n in bad else "succeeded")
        for n, parents in enumerate(needs)
    ]
    boxes = fold(tasks, small=0)
    assert sorted(name for box in boxes for name in box.members) == sorted(task.name for task in tasks)
    keys = {box.key for box in boxes}
    assert all(set(box.needs) <= keys and box.key not in box.needs for box in boxes)
