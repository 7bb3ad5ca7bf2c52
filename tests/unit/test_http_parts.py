"""What a request is made of before anything is sent: URLs, addresses, files, hops, answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowd.expressions.expression_values import ExpressionError, Variables
from pyflowd.http import http_addresses, http_answer, http_checks, http_files, http_hops, http_urls
from pyflowd.http.http_answer import Answer
from pyflowd.http.http_errors import CallError
from pyflowd.http.http_hops import Hop
from pyflowd.http.http_request import Content, HttpRequest, Multipart, build
from pyflowd.model.kinds import (
    BasicAuth,
    BearerAuth,
    Expect,
    FilePart,
    FormBody,
    Http,
    JsonBody,
    MultipartBody,
    TextBody,
    TextTest,
    Tls,
)

NAMES = Variables({"n": 3, "words": ["a", "b c"], "flag": True, "nothing": None, "evil": "x\r\nX-Injected: 1"})


def built(**fields: Any) -> HttpRequest:
    fields.setdefault("url", "https://example.com/")
    return build(Http(**fields), NAMES, identity="run 7, task a", scratch="/scratch")


# ---- URLs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "https://user:secret@example.com/",
        "https://good.example\\@evil.example/",
        "https://exa mple.com/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://example.com/\nX: 1",
        "https://example.com/\x00",
        "https://example.com%2f.evil.example/",
        "https://example.com/" + "a" * 20_000,
    ],
)
def test_a_url_that_is_none_or_ambiguous_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(ValueError, match=r".+") as refused:
        http_urls.check(url)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_fragment_is_not_sent() -> None:
    assert http_urls.check("https://example.com/a#part") == "https://example.com/a"


@given(st.text(max_size=60))
def test_a_url_that_is_taken_has_an_origin(text: str) -> None:
    try:
        url = http_urls.check(f"http://{text}")
    except ValueError:
        return
    assert http_urls.origin(url).host


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@h/a", "https://***@h/a"),
        ("https://h/?api_key=1&x=2", "https://h/?api_key=***&x=2"),
        ("https://h/?access%5Ftoken=1", "https://h/?access%5Ftoken=***"),
        ("https://h/?X-Amz-Signature=abc&page=2#top", "https://h/?X-Amz-Signature=***&page=2"),
    ],
)
def test_what_looks_secret_in_a_url_is_masked(url: str, shown: str) -> None:
    assert http_urls.shown(url) == shown


# ---- Addresses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
    ],
)
def test_an_address_that_no_task_should_reach_is_refused(address: str) -> None:
    assert http_addresses.refusal(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "fd12::1", "8.8.8.8", "2600::1"])
def test_loopback_private_and_public_addresses_are_reached(address: str) -> None:
    assert http_addresses.refusal(address) == ""


@pytest.mark.parametrize("allowed", ["169.254.169.254", "169.254.0.0/16", "::ffff:0:0/96"])
def test_an_address_is_reached_where_the_task_allows_it(allowed: str) -> None:
    assert http_addresses.refusal("::ffff:169.254.169.254", (http_checks.network(allowed),)) == ""


def test_allowing_one_network_allows_no_other() -> None:
    assert http_addresses.refusal("fe80::1", (http_checks.network("169.254.0.0/16"),))


@pytest.mark.parametrize("host", ["2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518"])
def test_an_address_is_known_in_every_spelling_that_the_system_reads(host: str) -> None:
    (target,) = http_addresses.resolve(host, 80, 1, lambda interrupt: None)[:1]
    assert target.address == "169.254.169.254"


def test_a_look_up_that_hangs_is_left_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    _hang(monkeypatch)
    with pytest.raises(CallError, match="no answer to the look-up"):
        http_addresses.resolve("slow.example", 80, 0.01, lambda interrupt: None)


def test_a_look_up_that_hangs_is_left_when_it_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    _hang(monkeypatch)
    with pytest.raises(CallError):
        http_addresses.resolve("slow.example", 80, 1000, lambda interrupt: interrupt())


def _hang(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    never = threading.Event()
    monkeypatch.setattr(http_addresses, "_look_up", lambda host, port: never.wait(30) or [])


# ---- Files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["", "/", ".", "a/", "../a", "a/../../b", "/etc/passwd", "/scratchy/a", "a\0b", "x" * 300]
)
def test_a_path_that_is_not_below_the_scratch_folder_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        http_files.below("/scratch", path)


@pytest.mark.parametrize("path", ["a/b.txt", "./a//b.txt", "/scratch/a/b.txt"])
def test_a_path_below_the_scratch_folder_is_taken(path: str) -> None:
    assert http_files.below("/scratch", path) == ("a", "b.txt")


@pytest.mark.parametrize("link", ["folder", "file"])
def test_a_link_in_the_scratch_folder_is_not_followed_to_read(tmp_path: Path, link: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("s")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    target = tmp_path / "outside"
    (scratch / "x").symlink_to(target if link == "folder" else target / "secret")
    parts = ("x", "secret") if link == "folder" else ("x",)
    with pytest.raises(CallError, match="link"), http_files.reading(str(scratch), parts):
        pass


def test_a_link_in_the_scratch_folder_is_not_followed_to_write(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "x").symlink_to(tmp_path / "outside")
    with pytest.raises(CallError, match="link"), http_files.saving(str(tmp_path / "scratch"), ("x", "f")):
        pass
    assert os.listdir(tmp_path / "outside") == []


def test_a_fifo_is_no_file_to_send(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f")
    with pytest.raises(CallError, match="no plain file"), http_files.reading(str(tmp_path), ("f",)):
        pass


def test_a_file_that_was_not_finished_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with http_files.saving(str(tmp_path), ("d", "f")) as file:
            file.write(b"half")
            raise CallError("no more")

    with pytest.raises(CallError, match="no more"):
        interrupted()
    assert os.listdir(tmp_path / "d") == []


# ---- What a request is made of --------------------------------------------------------------------------------------


def test_expressions_are_rendered_in_every_part() -> None:
    request = built(
        url="https://example.com/${{ n }}",
        headers={"X-N": "${{ n }}", "X-None": "${{ nothing }}"},
        query={"q": "${{ words }}", "flag": "${{ flag }}", "none": None},
        body=JsonBody(value={"n": "${{ n }}", "all": "${{ words }}"}),
    )
    assert request.url == "https://example.com/3"
    assert request.headers["X-N"] == "3"
    assert "X-None" not in request.headers
    assert request.query == (("q", "a"), ("q", "b c"), ("flag", "true"))
    assert request.body == Content(data=b'{"n":3,"all":["a","b c"]}', content_type="application/json")


def test_a_form_is_url_encoded() -> None:
    body = built(method="POST", body=FormBody(values={"q": "${{ words }}", "x": "ü&="})).body
    assert isinstance(body, Content)
    assert body.data == b"q=a&q=b+c&x=%C3%BC%26%3D"


def test_a_text_body_has_a_type_unless_the_task_gives_one() -> None:
    assert built(body=TextBody(text="hi")).headers["Content-Type"] == "text/plain; charset=utf-8"


def test_the_type_that_a_task_gives_stays() -> None:
    request = built(body=TextBody(text="<a/>"), headers={"content-type": "application/xml"})
    assert [value for name, value in request.headers.items() if name.lower() == "content-type"] == ["application/xml"]


def test_a_file_to_send_is_below_the_scratch_folder() -> None:
    body = built(method="POST", body=MultipartBody(files=(FilePart(name="f", path="out/${{ n }}.csv"),))).body
    assert isinstance(body, Multipart)
    assert body.uploads[0].path == ("out", "3.csv")
    assert body.uploads[0].filename == "3.csv"


@pytest.mark.parametrize(
    "fields",
    [
        {"headers": {"X-A": "${{ evil }}"}},
        {"headers": {"Content-Length": "3"}},
        {"headers": {"A B": "c"}},
        {"auth": BearerAuth(token="${{ evil }}")},
        {"auth": BasicAuth(user="a:b", password="c")},
        {"auth": BearerAuth(token="t"), "headers": {"authorization": "Basic x"}},
        {"method": "CONNECT"},
        {"method": "GET /"},
        {"url": "https://example.com/${{ evil }}"},
        {"url": "${{ unknown }}"},
        {"save_to": "../x"},
        {"idempotency_key": "${{ '' }}"},
        {"proxy": "socks5://x"},
    ],
)
def test_a_request_that_cannot_be_sent_as_written_is_refused_in_one_line(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+") as refused:
        built(**fields)
    assert "\n" not in str(refused.value)


def test_basic_and_bearer_become_the_header() -> None:
    assert built(auth=BasicAuth(user="ü", password="p:w")).headers["Authorization"] == "Basic w7w6cDp3"
    assert built(auth=BearerAuth(token="t${{ n }}")).headers["Authorization"] == "Bearer t3"


def test_an_automatic_idempotency_key_is_the_same_for_all_attempts_and_differs_between_tasks() -> None:
    kind = Http(url="https://h/", method="POST", idempotency_key="auto")
    keys = [build(kind, NAMES, identity=each, scratch="/s").headers["Idempotency-Key"] for each in ("a", "a", "b")]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    ("fields", "safe"),
    [
        ({}, True),
        ({"method": "PUT"}, True),
        ({"method": "POST"}, False),
        ({"method": "PATCH"}, False),
        ({"method": "PURGE"}, False),
        ({"method": "POST", "idempotency_key": "auto"}, True),
        ({"method": "POST", "headers": {"idempotency-key": "x"}}, True),
    ],
)
def test_what_may_be_sent_again_after_a_crash(fields: dict[str, Any], safe: bool) -> None:
    assert Http(url="x", **fields).safe_to_repeat is safe


# ---- Hops -----------------------------------------------------------------------------------------------------------

SECRET = {"Authorization": "Bearer t", "X-Api-Key": "k", "Cookie": "c", "Accept": "*/*", "Content-Type": "text/plain"}
HOP = Hop(
    url="https://a.example/x",
    method="POST",
    headers=SECRET,
    body=Content(data=b"b", content_type="text/plain"),
    tls=Tls(cert_file="/c"),
)


@pytest.mark.parametrize(
    ("method", "status", "after"),
    [
        ("POST", 301, "GET"),
        ("POST", 302, "GET"),
        ("POST", 303, "GET"),
        ("PUT", 302, "PUT"),
        ("PUT", 303, "GET"),
        ("DELETE", 303, "GET"),
        ("HEAD", 303, "HEAD"),
        ("POST", 307, "POST"),
        ("POST", 308, "POST"),
        ("PUT", 307, "PUT"),
    ],
)
def test_a_redirect_keeps_or_changes_the_method(method: str, status: int, after: str) -> None:
    hop = Hop(url=HOP.url, method=method, headers=SECRET, body=HOP.body)
    followed = http_hops.redirected(hop, hop.url, status, "/y")
    assert followed.method == after
    assert (followed.body is None) == (after == "GET")
    assert ("Content-Type" in followed.headers) == (after != "GET")


def test_a_redirect_within_the_origin_keeps_the_headers() -> None:
    assert http_hops.redirected(HOP, HOP.url, 307, "https://A.example:443/y").headers == SECRET


@pytest.mark.parametrize(
    "location", ["https://b.example/", "https://a.example:8443/", "//b.example/", "https://a.example./"]
)
def test_a_redirect_to_another_origin_takes_no_secret_along(location: str) -> None:
    followed = http_hops.redirected(HOP, HOP.url, 307, location)
    assert followed.headers == {"Accept": "*/*", "Content-Type": "text/plain"}
    assert followed.tls.cert_file == ""


@pytest.mark.parametrize(
    "location", ["http://a.example/", "ftp://a.example/", "https://u:p@b.example/", "https://\x00/"]
)
def test_a_redirect_that_leads_astray_is_not_followed(location: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        http_hops.redirected(HOP, HOP.url, 302, location)


# ---- Answers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "content_type", "value"),
    [
        (b'{"a": [1]}', "application/json", {"a": [1]}),
        (b'\xef\xbb\xbf{"a": 1}', "application/problem+json; charset=utf-8", {"a": 1}),
        (b"\xfc", "text/plain; charset=iso-8859-1", "ü"),
        ("ü".encode(), "text/plain", "ü"),
        (b"\xff\xfe", "image/png", None),
        (b"x", "text/plain; charset=unicode_escape", None),
        (b"x", "text/plain; charset=nonsense", None),
        (b"", "application/json", None),
    ],
)
def test_a_body_becomes_what_its_type_says(data: bytes, content_type: str, value: Any) -> None:
    assert http_answer.decoded(data, content_type)[0] == value


@pytest.mark.parametrize("data", [b"{", b"<html>", b'"\xff"', b"[" * 100_000, b'{"a": NaN}'])
def test_a_body_that_says_it_is_json_and_is_not_is_an_error(data: bytes) -> None:
    with pytest.raises(CallError, match="JSON"):
        http_answer.decoded(data, "application/json")


@given(st.binary(max_size=200), st.text(max_size=40))
def test_any_body_is_a_value_or_a_call_error(data: bytes, content_type: str) -> None:
    try:
        http_answer.decoded(data, content_type)
    except CallError:
        pass


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("99999999999999", http_answer.MAX_RETRY_AFTER_S),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 100.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-3", None),
        ("", None),
        ("٣", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert http_answer.retry_after_s(value, 0) == seconds


@given(st.text(max_size=40))
def test_any_retry_after_is_bounded(value: str) -> None:
    found = http_answer.retry_after_s(value, 0)
    assert found is None or 0 <= found <= http_answer.MAX_RETRY_AFTER_S


def test_links_are_found_by_their_relation() -> None:
    header = '<https://h/?page=2>; rel="next", <https://h/?page=9>; title="x"; rel="last first"'
    assert http_answer.links(header) == {
        "next": "https://h/?page=2",
        "last": "https://h/?page=9",
        "first": "https://h/?page=9",
    }


@pytest.mark.parametrize(
    ("status", "transient"),
    [(200, True), (302, True), (400, False), (404, False), (408, True), (425, True), (429, True), (503, True)],
)
def test_what_may_be_better_another_time(status: int, transient: bool) -> None:
    assert http_answer.is_transient(status) is transient


ANSWER = Answer(url="https://h/", status=200, headers={"x-state": "ready"}, body={"v": 2}, text="one\nversion 2\n")


@pytest.mark.parametrize(
    ("expect", "met"),
    [
        (Expect(headers={"x-state": TextTest(equals="ready")}), True),
        (Expect(headers={"x-state": TextTest(equals="busy")}), False),
        (Expect(headers={"x-none": TextTest(contains="")}), False),
        (Expect(body=TextTest(contains="version")), True),
        (Expect(body=TextTest(contains="version 3")), False),
        (Expect(body=TextTest(matches="version [0-9]+")), True),
        (Expect(body=TextTest(matches="version")), False),
        (Expect(body=TextTest(contains="one", matches="two")), False),
        (Expect(json="body.v == 2 and status == 200"), True),
        (Expect(json="${{ body.v > 2 }}"), False),
        (Expect(json="headers['x-state'] == 'ready' and n == 3"), True),
    ],
)
def test_an_answer_is_as_expected_or_not(expect: Expect, met: bool) -> None:
    assert (http_answer.unmet(ANSWER, expect, http_answer.names_with(ANSWER, NAMES), lambda: None) == "") is met


@pytest.mark.parametrize("text", ["body.v", "body.w == 1", "unknown", "body.v +"])
def test_a_condition_that_has_no_truth_is_an_expression_error(text: str) -> None:
    with pytest.raises(ExpressionError):
        http_answer.unmet(ANSWER, Expect(json=text), http_answer.names_with(ANSWER, NAMES), lambda: None)


@pytest.mark.parametrize("value", [{"n": 2**70}, {"x": "x" * (1024 * 1024)}])
def test_outputs_that_cannot_be_kept_are_an_error(value: Any) -> None:
    with pytest.raises(CallError):
        http_answer.bounded({"body": value})
