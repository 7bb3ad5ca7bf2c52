"""The installation, and what an administrator does with it."""

from __future__ import annotations

from typing import TypeVar

from starlette.responses import Response

from pyflowd.errors import Forbidden, UsageError
from pyflowd.protocol.requests import (
    CancelBackfill,
    DrainHost,
    GetHealth,
    GetHost,
    ListAudit,
    ListBackfills,
    ListNotifications,
    ListPlaces,
    ListSecrets,
    Request,
)
from pyflowd.protocol.tokens import ListTokens, RevokeToken, TokenPage, TokenView
from pyflowd.protocol.views_host import (
    AuditPage,
    DrainView,
    HealthView,
    HostView,
    NotificationPage,
    PlacePage,
    SecretPage,
)
from pyflowd.protocol.views_runs import BackfillPage, BackfillView
from pyflowd.protocol.words import Level
from pyflowd.web.call import Call
from pyflowd.web.numbers import whole
from pyflowd.web.pages import system as page
from pyflowd.web.pages.words import several
from pyflowd.web.routes import Kind, Route

ROWS = 20
T = TypeVar("T")


def show(call: Call) -> Response:
    return call.page("system.html", shown=_shown(call))


def fragment(call: Call) -> Response:
    """All of the page below its frame."""
    return call.fragment("fragments/system.html", shown=_shown(call))


def _shown(call: Call) -> page.System:
    audit = _allowed(call, AuditPage, ListAudit(limit=ROWS))
    health = _allowed(call, HealthView, GetHealth())
    secrets = _allowed(call, SecretPage, ListSecrets())
    facts = page.Facts(
        host=call.one(HostView, GetHost()), health=health[0] if health else None,
        places=[view for found in call.every(PlacePage, ListPlaces()) for view in found.places],
        notifications=[
            view
            for found in call.every(NotificationPage, ListNotifications(limit=ROWS))
            for view in found.notifications
        ],
        backfills=[view for found in call.every(BackfillPage, ListBackfills(limit=ROWS)) for view in found.backfills],
        tokens=[view for found in call.every(TokenPage, ListTokens()) for view in found.tokens],
        audit=None if audit is None else [view for found in audit for view in found.records],
        secrets=None if secrets is None else _whole(secrets),
    )  # fmt: skip
    return page.system(
        facts, call.times, call.identity.may_operate, is_admin=call.is_admin, token=call.identity.token
    )  # fmt: skip


def _allowed(call: Call, kind: type[T], request: Request) -> list[T] | None:
    """None for who may not ask it."""
    try:
        return call.every(kind, request)
    except Forbidden:
        return None


def _whole(pages: list[SecretPage]) -> SecretPage:
    return SecretPage(
        secrets=[view for found in pages for view in found.secrets],
        notes=[note for found in pages for note in found.notes],
    )


def drain(call: Call) -> Response:
    view = call.one(DrainView, DrainHost(drained=True))
    at_work = f"; {several(view.active, 'task')} still at work" if view.active else "; nothing is at work"
    return call.back(f"Recorded: the host is drained, no task starts{at_work}")


def undrain(call: Call) -> Response:
    call.one(DrainView, DrainHost(drained=False))
    return call.back("Recorded: tasks start again")


def revoke(call: Call) -> Response:
    view = call.one(TokenView, RevokeToken(token=_number(call, "token")))
    return call.back(f"Recorded: {view.sort} {view.token} of {view.account} is revoked")


def cancel_backfill(call: Call) -> Response:
    view = call.one(BackfillView, CancelBackfill(backfill=_number(call, "backfill")))
    return call.back(f"Recorded: backfill {view.backfill} of {view.workflow} is cancelled")


def _number(call: Call, what: str) -> int:
    """Of the path. Raises UsageError."""
    number = whole(call.path[what])
    if not number:  # 0 would mean the session that asks
        raise UsageError(f'"{call.path[what]}" is no {what}: they have numbers')
    return number


ROUTES = [
    Route("/system", show, Kind.PAGE, Level.READ),
    Route("/fragment/system", fragment, Kind.FRAGMENT, Level.READ),
    Route("/system/drain", drain, Kind.ACTION, Level.ADMIN, "POST"),
    Route("/system/undrain", undrain, Kind.ACTION, Level.ADMIN, "POST"),
    Route("/system/tokens/{token}/revoke", revoke, Kind.ACTION, Level.READ, "POST"),
    Route("/system/backfills/{backfill}/cancel", cancel_backfill, Kind.ACTION, Level.OPERATE, "POST"),
]
