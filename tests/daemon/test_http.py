"""HTTP tasks run by the daemon, against a server on loopback in this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from tests.daemon.instance import Instance
from tests.unit.web import Handler, Seen, Web, web
from tests.waiting import wait_until

_numbers = count(1)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One daemon for the tests of this file that a worker runs; each test has workflows of its own."""
    made = Instance(tmp_path_factory.mktemp("http") / "root")
    try:
        made.start()
        yield made
        assert "Traceback" not in made.log_text()
    finally:
        made.end()


@pytest.fixture
def server() -> Iterator[Web]:
    with web() as made:
        yield made


def start(instance: Instance, definition: dict[str, Any]) -> int:
    name = f"w{next(_numbers)}"
    instance.install(f"{name}.yaml", json.dumps(definition))
    return instance.run(name)


def task(instance: Instance, request: Any, **more: Any) -> Any:
    """The ended task of a workflow of one."""
    run = start(instance, {"tasks": {"t": {"http": request, **more}}})
    return instance.wait_run(run)["tasks"]["t"]


class Answers:
    """A route that gives one status after the other, the last one for ever."""

    def __init__(self, *statuses: int, **headers: str) -> None:
        self._statuses = list(statuses)
        self._headers = headers

    def __call__(self, handler: Handler, seen: Seen) -> None:
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        handler.json({"status": status}, status, **self._headers)


QUICK = {"attempts": 5, "delay": "10ms", "jitter": "none"}


def test_an_answer_is_the_outputs_of_its_task(daemon: Instance, server: Web) -> None:
    server.routes["/a"] = lambda handler, seen: handler.json({"n": 42})
    ended = task(daemon, f"{server.url}/a")
    assert ended["state"] == "succeeded"
    assert ended["outputs"]["body"] == {"n": 42}
    assert ended["outputs"]["status"] == 200


def test_a_server_that_recovers_is_asked_until_it_does(daemon: Instance, server: Web) -> None:
    server.routes["/a"] = Answers(503, 503, 200)
    ended = task(daemon, f"{server.url}/a", retry=QUICK)
    assert (ended["state"], ended["attempts"]) == ("succeeded", 3)
    assert len(server.seen) == 3


def test_what_is_not_found_is_asked_for_once(daemon: Instance, server: Web) -> None:
    ended = task(daemon, f"{server.url}/nothing", retry=QUICK)
    assert (ended["state"], ended["attempts"]) == ("failed", 1)
    assert "404" in ended["error"]


def test_the_task_may_name_what_is_tried_again(daemon: Instance, server: Web) -> None:
    server.routes["/a"] = Answers(404, 200)
    assert task(daemon, f"{server.url}/a", retry={**QUICK, "on_status": [404]})["attempts"] == 2


def test_the_wait_that_a_server_asks_for_is_kept(daemon: Instance, server: Web) -> None:
    server.routes["/a"] = Answers(429, 200, Retry_After="1")
    run = start(daemon, {"tasks": {"t": {"http": f"{server.url}/a", "retry": QUICK}}})
    assert daemon.wait_run(run)["state"] == "succeeded"
    events = daemon.status(run)
    assert events["tasks"]["t"]["attempts"] == 2


def test_all_attempts_carry_one_idempotency_key(daemon: Instance, server: Web) -> None:
    server.routes["/a"] = Answers(503, 200)
    request = {"url": f"{server.url}/a", "method": "POST", "json": {}, "idempotency_key": "auto"}
    assert task(daemon, request, retry=QUICK)["state"] == "succeeded"
    first, second = (seen.headers["idempotency-key"] for seen in server.seen)
    assert first == second


