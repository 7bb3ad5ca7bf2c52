"""Requests against a server on loopback: what is sent, what comes back, how it is judged."""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from pyflowd.model.kinds import (
    BearerAuth,
    Expect,
    FilePart,
    FormBody,
    JsonBody,
    MultipartBody,
    Paginate,
    TextBody,
    TextTest,
)
from tests.unit.http_calls import DRIPS, Said, call, drips, echo, good, hello, to
from tests.unit.web import Handler, Seen, web

# ---- What comes back ------------------------------------------------------------------------------------------------


def test_an_answer_becomes_outputs() -> None:
    with web(hello=hello) as server:
        outputs = good(f"{server.url}/hello", query={"a": 1})
    assert outputs["status"] == 200
    assert outputs["body"] == {"hello": 1}
    assert outputs["headers"]["content-type"] == "application/json"
    assert outputs["url"] == f"{server.url}/hello?a=1"


def test_a_header_that_comes_twice_is_joined() -> None:
    def twice(handler: Handler, seen: Seen) -> None:
        handler.send_response(204)
        handler.send_header("X-A", "1")
        handler.send_header("x-a", "2")
        handler.end_headers()

    with web(twice=twice) as server:
        outputs = good(f"{server.url}/twice")
    assert outputs["headers"]["x-a"] == "1, 2"
    assert outputs["body"] is None


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_the_method_is_sent(method: str) -> None:
    with web(echo=echo) as server:
        assert good(f"{server.url}/echo", method=method)["body"]["method"] == method


def test_the_answer_to_head_has_no_body() -> None:
    with web(hello=hello) as server:
        assert good(f"{server.url}/hello", method="HEAD")["body"] is None


def test_a_compressed_body_is_decompressed() -> None:
    def zipped(handler: Handler, seen: Seen) -> None:
        assert "gzip" in seen.headers["accept-encoding"]
        handler.answer(200, gzip.compress(b'{"a": 1}'), "application/json", Content_Encoding="gzip")

    with web(zipped=zipped) as server:
        assert good(f"{server.url}/zipped")["body"] == {"a": 1}


def test_a_small_answer_that_unpacks_to_a_large_one_is_refused() -> None:
    bomb = gzip.compress(b"0" * (64 * 1024 * 1024))

    def zipped(handler: Handler, seen: Seen) -> None:
        handler.answer(200, bomb, Content_Encoding="gzip")

    with web(zipped=zipped) as server:
        end = call(f"{server.url}/zipped").end
    assert "larger than 1.0 MiB" in end.error
    assert "save_to" in end.error
    assert not end.transient


# ---- What is sent ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "content_type", "sent"),
    [
        (JsonBody(value={"n": "${{ n }}"}), "application/json", '{"n":3}'),
        (FormBody(values={"a": "b c"}), "application/x-www-form-urlencoded", "a=b+c"),
        (TextBody(text="line\nü"), "text/plain; charset=utf-8", "line\nü"),
    ],
)
def test_a_body_arrives_with_its_type_and_length(body: Any, content_type: str, sent: str) -> None:
    with web(echo=echo) as server:
        came = good(f"{server.url}/echo", method="POST", body=body)["body"]
    assert came["body"] == sent
    assert came["headers"]["content-type"] == content_type
    assert came["headers"]["content-length"] == str(len(sent.encode()))


def test_a_large_body_arrives_whole() -> None:
    def size(handler: Handler, seen: Seen) -> None:
        handler.json(hashlib.sha256(seen.body).hexdigest())

    text = "0123456789abcdef" * 40_000
    with web(size=size) as server:
        came = good(f"{server.url}/size", method="PUT", body=TextBody(text=text))["body"]
    assert came == hashlib.sha256(text.encode()).hexdigest()


