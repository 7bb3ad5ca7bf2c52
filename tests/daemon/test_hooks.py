"""Deliveries to hooks of a real daemon: proven, recorded with their run before they are answered, once."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyflowctl.client import Client, connect
from pyflowd.errors import Forbidden, NotFound, PyflowError, Refused
from pyflowd.protocol.requests import DeliverHook
from pyflowd.protocol.views_workflows import HookAnswer, HookView
from pyflowd.triggers.event_webhook import sign
from tests.daemon.instance import Instance
from tests.waiting import wait_until

BODY = b'{"ref": "main"}'
WORKFLOW = """
params: {ref: {required: true}}
triggers:
  push:
    webhook: {hook: deploy, verify: {github: [new_key, key]}}
    if: event.headers['x-github-event'] == 'push'
    params: {ref: "${{ event.body.ref }}"}
  own: {webhook: {hook: own, verify: {pyflow: key}}, params: {ref: own}}
tasks:
  t: {run: 'echo "$PARAM_REF $METHOD"', env: {METHOD: "${{ event.method }}"}}
"""


@pytest.fixture
def hooked(instance: Instance) -> Instance:
    (instance.root / "secrets").mkdir(mode=0o700)
    secret = instance.root / "secrets" / "key"
    secret.write_text("s3cret-s3cret")
    secret.chmod(0o600)
    instance.start()
    instance.install("w.yaml", WORKFLOW)
    return instance


@pytest.fixture
def client(hooked: Instance) -> Iterator[Client]:
    with connect(root=str(hooked.root)) as made:
        yield made


def github(number: str, body: bytes = BODY, secret: bytes = b"s3cret-s3cret", event: str = "push") -> DeliverHook:
    signature = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    headers = {
        "X-Hub-Signature-256": signature, "X-GitHub-Delivery": number, "X-GitHub-Event": event,
        "Content-Type": "application/json",
    }  # fmt: skip
    return DeliverHook(hook="deploy", headers=headers, body=body)


def answer(client: Client, request: DeliverHook) -> HookAnswer:
    view = next(reply for reply in list(client.ask(request)) if isinstance(reply, HookView))
    (one,) = view.answers
    return one


def test_a_signed_delivery_starts_a_run_that_sees_it_and_the_same_one_gives_that_run(
    hooked: Instance, client: Client
) -> None:
    first, again = answer(client, github("d1")), answer(client, github("d1"))
    assert (first.fate, first.again, again.run, again.again) == ("fired", False, first.run, True)
    assert first.run is not None
    ended = hooked.wait_run(first.run)
    assert (ended["state"], ended["trigger"], ended["params"]) == ("succeeded", "push", {"ref": "main"})
    assert hooked.ctl("logs", first.run, "--raw").stdout == "main POST\n"


def test_a_forged_delivery_starts_nothing_and_is_told_without_its_body(hooked: Instance, client: Client) -> None:
    with pytest.raises(Forbidden, match="the signature is not that of the body"):
        answer(client, github("d1", secret=b"guessed"))
    status = hooked.ctl("status").stdout
    assert "hook deploy: 1 delivery refused" in status
    assert "main" not in status
    assert hooked.json("slots", "--events") == []


def test_what_the_condition_leaves_out_is_answered_and_recorded(hooked: Instance, client: Client) -> None:
    found = answer(client, github("d1", event="ping"))
    assert (found.fate, found.reason) == ("skipped", "condition_false")
    (row,) = hooked.json("slots", "--events", "w")
    assert (row["key"], row["fate"]) == ("d1", "skipped")


def test_our_own_form_is_taken(client: Client) -> None:
    stamp = str(int(time.time()))
    headers = {
        "X-Pyflow-Timestamp": stamp, "X-Pyflow-Delivery": "n-1",
        "X-Pyflow-Signature": sign(b"s3cret-s3cret", "own", stamp, "n-1", b"hi"),
    }  # fmt: skip
    assert answer(client, DeliverHook(hook="own", headers=headers, body=b"hi")).fate == "fired"


def test_a_hook_that_nobody_has_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound, match="deploy"):
        answer(client, DeliverHook(hook="deplyo"))


def test_a_body_that_is_no_json_is_refused_in_one_line(client: Client) -> None:
    with pytest.raises(Refused, match=r"^deploy: the body is no JSON: .*line 1"):
        answer(client, github("d1", b"{oops"))


def test_no_secret_and_no_token_is_written_anywhere(hooked: Instance, client: Client) -> None:
    answer(client, github("d1"))
    hooked.stop()
    written = [path for path in Path(hooked.root).rglob("*") if path.is_file() and path.parent.name != "secrets"]
    assert not [path for path in written if b"s3cret-s3cret" in path.read_bytes()]


@pytest.mark.parametrize("crash", ["before_commit", "after_commit", "before_reply"])
def test_a_delivery_that_is_sent_again_after_a_crash_starts_one_run(instance: Instance, crash: str) -> None:
    instance.start()
    instance.install("w.yaml", "triggers: {x: {webhook: h}}\ntasks: {t: {run: echo}}\n")
    instance.stop()
    request = DeliverHook(hook="h", headers={"Idempotency-Key": "k1"}, body=b"")
    runs: set[int | None] = set()
    for passing in range(2, 7):  # the crash point is passed in turns of the start as well
        instance.start(PYFLOWD_CRASH=f"{crash}:{passing}", wait=False)
        runs |= _delivered(instance, request)
        if instance.process and instance.process.poll() is None:
            instance.kill()
    instance.start()
    runs |= _delivered(instance, request)
    assert len(runs) == 1
    assert len(instance.json("history", "w")) == 1


def _delivered(instance: Instance, request: DeliverHook) -> set[int | None]:
    """The run that it was answered with; none where the daemon died."""
    assert instance.process is not None
    process = instance.process

    def sent() -> set[int | None] | bool:
        try:
            with connect(root=str(instance.root)) as client:
                return {answer(client, request).run}
        except (PyflowError, OSError):
            return process.poll() is not None

    found = wait_until(sent, "an answer, or the end of the daemon")
    return set() if found is True else found


def test_a_hook_is_tried_from_the_command_line(hooked: Instance, tmp_path: Path) -> None:
    body = tmp_path / "push.json"
    body.write_bytes(BODY)
    arguments = ("hook", "send", "deploy", "--body", body, "--header", "X-GitHub-Event: push")
    refused = hooked.ctl(*arguments)
    assert (refused.returncode, refused.stdout) == (5, "")
    assert "no header x-hub-signature-256" in refused.stderr
    first, second = (json.loads(hooked.ctl(*arguments, "--unsigned", "-o", "json").stdout) for _ in range(2))
    assert first["answers"][0]["fate"] == "fired"
    assert first["answers"][0]["run"] != second["answers"][0]["run"]
