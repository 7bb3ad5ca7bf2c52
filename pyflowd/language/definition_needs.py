"""How tasks of one section of a definition hang together: every need names one of them, and none waits for itself.

It reads the needs as they are written, of tasks that are wrong otherwise too.
"""

from __future__ import annotations

from typing import Any

from pyflowd.base import graph
from pyflowd.language import fields
from pyflowd.language.document import Mapping, Sequence, quote
from pyflowd.language.fields import Report
from pyflowd.model.states import is_name

Needs = dict[str, tuple[str, ...]]
"""Task to its direct needs, as written."""


def check_needs(written: Mapping, report: Report) -> Needs:
    """The needs of all tasks of `written`; what is wrong with them goes to the report."""
    names = tuple(written)
    needs = {name: _needs(task) for name, task in written.items()}
    above: set[str] = set()
    in_order = True  # as most files are written: each task below those that it needs
    for name, direct in needs.items():
        if not above.issuperset(direct):
            in_order = False
            for need in direct:
                if need not in written and is_name(need):  # what is no name is reported already
                    message = f"needs of {name}: there is no task {quote(need)}{fields.suggest(need, names)}"
                    report.add(_need_mark(written[name], need), "unknown_need", message)
        if len(set(direct)) < len(direct):
            mark = written[name].value_mark("needs")
            report.add(mark, "needs_twice", "needs: a task is named twice", "once is enough", warning=True)
        above.add(name)
    cycle = None if in_order else graph.find_cycle(needs)
    if cycle:
        message = f"the tasks wait for each other: {graph.show_cycle(cycle)}"
        report.add(written[cycle[0]].value_mark("needs"), "cycle", message, "take one of these needs out")
    return needs


def _needs(task: Any) -> tuple[str, ...]:
    """The needs of a task as written, those that are text."""
    value = task.get("needs", ()) if task.__class__ is Mapping else ()
    if value.__class__ is str:
        return (value,)
    return tuple(need for need in value if need.__class__ is str) if value.__class__ is Sequence else ()


def _need_mark(task: Mapping, need: str) -> int:
    needs = task["needs"]
    return needs.marks[needs.index(need)] if isinstance(needs, Sequence) else task.value_mark("needs")
