"""Which workflows name groups of their own, and which: `visible_to`, `operate_by`.

The newest definition decides, and goes on to when its file is gone: what was hidden stays so with its history. Only
workflows that name groups are kept. It knows nothing of who asks; that is judged in `handlers.access`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pyflowd.store.batch import Batch
from pyflowd.store.store import Store

_SEPARATOR = " "
"""No name of a group has it."""


class Groups(NamedTuple):
    """Names of Unix groups, as a definition has them; empty: it says nothing."""

    visible_to: tuple[str, ...] = ()
    operate_by: tuple[str, ...] = ()


class Rights:
    """Part of a turn: what is put is in its commit."""

    def __init__(self, store: Store, batch: Callable[[], Batch]) -> None:
        self._batch = batch
        self.of: dict[str, Groups] = {
            name: Groups(tuple(visible_to.split()), tuple(operate_by.split()))
            for name, visible_to, operate_by in store.rows("rights")
        }

    def put(self, workflow: str, groups: Groups) -> None:
        """What the newest definition of a workflow says."""
        if self.of.get(workflow, Groups()) == groups:
            return
        if groups == Groups():
            del self.of[workflow]
            self._batch().add("rights_remove", workflow)
        else:
            self.of[workflow] = groups
            self._batch().add("rights", workflow, *map(_SEPARATOR.join, groups))
