"""Every route there is: the one table, put together from what the endpoints declare.

A page that is to be left out is two lines less here.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyflowd.web.endpoints import (
    actions,
    api,
    artifacts,
    dag,
    edit,
    events,
    hooks,
    login,
    logs,
    metrics,
    overview,
    run,
    runs,
    slots,
    start,
    system,
    workflow,
    workflows,
)
from pyflowd.web.routes import Route

_ALL = (
    login.ROUTES,
    actions.ROUTES,
    events.ROUTES,
    run.ROUTES,
    logs.ROUTES,
    artifacts.ROUTES,
    overview.ROUTES,
    workflows.ROUTES,
    runs.ROUTES,
    slots.ROUTES,
    system.ROUTES,
    hooks.ROUTES,
    metrics.ROUTES,
    api.ROUTES,
    start.ROUTES,
    workflow.ROUTES,
    dag.ROUTES,
    edit.ROUTES,
)


def table() -> Sequence[Route]:
    return [route for routes in _ALL for route in routes]
