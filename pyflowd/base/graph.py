"""The graph of a workflow's tasks: is it acyclic, and if not, by which way round.

Names and edges only; it knows nothing of files and of what tasks do. Nothing here recurses or walks every path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def find_cycle(needs: Mapping[str, tuple[str, ...]]) -> list[str] | None:
    """Names of one cycle in the order in which they would have to run, the first one again at the end; else None.

    `needs` maps each name to its direct dependencies; names that it has not are passed over.
    """
    stuck = _unordered(needs)
    if not stuck:
        return None
    # Every name that is left has a need that is left: walking along them must come back to where it has been.
    name = next(iter(stuck))
    seen: dict[str, int] = {}
    walk: list[str] = []
    while name not in seen:
        seen[name] = len(walk)
        walk.append(name)
        name = next(need for need in needs[name] if need in stuck)
    cycle = walk[seen[name] :]
    first = min(range(len(cycle)), key=lambda at: list(needs).index(cycle[at])) if len(cycle) < 100 else 0
    ordered = [cycle[first], *reversed(cycle[first + 1 :] + cycle[:first])]
    return [*ordered, ordered[0]]


def _unordered(needs: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """What remains when all that can be ordered is taken away: the cycles, and what comes after them."""
    waiting = {name: sum(need in needs for need in direct) for name, direct in needs.items()}
    dependents: dict[str, list[str]] = {name: [] for name in needs}
    for name, direct in needs.items():
        for need in direct:
            if need in dependents:
                dependents[need].append(name)
    ready = [name for name, count in waiting.items() if not count]
    for name in ready:  # grows while it is walked
        del waiting[name]
        for dependent in dependents[name]:
            waiting[dependent] -= 1
            if not waiting[dependent]:
                ready.append(dependent)
    return waiting


def show_cycle(cycle: list[str]) -> str:
    """`a -> b -> a`; the middle of a long one is left out."""
    if len(cycle) > 14:
        cycle = [*cycle[:9], f"({len(cycle) - 12} more)", *cycle[-3:]]
    return " -> ".join(cycle)


def closure(begin: Iterable[str], following: Mapping[str, Iterable[str]]) -> set[str]:
    """`begin` and all that can be reached from it."""
    found = set(begin)
    todo = list(found)
    while todo:
        for name in following.get(todo.pop(), ()):
            if name not in found:
                found.add(name)
                todo.append(name)
    return found
