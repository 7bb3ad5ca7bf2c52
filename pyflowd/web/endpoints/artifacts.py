"""Files kept with a run, to be saved."""

from __future__ import annotations

from starlette.responses import Response

from pyflowctl.client import OpenArtifact
from pyflowd.errors import UsageError
from pyflowd.protocol.requests import GetArtifact
from pyflowd.protocol.words import Level
from pyflowd.web.call import Call
from pyflowd.web.endpoints.actions import run_number
from pyflowd.web.endpoints.sending import ranged
from pyflowd.web.routes import Kind, Route


def download(call: Call) -> Response:
    task, name = call.query.get("task", ""), call.query.get("name", "")
    if not (task and name):
        raise UsageError("say which artifact: task=TASK and name=NAME")
    opened = call.one(OpenArtifact, GetArtifact(of=str(run_number(call)), task=task, name=name))
    return ranged(
        call, opened.fd, 0, opened.artifact.size_bytes, media_type="application/octet-stream",
        disposition="attachment", name=opened.artifact.name,
    )  # fmt: skip


ROUTES = [Route("/runs/{run}/artifact", download, Kind.PAGE, Level.READ)]
