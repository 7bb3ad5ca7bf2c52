"""The texts of a definition: which was in force when, one of them with its lines, how two of them differ. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from pyflowd.language.definition_text import Role, decoded, texts_of
from pyflowd.protocol.views_workflows import ChangeView, DefinitionView
from pyflowd.render.diff import unified
from pyflowd.render.layout import spoken
from pyflowd.web.drawing import link_to
from pyflowd.web.pages.yaml_colour import Span, lines
from pyflowd.web.times import Times, When

DIGITS = 8
"""Of a digest on a page."""
NAMED = 16
"""Of a digest in an address: enough for one of many texts."""
DIFF_MAX = 2000
"""Lines of a difference that are drawn."""
_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@")


class Version(Struct, frozen=True, kw_only=True):
    digest: str
    """Short; empty: it was removed."""
    href: str
    since: When | None
    until: When | None
    """None: it is in force."""
    what: str
    runs: int
    """Of those that the grid shows."""
    diff_href: str
    """How it differs from the one before it; empty: it is the oldest that is told."""


class TextPart(Struct, frozen=True, kw_only=True):
    title: str
    """Empty: there is only one."""
    lines: list[list[Span]]


class DiffLine(Struct, frozen=True, kw_only=True):
    css: str
    """`add`, `del`, `hunk`, `file`, or empty."""
    old: str
    new: str
    """Numbers of the line in either text."""
    sign: str
    text: str


class Diff(Struct, frozen=True, kw_only=True):
    lines: list[DiffLine]
    left_out: int
    added: int
    removed: int
    label: str


def versions(name: str, changes: Sequence[ChangeView], runs: Mapping[str, int], times: Times) -> list[Version]:
    """`changes`: newest first. `runs`: digest to how many of the runs that are shown had it."""
    found = []
    for n, change in enumerate(changes):
        later = changes[n - 1].at_us if n else None
        older = next((each.digest for each in changes[n + 1 :] if each.digest), None)
        digest = change.digest or ""
        found.append(
            Version(
                digest=digest[:DIGITS], href=link_to("workflows", name, "versions", digest[:NAMED]) if digest else "",
                since=times.when(change.at_us), until=times.when(later), what=_what(change),
                runs=runs.get(digest, 0),
                diff_href=between(name, older, digest) if digest and older and older != digest else "",
            )
        )  # fmt: skip
    return found


def between(name: str, old: str, new: str) -> str:
    return link_to("workflows", name, "versions", f"{old[:NAMED]}..{new[:NAMED]}")


def _what(change: ChangeView) -> str:
    return spoken(change.what) + (f": {change.detail}" if change.detail else "")


def text_parts(view: DefinitionView) -> list[TextPart]:
    parts = texts_of(view.text, view.file)
    several = len(parts) > 1
    return [
        TextPart(
            title=(f"{part.role.value} {part.label}" if part.role is not Role.WORKFLOW else part.label or view.file)
            if several
            else "",
            lines=lines(decoded(part.data)),
        )
        for part in parts
    ]


def diff(old: DefinitionView, new: DefinitionView) -> Diff:
    names = f"{old.digest[:DIGITS]}", f"{new.digest[:DIGITS]}"
    found = marked(unified(old.text, new.text, *names))
    return Diff(
        lines=found[:DIFF_MAX], left_out=max(0, len(found) - DIFF_MAX),
        added=sum(line.css == "add" for line in found), removed=sum(line.css == "del" for line in found),
        label=f"Change from {names[0]} to {names[1]}",
    )  # fmt: skip


def marked(unified_lines: Iterable[str]) -> list[DiffLine]:
    """The lines of a unified difference, with their numbers in either text."""
    found: list[DiffLine] = []
    before = after = 0
    for line in unified_lines:
        if hunk := _HUNK.match(line):
            before, after = int(hunk[1]), int(hunk[2])
            found.append(DiffLine(css="hunk", old="", new="", sign="", text=line))
        elif line.startswith(("--- ", "+++ ")) and not (before or after):
            found.append(DiffLine(css="file", old="", new="", sign="", text=line))
        elif line.startswith("-"):
            found.append(DiffLine(css="del", old=str(before), new="", sign="-", text=line[1:]))
            before += 1
        elif line.startswith("+"):
            found.append(DiffLine(css="add", old="", new=str(after), sign="+", text=line[1:]))
            after += 1
        else:
            found.append(DiffLine(css="", old=str(before), new=str(after), sign=" ", text=line[1:]))
            before, after = before + 1, after + 1
    return found
