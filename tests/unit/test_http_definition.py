"""`http` in a definition: what each key becomes, and what is said of what is wrong."""

from __future__ import annotations

import pytest

from pyflowd.lint import lint
from pyflowd.model.kinds import (
    BasicAuth,
    BearerAuth,
    Expect,
    FilePart,
    FormBody,
    Http,
    JsonBody,
    MultipartBody,
    Paginate,
    TextBody,
    TextTest,
    Tls,
)
from pyflowd.model.problem import Problem, Severity

URL = "https://example.com/x"


def checked(request: str) -> tuple[Http | None, list[Problem]]:
    text = f"params: {{day: {{type: string, default: d}}}}\ntasks:\n  a:\n    http: {request}\n"
    workflow, problems = lint.check("w.yaml", text.encode(), stem="w", is_json=False)
    kind = workflow.tasks[0].kind if workflow is not None else None
    assert kind is None or isinstance(kind, Http)
    return kind, problems


def compiled(request: str) -> Http:
    kind, problems = checked(request)
    assert kind is not None, problems
    return kind


def of(keys: str) -> Http:
    return compiled(f"{{url: {URL}, {keys}}}")


def test_a_text_is_short_for_get() -> None:
    assert compiled(URL) == Http(url=URL)


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ("method: POST", Http(url=URL, method="POST")),
        ("headers: {X-A: '${{ params.day }}', X-B: 3}", Http(url=URL, headers={"X-A": "${{ params.day }}", "X-B": 3})),
        ("query: {a: [1, x], b: null}", Http(url=URL, query={"a": [1, "x"], "b": None})),
        ("method: PUT, json: {a: [1, '${{ params.day }}']}",
         Http(url=URL, method="PUT", body=JsonBody(value={"a": [1, "${{ params.day }}"]}))),
        ("method: POST, form: {a: b}", Http(url=URL, method="POST", body=FormBody(values={"a": "b"}))),
        ("method: POST, body: hello", Http(url=URL, method="POST", body=TextBody(text="hello"))),
        ("method: POST, files: {f: a.csv, g: {path: b, filename: c, content_type: text/csv}}, form: {k: v}",
         Http(url=URL, method="POST", body=MultipartBody(
             files=(FilePart(name="f", path="a.csv"),
                    FilePart(name="g", path="b", filename="c", content_type="text/csv")),
             values={"k": "v"}))),
        ("auth: {basic: {user: u, password: p}}", Http(url=URL, auth=BasicAuth(user="u", password="p"))),
        ("auth: {bearer: t}", Http(url=URL, auth=BearerAuth(token="t"))),
        ("tls: {ca_file: /a, cert_file: /b, key_file: /c, min_version: '1.3'}",
         Http(url=URL, tls=Tls(ca_file="/a", cert_file="/b", key_file="/c", min_version="1.3"))),
        ("tls: {min_version: 1.2}", Http(url=URL)),
        ("expect: {status: 204}", Http(url=URL, expect=Expect(status=((204, 204),)))),
        ("expect: {status: [2xx, 404, 500-503]}",
         Http(url=URL, expect=Expect(status=((200, 299), (404, 404), (500, 503))))),
        ("expect: {headers: {X-State: ready}}",
         Http(url=URL, expect=Expect(headers={"x-state": TextTest(equals="ready")}))),
        ("expect: {body: ok}", Http(url=URL, expect=Expect(body=TextTest(contains="ok")))),
        ("expect: {body: {matches: 'v[0-9]+'}}", Http(url=URL, expect=Expect(body=TextTest(matches="v[0-9]+")))),
        ("expect: {json: body.ok and status == 200}",
         Http(url=URL, expect=Expect(json="body.ok and status == 200"))),
        ("expect: {json: '${{ body.ok }}'}", Http(url=URL, expect=Expect(json="body.ok"))),
        ("paginate: {next: body.next, items: body.all, max_pages: 3}",
         Http(url=URL, paginate=Paginate(next="body.next", items="body.all", max_pages=3))),
        ("paginate: {next: 'https://h/?p=${{ body.page + 1 }}', items: body.all}",
         Http(url=URL, paginate=Paginate(next="https://h/?p=${{ body.page + 1 }}", items="body.all"))),
        ("save_to: out/x.tar, max_bytes: 2GiB", Http(url=URL, save_to="out/x.tar", max_bytes=2 * 1024**3)),
        ("redirects: 0", Http(url=URL, redirects=0)),
        ("method: POST, idempotency_key: auto", Http(url=URL, method="POST", idempotency_key="auto")),
        ("allow_addresses: [169.254.169.254, 'fe80::/10']",
         Http(url=URL, allow_addresses=("169.254.169.254/32", "fe80::/10"))),
        ("proxy: 'http://u:p@proxy:3128'", Http(url=URL, proxy="http://u:p@proxy:3128")),
        ("connect_timeout: 3s, read_timeout: 1m", Http(url=URL, connect_timeout_s=3.0)),
    ],
)  # fmt: skip
def test_a_key_becomes_its_field(keys: str, kind: Http) -> None:
    assert of(keys) == kind


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("metod: GET", 'did you mean "method"?'),
        ("params: {a: 1}", 'did you mean "query"?'),
        ("method: post", 'did you mean "POST"?'),
        ("method: CONNECT", "not sent by a task"),
        ("headers: {'A B': c}", "no name of a header"),
        ("headers: {Host: c}", "made by PyFlow"),
        ("headers: {X-A: b, x-a: c}", "given twice"),
        ("headers: {X-A: [b]}", "expected text"),
        ("json: {a: 1}, body: x", "one body"),
        ("form: {a: 1}, json: {}", "one body"),
        ("files: {}", "no file"),
        ("files: {f: {filename: x}}", "no path"),
        ("auth: {basic: {user: u}}", "no password"),
        ("auth: {basic: {user: u, password: p}, bearer: t}", "expected one of basic, bearer"),
        ("auth: {bearer: t}, headers: {Authorization: x}", "both auth and the header"),
        ("tls: {key_file: /k}", "key_file without cert_file"),
        ("tls: {ca_file: ca.pem}", "no absolute path"),
        ("tls: {min_version: '1.0'}", '"1.2" or "1.3"'),
        ("expect: {status: 99}", "expected a status"),
        ("expect: {status: 204-200}", "backwards"),
        ("expect: {status: []}", "the list is empty"),
        ("expect: {body: {matches: '(a'}}", "not closed"),
        ("expect: {json: 'body.a =='}", "json"),
        ("expect: {json: 'bdy.a'}", "bdy"),
        ("expect: {code: 200}", 'did you mean "status"?'),
        ("paginate: {next: body.next}", "no items"),
        ("paginate: {next: body.next, items: body.a}, save_to: x", "save_to and paginate"),
        ("save_to: x, expect: {body: ok}", "save_to puts into a file"),
        ("max_bytes: 1000", "no unit"),
        ("max_bytes: 1GiB", "add save_to"),
        ("redirects: 21", "not from 0 to 20"),
        ("allow_addresses: [localhost]", "no network"),
        ("allow_addresses: [10.0.0.1/8]", "no network"),
        ("proxy: 'socks5://x'", "no proxy"),
        ("timeout: 3s", "beside http"),
        ("headers: {X-A: '${{ params.dy }}'}", "dy"),
        ("headers: {X-A: '${{ body.x }}'}", "body"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(keys: str, message: str) -> None:
    kind, problems = checked(f"{{url: {URL}, {keys}}}")
    assert kind is None
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    assert any(message in str(problem) for problem in errors), errors
    assert all(problem.line == 4 for problem in errors)


@pytest.mark.parametrize("url", ["ftp://h/", "example.com", "https://u:p@h/", "''", "'ftp://h/${{ params.day }}'", "3"])
def test_a_url_that_cannot_be_is_refused(url: str) -> None:
    assert checked(f"{{url: {url}}}")[0] is None


def test_a_request_without_a_url_is_refused() -> None:
    kind, problems = checked("{method: GET}")
    assert kind is None
    assert "no url" in problems[0].message


@pytest.mark.parametrize(
    ("keys", "message"), [("json: {a: 1}", "GET with a body"), ("tls: {verify: false}", "certificate is not checked")]
)
def test_what_may_surprise_is_a_warning(keys: str, message: str) -> None:
    kind, problems = checked(f"{{url: {URL}, {keys}}}")
    assert kind is not None
    assert [problem.severity for problem in problems] == [Severity.WARNING]
    assert message in problems[0].message
