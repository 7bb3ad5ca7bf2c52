"""Deliveries by HTTP, signed as senders sign, to a real daemon: proven and recorded once, else all the same."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator

import pytest

from pyflowd.triggers.event_webhook import BODY_MAX_BYTES, sign
from pyflowd.web.endpoints import hooks
from tests.daemon.front import Answered, Front
from tests.daemon.instance import Instance

KEY = "s3cret-s3cret"
BODY = b'{"ref": "main", "id": "evt_1"}'
WORKFLOW = """
params: {ref: {required: true}}
triggers:
  github:
    webhook: {hook: github, verify: {github: key}}
    if: event.headers['x-github-event'] == 'push'
    params: {ref: "${{ event.body.ref }}"}
  gitlab: {webhook: {hook: gitlab, verify: {gitlab: key}}, params: {ref: "${{ event.body.ref }}"}}
  stripe: {webhook: {hook: stripe, verify: {stripe: key}}, params: {ref: "${{ event.body.ref }}"}}
  own: {webhook: {hook: own, verify: {pyflow: key}}, params: {ref: "${{ event.body.ref }}"}}
  open: {webhook: open, params: {ref: x}}
tasks:
  t: {run: 'echo "$PARAM_REF"'}
"""


@pytest.fixture(scope="module")
def front(shared_daemon: Instance) -> Iterator[Front]:
    secrets = shared_daemon.root / "secrets"
    secrets.mkdir(mode=0o700, exist_ok=True)
    (secrets / "key").write_text(KEY)
    (secrets / "key").chmod(0o600)
    shared_daemon.install("hooked.yaml", WORKFLOW)
    made = Front(shared_daemon)
    made.settings("url: https://flow.example.com\n")  # so that an address may be given for each test
    made.start()
    yield made
    made.end()


def _hmac(signed: bytes) -> str:
    return hmac.new(KEY.encode(), signed, hashlib.sha256).hexdigest()


def signed(form: str, number: str, body: bytes = BODY) -> dict[str, str]:
    """As the senders have it."""
    now = str(int(time.time()))
    told = {"Content-Type": "application/json"}
    match form:
        case "github":
            told |= {"X-Hub-Signature-256": "sha256=" + _hmac(body), "X-GitHub-Delivery": number}
            told |= {"X-GitHub-Event": "push"}
        case "gitlab":
            told |= {"X-Gitlab-Token": KEY, "X-Gitlab-Event-UUID": number}
        case "stripe":
            told |= {"Stripe-Signature": f"t={now},v1={_hmac(now.encode() + b'.' + body)}"}
        case "own":
            told |= {"X-Pyflow-Timestamp": now, "X-Pyflow-Delivery": number}
            told |= {"X-Pyflow-Signature": sign(KEY.encode(), "own", now, number, body)}
    return told


def deliver(
    front: Front, hook: str, headers: dict[str, str], body: bytes = BODY, sender: str = "192.0.2.1"
) -> Answered:
    return front.ask("POST", f"/hooks/{hook}", {"X-Forwarded-For": sender, **headers}, body)


@pytest.mark.parametrize("form", ["github", "gitlab", "stripe", "own"])
def test_a_signed_delivery_starts_a_run_and_the_same_again_gives_the_first_answer(front: Front, form: str) -> None:
    body = json.dumps({"ref": form, "id": f"evt_{form}"}).encode()
    told = signed(form, f"{form}-1", body)
    first = deliver(front, form, told, body)
    assert first.status == 202, first.text
    (run,) = first.json()["runs"]
    again = deliver(front, form, told, body)
    assert (again.status, again.json()["runs"]) == (200, [run])
    ended = front.instance.wait_run(run)
    assert (ended["state"], ended["params"]) == ("succeeded", {"ref": form})


def test_what_the_condition_leaves_out_is_taken_and_starts_nothing(front: Front) -> None:
    answer = deliver(front, "github", {**signed("github", "ping-1"), "X-GitHub-Event": "ping"})
    assert (answer.status, answer.json()["runs"]) == (200, [])
    assert answer.json()["answers"][0]["reason"] == "condition_false"


def test_unknown_forged_and_unsigned_deliveries_are_all_the_same(front: Front) -> None:
    forged = {**signed("github", "f-1"), "X-Hub-Signature-256": "sha256=" + "0" * 64}
    late = {**signed("own", "f-2"), "X-Pyflow-Timestamp": "1"}
    answers = [
        deliver(front, "no-such", signed("github", "f-3")), deliver(front, "github", forged),
        deliver(front, "own", late), deliver(front, "gitlab", {"X-Gitlab-Token": "guess"}),
        deliver(front, "stripe", {"Stripe-Signature": "t=1,v1=00"}), deliver(front, "github", {}),
        deliver(front, "open", {}), deliver(front, "a" * 5000, {}),
        deliver(front, "github", signed("github", "f-4"), BODY + b" "),
    ]  # fmt: skip
    assert {answer.status for answer in answers} == {404}
    assert len({answer.body for answer in answers}) == 1
    assert len({tuple(sorted(name for name, _ in answer.headers.items())) for answer in answers}) == 1


def test_turned_off_it_is_the_same_again(front: Front) -> None:
    there = deliver(front, "no-such", {})
    other = Front(front.instance)
    other.settings("hooks: false\n")
    try:
        other.start()
        answer = deliver(other, "github", signed("github", "off-1"))
        assert (answer.status, answer.body) == (404, there.body)
    finally:
        other.end()
        front.settings("url: https://flow.example.com\n")


def test_a_body_of_the_size_that_the_daemon_takes_is_taken_and_a_longer_one_is_not(front: Front) -> None:
    assert hooks.BODY_MAX == BODY_MAX_BYTES
    body = b'{"ref": "main", "x": "' + b"x" * (BODY_MAX_BYTES - 24) + b'"}'
    assert len(body) == BODY_MAX_BYTES
    assert deliver(front, "github", signed("github", "big-1", body), body).status == 202
    assert deliver(front, "github", signed("github", "big-2", body + b" "), body + b" ").status == 413


def test_bytes_that_are_no_text_are_verified_before_they_are_read(front: Front) -> None:
    body = b"\xff\xfe\x00{"
    assert deliver(front, "github", {**signed("github", "raw-1"), "X-Hub-Signature-256": "x"}, body).status == 404
    answer = deliver(front, "github", signed("github", "raw-2", body), body)
    assert (answer.status, answer.json()["code"]) == (409, "refused")


def test_headers_beyond_what_is_taken_are_refused_whether_the_hook_is_there_or_not(front: Front) -> None:
    many = {f"X-{number}": "y" * 1000 for number in range(20)}
    answers = [deliver(front, hook, many) for hook in ("github", "no-such")]
    assert [answer.status for answer in answers] == [409, 409]


def test_who_delivers_too_often_is_asked_to_wait_and_nobody_else(front: Front) -> None:
    answers = [deliver(front, "busy", {}, sender="192.0.2.9") for _ in range(1)]
    while answers[-1].status == 404 and len(answers) < 200:
        answers += [_quick(front, "192.0.2.9")]
    assert answers[-1].status == 429
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert deliver(front, "github", signed("github", "calm-1"), sender="192.0.2.10").status == 202
    # what the sender himself says of where he comes from counts for nothing
    spoofed = f"198.51.100.{len(answers)}, 192.0.2.9"
    assert deliver(front, "busy", {}, sender=spoofed).status == 429


def _quick(front: Front, sender: str) -> Answered:
    """Too long to be read: refused before the daemon is asked, and counted all the same."""
    answer = front.ask("POST", "/hooks/busy", {"X-Forwarded-For": sender}, b"x" * (hooks.BODY_MAX + 1))
    return answer if answer.status == 429 else answer._replace(status=404)


def test_it_is_post_or_nothing(front: Front) -> None:
    assert front.get("/hooks/github").status == 405


def test_nothing_of_a_delivery_is_written_by_the_front(front: Front) -> None:
    deliver(front, "gitlab", signed("gitlab", "quiet-1"), b'{"ref": "told-in-the-body"}')
    assert KEY not in front.said()
    assert "told-in-the-body" not in front.said()
