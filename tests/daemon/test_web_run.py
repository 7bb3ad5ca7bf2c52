"""The run page and the logs against a real daemon: what an operator looks at, and what a task may do to it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from tests.daemon.front import Answered, Front
from tests.daemon.instance import Instance
from tests.waiting import wait_until

MARKUP = '"><script>alert(1)</script><b id=x>'
_numbers = count(1)


class Browser:
    """With a session of the account that runs the tests."""

    def __init__(self, front: Front) -> None:
        self.front = front
        self.session = front.session()

    def get(self, path: str, **headers: str) -> Answered:
        return self.front.get(path, self.session, **headers)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    made = Instance(tmp_path_factory.mktemp("webrun") / "root")
    try:
        made.start()
        yield made
        assert "Traceback" not in made.log_text()
    finally:
        made.end()


@pytest.fixture(scope="module")
def browser(daemon: Instance) -> Iterator[Browser]:
    front = Front(daemon)
    try:
        front.start()
        yield Browser(front)
        assert "Traceback" not in front.said()
    finally:
        front.end()


def start(daemon: Instance, tasks: dict[str, Any], *, wait: bool = True, **more: Any) -> int:
    name = f"w{next(_numbers)}"
    daemon.install(f"{name}.yaml", json.dumps({"tasks": tasks, **more}))
    run = daemon.run(name)
    if wait:
        daemon.wait_run(run)
    return run


def seen(browser: Browser, path: str) -> str:
    response = browser.get(path)
    assert response.status == 200, response.text
    assert not re.search(r"<script(?! type=\"module\" src=\"/static/)|\sstyle=|\son[a-z]+=\"", response.text)
    return response.text


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page))


def test_a_failed_run_answers_what_failed_and_why(daemon: Instance, browser: Browser) -> None:
    run = start(
        daemon,
        {
            "check": {"run": "true"},
            "upload": {
                "needs": ["check"], "retry": {"attempts": 2, "delay": "10ms"},
                "run": "for n in $(seq 500); do echo file $n; done; echo 'fatal: No space left' >&2; exit 11",
            },
            "prune": {"needs": ["upload"], "run": "true"},
        },
    )  # fmt: skip
    page = seen(browser, f"/runs/{run}")
    text = text_of(page)
    assert "failed at upload" in text
    assert "Attempts 1 and 2 ended alike: exit code 11" in text
    assert "Its log says fatal: No space left" in text
    assert 'href="#L501"' in page
    assert 'id="L501" class="err"' in page
    assert 'data-first="1"' in page, "what is not shown is a row"
    assert "check keeps its result" in text
    assert "Rerun from upload" in text
    assert f'action="/runs/{run}/rerun"' in page
    assert len(re.findall(r'class="b"', page)) == 3, "two tasks, one with two attempts"
    other = seen(browser, f"/runs/{run}?task=upload&attempt=1")
    assert 'data-attempt="1"' in other
    assert "Log of check" in text_of(seen(browser, f"/runs/{run}?task=check"))


def test_a_running_run_is_brought_up_to_date_and_its_forms_come_back_to_the_page(
    daemon: Instance, browser: Browser
) -> None:
    run = start(daemon, {"a": {"approval": {"message": MARKUP, "choices": ["x", "y"]}}}, wait=False)
    wait_until(lambda: "waits for an answer" in browser.get(f"/runs/{run}").text, "it asks")
    page = seen(browser, f"/runs/{run}")
    assert "waits for approval of a" in text_of(page)
    fragment = re.search(r'data-fragment="([^"]+)" data-topics="run:(\d+)"', page)
    assert fragment is not None
    part = seen(browser, fragment[1].replace("&amp;", "&"))
    assert 'name="back" value="/runs/' in part
    assert "/fragment" not in re.findall(r'name="back" value="([^"]+)"', part)[0]
    fields = {"task": "a", "choice": "y", "comment": "fine", "back": f"/runs/{run}"}
    answered = browser.front.post(f"/runs/{run}/approve", browser.session, fields)
    assert answered.status == 303
    assert daemon.wait_run(run)["state"] == "succeeded"
    assert "data-fragment" not in seen(browser, f"/runs/{run}"), "what has ended changes no more"


def test_a_log_is_paged_by_blocks_that_join_without_a_gap(daemon: Instance, browser: Browser) -> None:
    run = start(daemon, {"t": {"run": "seq 100000"}})
    found: list[str] = []
    first = 99_500
    while True:
        response = browser.get(f"/fragment/log/{run}/t/1?from={first}&since=1")
        assert response.headers["cache-control"].endswith("immutable")
        assert response.headers["vary"] == "Cookie"
        rows = re.findall(r'<li id="L(\d+)"[^>]*>.*?<span>(.*?)</span></li>', response.text, re.S)
        found += [text for number, text in rows if number == text]
        after = int(re.findall(r'data-after="(\d+)"', response.text)[0])
        if after == first:
            break
        first = after
    assert found == [str(n) for n in range(99_500, 100_001)]
    last = browser.get(f"/fragment/log/{run}/t/1?from=10&to=1000&last=").text
    assert re.findall(r'data-first="(\d+)" data-until="(\d+)"', last) == [("10", "800")]
    assert browser.get(f"/fragment/log/{run}/t/1?from=x").status == 400
    assert browser.get(f"/fragment/log/{run}/t/9").status == 404
    assert browser.get(f"/fragment/log/{run}/zz/1").status == 404


def test_a_log_is_searched_in_all_attempts(daemon: Instance, browser: Browser) -> None:
    run = start(
        daemon,
        {"t": {"retry": {"attempts": 2, "delay": "10ms"}, "run": "seq 9; echo Needle; seq 9; echo needle; exit 1"}},
    )
    told = [json.loads(line) for line in browser.get(f"/fragment/search/{run}/t?q=needle").text.splitlines()]
    assert told == [[2, [10, 20]], [1, [10, 20]], {"hits": 4, "attempts": 2, "stopped": ""}]
    assert browser.get(f"/fragment/search/{run}/t?q=").status == 400
    page = seen(browser, f"/runs/{run}/log/t?q=needle&attempt=1")
    assert "<mark>Needle</mark>" in page


def test_bytes_of_a_log_are_verbatim_and_never_a_page_of_ours(daemon: Instance, browser: Browser) -> None:
    run = start(daemon, {"t": {"run": r"printf '<script>alert(1)</script>\n\xff\x1b[31m'"}})
    response = browser.get(f"/runs/{run}/log/t/raw")
    assert response.body == b"<script>alert(1)</script>\n\xff\x1b[31m"
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"].endswith("sandbox")
    assert response.headers["content-disposition"].startswith("inline;")
    part = browser.get(f"/runs/{run}/log/t/raw", Range="bytes=1-6")
    assert (part.status, part.body) == (206, b"script")
    assert part.headers["content-range"] == "bytes 1-6/32"
    assert browser.get(f"/runs/{run}/log/t/raw", Range="bytes=99-").status == 416
    assert browser.get(f"/runs/{run}/log/t/raw?line=1").body == b"<script>alert(1)</script>"
    assert "<script>alert" not in seen(browser, f"/runs/{run}")


def test_artifacts_are_downloads(daemon: Instance, browser: Browser) -> None:
    run = start(daemon, {"t": {"run": "echo '<html>' > page.html", "artifacts": {"page": "page.html"}}})
    page = seen(browser, f"/runs/{run}")
    href = re.search(r'href="(/runs/\d+/artifact[^"]+)"', page)
    assert href is not None
    response = browser.get(href[1].replace("&amp;", "&"))
    assert response.body == b"<html>\n"
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"].startswith("attachment;")
    assert browser.get(f"/runs/{run}/artifact?task=t&name=..%2F..%2Fetc").status == 404


def test_hostile_names_and_values_stay_text(daemon: Instance, browser: Browser) -> None:
    values = [MARKUP, "\u202ereversed", "a/b?c#d&e=f", "'; DROP", "%2e%2e", "{{7*7}}"]
    run = start(
        daemon,
        {"f": {"for_each": values, "env": {"V": "${{ item }}"}, "run": 'echo "$V"; exit 1'}},
        params={"p": {"type": "string", "default": MARKUP}},
    )  # fmt: skip
    page = seen(browser, f"/runs/{run}?task=f")
    links = re.findall(r'<a class="name" href="([^"]+)"', page)
    assert len(links) == len(values)
    for link in links:
        item = seen(browser, link.replace("&amp;", "&"))
        assert "Log of f[" in text_of(item)
        log = re.search(r'href="(/runs/\d+/log/f\?[^"]+)">Alone', item)
        assert log is not None
        seen(browser, log[1].replace("&amp;", "&"))
    assert "49" not in re.findall(r"Log of ([^<]*)", page)[0]


def test_a_fan_out_of_many_items_is_shown_in_blocks(daemon: Instance, browser: Browser) -> None:
    run = start(daemon, {"f": {"for_each": "${{ range(120) }}", "run": "true"}})
    page = seen(browser, f"/runs/{run}?task=f")
    assert len(re.findall(r'<tr id="i-', page)) == 50
    assert "page 1 of 3" in text_of(page)
    assert len(re.findall(r'<tr id="i-', seen(browser, f"/runs/{run}?task=f&page=3"))) == 20
    assert len(re.findall(r'<tr id="i-', seen(browser, f"/runs/{run}?task=f&find=11"))) == 11


def test_a_called_run_and_its_caller_are_linked(daemon: Instance, browser: Browser) -> None:
    daemon.install("inner.yaml", json.dumps({"tasks": {"t": {"run": "true"}}}))
    run = start(daemon, {"sub": {"workflow": "inner"}})
    called = re.search(r'href="(/runs/(\d+))">run \2<', seen(browser, f"/runs/{run}"))
    assert called is not None
    assert f'href="/runs/{run}">run {run}<' in seen(browser, called[1])


def test_what_is_not_there_says_so(daemon: Instance, browser: Browser) -> None:
    run = start(daemon, {"a": {"run": "true"}, "b": {"needs": ["a"], "if": "${{ false }}", "run": "true"}})
    assert browser.get("/runs/999999").status == 404
    assert browser.get("/runs/x").status == 400
    assert browser.get(f"/runs/{run}?task=zz").status == 404
    assert browser.get(f"/runs/{run}/log/b").status == 404
    assert "It has not begun, and so has said nothing." in text_of(seen(browser, f"/runs/{run}?task=b"))


def open_files(browser: Browser) -> int:
    assert browser.front.process is not None
    return len(os.listdir(f"/proc/{browser.front.process.pid}/fd"))


def test_descriptors_are_given_back(daemon: Instance, browser: Browser) -> None:
    run = start(daemon, {"t": {"retry": {"attempts": 3, "delay": "1ms"}, "run": "echo a; exit 1"}})
    paths = [
        f"/runs/{run}", f"/runs/{run}/log/t", f"/runs/{run}/log/t/raw", f"/fragment/log/{run}/t/2",
        f"/fragment/search/{run}/t?q=a", f"/runs/{run}/log/t/raw?line=99", f"/runs/{run}/log/zz",
    ]  # fmt: skip
    for path in paths:
        browser.get(path)
    before = open_files(browser)
    for _ in range(5):
        for path in paths:
            browser.get(path)
    assert open_files(browser) <= before + 1
