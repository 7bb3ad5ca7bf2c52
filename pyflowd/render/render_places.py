"""The places that runs share, as text. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pyflowd.protocol.views_host import HolderView, PlaceView
from pyflowd.render.layout import Cell, clean

FEW = 3


def place_header() -> list[Cell]:
    return [*map(Cell, ("PLACE", "NAME")), Cell("IN USE", right=True), *map(Cell, ("HELD BY", "WAITING"))]


def place_rows(views: Sequence[PlaceView]) -> list[list[Cell]]:
    """Sort, name, units in use, who holds them, who waits."""
    return [
        [
            Cell(view.sort),
            Cell(clean(view.name)),
            Cell(f"{view.used} of {view.size}", right=True),
            Cell(_told(view.holders, len(view.holders))),
            Cell(_told(view.waiting, view.waiting_total)),
        ]
        for view in views
    ]


def _told(some: Sequence[HolderView], total: int) -> str:
    few = ", ".join(_holder(each) for each in some[:FEW])
    return few + (f" and {total - FEW} more" if total > FEW else "")


def _holder(view: HolderView) -> str:
    return (f"{view.run} " if view.run else "") + clean(view.workflow) + _task(view)


def _task(view: HolderView) -> str:
    return f"/{clean(view.task)}" if view.task else ""