def test_a_body_goes_from_a_task_to_the_next(daemon: Instance, server: Web) -> None:
    server.routes["/all"] = lambda handler, seen: handler.json({"ids": [1, 2]})
    server.routes["/post"] = lambda handler, seen: handler.json(json.loads(seen.body))
    definition = {
        "tasks": {
            "all": {"http": f"{server.url}/all"},
            "post": {
                "needs": "all",
                "http": {
                    "url": f"{server.url}/post",
                    "method": "POST",
                    "json": {"ids": "${{ tasks.all.outputs.body.ids }}"},
                },
            },
        }
    }
    ended = daemon.wait_run(start(daemon, definition))
    assert ended["tasks"]["post"]["outputs"]["body"] == {"ids": [1, 2]}


def test_a_timeout_ends_a_request_that_drips(daemon: Instance, server: Web) -> None:
    server.routes["/slow"] = lambda handler, seen: handler.drip(b"HTTP/1.1 200 OK\r\n\r\n")
    ended = task(daemon, f"{server.url}/slow", timeout="300ms")
    assert (ended["state"], ended["reason"]) == ("failed", "timeout")


def test_a_cancel_ends_a_request_at_once(daemon: Instance, server: Web) -> None:
    asked = threading.Event()

    def slow(handler: Handler, seen: Seen) -> None:
        asked.set()
        handler.drip(b"HTTP/1.1 200 OK\r\n\r\n")

    server.routes["/slow"] = slow
    run = start(daemon, {"tasks": {"t": {"http": f"{server.url}/slow"}}})
    assert asked.wait(20)
    daemon.ctl("cancel", run)
    assert daemon.wait_run(run)["state"] == "cancelled"


def test_the_log_has_a_line_for_each_request(daemon: Instance, server: Web) -> None:
    server.routes["/a"] = lambda handler, seen: handler.answer(302, Location="/b?token=hush")
    server.routes["/b"] = lambda handler, seen: handler.answer(200, b"ok")
    run = start(daemon, {"tasks": {"t": {"http": f"{server.url}/a"}}})
    daemon.wait_run(run)
    lines = daemon.ctl("logs", run, "--raw").stdout.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["GET", f"{server.url}/a", "302:"],
        ["GET", f"{server.url}/b?token=***", "200:"],
    ]


def test_what_is_under_way_when_the_daemon_stops_is_drained(instance: Instance, server: Web) -> None:
    asked, go = threading.Event(), threading.Event()

    def slow(handler: Handler, seen: Seen) -> None:
        asked.set()
        go.wait(20)
        handler.json("done")

    server.routes["/slow"] = slow
    instance.start()
    instance.install("later.yaml", "tasks: {t: {run: 'true'}}")
    run = start(instance, {"tasks": {"t": {"http": {"url": f"{server.url}/slow", "method": "POST"}}}})
    assert asked.wait(20)
    instance.process.terminate()  # type: ignore[union-attr]
    wait_until(lambda: "requests under way are waited for" in instance.ctl("status").stdout, "it says that it stops")
    later = instance.run("later")
    go.set()
    assert instance.wait_dead() == 0
    instance.start()
    assert instance.wait_run(run)["state"] == "succeeded"
    assert len(server.seen) == 1
    assert instance.wait_run(later)["state"] == "succeeded", "what was recorded meanwhile is started by the next daemon"


@pytest.mark.parametrize(("method", "state", "asked"), [("GET", "succeeded", 2), ("POST", "failed", 1)])
def test_after_a_kill_only_what_is_safe_is_sent_again(
    instance: Instance, server: Web, method: str, state: str, asked: int
) -> None:
    def first_hangs(handler: Handler, seen: Seen) -> None:
        if len(server.seen) == 1:
            handler.web.closing.wait(20)
        handler.json("done")

    server.routes["/a"] = first_hangs
    instance.start()
    run = start(instance, {"tasks": {"t": {"http": {"url": f"{server.url}/a", "method": method}}}})
    wait_until(lambda: server.seen, "the first request")
    instance.kill()
    instance.start()
    ended = instance.wait_run(run)
    assert ended["state"] == state
    assert len(server.seen) == asked
    if method == "POST":
        assert ended["tasks"]["t"]["reason"] == "lost"
