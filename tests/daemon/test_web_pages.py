"""Overview, lists and their forms, by a real front before a real daemon: what an operator sees, does, and is told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest

from pyflowd.clock import US
from pyflowd.protocol.figures import GetTimeline, TimelineView
from pyflowd.protocol.requests import GetHost
from pyflowd.protocol.views_host import HostView
from pyflowd.protocol.words import Level
from tests.corpus import CORPUS, needs_corpus
from tests.daemon.front import Answered, Front
from tests.daemon.instance import Instance
from tests.waiting import wait_until

FAILS = """
description: Ships the dumps
labels: {team: ops}
schedule: "30 2 * * *"
tasks:
  dump: {run: "true"}
  upload: {needs: dump, run: exit 11}
"""
ASKS = """
tasks:
  production: {approval: {message: "Deploy 2.14?"}}
  ship: {needs: production, run: "true"}
"""
SLEEPS = "tasks: {t: {run: sleep 60}}\n"
PAGES = ["/", "/workflows", "/runs", "/slots", "/slots?show=events", "/system"]
FRAGMENTS = ["/fragment/", "/fragment/workflows", "/fragment/runs"]


@pytest.fixture
def front(instance: Instance) -> Iterator[Front]:
    instance.start()
    made = Front(instance)
    made.start()
    yield made
    made.end()


class Elements(HTMLParser):
    """Tags with the names of their attributes, in their order; and the text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.words = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def words(answer: Answered) -> str:
    """The page's text, its spaces folded."""
    return re.sub(r"\s+", " ", Elements(answer.text).words)


def told(front: Front, answer: Answered, session: str) -> str:
    """What the page says to which a form led."""
    assert answer.status == 303, answer.text
    carried = answer.headers["Set-Cookie"].partition(";")[0]
    page = front.get(answer.headers["Location"], Cookie=f"pyflow={session}; {carried}")
    assert page.status == 200
    assert f"{carried.partition('=')[0]}=" in page.headers["Set-Cookie"]
    found = re.search(r'<p class="told.*?<span>(.*?)</span></p>', page.text, re.DOTALL)
    return found[1] if found else ""


def failed_run(front: Front) -> int:
    front.instance.install("backup.yaml", FAILS)
    run = front.instance.run("backup")
    front.instance.wait_run(run)
    return run


def test_an_empty_host_teaches_the_first_workflow(front: Front) -> None:
    session = front.session()
    page = words(front.get("/", session))
    assert "No workflow yet" in page
    assert "nightly-backup.yaml" in page
    assert f"the workflows folder, {front.instance.root}/workflows. The smallest" in page
    for path in PAGES:
        assert front.get(path, session).status == 200


def test_a_failure_says_the_last_fault_of_its_log_on_each_page(front: Front) -> None:
    session = front.session()
    said = "echo 'error: tried again'; echo 'fatal: disk on fire'; echo bye; exit 9"
    front.instance.install("loud.yaml", f'tasks: {{a: {{run: "{said}"}}}}\n')
    run = front.instance.run("loud")
    front.instance.wait_run(run)
    for _ in range(2):  # what was found is kept
        assert "loud failed at a: exit code 9. fatal: disk on fire" in words(front.get("/", session))
    assert "Its log says fatal: disk on fire" in words(front.get(f"/runs/{run}", session))
    assert f"Run {run} failed: a: exit code 9. See why" in words(front.get("/workflows/loud", session))


def test_a_failure_is_on_the_overview_until_a_run_succeeds(front: Front) -> None:
    session, run = front.session(), failed_run(front)
    page = words(front.get("/", session))
    assert "One failure needs you" in page
    assert "backup failed at upload: exit code 11" in page
    assert "Rerun from upload" in page
    front.instance.install("backup.yaml", FAILS.replace("exit 11", '"true"'))
    front.instance.wait_run(front.instance.run("backup"))
    assert "All is well" in words(front.get("/", session))
    assert f"/runs/{run}" in front.get("/runs?state=failed", session).text


def test_seen_greys_a_failure_for_everyone_and_can_be_taken_back(front: Front) -> None:
    session, run = front.session(), failed_run(front)
    assert "has seen that run" in told(front, front.post(f"/runs/{run}/seen", session, {"back": "/"}), session)
    page = front.get("/", front.session(Level.READ))
    assert "Nothing new: one failure seen" in page.text
    assert '<li class="s-fail seen"' in page.text
    front.post(f"/runs/{run}/seen", session, {"seen": "no"})
    assert "One failure needs you" in front.get("/", session).text


def test_a_rerun_from_the_failed_task_leads_to_the_new_run(front: Front) -> None:
    session, run = front.session(), failed_run(front)
    answer = front.post(f"/runs/{run}/rerun", session, {"from_task": "upload", "back": "/"})
    new = int(answer.headers["Location"].removeprefix("/runs/"))
    assert told(front, answer, session) == f"Recorded as run {new}, a rerun of run {run}"
    tasks = front.instance.wait_run(new)["tasks"]
    assert (tasks["dump"]["reason"], tasks["upload"]["state"]) == ("kept", "failed")


