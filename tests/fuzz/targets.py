"""What is fuzzed: each target takes bytes, and fails on anything but the errors that its subject documents.

A target gets its bytes from `mutation` or from a coverage-guided fuzzer, and knows nothing of either. What it reads it
also writes again where there is a way back.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import msgspec

from pyflowctl import logtext, logview
from pyflowctl.packing import unpack
from pyflowd.base.captured import is_finished, read_stream
from pyflowd.errors import Refused
from pyflowd.expressions import template
from pyflowd.expressions.expression import ExpressionError, Variables
from pyflowd.expressions.expression import parse as parse_expression
from pyflowd.keeper import journal, logindex, wire
from pyflowd.keeper.channel import close_all
from pyflowd.language.definition import compile_workflow
from pyflowd.language.document import DocumentError
from pyflowd.language.document_json import parse_json
from pyflowd.language.document_yaml import parse_yaml
from pyflowd.model.triggers import Verify
from pyflowd.protocol.frames import frame, opening_decoder, request_decoder
from pyflowd.schedules import cron
from pyflowd.triggers import event_webhook

Target = Callable[[bytes], None]
_NAMES = Variables({"params": {"n": 7, "name": "app", "list": [3, 1, 2]}, "tasks": {"a": {"state": "succeeded"}}})
_SGR = re.compile(rb"\x1b\[[0-9;]*m")
_NOW_US = 1_800_000_000_000_000


def check_message(text: str) -> None:
    """What people are told of bad input: one line, with nothing in it that a terminal obeys."""
    assert "\n" not in text
    assert text.isprintable()


def control_frames(data: bytes) -> None:
    """The first frame of a peer, and a request of a typed one: decoded, or refused as no request."""
    for decoder in (opening_decoder, request_decoder):
        try:
            value = decoder.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            continue
        assert decoder.decode(frame(value)[4:]) == value


def client_frames(data: bytes) -> None:
    """The thin client's own unpacking of what a daemon says."""
    try:
        unpack(data)
    except (ValueError, IndexError, RecursionError):
        return


def keeper_frames(data: bytes) -> None:
    """What a daemon sends: whole frames, or WireError; a start that is understood means what was packed."""
    buffer = bytearray(data)
    try:
        frames = wire.take_frames(buffer)
    except wire.WireError:
        return
    assert b"".join(wire.frame(kind, *fields) for kind, fields in frames) + buffer == data
    for kind, fields in frames:
        if kind == wire.START:
            keeper_start(fields)


def keeper_start(fields: list[bytes]) -> None:
    try:
        start = wire.unpack_start(fields)
    except wire.WireError:
        return
    ((_, again),) = wire.take_frames(bytearray(wire.pack_start(start)))
    found = wire.unpack_start(again)
    assert all(getattr(found, name) == getattr(start, name) for name in wire.Start.__slots__)


def keeper_journal(data: bytes) -> None:
    """Any bytes are a journal: what is no whole, sensible line was never written."""
    past = journal.parse(data)
    for name, entry in past.attempts.items():
        if entry.end is not None:
            line = journal.end_line(name, entry.end)
            assert line.count("\n") == 1


def definition(data: bytes) -> None:
    """A workflow file: compiled, with problems that have a place, or no document."""
    for parse in (parse_yaml, parse_json):
        try:
            document = parse(data)
        except DocumentError as error:
            check_message(error.message)
            continue
        for problem in compile_workflow(document, "w.yaml", "w").problems:
            check_message(problem.message)
            assert problem.line >= 0


def cron_expression(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        found = cron.parse(text)
    except ValueError as error:
        check_message(str(error))
        return
    assert found.next_from(29_000_000) is not None
    cron.describe(found)
    cron.advice(found)


def expression(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for read in (lambda: parse_expression(text).evaluate(_NAMES), lambda: template.parse(text).render(_NAMES)):
        try:
            json.dumps(read())
        except ExpressionError as error:
            check_message(str(error))


def webhook(data: bytes) -> None:
    """Headers and body of a delivery that nobody signed: it is refused, and nothing else happens."""
    head, _, body = data.partition(b"\n\n")
    headers = {}
    for line in head.decode("latin-1").split("\n"):
        name, _, text = line.partition(":")
        headers[name.strip()] = text.strip()
    try:
        found = event_webhook.delivery("h", "POST", headers, {}, body)
    except Refused:
        return
    for form in ("github", "gitlab", "stripe", "pyflow"):
        verify = Verify(form=form, secrets=("s",))
        assert event_webhook.why_refused(verify, found, [b"\x00secret-of-the-hook\xff"], _NOW_US)
        try:
            content = event_webhook.read_body(found)
        except Refused:
            continue
        number = event_webhook.id_of(form, found, content)
        json.dumps(event_webhook.event_of(verify, found, content, number, datetime.now(UTC).isoformat()))


def terminal(data: bytes) -> None:
    """Output on a terminal: no control byte but newline and tab, and of the sequences colours only."""
    for colour in (False, True):
        shown = logtext.for_terminal(data, colour)
        plain = _SGR.sub(b"", shown) if colour else shown
        assert not {*plain} & {*range(9), *range(11, 32), 0x7F}, shown
        shown.decode()
    for line in logtext.json_lines(data, logtext.json_head(1, "t", 1, _NOW_US)).splitlines():
        json.loads(line)


def log_index(data: bytes) -> None:
    """An index that is cut, torn or nonsense, beside a log: all that is there is shown, and it ends."""
    content = b"first\nsecond\nthird"
    for raw, as_json in ((True, False), (False, False), (False, True)):
        said: list[bytes] = []
        frame_of_logs: list[Any] = ["logs", 0, 0, 0, 0, 3, raw, as_json]
        with mock.patch.object(logview, "write", lambda _, text, said=said: said.append(bytes(text))):
            view = logview.LogView(logview.LogOptions(frame_of_logs, terminal=not raw, colour=False))
            view.open(["log_open", 1, "t", 1, False], _file(content), _file(data))
            view.finish()
        shown = iter(b"".join(said))
        assert all(byte in shown for byte in content.replace(b"\n", b"")), "something is not shown"
    log, index = _file(content), _file(data)
    for stream in (logindex.STDOUT, logindex.STDERR):
        assert len(read_stream(log, index, stream, 10).data) <= 10
    is_finished(index)
    close_all((log, index))
    logindex.holes(logindex.parse(data))


def _file(content: bytes) -> int:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        return os.dup(file.fileno())


TARGETS: dict[str, Target] = {
    "control-frames": control_frames,
    "client-frames": client_frames,
    "keeper-frames": keeper_frames,
    "keeper-journal": keeper_journal,
    "definition": definition,
    "cron": cron_expression,
    "expression": expression,
    "webhook": webhook,
    "terminal": terminal,
    "log-index": log_index,
}
