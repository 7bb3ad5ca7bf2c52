"""The request for the record of who changed what. See `handlers` for when what is done."""

from __future__ import annotations

from typing import Any

import msgspec

from pyflowd.base.peer import Peer
from pyflowd.control.replies import Replies
from pyflowd.protocol.requests import ListAudit
from pyflowd.protocol.views_host import AuditPage, AuditView
from pyflowd.store.store import Row, Store

PAGE = 200
_NUMBER_MAX = (1 << 63) - 1
_asked = msgspec.json.Decoder(dict[str, Any]).decode


class AuditHandlers:
    """Part of `Handlers`."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def records(self, request: ListAudit, _: Peer) -> Replies:
        """A page is read as it is pulled, whole."""
        name, of = "audit", list[str]()
        for word, asked in (("user", request.user), ("workflow", request.workflow)):
            if asked:
                name, of = f"{name}_of_{word}", [*of, asked]
        before, left, since_us = _NUMBER_MAX, request.limit, request.since_us or 0
        while left > 0 and (rows := list(self.store.rows(name, before, since_us, min(left, PAGE), *of))):
            yield AuditPage(records=[_view(row) for row in rows])
            before, left = rows[-1][0], left - len(rows)
        if left == request.limit:
            yield AuditPage(records=[])


def _view(row: Row) -> AuditView:
    audit, at_us, user, uid, pid, request, workflow, run, asked, result, left_out, token = row
    return AuditView(
        audit=audit, at_us=at_us, user=user, uid=uid, pid=pid, request=request, workflow=workflow, run=run,
        asked=_asked(asked), result=result, left_out=left_out, token=token,
    )  # fmt: skip
