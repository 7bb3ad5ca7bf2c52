"""The page of a workflow in front of a real daemon: what it shows, its form, its texts, what is not there."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from pyflowctl.client import connect
from pyflowd.protocol.words import Level
from tests.corpus import CORPUS
from tests.daemon.front import Front
from tests.daemon.instance import Instance

NIGHT = """
description: Dumps <b>six</b> databases
params:
  target: {type: string, enum: [b2, b3], default: b2}
  keep: {type: integer, minimum: 1, maximum: 365, default: 30}
  why: {type: string, default: none}
schedule: {cron: "30 2 * * *", timezone: Europe/Berlin}
tasks:
  check: {run: "true"}
  dump: {needs: check, for_each: [1, 2, 3], run: "true"}
  upload: {needs: dump, run: "exit 3"}
  report: {needs: upload, trigger_rule: always, run: "true"}
finally:
  unmount: {run: "true"}
"""
LONG = "n" * 63


@pytest.fixture(scope="module")
def front(shared_daemon: Instance) -> Iterator[Front]:
    made = Front(shared_daemon)
    shared_daemon.install("night.yaml", NIGHT)
    shared_daemon.wait_run(shared_daemon.run("night"))
    made.start()
    yield made
    made.end()


@pytest.fixture(scope="module")
def session(front: Front) -> str:
    return front.session()


def body(front: Front, path: str, session: str, status: int = 200) -> str:
    found = front.get(path, session)
    assert found.status == status, found.text
    assert " style=" not in found.text
    assert not re.search(r"<script(?![^>]*\bsrc=)", found.text)
    return found.text


def newest(front: Front) -> int:
    """The number of the newest run of night."""
    return int(front.instance.json("history", "night", "-n", 1)[0]["run"])


def test_the_page_of_a_workflow_shows_its_graph_its_runs_and_its_schedule(front: Front, session: str) -> None:
    run = front.instance.run("night")
    front.instance.wait_run(run)
    shown = body(front, "/workflows/night", session)
    assert "<h1>night</h1>" in shown
    assert "Every day at 02:30 Europe/Berlin" in shown
    assert "Dumps &lt;b&gt;six&lt;/b&gt; databases" in shown
    assert all(f'id="n-{task}"' in shown for task in ("check", "dump", "upload", "report"))
    assert f'href="/runs/{run}"' in shown
    assert "Failed" in shown
    assert 'class="cal"' in shown
    assert "Why it stands so" in shown


def test_params_are_asked_for_and_a_run_is_recorded_with_them(front: Front, session: str) -> None:
    answered = front.post("/workflows/night/run", session, {"param.keep": "7", "param.target": "b3", "param.why": ""})
    assert answered.status == 303
    where = answered.headers["Location"]
    run = int(where.rpartition("/")[2])
    found = front.instance.wait_run(run)
    assert found["params"] == {"target": "b3", "keep": 7, "why": "none"}
    again = front.post("/workflows/night/run", session, {"key": "once"}).headers["Location"]
    assert front.post("/workflows/night/run", session, {"key": "once"}).headers["Location"] == again


def test_what_is_wrong_is_told_at_its_field_with_what_was_typed(front: Front, session: str) -> None:
    fields = {"param.keep": "400", "param.why": "a<script>alert(1)</script>", "param.target": "b9"}
    answered = front.post("/workflows/night/run", session, fields)
    assert answered.status == 409
    assert 'id="p-keep-error">400 is more than 365<' in answered.text
    assert 'id="p-target-error"' in answered.text
    assert answered.text.count("autofocus") == 1
    assert "a&lt;script&gt;alert(1)&lt;/script&gt;" in answered.text
    assert "<script>alert" not in answered.text


def test_only_show_what_would_run_records_nothing(front: Front, session: str) -> None:
    before = newest(front)
    answered = front.post("/workflows/night/run", session, {"param.keep": "7", "dry_run": "1"})
    assert answered.status == 200
    assert "night would run 4 tasks" in answered.text
    assert 'name="param.keep" value="7"' in answered.text
    assert newest(front) == before


def test_a_backfill_is_shown_before_it_is_recorded(front: Front, session: str) -> None:
    fields = {"from": "2026-01-01", "to": "2026-01-03"}
    shown = front.post("/workflows/night/backfill", session, fields)
    assert shown.status == 200
    assert "3 runs of night would be recorded" in shown.text
    assert front.instance.json("backfills") == []
    assert front.post("/workflows/night/backfill", session, {**fields, "confirmed": "yes"}).status == 303
    assert front.instance.json("backfills")[0]["total"] == 3
    wrong = front.post("/workflows/night/backfill", session, {"from": "yesterday", "to": ""})
    assert wrong.status in (303, 400)


def test_who_may_only_read_sees_no_form_and_starts_nothing(front: Front) -> None:
    front.instance.install("quiet.yaml", "tasks: {t: {run: 'true'}}\n")
    reader = front.session(Level.READ)
    shown = body(front, "/workflows/quiet", reader)
    assert 'action="/workflows/quiet/run"' not in shown
    assert "Your level is read. Changing quiet and its runs needs operate." in shown
    assert front.post("/workflows/quiet/run", reader, {}).status == 403
    assert front.instance.json("history", "quiet") == []


def test_versions_of_a_definition_and_what_changed_between_them(front: Front, session: str) -> None:
    front.instance.install("changing.yaml", "tasks:\n  a: {run: 'echo one'}\n")
    with connect(root=str(front.instance.root)) as client:
        old = client.definition("changing").digest
    front.instance.write("changing.yaml", "tasks:\n  a: {run: 'echo <two>'}\n")
    assert front.instance.ctl("reload").returncode == 0
    shown = body(front, "/workflows/changing", session)
    assert "echo &lt;two&gt;" in shown
    assert 'class="add"' in shown
    new = re.search(r'href="/workflows/changing/versions/([0-9a-f]{16})\.\.([0-9a-f]{16})"', shown)
    assert new
    assert new[1] == old[:16]
    diff = body(front, f"/workflows/changing/versions/{new[1]}..{new[2]}", session)
    assert "1 line added, 1 removed" in diff
    assert "of the past" in body(front, f"/workflows/changing/versions/{new[1]}", session)
    body(front, "/workflows/changing/versions/ffffffffffff", session, 404)
    body(front, "/workflows/changing/versions/xyz..", session, 409)
    assert "1 line added, 1 removed" in body(front, f"/workflows/changing/versions/{new[1]}..", session)


def test_a_file_that_is_refused_stands_in_front_of_everything(front: Front, session: str) -> None:
    front.instance.install("stale.yaml", "tasks: {a: {run: 'true'}}\n")
    front.instance.write("stale.yaml", "tasks:\n  a: {rum: 'true'}\n")
    front.instance.ctl("reload")
    shown = body(front, "/workflows/stale", session)
    assert "The newest text of its file is refused" in shown
    assert "stale.yaml:2:" in shown
    assert "stays in force" in shown
    front.instance.write("broken.yaml", "tasks: 7\n")
    front.instance.ctl("reload")
    assert "There has been no good text yet" in body(front, "/workflows/broken", session)


def test_a_workflow_that_is_not_there_names_those_that_are_like_it(front: Front, session: str) -> None:
    shown = body(front, "/workflows/nigth", session, 404)
    assert '<a href="/workflows/night">night</a>' in shown
    hostile = body(front, "/workflows/" + quote("<script>alert(1)</script>", safe=""), session, 404)
    assert "<script>alert" not in hostile


def test_bands_of_a_large_graph_come_by_fragment(front: Front, session: str) -> None:
    text = ["tasks:"]
    for row in range(30):
        for column in range(8):
            needs = f", needs: [t{row - 1}-{column}]" if row else ""
            text.append(f"  t{row}-{column}: {{run: 'true', priority: {column}{needs}}}")
            if row and column:
                text[-1] = text[-1].replace(f"[t{row - 1}-{column}]", f"[t{row - 1}-{column}, t{row - 1}-{column - 1}]")
    front.instance.install("large.yaml", "\n".join(text) + "\n")
    shown = body(front, "/workflows/large", session)
    assert 'data-bands="5"' in shown
    assert 'id="n-t29-7"' not in shown
    assert 'id="n-t29-7"' in body(front, "/fragment/dag/large?band=4", session)
    places = front.get("/fragment/dag/large/places", session).json()
    assert len(places) == 240
    assert front.get("/fragment/dag/nothing", session).status == 404
    assert 'id="n-t29-7"' in body(front, "/workflows/large?task=t29-7", session)


def test_a_run_has_bands_too(front: Front, session: str) -> None:
    run = front.instance.run("night")
    front.instance.wait_run(run)
    shown = body(front, f"/fragment/dag/{run}", session)
    assert "s-fail" in shown
    assert f'href="/runs/{run}?task=upload"' in html.unescape(shown)


def test_long_names_are_whole_and_every_view_of_the_page_answers(front: Front, session: str) -> None:
    front.instance.install(
        f"{LONG}.yaml", f"tasks:\n  {'t' * 63}: {{run: 'true'}}\n  b: {{run: 'true', needs: {'t' * 63}}}\n"
    )
    assert f"<h1>{LONG}</h1>" in body(front, f"/workflows/{LONG}", session)
    for query in ("view=list", "month=2027-03", "definition=whole", "before=1", "open=*", "zoom=blocks", "band=99999"):
        body(front, f"/workflows/night?{query}", session)
    for query in ("month=99999-99", "before=-1", "before=" + "9" * 40, "task=%00", "open=%ff,,x", "band=a"):
        body(front, f"/workflows/night?{query}", session)


@pytest.mark.skipif(not CORPUS, reason="the corpus is not here")
def test_hostile_values_are_text_wherever_they_stand(front: Front, session: str) -> None:
    assert CORPUS is not None
    strings = json.loads((CORPUS / "nasty" / "naughty_strings.json").read_text())
    usable = [text for text in strings if text and "\0" not in text and text.isprintable()]
    shown = json.dumps(
        {
            "description": " ".join(usable)[:4000],
            "params": {
                f"p{n}": {"type": "string", "default": text.replace("${{", "$"), "description": text}
                for n, text in enumerate(usable[:150])
            },
            "tasks": {"a": {"run": "\n".join(usable)[:20_000].replace("${{", "$")}, "b": {"run": "true", "needs": "a"}},
        }
    )
    front.instance.install("naughty.json", shown)
    plain = body(front, "/workflows/night", session)
    found = body(front, "/workflows/naughty", session)
    for element in ("script", "iframe", "img", "object", "embed", "style", "base", "video", "audio"):
        opened = re.compile(rf"<{element}[\s>/]", re.I)
        assert len(opened.findall(found)) == len(opened.findall(plain)), element
    assert not re.search(r"<[a-z][^<>]*\son\w+=", found, re.I)
