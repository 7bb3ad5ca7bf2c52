"""`pyflowctl lint --codes` and `--explain CODE`: what the codes of problems mean, as text or as JSON."""

from __future__ import annotations

from typing import Any

from pyflowd.errors import UsageError, nearest
from pyflowd.lint.lint_code import Code
from pyflowd.lint.lint_codes import CODES
from pyflowd.render.layout import Cell, Style, Table, bold


def find(name: str) -> Code:
    """The code of that name. Raises UsageError with the nearest."""
    found = CODES.get(name.strip("[]"))
    if found is None:
        raise UsageError(f'there is no code "{name}"{nearest(name[:80], list(CODES))}; see: pyflowctl lint --codes')
    return found


def table(style: Style) -> list[str]:
    """All codes, a line about each."""
    rows = [[Cell(code.name), Cell(code.severity.value), Cell(code.meaning)] for code in CODES.values()]
    return Table(style).lines(rows)


def explanation(code: Code, style: Style) -> list[str]:
    """All that is known of one."""
    lines = [bold(f"{code.name} ({code.severity.value}): {code.meaning}", style), "", *_wrapped(code.why, style.width)]
    if code.shown:
        lines += ["", f"For example: {code.shown}"]
    for title, example in (("This shows it:", code.bad), ("This does not:", code.good)):
        if example:
            lines += ["", title, *(f"  {line}" for line in example.rstrip("\n").split("\n"))]
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    most = max(40, min(width, 100))
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > most:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines


def plain(code: Code) -> dict[str, Any]:
    """For `-o json`."""
    return {
        "code": code.name,
        "severity": code.severity.value,
        "meaning": code.meaning,
        "why": code.why,
        "bad": code.bad or None,
        "good": code.good or None,
        "example": code.shown or None,
    }
