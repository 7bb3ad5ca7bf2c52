"""The drawing of a graph: boxes with their words and cells, lines, bands of a large one, its map. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from pyflowd.protocol.views_runs import TaskView
from pyflowd.web.dag.fold import WORST, Box, Sort
from pyflowd.web.dag.layout import ACROSS, DOWN, Measure, Picture, layout
from pyflowd.web.dag.ranks import CycleError, TangleError
from pyflowd.web.marks import mark
from pyflowd.web.pages.dag_look import Asked, Links, zoom_of
from pyflowd.web.pages.dag_words import fan_size, mark_of, phrase
from pyflowd.web.pages.texts import fitted
from pyflowd.web.times import Times, counted

BOTH_MAX = 60
"""Boxes up to which both directions are drawn; above, the one with the smaller area."""
BAND_RANKS = 6
"""Of a graph too large to be sent whole: ranks that are sent together."""
FIRST_BANDS = 2
CELLS_MAX = 12
CELLS_PX = 48
BUCKETS = (480, 640, 800, 960, 1120, 1240, 1360, 1500)
"""Widths of a frame from which a drawing across is shown; style.css has a container query for each."""
FRAME_PX = 40
"""What a frame takes of its width for itself."""
SHRUNK_MAX = 440
"""Pixels of width that a phone shows by making them smaller, to 75 % at least; a wider one scrolls in its frame."""
NAMES = {False: Measure(across=False, width=132, height=26, gap=10, between=30, line=8),
         True: Measure(across=True, width=156, height=26, gap=10, between=40, line=8)}  # fmt: skip
BLOCKS = {False: Measure(across=False, width=10, height=6, gap=4, between=12, line=2, arrow=0),
          True: Measure(across=True, width=10, height=6, gap=4, between=14, line=2, arrow=0)}  # fmt: skip
FULL = {False: DOWN, True: ACROSS}
MEASURES = {"full": FULL, "names": NAMES, "blocks": BLOCKS}


class Cell(Struct, frozen=True):
    css: str
    x: float
    width: float


class DrawnBox(Struct, frozen=True, kw_only=True):
    key: str
    id: str
    href: str
    label: str
    """For who does not see it."""
    css: str
    icon: str
    """Empty: of a definition."""
    name: str
    sub: str
    title: str
    """What was cut; empty: nothing."""
    x: float
    y: float
    text_x: float
    card: bool = False
    cells: list[Cell] = []
    selected: bool = False
    rank: int = 0


class DrawnLine(Struct, frozen=True, kw_only=True):
    id: str
    path: str
    arrow: str
    css: str
    source: str
    target: str


class Drawing(Struct, frozen=True, kw_only=True):
    css: str
    """`down` or `across`, and from which width on it is shown."""
    zoom: str
    width: float
    height: float
    box_width: float
    box_height: float
    boxes: list[DrawnBox]
    lines: list[DrawnLine]
    label: str
    bands: int = 1
    band_px: float = 0
    """How long one is, along the ranks."""
    sent: list[int] = []
    """Bands that are there."""
    across: bool = False


class Map(Struct, frozen=True, kw_only=True):
    """The smallest step of all of it."""

    width: float
    height: float
    marks: list[tuple[str, str]]
    """(class, path)."""


def drawings(
    boxes: Sequence[Box], named: Mapping[str, TaskView], times: Times, look: Asked, links: Links, *, large: bool
) -> tuple[list[Drawing], Picture | None]:
    """And, of a large graph, the picture for its map."""
    if len(boxes) < 2:
        return [], None
    number = {box.key: n for n, box in enumerate(boxes)}
    needs = tuple(tuple(number[need] for need in box.needs if need in number) for box in boxes)
    measures = MEASURES[zoom_of(look, large=large)]
    try:
        pictures = {across: layout(needs, measures[across]) for across in (False, True)}
    except (CycleError, TangleError):
        return [], None
    chosen = directions(pictures, len(boxes))
    drawn = [
        _drawing(pictures, measures[across], boxes, named, times, look, links, large=large, alone=len(chosen) < 2)
        for across in chosen
    ]
    return drawn, pictures[chosen[0]] if large else None


def directions(pictures: Mapping[bool, Picture], boxes: int) -> list[bool]:
    """Whether across, of each drawing: both where a page can have either."""
    if boxes > BOTH_MAX:
        return [_flatter(pictures)]
    if pictures[True].width + FRAME_PX <= BUCKETS[-1]:
        return [False, True]
    return [pictures[False].width + FRAME_PX > BUCKETS[-1] and _flatter(pictures)]


def _flatter(pictures: Mapping[bool, Picture]) -> bool:
    """Whether the one across has the smaller area."""
    return pictures[True].width * pictures[True].height < pictures[False].width * pictures[False].height


def _drawing(
    pictures: Mapping[bool, Picture], measure: Measure, boxes: Sequence[Box], named: Mapping[str, TaskView],
    times: Times, look: Asked, links: Links, *, large: bool, alone: bool,
) -> Drawing:  # fmt: skip
    picture = pictures[measure.across]
    step = (measure.width if measure.across else measure.height) + measure.between
    bands = -(-picture.ranks // BAND_RANKS) if large else 1
    sent = _sent(picture, boxes, look, bands) if large else [0]
    low, high = (sent[0] * BAND_RANKS, (sent[-1] + 1) * BAND_RANKS - 1) if large else (0, picture.ranks)
    css = "across" if measure.across else "down"
    if not alone:
        css += f" from-{next(edge for edge in BUCKETS if pictures[True].width + FRAME_PX <= edge)}"
    if picture.width <= SHRUNK_MAX:
        css += " fit"
    ids = "na-" if measure.across and not alone else "n-"
    return Drawing(
        css=css, zoom=zoom_of(look, large=large), width=picture.width + 8,
        height=picture.height + 12, box_width=measure.width, box_height=measure.height, across=measure.across,
        boxes=[
            _box(boxes[at.box], at.x, at.y, at.rank, measure, named, times, look, links, ids)
            for at in picture.boxes if low <= at.rank <= high
        ],
        lines=[
            DrawnLine(
                id=f"{ids.replace('n', 'e', 1)}{boxes[line.source].key}-{boxes[line.target].key}", path=line.path,
                arrow=line.arrow, css=_line_css(boxes[line.source], boxes[line.target], named),
                source=boxes[line.source].key, target=boxes[line.target].key,
            )
            for line in picture.lines if line.first <= high and line.last >= low
        ],
        label=f"Task graph, {counted(len(boxes), 'box', 'boxes')}", bands=bands, band_px=BAND_RANKS * step, sent=sent,
    )  # fmt: skip


def _sent(picture: Picture, boxes: Sequence[Box], look: Asked, bands: int) -> list[int]:
    if look.band is not None:
        return [min(look.band, bands - 1)]
    chosen = next((at.rank for at in picture.boxes if look.task and look.task in boxes[at.box].members), 0)
    first = min(max(0, chosen // BAND_RANKS), max(0, bands - FIRST_BANDS))
    return list(range(first, min(first + FIRST_BANDS, bands)))


def _line_css(source: Box, target: Box, named: Mapping[str, TaskView]) -> str:
    if target.state == "upstream_failed" and source.state in ("failed", "upstream_failed", "cancelled", "unknown"):
        return "bad"
    return "any" if named[target.key].trigger_rule else ""


def _box(
    box: Box, x: float, y: float, rank: int, measure: Measure, named: Mapping[str, TaskView], times: Times,
    look: Asked, links: Links, ids: str,
) -> DrawnBox:  # fmt: skip
    task = named[box.key]
    several = box.sort is not Sort.TASK
    found = mark(box.state) if several and box.state else mark_of(task)
    count = len(box.members)
    name = {Sort.ALIKE: f"{count} tasks alike", Sort.ROW: f"{count} in a row"}.get(box.sort, task.task + fan_size(task))
    sub = ", ".join(box.members) if several else phrase(task, times)
    text_x = (34 if measure.height > 30 else 28) if found else 12
    cells = _cells(task.items, measure) if not several and measure.height > 30 else []
    room = measure.width - text_x - 8
    shown = fitted(name, room - (CELLS_PX + 4 if cells else 0), 12.5, bold=True)
    sub_shown = fitted(sub, room, 11.5)
    whole = links.changed(open=",".join([*look.open, box.key])) if several else links.task(task.task)
    word = found.word if found else ("folded" if several else "task")
    return DrawnBox(
        key=box.key, id=f"{ids}{box.key}", href=whole, label=f"{name}, {word}" + (f", {sub}" if sub else ""),
        css=found.css if found else "s-def", icon=found.icon if found else "", name=shown, sub=sub_shown,
        title=f"{name}: {sub}" if (shown, sub_shown) != (name, sub) else "", x=x, y=y, text_x=text_x,
        card=several or bool(task.fan_out or task.items), cells=cells,
        selected=bool(look.task) and look.task in box.members, rank=rank,
    )  # fmt: skip


def _cells(items: Mapping[str, int], measure: Measure) -> list[Cell]:
    """A cell an item as long as they are few, else one bar in parts; what went wrong first."""
    total = sum(items.values())
    states = [(state, items[state]) for state in WORST if items.get(state)]
    if not total or not states:
        return []
    right = measure.width - 10
    if total <= CELLS_MAX:
        step = 8 if total <= CELLS_PX // 8 else 4
        each = [state for state, count in states for _ in range(count)]
        return [Cell(mark(state).css, right - step * (len(each) - n), step * 0.75) for n, state in enumerate(each)]
    cells, at = [], float(right - CELLS_PX)
    spare = CELLS_PX - 2 * len(states)
    for state, count in states:
        width = round(2 + spare * count / total, 1)
        cells.append(Cell(mark(state).css, round(at, 1), width))
        at += width
    return cells


def map_of(picture: Picture, boxes: Sequence[Box], measures: Mapping[bool, Measure]) -> Map:
    """All of it in one path for each colour: as many elements as states."""
    measure = measures[picture.across]
    marks: dict[str, list[str]] = {}
    for at in picture.boxes:
        css = mark(boxes[at.box].state).css if boxes[at.box].state else "s-def"
        box = f"M{at.x:g} {at.y:g}h{measure.width:g}v{measure.height:g}h-{measure.width:g}z"
        marks.setdefault(css, []).append(box)
    return Map(
        width=picture.width, height=picture.height, marks=[(css, "".join(paths)) for css, paths in marks.items()]
    )