def test_files_arrive_as_a_form(tmp_path: Path) -> None:
    import email.parser

    (tmp_path / "r.csv").write_bytes(b"a,b\r\n" + bytes(range(256)))
    with web(post=lambda handler, seen: handler.answer()) as server:
        body = MultipartBody(files=(FilePart(name='f"x', path="r.csv"),), values={"k": "${{ n }}"})
        good(f"{server.url}/post", method="POST", body=body, scratch=tmp_path)
        seen = server.seen[0]
    head = f"Content-Type: {seen.headers['content-type']}\r\n\r\n".encode("latin-1")
    parts = email.parser.BytesParser().parsebytes(head + seen.body).get_payload()
    value, upload = parts  # type: ignore[misc]
    assert value.get_payload() == "3"
    assert upload.get_filename() == "r.csv"
    assert upload.get_payload(decode=True) == b"a,b\r\n" + bytes(range(256))


def test_a_file_that_is_missing_fails_before_anything_is_sent(tmp_path: Path) -> None:
    with web(post=lambda handler, seen: handler.answer()) as server:
        body = MultipartBody(files=(FilePart(name="f", path="no.csv"),))
        end = call(f"{server.url}/post", method="POST", body=body, scratch=tmp_path).end
    assert "no.csv" in end.error
    assert server.seen == []


def test_nothing_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login u password p\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with web(echo=echo) as server:
        assert "authorization" not in good(f"{server.url}/echo")["body"]["headers"]


def test_cookies_are_not_kept() -> None:
    def cookie(handler: Handler, seen: Seen) -> None:
        handler.json(seen.headers.get("cookie"), Set_Cookie="a=1")

    with web(cookie=cookie) as server:
        assert [good(f"{server.url}/cookie")["body"] for _ in range(2)] == [None, None]


# ---- What is expected -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "transient"), [(400, False), (404, False), (408, True), (429, True), (500, True), (503, True)]
)
def test_a_status_that_is_not_expected_is_an_error(status: int, transient: bool) -> None:
    with web(bad=lambda handler, seen: handler.answer(status)) as server:
        result = call(f"{server.url}/bad")
    assert str(status) in result.end.error
    assert result.end.status == status
    assert result.end.transient is transient
    assert result.outputs == {}


def test_a_status_that_is_expected_is_none() -> None:
    with web(bad=lambda handler, seen: handler.json("gone", 404)) as server:
        outputs = good(f"{server.url}/bad", expect=Expect(status=((404, 404), (410, 410))))
    assert outputs["body"] == "gone"


def test_retry_after_is_told() -> None:
    with web(busy=lambda handler, seen: handler.answer(429, Retry_After="7")) as server:
        assert call(f"{server.url}/busy").end.retry_after_s == 7


def test_an_unmet_condition_may_be_met_another_time() -> None:
    with web(hello=hello) as server:
        end = call(f"{server.url}/hello", expect=Expect(json="body.hello == 2")).end
    assert "expect.json" in end.error
    assert end.transient


def test_a_condition_without_a_value_is_not_tried_again() -> None:
    with web(hello=hello) as server:
        end = call(f"{server.url}/hello", expect=Expect(json="body.nothing == 2")).end
    assert end.error
    assert not end.transient


def test_an_expected_header_that_is_missing_is_an_error() -> None:
    with web(hello=hello) as server:
        end = call(f"{server.url}/hello", expect=Expect(headers={"x-ready": TextTest(equals="1")})).end
    assert "x-ready" in end.error


# ---- Redirects ------------------------------------------------------------------------------------------------------


def test_a_redirect_is_followed() -> None:
    with web(old=to("/echo?x=1"), echo=echo) as server:
        outputs = good(f"{server.url}/old", query={"q": "lost"})
    assert outputs["body"]["path"] == "/echo?x=1"
    assert outputs["url"] == f"{server.url}/echo?x=1"


def test_a_body_goes_along_with_307() -> None:
    with web(old=to("/echo", 307), echo=echo) as server:
        came = good(f"{server.url}/old", method="POST", body=TextBody(text="b"))["body"]
    assert (came["method"], came["body"]) == ("POST", "b")


