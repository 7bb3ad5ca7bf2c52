"""How a definition changes: what happened when a text came into force, or a workflow went, as it is kept (rule D1).

A row of `definition_change` is written in the turn in which the change takes effect. It knows nothing of files: what
changed is read off the two texts.
"""

from __future__ import annotations

from enum import StrEnum

from pyflowd.language.definition_text import Role, by_place
from pyflowd.store.batch import Batch
from pyflowd.store.store import Store


class Change(StrEnum):
    """What happened to the definition of a workflow."""

    ADDED = "added"
    """There was none of this name before."""
    EDITED = "edited"
    TEMPLATE = "template_changed"
    DROP_IN = "drop_in_changed"
    OWNER = "owner_changed"
    """The same text belongs to somebody else, as whom its tasks run."""
    RESTORED = "restored"
    """A text is back that was in force before another one."""
    RETURNED = "returned"
    """Its file had been removed."""
    REMOVED = "removed"


def record_loaded(
    store: Store, batch: Batch, now_us: int, workflow: str, file: str, digest: str, text: bytes, before: str | None
) -> Change:
    """Write down that `text` comes into force in place of the one whose digest is `before`; what this is."""
    change, detail = _change(store, workflow, digest, text, before)
    batch.add("definition_change", workflow, now_us, change, file, digest, detail)
    return change


def record_removed(batch: Batch, now_us: int, workflow: str, file: str) -> None:
    batch.add("definition_change", workflow, now_us, Change.REMOVED, file, None, "")


def _change(store: Store, workflow: str, digest: str, text: bytes, before: str | None) -> tuple[Change, str]:
    if before is None:
        known = store.one_or_none("change_known", workflow)
        return (Change.RETURNED if known else Change.ADDED), ""
    row = store.one_or_none("definition", before)
    if row is None:  # it came into force in this very turn
        return Change.EDITED, ""
    change, detail = difference(row[0], text)
    return (Change.RESTORED if store.one_or_none("change_of_text", workflow, digest) else change), detail


def difference(old: bytes, new: bytes) -> tuple[Change, str]:
    """What of a definition is another, and which of its parts: a change of the workflow's own file counts for most."""
    before, after = by_place(old), by_place(new)
    changed = {
        place: _happened(place in before, place in after)
        for place in {**before, **after}
        if before.get(place) != after.get(place)
    }
    others = {place: what for place, what in changed.items() if place[0] is not Role.WORKFLOW}
    detail = ", ".join(f"{role} {label} {what}" for (role, label), what in others.items())
    if len(others) == len(changed) > 0:
        if all(role is Role.OWNER for role, _ in others):
            return Change.OWNER, detail
        is_template = any(role is Role.TEMPLATE for role, _ in others)
        return (Change.TEMPLATE if is_template else Change.DROP_IN), detail
    return Change.EDITED, detail


def _happened(was: bool, is_there: bool) -> str:
    if was and is_there:
        return "changed"
    return "added" if is_there else "removed"
