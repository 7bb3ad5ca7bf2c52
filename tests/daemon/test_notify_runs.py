"""The daemon tells people: of ends of runs by its rules, from tasks, over a kill -9, and without holding up a run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.daemon.instance import Instance
from tests.daemon.mailserver import MailServer, WebServer
from tests.waiting import wait_until

FAILS = "notify: oncall\ntasks: {a: {run: exit 3}, b: {needs: a, run: 'true'}}\n"


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer() as server:
        yield server


def to_mail(server: MailServer) -> dict[str, Any]:
    return {"mail": {"to": "admin@example.com", "smtp": f"127.0.0.1:{server.port}"}}


def to_web(server: WebServer) -> dict[str, Any]:
    return {"webhook": {"url": f"http://127.0.0.1:{server.port}/in"}}


async def wait_for_ever(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


def test_a_failed_run_is_told_by_mail(instance: Instance, mail: MailServer) -> None:
    instance.settings(channels={"oncall": to_mail(mail)})
    instance.start()
    instance.install("w.yaml", FAILS)
    run = instance.run("w")
    message = mail.take().message
    assert message["Subject"].startswith("w failed on ")
    assert (message["X-PyFlow-Workflow"], message["X-PyFlow-Run"]) == ("w", str(run))
    assert "\nfailed    a: " in message.get_content().replace("\r\n", "\n")


def test_the_rules_of_the_host_tell_of_runs_that_say_nothing_themselves(instance: Instance, web: WebServer) -> None:
    rules = [{"channel": "hook", "on": ["succeeded"], "workflows": "night*", "labels": {"tier": "critical"}}]
    instance.settings(channels={"hook": to_web(web)}, notify=rules)
    instance.start()
    for name in ("daily", "nightly"):
        instance.install(f"{name}.yaml", "labels: {tier: critical}\ntasks: {a: {run: 'true'}}\n")
        instance.wait_run(instance.run(name))
    told = json.loads(web.take().body)
    assert (told["workflow"], told["state"]) == ("nightly", "succeeded")
    assert web.requests.empty()


def test_a_task_sends_a_message_and_ends_at_once(instance: Instance, web: WebServer) -> None:
    instance.settings(channels={"hook": to_web(web)})
    instance.start()
    task = {"notify": {"channel": "hook", "subject": "s", "text": "${{ run.workflow }} is at ${{ params.p }}"}}
    definition = {"params": {"p": {"type": "string"}}, "tasks": {"tell": task}}
    instance.install("w.yaml", json.dumps(definition))
    run = instance.run("w", "-p", "p=here")
    assert instance.wait_run(run)["state"] == "succeeded"
    told = json.loads(web.take().body)
    assert (told["subject"], told["text"], told["run"]) == ("s", "w is at here", run)


def test_a_task_that_names_no_channel_of_the_settings_fails_and_says_so(instance: Instance, web: WebServer) -> None:
    instance.settings(channels={"hook": to_web(web)})
    instance.start()
    instance.install("w.yaml", "tasks: {tell: {notify: {channel: hok, text: x}}}\n")
    task = instance.wait_run(instance.run("w"))["tasks"]["tell"]
    assert (task["state"], task["reason"]) == ("failed", "call_failed")
    assert 'there is no channel "hok" in the settings (did you mean "hook"?)' in task["error"]


def test_a_message_outlives_a_kill_and_comes_with_the_same_id(instance: Instance, web: WebServer) -> None:
    instance.settings(channels={"oncall": to_web(web)})
    instance.start()
    instance.install("w.yaml", FAILS)
    web.answers.put(wait_for_ever)
    run = instance.run("w")
    first = json.loads(web.take().body)
    instance.kill()
    instance.start()
    again = json.loads(web.take().body)
    assert (again, again["run"]) == (first, run)


@pytest.mark.parametrize("crash", ["before_commit:9", "after_commit:9", "before_commit:14", "after_commit:14"])
def test_every_run_that_is_recorded_is_told_of_and_no_other_however_the_daemon_dies(
    instance: Instance, web: WebServer, crash: str
) -> None:
    instance.settings(channels={"oncall": to_web(web)})
    instance.start()
    instance.install("w.yaml", FAILS)
    instance.stop()
    instance.start(wait=False, PYFLOWD_CRASH=crash)
    wait_until(lambda: _is_dead(instance) or instance.ctl("run", "w").returncode == -1, "runs, until it dies")
    instance.start()
    runs = {run["run"] for run in instance.json("history", "-n", 100)}
    for run in runs:
        assert instance.wait_run(run)["state"] == "failed"
    wait_until(lambda: not _waiting(instance), "nothing waits in the spool")
    told = [json.loads(web.take().body) for _ in range(web.requests.qsize())]
    assert {message["run"] for message in told} == runs
    assert len({message["id"] for message in told}) == len(runs)


def _is_dead(instance: Instance) -> bool:
    return instance.process is not None and instance.process.poll() is not None


def _waiting(instance: Instance) -> list[Any]:
    return [row for row in instance.json("notifications") if row["state"] == "waiting"]


def test_a_channel_that_hangs_holds_up_no_run_and_no_other_channel(
    instance: Instance, mail: MailServer, web: WebServer
) -> None:
    instance.settings(channels={"oncall": to_web(web), "other": to_mail(mail)})
    instance.start()
    instance.install("w.yaml", FAILS.replace("oncall", "[oncall, other]"))
    web.answers.put(wait_for_ever)
    for _ in range(3):
        instance.wait_run(instance.run("w"))
    subjects = {mail.take().message["Subject"] for _ in range(3)}
    assert len(subjects) == 3
    assert web.requests.qsize() == 1


def test_a_channel_that_fails_is_told_by_status(instance: Instance) -> None:
    with WebServer() as gone:
        channel = to_web(gone)
    instance.settings(channels={"oncall": channel})
    instance.start()
    instance.install("w.yaml", FAILS)
    instance.run("w")
    (warning,) = wait_until(lambda: instance.json("status")["warnings"], "a warning")
    assert warning == f"channel oncall: 1 waiting, 127.0.0.1:{gone.port}: Connection refused"


def test_a_channel_can_be_tried_and_the_spool_be_looked_at(instance: Instance, web: WebServer) -> None:
    instance.settings(channels={"oncall": to_web(web)})
    instance.start()
    done = instance.ctl("notify", "oncall", "can you read this?")
    assert (done.returncode, done.stdout) == (0, "◌ message 1 to oncall is recorded\n  pyflowctl notifications\n")
    assert json.loads(web.take().body)["text"] == "can you read this?"
    (row,) = wait_until(lambda: not _waiting(instance) and instance.json("notifications"), "it is sent")
    assert (row["notification"], row["state"], row["tries"], row["error"]) == (1, "sent", 1, None)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("oncal", "x"), 'there is no channel "oncal" in the settings (did you mean "oncall"?)'),
        (("oncall", " "), "the text is empty"),
    ],
)
def test_a_message_that_cannot_be_is_refused(
    instance: Instance, web: WebServer, words: tuple[str, ...], told: str
) -> None:
    instance.settings(channels={"oncall": to_web(web)})
    instance.start()
    done = instance.ctl("notify", *words)
    assert done.returncode != 0
    assert done.stderr.startswith(f"pyflowctl: {told}")
    assert instance.json("notifications") == []