def test_a_redirect_to_another_origin_gets_no_authorization() -> None:
    with web(echo=echo) as other, web(old=to(f"{other.url}/echo")) as server:
        good(f"{server.url}/old", auth=BearerAuth(token="t"), headers={"X-Key": "k"})
    assert server.seen[0].headers["authorization"] == "Bearer t"
    assert not {"authorization", "x-key"} & set(other.seen[0].headers)


@pytest.mark.parametrize("redirects", [1, 5])
def test_a_circle_of_redirects_ends(redirects: int) -> None:
    with web(old=to("/old")) as server:
        end = call(f"{server.url}/old", redirects=redirects).end
    assert f"more than {redirects} redirects" in end.error
    assert len(server.seen) == redirects + 1


def test_without_redirects_the_redirect_is_the_answer() -> None:
    with web(old=to("/echo"), echo=echo) as server:
        assert call(f"{server.url}/old", redirects=0).end.status == 302
        assert good(f"{server.url}/old", redirects=0, expect=Expect(status=((302, 302),)))["status"] == 302


def test_a_redirect_to_a_refused_address_is_not_followed() -> None:
    with web(old=to("http://169.254.169.254/latest/meta-data/")) as server:
        end = call(f"{server.url}/old").end
    assert "metadata" in end.error
    assert not end.transient


# ---- Into a file ----------------------------------------------------------------------------------------------------


def test_a_body_is_saved_with_its_checksum(tmp_path: Path) -> None:
    data = os.urandom(300_000)
    with web(file=lambda handler, seen: handler.answer(200, data, "application/octet-stream")) as server:
        outputs = good(f"{server.url}/file", save_to="in/${{ n }}.bin", scratch=tmp_path)
    assert (tmp_path / "in" / "3.bin").read_bytes() == data
    assert outputs["path"] == str(tmp_path / "in" / "3.bin")
    assert outputs["bytes"] == len(data)
    assert outputs["sha256"] == hashlib.sha256(data).hexdigest()
    assert "body" not in outputs


def test_what_is_saved_is_not_compressed_on_the_way_and_not_unpacked(tmp_path: Path) -> None:
    packed = gzip.compress(b"archive")

    def file(handler: Handler, seen: Seen) -> None:
        assert seen.headers["accept-encoding"] == "identity"
        handler.answer(200, packed, Content_Encoding="gzip")

    with web(file=file) as server:
        for _ in range(2):
            good(f"{server.url}/file", save_to="f.gz", scratch=tmp_path)
    assert (tmp_path / "f.gz").read_bytes() == packed
    assert len({seen.connection for seen in server.seen}) == 1


@pytest.mark.parametrize("first", DRIPS[1:], ids=["body", "endless"])
def test_a_body_that_is_not_whole_leaves_no_file(tmp_path: Path, first: bytes) -> None:
    with web(slow=drips(first)) as server:
        call(f"{server.url}/slow", save_to="f", scratch=tmp_path, timeout_s=0.2)
    assert os.listdir(tmp_path) == []


def test_a_failed_download_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    with web(file=lambda handler, seen: handler.answer(200, b"x" * 2000)) as server:
        end = call(f"{server.url}/file", save_to="f", scratch=tmp_path, max_bytes=1000).end
    assert "larger than" in end.error
    assert (tmp_path / "f").read_text() == "old"
    assert os.listdir(tmp_path) == ["f"]


# ---- Pages ----------------------------------------------------------------------------------------------------------


def pages(handler: Handler, seen: Seen) -> None:
    """Three pages of two."""
    number = int(seen.path.rpartition("=")[2]) if "=" in seen.path else 1
    following = f"/pages?page={number + 1}" if number < 3 else None
    handler.json({"items": [10 * number, 10 * number + 1], "next": following})


PAGINATE = Paginate(next="body.next", items="${{ body['items'] }}")


def test_the_items_of_all_pages_are_gathered() -> None:
    with web(pages=pages) as server:
        outputs = good(f"{server.url}/pages", paginate=PAGINATE, auth=BearerAuth(token="t"))
    assert outputs["items"] == [10, 11, 20, 21, 30, 31]
    assert "body" not in outputs
    assert all(seen.headers["authorization"] == "Bearer t" for seen in server.seen)


