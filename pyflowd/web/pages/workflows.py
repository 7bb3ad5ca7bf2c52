"""The list of workflows: found by words, labels and states, fifty to a page. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from pyflowd.protocol.figures import OutcomesView
from pyflowd.protocol.views_workflows import WorkflowView
from pyflowd.web.drawing import link_to
from pyflowd.web.numbers import whole
from pyflowd.web.pages import workflow_rows
from pyflowd.web.pages.filters import Chip, chips
from pyflowd.web.pages.words import capital, several
from pyflowd.web.pages.workflow_rows import Sort, WorkflowRow, workflow_row
from pyflowd.web.times import Times, counted

PAGE = 50
LABELS = 40
STATES = (
    "active", "paused", "stale", "broken", "disabled", "running", "approval", "failed", "succeeded", "cancelled",
    "never_ran",
)  # fmt: skip


class Asked(Struct, frozen=True, kw_only=True):
    """Of the address. What nobody offers is taken as it is: it finds nothing."""

    q: str = ""
    label: str = ""
    state: str = ""
    sort: Sort = Sort.ATTENTION
    page: int = 1


class Workflows(Struct, frozen=True, kw_only=True):
    heading: str
    lede: str
    asked: Asked
    chips: list[Chip]
    labels: list[str]
    """That workflows have; the most frequent."""
    found: str
    rows: list[WorkflowRow]
    notes: list[str]
    """What of the folder is ignored or held."""
    older: str
    """Address of the next page; empty: this is the last."""
    newer: str
    empty: bool
    """There is no workflow at all."""


def asked(query: Mapping[str, str]) -> Asked:
    sort = query.get("sort", "")
    return Asked(
        q=query.get("q", "").strip(), label=query.get("label", ""), state=query.get("state", ""),
        sort=Sort(sort) if sort in set(Sort) else Sort.ATTENTION,
        page=max(1, min(10_000, whole(query.get("page", "")) or 1)),
    )  # fmt: skip


def chosen(views: Sequence[WorkflowView], wish: Asked) -> list[WorkflowView]:
    """All that match, in order."""
    found = (v for v in views if workflow_rows.matches(v, q=wish.q, label=wish.label, state=wish.state))
    return workflow_rows.ordered(found, wish.sort)


def of_page(found: Sequence[WorkflowView], wish: Asked) -> list[WorkflowView]:
    return list(found[(wish.page - 1) * PAGE : wish.page * PAGE])


def workflows(
    views: Sequence[WorkflowView],
    outcomes: Mapping[str, OutcomesView],
    notes: Sequence[str],
    wish: Asked,
    times: Times,
) -> Workflows:
    found = chosen(views, wish)
    shown = of_page(found, wish)
    kept = {"q": wish.q, "label": wish.label, "state": wish.state, "sort": _sort(wish)}
    first = (wish.page - 1) * PAGE
    return Workflows(
        heading=heading(views), lede=", ".join(f"{n:,} {state}" for state, n in workflow_rows.counts(views).items()),
        asked=wish, chips=chips("workflows", kept, {"q": "find", "label": "label", "state": "state"}),
        labels=_labels(views),
        found=_found(len(found), len(views), first, len(shown)),
        rows=[workflow_row(view, outcomes.get(view.workflow), times) for view in shown], notes=list(notes),
        older=link_to("workflows", **kept, page=wish.page + 1) if first + PAGE < len(found) else "",
        newer=link_to("workflows", **kept, page=wish.page - 1) if wish.page > 1 else "", empty=not views,
    )  # fmt: skip


def _sort(wish: Asked) -> str:
    return "" if wish.sort is Sort.ATTENTION else wish.sort.value


def heading(views: Sequence[WorkflowView]) -> str:
    """One sentence about the present."""
    if not views:
        return "No workflow yet"
    wrong = sum(map(workflow_rows.is_wrong, views))
    if wrong:
        return f"{capital(several(wrong, 'workflow'))} of {len(views):,} need{'s' if wrong == 1 else ''} you"
    return f"{counted(len(views), 'workflow')}, nothing wrong with {'it' if len(views) == 1 else 'any'}"


def _found(found: int, total: int, first: int, shown: int) -> str:
    if not shown:
        return f"none of {total:,}"
    span = f"{first + 1:,} to {first + shown:,} of " if shown < found else ""
    return f"{span}{counted(found, 'workflow')}" + ("" if found == total else f" of {total:,}")


def _labels(views: Sequence[WorkflowView]) -> list[str]:
    counts: dict[str, int] = {}
    for view in views:
        for label in workflow_rows.label_texts(view):
            counts[label] = counts.get(label, 0) + 1
    return sorted(sorted(counts, key=lambda label: -counts[label])[:LABELS])
