"""Deliveries to hooks: bytes as they came go to the daemon, which looks at the proof before it looks into them.

Whoever sends one is nobody here: the signature is all that speaks for him. What is unknown, disabled and badly signed
is answered with the same words, after the same time.
"""

from __future__ import annotations

import anyio
from starlette.responses import JSONResponse, Response

from pyflowd.errors import Forbidden, NotFound
from pyflowd.protocol.requests import DeliverHook
from pyflowd.protocol.views_workflows import HookAnswer, HookView
from pyflowd.protocol.words import Level
from pyflowd.web import troubles
from pyflowd.web.call import Call
from pyflowd.web.guard import Wrong
from pyflowd.web.peer import address
from pyflowd.web.routes import Kind, Route

BODY_MAX = 1_000_000
"""As the daemon takes it: with headers it fits one frame of the protocol."""
REFUSED_S = 0.25
"""From the end of the body to a refusal: longer than looking for secrets takes."""
THREADS = 4
"""Of those that wait for the daemon: deliveries leave room for pages."""
BURST, PER_S = 60, 5.0
"""Deliveries of one address to one hook at once, and how many more each second."""
BURST_OF_ADDRESS, PER_S_OF_ADDRESS = 240, 20.0
"""Of one address to all of them."""
NAME_MAX = 64
_NO = Wrong(404, "there is no such hook, or the delivery does not prove where it comes from")


def too_many(call: Call) -> Response | None:
    """Before the body is read."""
    web = call.http.app.state.web
    sender, name = address(call.http, web.settings), call.path["name"][:NAME_MAX]
    wait_s = max(
        web.rates.take(f"hooks {sender}", BURST_OF_ADDRESS, PER_S_OF_ADDRESS),
        web.rates.take(f"hook {sender} {name}", BURST, PER_S),
    )
    if not wait_s:
        return None
    response = troubles.wrong(ROUTES[0], Wrong(429, f"too many deliveries; send it again in {wait_s} s"))
    response.headers["Retry-After"] = str(wait_s)
    return response


async def deliver(call: Call) -> Response:
    """202 with the runs after their commit; 200 where it starts none, or has come before."""
    refused_at = anyio.current_time() + REFUSED_S
    web = call.http.app.state.web
    try:
        if not web.settings.hooks:
            raise NotFound(_NO.message)
        answer: Response = await web.in_thread(lambda: _delivered(call), threads=THREADS, of="hooks")
        return answer
    except (Forbidden, NotFound):
        await anyio.sleep_until(refused_at)
        return troubles.wrong(ROUTES[0], _NO)


def _delivered(call: Call) -> Response:
    request = DeliverHook(
        hook=call.path["name"], method=call.http.method, headers=_headers(call), query=call.query, body=call.body
    )  # fmt: skip
    view = call.one(HookView, request)
    told = [_told(answer) for answer in view.answers]
    runs = [answer.run for answer in view.answers if answer.run is not None]
    is_new = any(answer.run is not None and not answer.again for answer in view.answers)
    return JSONResponse({"runs": runs, "answers": told}, 202 if is_new else 200)


def _told(answer: HookAnswer) -> dict[str, object]:
    """Nothing of the workflow: whoever sends a delivery knows the hook."""
    return {"fate": answer.fate.value, "reason": answer.reason, "run": answer.run, "again": answer.again}


def _headers(call: Call) -> dict[str, str]:
    """Of a header that comes several times all, as HTTP lets them be joined."""
    found: dict[str, str] = {}
    for name, value in call.http.headers.items():
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


ROUTES = [Route("/hooks/{name}", deliver, Kind.HOOK, Level.NONE, "POST", BODY_MAX, before=too_many)]
