"""What a run of the fault suite counted, and the table that tells it. It knows nothing of faults."""

from __future__ import annotations

import statistics
from typing import Any

from msgspec import Struct, to_builtins

COUNTS = ("trials", "acknowledged", "lost", "doubled", "invented", "unknown", "survivors")
HEADS = ("trials", "acked", "lost", "doubled", "invented", "unknown", "survivors", "back p50", "back max")


class Figures(Struct, kw_only=True):
    """Of one fault. A count that a fault says nothing about stays None; `back_s`: from the fault to the next answer."""

    fault: str
    trials: int = 0
    acknowledged: int | None = None
    lost: int | None = None
    doubled: int | None = None
    invented: int | None = None
    unknown: int | None = None
    survivors: int | None = None
    back_s: list[float] = []
    note: str = ""

    def plain(self) -> dict[str, Any]:
        found: dict[str, Any] = to_builtins(self)
        return found


def merge(all_figures: list[Figures]) -> list[Figures]:
    """One row for each fault, in the order in which they came first."""
    rows: dict[str, Figures] = {}
    for one in all_figures:
        row = rows.setdefault(one.fault, Figures(fault=one.fault, back_s=[]))
        for name in COUNTS:
            values = [value for value in (getattr(row, name), getattr(one, name)) if value is not None]
            setattr(row, name, sum(values) if values else None)
        row.back_s = row.back_s + one.back_s
        row.note = "; ".join(dict.fromkeys(note for note in (*row.note.split("; "), one.note) if note))
    return list(rows.values())


def table(all_figures: list[Figures]) -> str:
    """For people: a row for each fault, a line for all of them, then what else is worth a word."""
    rows = merge(all_figures)
    total = merge([Figures(**{**row.plain(), "fault": "in all", "note": "", "back_s": row.back_s}) for row in rows])
    width = max((len(row.fault) for row in rows), default=0)
    lines = ["  ".join([" " * width, *(head.rjust(9) for head in HEADS)])]
    for row in [*rows, *total]:
        cells = [_count(getattr(row, name)) for name in COUNTS]
        back = [f"{statistics.median(row.back_s):.2f} s", f"{max(row.back_s):.2f} s"] if row.back_s else ["-", "-"]
        lines.append("  ".join([row.fault.ljust(width), *(cell.rjust(9) for cell in (*cells, *back))]))
    notes = [f"{row.fault}: {row.note}" for row in rows if row.note]
    return "\n".join([*lines, "", *notes]) + "\n"


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
