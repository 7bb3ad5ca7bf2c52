"""Deliveries: who made the signature, which delivery it is, what its event holds."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowd.clock import US
from pyflowd.errors import Refused
from pyflowd.model.triggers import Verify
from pyflowd.triggers.event_webhook import (
    BODY_MAX_BYTES,
    Delivery,
    delivery,
    event_of,
    id_of,
    read_body,
    sign,
    why_refused,
)

NOW_S = 1_700_000_000
NOW_US = NOW_S * US
BODY = b'{"id": "evt_1", "n": 1}'


def made(body: bytes = BODY, hook: str = "h", **headers: str) -> Delivery:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return delivery(hook, "post", named, {}, body)


def refusal(form: str, found: Delivery, *secrets: bytes, header: str = "") -> str:
    return why_refused(Verify(form=form, secrets=("a", "b"), header=header), found, secrets or (b"key",), NOW_US)


def mac(secret: bytes, signed: bytes) -> str:
    return hmac.new(secret, signed, hashlib.sha256).hexdigest()


def signed(form: str, secret: bytes = b"key", at_s: int = NOW_S, body: bytes = BODY) -> Delivery:
    match form:
        case "github":
            return made(body, X_Hub_Signature_256=f"sha256={mac(secret, body)}")
        case "gitlab":
            return made(body, X_Gitlab_Token=secret.decode())
        case "stripe":
            return made(body, Stripe_Signature=f"t={at_s},v0=x,v1={mac(secret, f'{at_s}.'.encode() + body)}")
        case _:
            signature = sign(secret, "h", str(at_s), "d-1", body)
            return made(body, X_Pyflow_Signature=signature, X_Pyflow_Timestamp=str(at_s), X_Pyflow_Delivery="d-1")


FORMS = pytest.mark.parametrize("form", ["github", "gitlab", "stripe", "pyflow"])


def test_the_signature_of_githubs_own_example_is_right() -> None:
    """The values of GitHub's manual page on validating deliveries."""
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    found = made(b"Hello, World!", X_Hub_Signature_256=signature)
    assert refusal("github", found, b"It's a Secret to Everybody") == ""


@FORMS
def test_a_delivery_signed_with_one_of_two_secrets_is_taken(form: str) -> None:
    assert refusal(form, signed(form, b"new"), b"old", b"new") == ""


@FORMS
def test_a_delivery_signed_with_another_secret_is_refused(form: str) -> None:
    assert refusal(form, signed(form, b"other")) != ""


@FORMS
def test_a_delivery_without_a_signature_is_refused(form: str) -> None:
    assert "no header" in refusal(form, made())


@pytest.mark.parametrize("form", ["github", "stripe", "pyflow"])
@given(body=st.binary(max_size=40))
def test_another_body_is_refused(form: str, body: bytes) -> None:
    found = signed(form)
    other = Delivery(hook="h", method="POST", headers=found.headers, query={}, body=body)
    assert bool(refusal(form, other)) == (body != BODY)


@pytest.mark.parametrize("form", ["stripe", "pyflow"])
@pytest.mark.parametrize(("late_s", "taken"), [(300, True), (-300, True), (301, False), (-301, False)])
def test_a_signature_is_taken_for_five_minutes(form: str, late_s: int, taken: bool) -> None:
    assert (refusal(form, signed(form, at_s=NOW_S - late_s)) == "") is taken


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-pyflow-delivery", "d-2"),
        ("x-pyflow-delivery", "d-1.x"),
        ("x-pyflow-timestamp", str(NOW_S + 1)),
        ("x-pyflow-timestamp", "now"),
    ],
)
def test_our_own_form_covers_the_time_and_the_id(name: str, value: str) -> None:
    found = signed("pyflow")
    other = Delivery(hook="h", method="POST", headers={**found.headers, name: value}, query={}, body=BODY)
    assert refusal("pyflow", other) != ""


def test_our_own_form_covers_the_hook() -> None:
    found = signed("pyflow")
    other = Delivery(hook="g", method="POST", headers=found.headers, query={}, body=BODY)
    assert refusal("pyflow", other) != ""


def test_a_header_of_ones_own_may_hold_the_signature() -> None:
    found = made(X_Mine=f"sha256={mac(b'key', BODY)}")
    assert refusal("github", found, header="x-mine") == ""


@pytest.mark.parametrize("text", ["t=,v1=", "t=1", "v1=abc", "t=1,t=2,v1=a", "=,,==", "\x00", "t=9" * 5000])
def test_odd_signatures_are_refused_without_an_error(text: str) -> None:
    assert refusal("stripe", made(Stripe_Signature=text)) != ""


def test_a_body_is_read_as_its_type_says() -> None:
    assert read_body(made(b'{"a": [1, true]}', Content_Type="application/json; charset=utf-8")) == {"a": [1, True]}
    assert read_body(made(b"", Content_Type="application/vnd.x+json")) is None
    assert read_body(made(b"a=1&b=x+y&c=", Content_Type="application/x-www-form-urlencoded")) == {
        "a": "1", "b": "x y", "c": "",
    }  # fmt: skip
    assert read_body(made(b"hello", Content_Type="text/plain")) == "hello"


@pytest.mark.parametrize(
    ("body", "sort"),
    [
        (b"{", "application/json"),
        (b"[" * 100 + b"]" * 100, "application/json"),
        (b"1e999", "application/json"),
        (b"\xff", "text/plain"),
        (b"a=1&" * 1001, "application/x-www-form-urlencoded"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_with_a_line(body: bytes, sort: str) -> None:
    with pytest.raises(Refused, match=r"^h: the body") as refused:
        read_body(made(body, Content_Type=sort))
    assert "\n" not in str(refused.value)


def test_what_is_too_large_is_refused() -> None:
    with pytest.raises(Refused, match="at most"):
        made(b"x" * (BODY_MAX_BYTES + 1))
    with pytest.raises(Refused, match="at most"):
        made(Much="x" * 20_000)


def test_each_form_has_its_own_id() -> None:
    assert id_of("github", made(X_GitHub_Delivery="g"), None) == "g"
    assert id_of("gitlab", made(X_Gitlab_Event_UUID="l"), None) == "l"
    assert id_of("stripe", made(), {"id": "evt_1"}) == "evt_1"
    assert id_of("", made(Idempotency_Key="k"), None) == "k"
    assert id_of("stripe", made(), ["evt_1"]) == ""
    assert id_of("github", made(X_GitHub_Delivery="x" * 300), None).startswith("sha256:")


def test_an_event_holds_no_header_that_may_be_a_secret() -> None:
    found = made(Authorization="Bearer t", X_Gitlab_Token="t", Cookie="c", X_Mine="t", X_Event="push")
    verify = Verify(form="gitlab", secrets=("s",), header="x-mine")
    event = event_of(verify, found, None, "1", "2026-01-01T00:00:00+00:00")
    assert event["headers"] == {"x-event": "push"}
