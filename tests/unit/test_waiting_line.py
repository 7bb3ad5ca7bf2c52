"""A line of those who wait for the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyflowd.engine.waiting_line import Entry, Line


def test_the_smallest_key_comes_first_and_of_the_same_the_one_that_came_first() -> None:
    line = Line()
    for entry in (Entry(2, 1, 1), Entry(1, 2, 2), Entry(1, 3, 1)):
        line.push(entry)
    assert line.first({1, 2, 3}) == Entry(1, 2, 2)
    assert line.first({1, 3}) == Entry(1, 3, 1)
    assert line.first({1}) == Entry(2, 1, 1)


def test_a_group_that_is_set_aside_keeps_nobody_else_and_comes_back_at_its_place() -> None:
    line = Line()
    for entry in (Entry(1, 1, 1), Entry(2, 2, 1), Entry(3, 3, 2)):
        line.push(entry)
    waiting = {1, 2, 3}
    assert line.first(waiting) == Entry(1, 1, 1)
    aside = line.set_aside()
    assert line.first(waiting) == Entry(3, 3, 2)
    line.put_back(aside)
    assert line.first(waiting) == Entry(1, 1, 1)


def test_a_line_in_which_nobody_waits_is_empty() -> None:
    line = Line()
    line.push(Entry(1, 1, 1))
    assert line.first(set()) is None
    assert line.is_empty


steps = st.lists(st.tuples(st.sampled_from(["push", "leave", "aside"]), st.integers(0, 9), st.integers(0, 3)))


@given(steps)
def test_the_first_is_the_least_of_those_who_wait(steps: list[tuple[str, int, int]]) -> None:
    line, waiting = Line(), dict[int, Entry]()
    for number, (what, n, group) in enumerate(steps):
        if what == "push":
            waiting[number] = Entry(n, number, group)
            line.push(waiting[number])
        elif what == "leave" and waiting:
            del waiting[sorted(waiting)[n % len(waiting)]]
        elif line.first(waiting):
            aside = line.set_aside()
            others = [entry for entry in waiting.values() if entry.group != aside.group]
            assert line.first(waiting) == min(others, default=None)
            line.put_back(aside)
        assert line.first(waiting) == min(waiting.values(), default=None)
    assert line.is_empty == (not waiting)
