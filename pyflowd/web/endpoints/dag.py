"""Pieces of a graph that is too large to be sent whole, and where its tasks are."""

from __future__ import annotations

from msgspec.structs import replace
from starlette.responses import JSONResponse, Response

from pyflowd.protocol.requests import GetGraph
from pyflowd.protocol.views_workflows import GraphView
from pyflowd.protocol.words import Level
from pyflowd.web.call import Call
from pyflowd.web.drawing import link_to
from pyflowd.web.pages import dag
from pyflowd.web.routes import Kind, Route


def links(call: Call, of: str) -> dag.Links:
    """Of a box, to the page that shows the graph."""
    page = link_to("runs" if of.isdigit() else "workflows", of)
    kept = {name: value for name, value in call.query.items() if name != "band"}
    return dag.Links(of=of, page=page, query=kept)


def band(call: Call) -> Response:
    """The band of ranks that `band` names, as a drawing with nothing else in it."""
    of = call.path["of"]
    view = call.one(GraphView, GetGraph(of=of))
    look = dag.asked(call.query)
    graph = dag.draw(view.tasks, call.times, replace(look, band=look.band or 0), links(call, of))
    return call.fragment("fragments/dag_band.html", graph=graph)


def places(call: Call) -> Response:
    """Every box: `[key, names of tasks, x, y, keys that it needs]`."""
    of = call.path["of"]
    view = call.one(GraphView, GetGraph(of=of))
    return JSONResponse(dag.places(view.tasks, dag.asked(call.query)))


ROUTES = [
    Route("/fragment/dag/{of}", band, Kind.FRAGMENT, Level.READ),
    Route("/fragment/dag/{of}/places", places, Kind.FRAGMENT, Level.READ),
]