def test_the_next_page_may_be_in_a_link_header() -> None:
    def linked(handler: Handler, seen: Seen) -> None:
        more = {} if "page=2" in seen.path else {"Link": '<?page=2>; rel="next"'}
        handler.json([seen.path], **more)

    with web(linked=linked) as server:
        outputs = good(f"{server.url}/linked", paginate=Paginate(next="default(links.next, '')", items="body"))
    assert outputs["items"] == ["/linked", "/linked?page=2"]


def test_a_page_at_another_origin_gets_no_authorization() -> None:
    with web() as other, web() as server:
        server.routes["/first"] = lambda handler, seen: handler.json({"items": [1], "next": f"{other.url}/last"})
        other.routes["/last"] = lambda handler, seen: handler.json({"items": [2], "next": None})
        outputs = good(f"{server.url}/first", paginate=PAGINATE, auth=BearerAuth(token="t"))
    assert outputs["items"] == [1, 2]
    assert "authorization" not in other.seen[0].headers


def test_pages_that_run_in_a_circle_are_an_error() -> None:
    with web(a=lambda handler, seen: handler.json({"items": [], "next": "/b"}),
             b=lambda handler, seen: handler.json({"items": [], "next": "/a"})) as server:  # fmt: skip
        end = call(f"{server.url}/a", paginate=PAGINATE).end
    assert "circle" in end.error
    assert len(server.seen) == 2


def test_more_pages_than_allowed_are_an_error_and_no_silent_loss() -> None:
    with web(pages=pages) as server:
        end = call(f"{server.url}/pages", paginate=Paginate(next="body.next", items="body['items']", max_pages=2)).end
    assert "more than 2 pages" in end.error


def test_more_items_than_can_be_kept_are_not_read_to_the_end() -> None:
    def large(handler: Handler, seen: Seen) -> None:
        handler.json({"items": ["x" * 700_000], "next": f"/large?after={len(server.seen)}"})

    with web(large=large) as server:
        end = call(f"{server.url}/large", paginate=PAGINATE).end
    assert "1 MiB" in end.error
    assert len(server.seen) == 2


@pytest.mark.parametrize(
    ("paginate", "error"),
    [
        (Paginate(next="body.next", items="body.next"), "no list"),
        (Paginate(next="1", items="body['items']"), "neither a URL nor null"),
        (Paginate(next="'ftp://x/'", items="body['items']"), "no URL"),
        (Paginate(next="body.none", items="body['items']"), "none"),
    ],
)
def test_pages_that_make_no_sense_are_an_error(paginate: Paginate, error: str) -> None:
    with web(pages=pages) as server:
        end = call(f"{server.url}/pages", paginate=paginate).end
    assert error in end.error
    assert not end.transient


# ---- The log --------------------------------------------------------------------------------------------------------


def test_each_request_is_one_line_without_secrets() -> None:
    said = Said()
    with web(old=to("/echo?token=second"), echo=echo) as server:
        good(
            f"{server.url}/old",
            sink=said,
            query={"api_key": "first"},
            auth=BearerAuth(token="third"),
            headers={"X-Key": "fourth"},
        )
    assert len(said) == 2
    assert said[0].startswith(f"GET {server.url}/old?api_key=*** 302")
    assert said[1].startswith(f"GET {server.url}/echo?token=*** 200: ")
    assert not any(secret in line for line in said for secret in ("first", "second", "third", "fourth"))


def test_no_secret_of_the_url_is_in_an_error_or_in_the_outputs() -> None:
    with web(echo=lambda handler, seen: handler.answer(), bad=lambda handler, seen: handler.answer(500)) as server:
        assert "hush" not in str(call(f"{server.url}/echo?token=hush").outputs)
        assert "hush" not in call(f"{server.url}/bad?token=hush").end.error
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert "hush" not in call(f"http://127.0.0.1:{closed.getsockname()[1]}/?token=hush").end.error
