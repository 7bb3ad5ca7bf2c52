"""The one line of a failed attempt's log that tells of the fault, for pages that show no log.

What was found stays: nothing more is written to the log of an attempt that has ended.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

from pyflowd.errors import PyflowError
from pyflowd.web.call import Call
from pyflowd.web.logs import opened
from pyflowd.web.logs.block import block
from pyflowd.web.logs.errors import first_error, last_error

KEPT = 500
BUDGET_S = 0.05
"""Of one log: what it does not suffice for is found by a later page, or by the run's own."""
CHARACTERS_MAX = 200

_found: OrderedDict[Hashable, str] = OrderedDict()
_lock = threading.Lock()


def fault(call: Call, run: int, task: str, attempt: int) -> str:
    """Empty: none is known, or its log cannot be had."""
    key = (call.link, run, task, attempt)
    with _lock:
        if key in _found:
            _found.move_to_end(key)
            return _found[key]
    try:
        with opened.opened(call, run, task, attempt) as log:
            text = _line(log)
    except PyflowError:
        return ""
    if text:
        with _lock:
            _found[key] = text
            if len(_found) > KEPT:
                _found.popitem(last=False)
    return text


def _line(log: opened.Log) -> str:
    lines = log.map()
    number = last_error(log.fd, lines) or first_error(log.fd, lines, BUDGET_S)
    if number is None:
        return ""
    rows = [row for row in block(log, lines, number, most=1).rows if row.number == number]
    text = "".join(span.text for row in rows for span in row.spans).strip()
    return f"{text[:CHARACTERS_MAX]}…" if len(text) > CHARACTERS_MAX else text
