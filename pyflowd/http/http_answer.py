"""An answer made a value: its body read within bounds, decoded, judged, turned into outputs. Sends nothing."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from pyflowd.base.output_file import MAX_BYTES as MAX_OUTPUTS_BYTES
from pyflowd.clock import US, to_us
from pyflowd.expressions import expression, pattern, template
from pyflowd.expressions.expression_values import ExpressionError, Names, Variables
from pyflowd.http.http_errors import CallError
from pyflowd.model.kinds import Expect, TextTest
from pyflowd.units import size_text

MAX_RETRY_AFTER_S = 86_400.0
"""A server may not hold a run for longer."""

_TEXT_CODEC = re.compile(
    r"utf-?(8|16|32)(-[bl]e|-sig)?|ascii|iso8859-\d+|cp\d+|koi8-[rtu]|gb\w+|big5\w*|euc_\w+|shift_\w+"
)
"""Python has codecs that are no charsets (`rot13`, `unicode_escape`)."""
_CHARSET = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9_.:-]{1,40})", re.I)
_JSON = re.compile(r"application/json|text/json|application/[A-Za-z0-9.-]+\+json", re.I)
_LINK = re.compile(r"<([^<>]{1,8000})>([^<]*)")
_REL = re.compile(r";\s*rel\s*=\s*\"?([^\";,]{1,200})", re.I)


class Answer(Struct, frozen=True, kw_only=True):
    """A whole answer."""

    url: str
    """As asked, with its query."""
    status: int
    headers: dict[str, str]
    """Names in lower case; several values of one are joined by a comma."""
    body: Any = None
    """Parsed JSON, text, or None: there is none, it is no text, or it is in a file."""
    text: str | None = None
    size_bytes: int = 0
    saved: dict[str, Any] = {}
    """`path`, `bytes`, `sha256` of the file."""


class Raw(Protocol):
    """The body of an answer as urllib3 gives it."""

    def stream(self, amt: int, decode_content: bool) -> Iterator[bytes]: ...


# ---- Reading --------------------------------------------------------------------------------------------------------

CHUNK_BYTES = 65_536


def read_bytes(raw: Raw, most_bytes: int) -> bytes:
    """A whole body, decompressed. Raises CallError for one that is larger, as soon as that shows."""
    parts, size_bytes = [], 0
    for part in raw.stream(CHUNK_BYTES, decode_content=True):
        size_bytes += len(part)
        if size_bytes > most_bytes:
            fix = "save it to a file with save_to, or raise max_bytes"
            raise CallError(f"the body is larger than {size_text(most_bytes)}: {fix}")
        parts.append(part)
    return b"".join(parts)


def decoded(data: bytes, content_type: str) -> tuple[Any, str | None]:
    """The body as a value and as text. JSON if the answer says so; text in the charset that it names, else UTF-8;
    nothing if it is no text. Raises CallError."""
    if not data:
        return None, ""
    if _JSON.match(content_type.strip()):
        text = data.removeprefix(codecs.BOM_UTF8)
        try:
            return msgspec.json.decode(text), text.decode()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise CallError(
                f"the server says that the body is JSON, but it is not ({len(data)} bytes)", transient=True
            ) from None
    named = _CHARSET.search(content_type)
    try:
        codec = codecs.lookup(named[1] if named else "utf-8").name
        text_ = data.decode(codec) if _TEXT_CODEC.fullmatch(codec) else None
    except (LookupError, UnicodeError):
        text_ = None
    return text_, text_


def retry_after_s(value: str, now_us: int) -> float | None:
    """Of a `Retry-After` header: seconds, or a date. None: there is none that can be read."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), MAX_RETRY_AFTER_S)
    try:
        at = parsedate_to_datetime(text)
        left_s = (to_us(at) - now_us) / US
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, left_s), MAX_RETRY_AFTER_S)


def links(header: str) -> dict[str, str]:
    """Of a `Link` header (RFC 8288): relation to target."""
    found: dict[str, str] = {}
    for target, params in _LINK.findall(header):
        relation = _REL.search(params)
        for word in relation[1].split() if relation else ():
            found.setdefault(word.lower(), target)
    return found


# ---- Judging --------------------------------------------------------------------------------------------------------


def is_expected(status: int, expect: Expect) -> bool:
    return any(low <= status <= high for low, high in expect.status)


def is_transient(status: int) -> bool:
    """Rule R4: whatever the server says is the request's fault stays it."""
    return status in (408, 425, 429) or not 400 <= status < 500


def unmet(answer: Answer, expect: Expect, names: Names, check: Callable[[], None]) -> str:
    """What of the expectations beyond the status does not hold; empty: all do. Raises ExpressionError.

    `check` is called now and then, and raises when nobody waits any more: a pattern over a large body takes its time.
    """
    for name, test in expect.headers.items():
        value = answer.headers.get(name)
        if value is None:
            return f"the answer has no header {name}"
        if not holds(test, value, check):
            return f"the header {name} is not as expected"
    if expect.body is not None:
        if answer.text is None:
            return "the body is no text"
        if not holds(expect.body, answer.text, check):
            return "the body is not as expected"
    if expect.json:
        value = evaluate(expect.json, names)
        if not isinstance(value, bool):
            raise ExpressionError("expect.json gives neither true nor false: write a comparison")
        if not value:
            return "the condition of expect.json does not hold"
    return ""


def holds(test: TextTest, text: str, check: Callable[[], None]) -> bool:
    if test.equals is not None and text.strip() != test.equals.strip():
        return False
    if test.contains is not None and test.contains not in text:
        return False
    if test.matches is None:
        return True
    for line in text.splitlines() or [""]:
        check()
        if pattern.matches(test.matches, line):
            return True
    return False


def names_with(answer: Answer, names: Names) -> Names:
    """`body`, `status`, `headers`, `links` of the answer, before all that the task sees."""
    about = {
        "body": answer.body,
        "status": answer.status,
        "headers": answer.headers,
        "links": links(answer.headers.get("link", "")),
    }
    return Variables(about, names)


def evaluate(text: str, names: Names) -> Any:
    """The value of an expression, with or without braces. Raises ExpressionError."""
    return template.render(text, names) if "${{" in text else expression.parse(text).evaluate(names)


def bounded(outputs: dict[str, Any]) -> dict[str, Any]:
    """Raises CallError if the outputs are more than can be kept (rule P5)."""
    try:
        size_bytes = len(msgspec.json.encode(outputs))
        msgspec.msgpack.encode(outputs)
    except (ValueError, OverflowError, RecursionError, TypeError, msgspec.MsgspecError):
        raise CallError("the body holds a value that cannot be kept, such as a number of 20 digits") from None
    if size_bytes > MAX_OUTPUTS_BYTES:
        fix = "save the body to a file with save_to" if "items" not in outputs else "pick less in paginate.items"
        raise CallError(f"the outputs have {size_text(size_bytes)}, at most 1 MiB is kept: {fix}")
    return outputs
