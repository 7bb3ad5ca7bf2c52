"""Real workflow graphs: every task after its parents, wall time beside the lower bound.

    python -m benchmarks.real_graphs FOLDER [--seconds 30] [--only NAME]

FOLDER holds stripped instances of WfCommons: JSON files with `{"name", "tasks": [{"id", "parents", "runtime_s"}]}`.
`convert` makes a workflow file of one: each task sleeps its recorded run time, scaled.
"""

from __future__ import annotations

import argparse
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.harness import daemon, say, wall_s

PLACES = 2000
"""More than the widest level of most graphs, so that the bound is the critical path and no question of packing."""


def read(path: Path) -> list[tuple[str, list[str], float]]:
    """(id, parents, seconds) of each task; ids made fit for names, each parent once."""
    document = json.loads(path.read_text())
    names = {
        task["id"]: f"t{n}-{re.sub(r'[^A-Za-z0-9_.-]', '_', task['id'])[:40]}"
        for n, task in enumerate(document["tasks"])
    }
    return [
        (names[task["id"]], [names[parent] for parent in dict.fromkeys(task["parents"])], float(task["runtime_s"] or 0))
        for task in document["tasks"]
    ]


def lower_bound_s(tasks: list[tuple[str, list[str], float]], places: int) -> float:
    """The longer of the critical path and all work divided by the places."""
    seconds = {name: taken for name, _, taken in tasks}
    parents = {name: needs for name, needs, _ in tasks}
    finish: dict[str, float] = {}
    todo = list(seconds)
    while todo:
        name = todo[-1]
        waiting = [parent for parent in parents[name] if parent not in finish]
        if waiting:
            todo += waiting
        else:
            todo.pop()
            finish[name] = seconds[name] + max((finish[parent] for parent in parents[name]), default=0.0)
    return max(*finish.values(), sum(seconds.values()) / places)


def convert(tasks: list[tuple[str, list[str], float]], scale: float) -> dict[str, Any]:
    """A workflow file in which every task sleeps its run time times `scale`."""
    return {
        "max_parallel": PLACES,
        "tasks": {name: {"argv": ["sleep", f"{taken * scale:.4f}"], "needs": needs} for name, needs, taken in tasks},
    }


def check_order(run: dict[str, Any], tasks: list[tuple[str, list[str], float]]) -> None:
    def at(name: str, key: str) -> datetime:
        return datetime.fromisoformat(run["tasks"][name][key])

    for name, needs, _ in tasks:
        assert run["tasks"][name]["state"] == "succeeded", name
        for parent in needs:
            assert at(parent, "ended_at") <= at(name, "started_at"), f"{name} began before {parent} had ended"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=30.0, help="scale each graph to about this lower bound")
    parser.add_argument("--only", default="", help="only files whose name contains this")
    options = parser.parse_args()
    files = [
        path
        for path in sorted(options.folder.glob("*.json"))
        if path.name != "index.json" and options.only in path.name
    ]
    with daemon(max_tasks=PLACES) as bench:
        for path in files:
            tasks = read(path)
            scale = options.seconds / max(lower_bound_s(tasks, PLACES), 1e-9)
            bound = lower_bound_s(tasks, PLACES) * scale
            bench.install(graph=convert(tasks, scale))
            run = bench.run("graph")
            check_order(run, tasks)
            times = wall_s(run) / bound
            figure = f"{path.stem}: {len(tasks):,} tasks in {wall_s(run):.1f} s, {times:.3f} times the lower bound"
            say("wf", figure, "1.1", met=times <= 1.1)


if __name__ == "__main__":
    main()