def test_an_approval_is_answered_with_a_comment(front: Front) -> None:
    session = front.session()
    front.instance.install("deploy.yaml", ASKS)
    run = front.instance.run("deploy")
    front.instance.wait_task(run, "production", "running")
    assert "deploy waits for approval of production: Deploy 2.14?" in words(front.get("/", session))
    fields = {"task": "production", "comment": "go", "back": "/"}
    assert f"production of run {run} is approved" in told(
        front, front.post(f"/runs/{run}/approve", session, fields), session
    )
    assert front.instance.wait_run(run)["state"] == "succeeded"
    again = front.post(f"/runs/{run}/reject", session, fields)
    assert told(front, again, session).startswith("Not done: ")


def test_what_is_refused_is_told_on_the_page_that_the_form_stood_on(front: Front) -> None:
    session, run = front.session(), failed_run(front)
    answer = front.post(f"/runs/{run}/cancel", session, {"back": "/runs?workflow=backup"})
    assert answer.headers["Location"] == "/runs?workflow=backup"
    assert told(front, answer, session) == f"Not done: run {run} of backup has ended already: failed"


def test_a_form_leads_to_no_other_site(front: Front) -> None:
    session = front.session()
    front.instance.install("w.yaml", SLEEPS)
    for back in ("https://evil.example/", "//evil.example/", "/\\evil.example"):
        answer = front.post("/workflows/w/pause", session, {"back": back})
        assert (answer.status, answer.headers["Location"]) == (303, "/"), back
        assert front.post("/workflows/nothing/pause", session, {"back": back}).status == 404


def test_words_of_another_session_are_not_shown(front: Front) -> None:
    session = front.session()
    front.instance.install("w.yaml", SLEEPS)
    carried = front.post("/workflows/w/pause", session, {"back": "/"}).headers["Set-Cookie"].partition(";")[0]
    page = front.get("/", Cookie=f"pyflow={front.session()}; {carried}")
    assert 'class="told' not in page.text


def test_a_live_run_is_cancelled_and_a_workflow_paused_and_resumed(front: Front) -> None:
    session = front.session()
    front.instance.install("w.yaml", "schedule: 30 2 * * *\n" + SLEEPS)
    run = front.instance.run("w")
    front.instance.wait_task(run, "t", "running")
    assert "w" in words(front.get("/runs?state=running", session))
    assert "is being cancelled" in told(front, front.post(f"/runs/{run}/cancel", session, {"back": "/"}), session)
    assert front.instance.wait_run(run)["state"] == "cancelled"
    told(front, front.post("/workflows/w/pause", session, {"back": "/workflows"}), session)
    assert "paused by" in words(front.get("/workflows?state=paused", session))
    assert "paused by" in words(front.get("/", session))
    told(front, front.post("/workflows/w/resume", session, {"back": "/workflows"}), session)
    assert "No workflow is like this" in words(front.get("/workflows?state=paused", session))


def test_a_run_is_started_with_params_as_text(front: Front) -> None:
    session = front.session()
    front.instance.install("w.yaml", "params: {n: {type: integer}}\ntasks: {t: {run: 'true'}}\n")
    answer = front.post("/workflows/w/run", session, {"param.n": "7"})
    run = int(answer.headers["Location"].removeprefix("/runs/"))
    assert front.instance.wait_run(run)["params"] == {"n": 7}


def test_the_host_is_drained_and_undrained(front: Front) -> None:
    session = front.session()
    told(front, front.post("/system/drain", session, {"back": "/system"}), session)
    page = front.get("/system", session)
    assert "The host is drained" in page.text
    assert "Undrain the host" in page.text
    assert "drain" in words(front.get("/", session))
    told(front, front.post("/system/undrain", session, {"back": "/system"}), session)
    assert "Drain the host" in front.get("/system", session).text


def test_a_token_that_is_revoked_is_cut_off(front: Front) -> None:
    session, other = front.session(), front.session(Level.READ)
    assert front.get("/", other).status == 200
    (number,) = re.findall(r"/system/tokens/(\d+)/revoke", front.get("/system", other).text)[-1:]
    numbers = re.findall(r"session (\d+)</span>(?! <span class=\"tag\")", front.get("/system", session).text)
    assert number
    told(front, front.post(f"/system/tokens/{numbers[0]}/revoke", session, {"back": "/system"}), session)
    assert front.get("/", other).status == 303
    assert front.post("/system/tokens/0/revoke", session).status == 400


def test_whoever_may_only_read_is_offered_no_form(front: Front) -> None:
    failed_run(front)
    reader = front.session(Level.READ)
    for path in ("/", "/workflows", "/runs", "/slots"):
        forms = re.findall(r'<form method="post" action="([^"]*)"', front.get(path, reader).text)
        assert set(forms) <= {"/logout"}, path
    page = front.get("/system", reader).text
    assert "Who changed what" not in page
    assert "Secrets" not in page
    assert "Drain the host" not in page


