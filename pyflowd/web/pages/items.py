"""The items of a fan-out as a table, in blocks: what failed first, then what is at work. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from pyflowd.protocol.views_runs import TaskView
from pyflowd.render.layout import clean
from pyflowd.render.render_tasks import items_text
from pyflowd.web.dag.fold import WORST
from pyflowd.web.marks import Mark, mark
from pyflowd.web.pages.dag_words import phrase, state_of
from pyflowd.web.times import Times, When

BLOCK = 50


class Item(Struct, frozen=True, kw_only=True):
    key: str
    id: str
    href: str
    mark: Mark
    sub: str
    started: When | None
    took: str
    selected: bool


class Items(Struct, frozen=True, kw_only=True):
    task: str
    summary: str
    find: str
    rows: list[Item]
    found: int
    total: int
    page: int
    pages: int


def items(
    fan: TaskView, tasks: Sequence[TaskView], times: Times, link: Callable[[TaskView], str], *, find: str = "",
    page: int = 1, selected: str = "",
) -> Items:  # fmt: skip
    """`find`: part of a key, small and capital letters alike."""
    own = [task for task in tasks if task.of == fan.task and task.item is not None and task.section == fan.section]
    wanted = find.casefold()
    kept = [task for task in own if wanted in (task.item or "").casefold()]
    kept.sort(key=lambda task: (_rank(task.state), task.position or 0))
    pages = max(1, -(-len(kept) // BLOCK))
    page = min(max(1, page), pages)
    return Items(
        task=fan.task, summary=items_text(fan.items), find=find, found=len(kept), total=sum(fan.items.values()),
        page=page, pages=pages,
        rows=[
            Item(
                key=clean(task.item or "") or "(empty)", id=f"i-{task.position}", href=link(task),
                mark=mark(state_of(task)), sub=phrase(task, times), started=times.when(task.started_us, seconds=True),
                took=times.took(task.started_us, task.ended_us), selected=task.task == selected,
            )
            for task in kept[(page - 1) * BLOCK : page * BLOCK]
        ],
    )  # fmt: skip


def _rank(state: str) -> int:
    return WORST.index(state) if state in WORST else len(WORST)
