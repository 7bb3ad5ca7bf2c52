"""Where the time of a run went: a row for each task with its attempts and waits, on one axis of time. Pure geometry."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from pyflowd.clock import US
from pyflowd.protocol.figures import AttemptView
from pyflowd.protocol.views_runs import TaskView
from pyflowd.web.marks import Mark, mark
from pyflowd.web.pages.dag_words import fan_size, phrase, state_of
from pyflowd.web.pages.gantt_axis import WIDTH, Scale, Tick, scaled, ticks
from pyflowd.web.times import Times, length

LEAST = 0.35
"""Percent: narrower bars could not be seen."""
LEFT_FROM = 90.0
"""Percent of the time from which on a label stands left of its bar."""
NARROW_LEFT_FROM = 60.0
ROOM = 20.0
"""Percent that a label at the left needs."""
ROWS_MAX = 60
ITEMS_SHOWN = 20
DENSITY_STEPS = 120


class Bar(Struct, frozen=True, kw_only=True):
    css: str
    """`b`: an attempt, `q`: queued."""
    state: str = ""
    """A class of the state."""
    x: str
    width: str
    title: str = ""
    since_us: int | None = None
    """Of one that still grows."""


class Row(Struct, frozen=True, kw_only=True):
    name: str
    href: str
    mark: Mark
    bars: list[Bar]
    waits: list[tuple[str, str]]
    text: str
    text_x: str
    left: bool
    """The text ends there, in place of beginning."""
    narrow_x: str
    narrow_left: bool
    """The same on a phone, where there is no room at the right."""
    label: str
    item: bool = False
    longest: bool = False
    selected: bool = False
    density: str = ""
    """A path in a box of 1000 by 20, over the whole width; empty: none."""


class Gantt(Struct, frozen=True, kw_only=True):
    rows: list[Row]
    ticks: list[Tick]
    sentence: str
    left_out: int
    fits: str = ""
    """Address of a view that fits the selected task, where the rest hides it; or of the whole, where that is shown."""
    fits_word: str = ""
    now_x: str = ""


Link = Callable[[TaskView], str]


def gantt(
    tasks: Sequence[TaskView],
    attempts: Iterable[AttemptView],
    times: Times,
    link: Link,
    *,
    created_us: int,
    ended_us: int | None,
    selected: str = "",
    fit: str = "",
    everything: bool = False,
    fit_href: Callable[[str], str] = lambda _: "",
) -> Gantt:
    """`tasks`: of GetRun, handlers and known items included; `fit`: the name of a task whose time fills the width."""
    of_task: dict[str, list[AttemptView]] = {}
    for attempt in attempts:
        of_task.setdefault(attempt.task, []).append(attempt)
    fans = _by_fan(tasks, of_task)
    begin, end = _range(created_us, ended_us, of_task, times.now_us)
    scale = scaled(begin, end)
    narrow = _range_of(fit, tasks, of_task, fans, times.now_us)
    if narrow is not None:
        scale = scaled(*narrow)
    proper = [task for task in tasks if task.item is None]
    chain = longest_chain(proper, of_task, fans)
    ordered = _ordered(proper, of_task, fans)
    kept = ordered if everything or len(ordered) <= ROWS_MAX else _kept(ordered, chain, selected)
    ends = {task.task: _ended(task, of_task, fans) for task in proper}
    rows: list[Row] = []
    for task in kept:
        row = _row(task, of_task, fans, ends, scale, times, link, chain=chain, selected=selected)
        rows.append(row)
        if task.task == selected and task.items:
            rows += _items(task, tasks, of_task, ends, scale, times, link)
    hidden = _hidden(selected, tasks, of_task, fans, times.now_us, end - begin)
    return Gantt(
        rows=rows, ticks=ticks(scale, times), sentence=_sentence(end - begin, chain, ended_us is not None),
        left_out=len(ordered) - len(kept),
        fits=fit_href("") if narrow else fit_href(selected) if hidden else "",
        fits_word="Show the whole run" if narrow else f"Fit to {selected}" if hidden else "",
        now_x=f"{scale.x(times.now_us):.2f}%" if ended_us is None else "",
    )  # fmt: skip


# ---- What is looked at -----------------------------------------------------------------------------------------------


def _range(
    created_us: int, ended_us: int | None, of_task: Mapping[str, list[AttemptView]], now_us: int
) -> tuple[int, int]:
    starts = [attempt.queued_us or attempt.started_us for each in of_task.values() for attempt in each]
    begin = min(starts, default=created_us)
    if ended_us is None:
        return begin, max(now_us, begin + US)
    ends = [attempt.ended_us or attempt.started_us for each in of_task.values() for attempt in each]
    return begin, max([*ends, ended_us, begin + 1000])


def _range_of(
    name: str,
    tasks: Sequence[TaskView],
    of_task: Mapping[str, list[AttemptView]],
    fans: Mapping[str, list[AttemptView]],
    now_us: int,
) -> tuple[int, int] | None:
    if name not in {task.task for task in tasks}:
        return None
    tried = fans.get(name) or of_task.get(name)
    if not tried:
        return None
    begin = min(attempt.queued_us or attempt.started_us for attempt in tried)
    end = max(attempt.ended_us or now_us for attempt in tried)
    margin = max(1000, (end - begin) // 20)
    return begin - margin, end + margin


def _hidden(
    name: str,
    tasks: Sequence[TaskView],
    of_task: Mapping[str, list[AttemptView]],
    fans: Mapping[str, list[AttemptView]],
    now_us: int,
    span_us: int,
) -> bool:
    """Whether a task takes less than a hundredth of the whole."""
    own = _range_of(name, tasks, of_task, fans, now_us)
    return own is not None and span_us > 100 * max(1, (own[1] - own[0]) * 10 // 11)


# ---- Rows -----------------------------------------------------------------------------------------------------------


def _by_fan(tasks: Sequence[TaskView], of_task: Mapping[str, list[AttemptView]]) -> dict[str, list[AttemptView]]:
    """Fan-out to the attempts of all its items, by their names: items may be known by their attempts alone."""
    names = {task.task for task in tasks if task.items}
    found: dict[str, list[AttemptView]] = {}
    for name, tried in of_task.items():
        fan = name.partition("[")[0]
        if fan in names and "[" in name and name.endswith("]"):
            found.setdefault(fan, []).extend(tried)
    return found


def _tried(
    task: TaskView, of_task: Mapping[str, list[AttemptView]], fans: Mapping[str, list[AttemptView]]
) -> list[AttemptView]:
    return fans.get(task.task) or of_task.get(task.task) or []


def _ended(
    task: TaskView, of_task: Mapping[str, list[AttemptView]], fans: Mapping[str, list[AttemptView]]
) -> int | None:
    tried = _tried(task, of_task, fans)
    if not tried:
        return task.ended_us
    if any(attempt.ended_us is None for attempt in tried):
        return None
    return max(attempt.ended_us or 0 for attempt in tried)


def _ordered(
    proper: Sequence[TaskView], of_task: Mapping[str, list[AttemptView]], fans: Mapping[str, list[AttemptView]]
) -> list[TaskView]:
    """By their first start, which comes after the starts of all that they need; those that never began at the end."""
    place = {task.task: number for number, task in enumerate(proper)}

    def key(task: TaskView) -> tuple[float, bool, int]:
        tried = _tried(task, of_task, fans)
        first = min((attempt.started_us for attempt in tried), default=math.inf)
        return first, bool(task.section), place[task.task]

    return sorted(proper, key=key)


def _kept(ordered: Sequence[TaskView], chain: Sequence[str], selected: str) -> list[TaskView]:
    """Of many rows those that matter, in their order."""

    def weight(task: TaskView) -> int:
        if task.task == selected or (task.state in ("failed", "unknown") and not task.allowed):
            return 0
        if task.state in ("running", "retrying"):
            return 1
        return 2 if task.task in chain else 3

    first = sorted(range(len(ordered)), key=lambda number: (weight(ordered[number]), number))[:ROWS_MAX]
    return [ordered[number] for number in sorted(first)]


def _row(
    task: TaskView,
    of_task: Mapping[str, list[AttemptView]],
    fans: Mapping[str, list[AttemptView]],
    ends: Mapping[str, int | None],
    scale: Scale,
    times: Times,
    link: Link,
    *,
    chain: Sequence[str] = (),
    selected: str = "",
    item: bool = False,
) -> Row:
    tried = _tried(task, of_task, fans)
    parents = sorted(end for need in task.needs if (end := ends.get(need)) is not None)
    bars: list[Bar] = []
    waits: list[tuple[float, float]] = []
    fan = bool(task.items) and not item
    if tried:
        first = tried[0].queued_us or tried[0].started_us
        if len(parents) > 1 and not fan:
            waits.append((parents[0], min(first, parents[-1])))
        spans = [_whole(task, tried)] if fan else tried
        for number, attempt in enumerate(spans):
            if attempt.queued_us is not None and attempt.queued_us < attempt.started_us:
                bars += _bar(scale, "q", "", attempt.queued_us, attempt.started_us, "queued", None, least=0.2)
            if number:
                before = spans[number - 1].ended_us or attempt.started_us
                waits.append((before, attempt.queued_us or attempt.started_us))
            end = attempt.ended_us or times.now_us
            bars += _bar(
                scale, "b", mark(_bar_state(task, attempt)).css, attempt.started_us, end,
                f"attempt {attempt.attempt}: {mark(attempt.state).word}, {length(max(0, end - attempt.started_us))}",
                attempt.started_us if attempt.ended_us is None else None,
            )  # fmt: skip
        last = max(attempt.ended_us or times.now_us for attempt in tried)
    else:
        last = max(parents, default=scale.begin_us + scale.span_us)
    text = _text(task, tried, times)
    at = scale.x(last)
    begins = [float(bar.x[:-1]) for bar in bars] or [at]
    left = at > WIDTH * LEFT_FROM / 100 and len(text) > 16 and min(begins) > ROOM
    narrow_left = at > WIDTH * NARROW_LEFT_FROM / 100 and begins[-1] > ROOM
    return Row(
        name=f"{task.item}" if item else f"{task.task}{fan_size(task)}", href=link(task), mark=mark(state_of(task)),
        bars=bars,
        waits=[
            (f"{scale.x(begin):.2f}%", f"{scale.x(end):.2f}%")
            for begin, end in waits if scale.x(end) - scale.x(begin) > 0.2
        ],
        text=text, text_x=f"{min(begins) if left else at:.2f}%", left=left, item=item,
        narrow_x=f"{begins[-1] if narrow_left else at:.2f}%", narrow_left=narrow_left,
        label=f"{task.task}: {mark(state_of(task)).word}" + (f", {text}" if text else ""),
        longest=task.task in chain, selected=task.task == selected,
        density=_density(tried, scale, times.now_us) if fan and len(tried) > 1 else "",
    )  # fmt: skip


def _whole(task: TaskView, tried: Sequence[AttemptView]) -> AttemptView:
    """All attempts of a fan-out as one."""
    live = any(attempt.ended_us is None for attempt in tried)
    return AttemptView(
        task=task.task, attempt=1, state=task.state, queued_us=None,
        started_us=min(attempt.started_us for attempt in tried),
        ended_us=None if live else max(attempt.ended_us or 0 for attempt in tried),
    )  # fmt: skip


def _bar_state(task: TaskView, attempt: AttemptView) -> str:
    if task.kind == "approval":
        return "approval" if attempt.ended_us is None or attempt.state == "succeeded" else attempt.state
    return attempt.state


def _bar(
    scale: Scale, css: str, state: str, begin_us: int, end_us: int, title: str, since_us: int | None,
    *, least: float = LEAST,
) -> list[Bar]:  # fmt: skip
    begin, end = scale.x(begin_us), scale.x(end_us)
    if end_us < scale.begin_us or begin_us > scale.begin_us + scale.span_us or (css == "q" and end - begin < least):
        return []
    width = max(least, end - begin)
    return [Bar(css=css, state=state, x=f"{begin:.2f}%", width=f"{width:.2f}%", title=title, since_us=since_us)]


def _text(task: TaskView, tried: Sequence[AttemptView], times: Times) -> str:
    if not tried:
        return phrase(task, times)
    if task.items:
        live = any(attempt.ended_us is None for attempt in tried)
        last = max(attempt.ended_us or times.now_us for attempt in tried)
        took = times.took(min(attempt.started_us for attempt in tried), None if live else last)
        return f"{took}, {sum(task.items.values()):,} items"
    if len(tried) > 1:
        return f"{len(tried)} passes" if task.passes_max else f"{len(tried)} attempts"
    return times.took(tried[0].started_us, tried[0].ended_us)


def _items(
    fan: TaskView,
    tasks: Sequence[TaskView],
    of_task: Mapping[str, list[AttemptView]],
    ends: Mapping[str, int | None],
    scale: Scale,
    times: Times,
    link: Link,
) -> list[Row]:
    """The slowest items and those that failed, of the fan-out that is selected."""

    def took(task: TaskView) -> int:
        return sum((each.ended_us or times.now_us) - each.started_us for each in of_task.get(task.task, ()))

    known = [task for task in tasks if task.of == fan.task and task.item is not None and task.task in of_task]
    slow = sorted(known, key=took, reverse=True)[:ITEMS_SHOWN]
    failed = [task for task in known if task.state == "failed"][:ITEMS_SHOWN]
    names = {task.task for task in (*slow, *failed)}
    shown = sorted((task for task in known if task.task in names), key=lambda task: of_task[task.task][0].started_us)
    return [_row(task, of_task, {}, ends, scale, times, link, item=True) for task in shown]


def _density(tried: Sequence[AttemptView], scale: Scale, now_us: int) -> str:
    """How many items were at work, as an area over the width of the axis."""
    begin = min(attempt.started_us for attempt in tried)
    end = max(attempt.ended_us or now_us for attempt in tried)
    if end <= begin:
        return ""
    steps = [0] * (DENSITY_STEPS + 1)
    for attempt in tried:
        first = (attempt.started_us - begin) * DENSITY_STEPS // (end - begin)
        last = ((attempt.ended_us or now_us) - begin) * DENSITY_STEPS // (end - begin)
        steps[first] += 1
        if last < DENSITY_STEPS:
            steps[last + 1] -= 1
    most, now, path = 0, 0, []
    levels = []
    for change in steps:
        now += change
        levels.append(now)
        most = max(most, now)
    for number, level in enumerate(levels):
        x = scale.x(begin + (end - begin) * number / DENSITY_STEPS) * 10
        path.append(f"{x:.1f} {20 - 18 * level / max(1, most):.1f}")
    first_x, last_x = path[0].split()[0], path[-1].split()[0]
    return f"M{first_x} 20L" + "L".join(path) + f"L{last_x} 20Z"


# ---- The longest chain ----------------------------------------------------------------------------------------------


def longest_chain(
    proper: Sequence[TaskView], of_task: Mapping[str, list[AttemptView]], fans: Mapping[str, list[AttemptView]]
) -> list[str]:
    """Names of tasks, first to last: back from what ended last, each time by the parent that ended last."""
    named = {task.task: task for task in proper if not task.section}
    ends = {name: _ended(task, of_task, fans) for name, task in named.items() if _tried(task, of_task, fans)}
    known = {name: (math.inf if end is None else end) for name, end in ends.items()}
    if not known:
        return []
    at: str | None = max(known, key=lambda name: known[name])
    found: list[str] = []
    while at is not None and at not in found:
        found.append(at)
        parents = [need for need in named[at].needs if need in known]
        at = max(parents, key=lambda name: known[name], default=None)
    return found[::-1]


def _sentence(span_us: int, chain: Sequence[str], ended: bool) -> str:
    took = length(span_us) + ("" if ended else " so far")
    if len(chain) < 2:
        return took
    names = [*chain[:1], "…", *chain[-2:]] if len(chain) > 4 else list(chain)
    return f"{took}; longest chain: {' › '.join(names)}"
