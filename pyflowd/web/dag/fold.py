"""What is drawn as one box: tasks that are alike, and tasks in a row that all went well.

Knows of a task its name, what it needs, its rule and its state. A fan-out is one task here: its items never get boxes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

SMALL = 24
"""Up to so many tasks nothing is folded: the picture fits, and names say more than a number."""
ALIKE_MIN = 4
DRAWN_MAX = 150
"""Boxes beyond which chains are folded, too."""
BAD = frozenset({"failed", "running", "retrying", "starting", "cancelled", "unknown"})
"""States that are looked for: such a task has a box of its own."""
LIVE = frozenset({"running", "retrying", "starting", "queued", "waiting"})
"""While any task is so, chains stay open: the picture of a run that lives would change with every task that ends."""
WORST = (
    "failed", "unknown", "cancelled", "upstream_failed", "retrying", "running", "starting", "queued", "waiting",
    "skipped", "succeeded", "",
)  # fmt: skip
"""States of tasks; what went wrong first, then what is at work."""


class Task(Struct, frozen=True, kw_only=True):
    name: str
    needs: tuple[str, ...] = ()
    rule: str = "all_ok"
    state: str = ""
    """Empty: of a definition."""


class Sort(StrEnum):
    TASK = "task"
    ALIKE = "alike"
    """Tasks with the same parents, children and rule."""
    ROW = "row"
    """A chain."""


class Box(Struct, frozen=True, kw_only=True):
    key: str
    """The name of its first task."""
    sort: Sort
    members: tuple[str, ...]
    """Names of tasks, in the order of the file."""
    needs: tuple[str, ...]
    """Keys of boxes."""
    state: str
    """Of several the worst."""


def fold(tasks: Sequence[Task], shown: Iterable[str] = (), *, small: int = SMALL) -> list[Box]:
    """Boxes in the order of their first tasks. `shown`: names of tasks that are never folded (selected, opened).

    An opened fold is opened whole: name each of its members. Needs that name no task here are passed over.
    """
    apart = frozenset(shown) | {task.name for task in tasks if task.state in BAD}
    known = {task.name: task for task in tasks}
    parents = {task.name: tuple(dict.fromkeys(need for need in task.needs if need in known)) for task in tasks}
    groups = _alike(known, parents, apart) if len(tasks) > small else {}
    boxes = _boxes(known, parents, groups, Sort.ALIKE)
    if len(boxes) > DRAWN_MAX and not any(task.state in LIVE for task in tasks):
        boxes = _in_rows(boxes, apart)
    return boxes


def worst(states: Iterable[str]) -> str:
    return min(states, key=lambda state: WORST.index(state) if state in WORST else 0)


def _children(parents: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    children: dict[str, list[str]] = {name: [] for name in parents}
    for name, needs in parents.items():
        for need in needs:
            children[need].append(name)
    return children


def _alike(known: Mapping[str, Task], parents: Mapping[str, tuple[str, ...]], apart: frozenset[str]) -> dict[str, str]:
    """Task to the first of its group, of those that have one."""
    children = _children(parents)
    groups: dict[object, list[str]] = {}
    for name, task in known.items():
        if name not in apart:
            same = (frozenset(parents[name]), frozenset(children[name]), task.rule)
            groups.setdefault(same, []).append(name)
    return {name: group[0] for group in groups.values() if len(group) >= ALIKE_MIN for name in group}


def _boxes(
    known: Mapping[str, Task], parents: Mapping[str, tuple[str, ...]], groups: Mapping[str, str], sort: Sort
) -> list[Box]:
    members: dict[str, list[str]] = {}
    for name in known:
        members.setdefault(groups.get(name, name), []).append(name)
    return [
        Box(
            key=key,
            sort=sort if len(names) > 1 else Sort.TASK,
            members=tuple(names),
            needs=tuple(dict.fromkeys(groups.get(need, need) for name in names for need in parents[name])),
            state=worst(known[name].state for name in names),
        )
        for key, names in members.items()
    ]


def _in_rows(boxes: Sequence[Box], apart: frozenset[str]) -> list[Box]:
    """Boxes with one parent and one child each, all succeeded, become one."""
    known = {box.key: box for box in boxes}
    children = _children({box.key: box.needs for box in boxes})
    link = {
        box.key
        for box in boxes
        if len(box.needs) == 1 and len(children[box.key]) == 1 and box.state == "succeeded" and not apart & {box.key}
    }
    chain_of: dict[str, str] = {}
    chains: dict[str, list[str]] = {}
    for box in boxes:
        if box.key not in link or box.needs[0] in link:
            continue
        chain = [box.key]
        while (after := children[chain[-1]][0]) in link:
            chain.append(after)
        if len(chain) > 1:
            chains[box.key] = chain
            chain_of.update(dict.fromkeys(chain, box.key))
    found = []
    for box in boxes:
        first = chain_of.get(box.key)
        needs = tuple(dict.fromkeys(chain_of.get(need, need) for need in box.needs))
        if first is None:
            found.append(Box(key=box.key, sort=box.sort, members=box.members, needs=needs, state=box.state))
        elif first == box.key:
            names = tuple(name for key in chains[first] for name in known[key].members)
            found.append(Box(key=box.key, sort=Sort.ROW, members=names, needs=needs, state="succeeded"))
    return found
