"""`bash -n` over many shell texts in few processes: starting one for each would take longer than all else of lint.

Texts that close all that they open are put behind each other, each within brackets of its own, and read at once. Only
where that fails is the half looked at that is wrong, down to single texts. Nothing of a text is ever run.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_AT_ONCE_BYTES = 1 << 20
_LIMIT_S = 10.0
"""Of one process; reading a megabyte takes 0.1 s."""
_SAID = re.compile(r"^\w+: (?:(?:warning: )?(?:line )?([0-9]+): )?(.*)$", re.MULTILINE)
_LIMIT_OF_ALL_S = 20.0
"""What is not read by then is not judged."""
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
"""No BASH_ENV and no functions from the environment: nothing of the user's is read."""


class ShellText(NamedTuple):
    shell: str
    """`bash` or `sh`."""
    text: str
    closes: bool
    """It leaves nothing open, so that what stands behind it is read as it should be."""


class SyntaxFault(NamedTuple):
    """`line`: of the text, from 1. `is_warning`: the shell would run it all the same."""

    line: int
    message: str
    is_warning: bool


def faults(texts: Sequence[ShellText]) -> dict[int, SyntaxFault]:
    """What is wrong with texts, by their index. Where a shell is missing, its texts are not judged."""
    found: dict[int, SyntaxFault] = {}
    until_s = time.monotonic() + _LIMIT_OF_ALL_S
    for shell in ("bash", "sh"):
        whole: list[tuple[int, str]] = []
        for index, each in enumerate(texts):
            if each.shell != shell:
                continue
            if each.closes and not _NOT_APART.search(each.text):
                whole.append((index, each.text))
            elif time.monotonic() < until_s:
                _judge_one(shell, index, each.text, found)
        for batch in _batches(whole):
            _judge(shell, batch, found, until_s)
    return found


_NOT_APART = re.compile(r"extglob|alias|\\\n*$")
"""How the rest is read would depend on what has been run, or on what follows."""


def _batches(texts: list[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    batch: list[tuple[int, str]] = []
    size_bytes = 0
    for each in texts:
        if batch and size_bytes + len(each[1]) > _AT_ONCE_BYTES:
            yield batch
            batch, size_bytes = [], 0
        batch.append(each)
        size_bytes += len(each[1])
    if batch:
        yield batch


def _judge(shell: str, batch: list[tuple[int, str]], found: dict[int, SyntaxFault], until_s: float) -> None:
    if time.monotonic() > until_s:
        return
    if len(batch) == 1:
        _judge_one(shell, *batch[0], found)
        return
    joined = "".join(f"{{\n(\n:\n{text}\n)\n}}\n" for _, text in batch)
    if _said(shell, joined)[0]:
        middle = len(batch) // 2
        _judge(shell, batch[:middle], found, until_s)
        _judge(shell, batch[middle:], found, until_s)


def _judge_one(shell: str, index: int, text: str, found: dict[int, SyntaxFault]) -> None:
    said, is_error = _said(shell, text, extended="extglob" in text)
    match = _SAID.search(said)
    if match is None or "alias" in text:
        return
    lines = text.count("\n") + 1
    found[index] = SyntaxFault(min(int(match[1] or lines), lines), match[2], is_warning=not is_error)


def _said(shell: str, text: str, *, extended: bool = False) -> tuple[str, bool]:
    """What the shell says against a text, and whether it refuses it; empty: nothing, or there is no such shell."""
    argv = [shell, "-n"] if not (extended and shell == "bash") else [shell, "-O", "extglob", "-n"]
    try:
        done = subprocess.run(
            argv, input=text.encode(), capture_output=True, env=_ENVIRONMENT, timeout=_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "", False
    return done.stderr.decode("utf-8", "replace"), done.returncode != 0