def test_the_ledger_shows_skipped_slots_with_their_reason(front: Front) -> None:
    session = front.session()
    front.instance.install("tick.yaml", "triggers: {t: {every: 1s}}\ntasks: {t: {run: 'true'}}\n")
    wait_until(lambda: "fired" in words(front.get("/slots", session)), lambda: "a slot has fired")
    front.instance.ctl("pause", "tick")
    wait_until(
        lambda: "the workflow was paused" in words(front.get("/slots?fate=skipped", session)),
        lambda: "a slot was skipped",
    )
    assert front.get("/slots?workflow=nothing", session).status == 200


def test_history_is_read_in_pages_without_a_gap(front: Front) -> None:
    session = front.session()
    front.instance.install("w.yaml", "overlap: allow\ntasks: {t: {run: 'true'}}\n")
    with front.instance.client() as client:
        runs = [client.start("w").run for _ in range(53)]
    seen: list[int] = []
    path = "/runs?workflow=w"
    while path:
        page = front.get(path, session).text
        seen += map(int, re.findall(r'id="run-(\d+)"', page))
        older = re.search(r'href="([^"]*)" rel="next"', page)
        path = older[1].replace("&amp;", "&") if older else ""
    assert seen == sorted(runs, reverse=True)


def test_the_timeline_counts_what_is_dense_and_keeps_failures_single(front: Front) -> None:
    front.instance.install("w.yaml", "overlap: allow\ntasks: {t: {run: 'true'}}\n")
    front.instance.install("few.yaml", "schedule: {cron: '0 * * * *', jitter: 5m}\ntasks: {t: {run: 'exit 1'}}\n")
    with front.instance.client() as client:
        runs = [client.start("w").run for _ in range(121)]
        bad = client.start("few").run
        for run in (*runs, bad):
            client.wait(run)
        (host,) = (each for each in client.ask(GetHost()) if isinstance(each, HostView))
        asked = GetTimeline(
            workflows=["w", "few", "nothing", "w"], since_us=host.now_us - 3600 * US,
            until_us=host.now_us + 12 * 3600 * US,
        )  # fmt: skip
        (view,) = (each for each in client.ask(asked) if isinstance(each, TimelineView))
    dense, few = view.lanes
    assert (dense.workflow, dense.runs, sum(band.count for band in dense.bands)) == ("w", [], 121)
    assert ([run.run for run in few.runs], few.bands) == ([bad], [])
    assert len(few.coming) == 12
    assert {jitter_us for _, jitter_us in few.coming} == {300 * US}


def test_forms_of_a_part_lead_back_to_its_page(front: Front) -> None:
    session, run = front.session(), failed_run(front)
    part = front.get("/fragment/", session).text
    assert f'action="/runs/{run}/seen"' in part
    assert set(re.findall(r'name="back" value="([^"]*)"', part)) == {"/"}


@needs_corpus
def test_hostile_words_stay_words(front: Front) -> None:
    """With them in it a page has no kind of element, and no attribute, that it has not with plain ones."""
    assert CORPUS is not None
    session = front.session()
    strings = json.loads((CORPUS / "nasty" / "naughty_strings.json").read_text())["strings"]
    strings = list(dict.fromkeys(strings))
    hostile = [text for text in strings if "<" in text and text.isprintable() and text.strip() == text][:90]
    assert len(hostile) > 50
    plain = shown_with(front, session, "plain", [f"plain {n}" for n in range(len(hostile))])
    front.instance.ctl("cancel", "plain")
    for path, found in shown_with(front, session, "hostile", hostile).items():
        assert set(found.found) <= set(plain[path].found), path
        assert found.words.count("alert(") > 10, path


def shown_with(front: Front, session: str, name: str, texts: list[str]) -> dict[str, Elements]:
    """Pages that show these words as description, labels, message and choices of an approval that waits."""
    text = {
        "description": " ".join(texts),
        "labels": {f"l{n}": each for n, each in enumerate(texts)},
        "tasks": {"t": {"approval": {"message": " ".join(texts), "choices": texts}}},
    }
    front.instance.install(f"{name}.json", json.dumps(text))
    front.instance.wait_task(front.instance.run(name), "t", "running")
    return {path: Elements(front.get(path, session).text) for path in ("/", "/workflows")}


def test_no_page_has_a_style_or_a_script_of_its_own(front: Front) -> None:
    failed_run(front)
    session = front.session()
    for path in (*PAGES, *FRAGMENTS):
        for tag, names in Elements(front.get(path, session).text).found:
            assert "style" not in names, path
            assert not any(name.startswith("on") for name in names), path
            assert tag != "style", path
            assert tag != "script" or "src" in names, path
