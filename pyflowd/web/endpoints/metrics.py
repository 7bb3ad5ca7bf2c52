"""`/metrics` for Prometheus: what the token that it shows may know, or next to nothing without one."""

from __future__ import annotations

from starlette.responses import Response

from pyflowd.errors import NotFound
from pyflowd.protocol.figures import GetMetrics, MetricsView
from pyflowd.protocol.requests import GetVersion
from pyflowd.protocol.words import Level
from pyflowd.web import guard, troubles
from pyflowd.web.call import Call
from pyflowd.web.exposition import exposition
from pyflowd.web.routes import Kind, Route


def metrics(call: Call) -> Response:
    settings = call.http.app.state.web.settings
    if not settings.metrics:
        raise NotFound("there are no metrics: metrics in web.yaml says false")
    if not call.token and not settings.metrics_token:
        call.ask(GetVersion())
        view = None
    elif not call.token or guard.identity_wrong(call.identity, ROUTES[0]) is not None:
        return troubles.stranger(ROUTES[0], call)
    else:
        view = call.one(MetricsView, GetMetrics())
    text, content_type = exposition(view, call.http.headers.get("accept", ""))
    return Response(text, headers={"Content-Type": content_type})


ROUTES = [Route("/metrics", metrics, Kind.API, Level.NONE)]
"""Level NONE: without a token there is an answer where the settings say so."""
