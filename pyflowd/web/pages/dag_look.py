"""What of a graph is looked at, as an address says it, and the addresses of other looks. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from msgspec import Struct

from pyflowd.web.numbers import whole

ZOOMS = ("full", "names", "blocks")
"""Full boxes, names only, and blocks of 10 by 6 pixels with a state."""


class Asked(Struct, frozen=True, kw_only=True):
    """What of the graph is looked at: the state of a view, as it stands in its address."""

    task: str = ""
    """Selected."""
    open: tuple[str, ...] = ()
    """Keys of folds that are open; `*`: all."""
    zoom: str = ""
    """One of `ZOOMS`; empty: what fits."""
    only: str = ""
    """`bad`: what failed and what led there; `all`; empty: what the size suggests."""
    band: int | None = None
    """Of a large graph, to begin with; None: where the selected task is."""
    view: str = "graph"
    """Or `list`."""
    rows: str = ""
    """`all`: of a long list."""
    whole: bool = False
    """Every task a box of its own, all of them sent."""


class Links(Struct, frozen=True, kw_only=True):
    of: str
    """A workflow's name, or a run's number: as GetGraph has it."""
    page: str
    """The address of the page, without its query."""
    query: Mapping[str, str] = {}
    anchor: str = ""
    """Of a task's link, `#task` for instance."""

    def changed(self, **changes: str) -> str:
        asked = {name: value for name, value in {**self.query, **changes}.items() if value}
        return f"{self.page}?{urlencode(asked)}" if asked else self.page

    def task(self, name: str) -> str:
        return self.changed(task=name, item="", attempt="") + self.anchor


def asked(query: Mapping[str, str]) -> Asked:
    """From an address; what is no word of ours is passed over."""
    return Asked(
        task=query.get("task", ""),
        open=tuple(key for key in query.get("open", "").split(",") if key),
        zoom=query.get("zoom", "") if query.get("zoom") in ZOOMS else "",
        only=query.get("only", "") if query.get("only") in ("bad", "all") else "",
        band=whole(query.get("band", "")),
        view="list" if query.get("view") == "list" else "graph",
        rows=query.get("rows", ""),
    )


def zoom_of(look: Asked, *, large: bool) -> str:
    return look.zoom or ("names" if large else "full")
