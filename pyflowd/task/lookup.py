"""List, read, checksum and wait_for: what is there, and what is in it. Changes nothing."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import sys
import time
from typing import Any

from pyflowd.task import atomic
from pyflowd.task.operation import Arguments, Failed, NotInTime
from pyflowd.task.selection import Found, select

MAX_READ_BYTES = 1024 * 1024
_HEX = re.compile(r"[0-9A-Fa-f]{32,128}", re.ASCII)
_SUM_LINE = re.compile(r"([0-9A-Fa-f]{32,128}) [ *](.+)", re.ASCII)


def list_files(arguments: Arguments) -> dict[str, Any]:
    wanted = str(arguments.value("type") or "file")
    found = [each for each in select(arguments, "list", required=False) if wanted in ("any", _type_of(each))]
    size = sum(each.status.st_size for each in found if stat.S_ISREG(each.status.st_mode))
    return {"files": [each.path for each in found], "count": len(found), "bytes": size}


def _type_of(found: Found) -> str:
    return "folder" if os.path.isdir(found.path) else "file"


def read(arguments: Arguments) -> dict[str, Any]:
    path = arguments.path("read")
    with os.fdopen(atomic.open_source(path, follow=True), "rb") as file:
        data = file.read(MAX_READ_BYTES + 1)
    if len(data) > MAX_READ_BYTES:
        raise Failed(f"{path}: more than {MAX_READ_BYTES} bytes: give its path on instead")
    try:
        text = data.decode("utf-8-sig")
        if arguments.value("format") != "json":
            return {"text": text, "path": path, "bytes": len(data)}
        return {"json": json.loads(text), "path": path, "bytes": len(data)}
    except UnicodeDecodeError:
        raise Failed(f"{path}: not UTF-8") from None
    except json.JSONDecodeError as error:
        raise Failed(f"{path}, line {error.lineno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise Failed(f"{path}: JSON nested too deep") from None


# ---- Checksums ------------------------------------------------------------------------------------------------------


def checksum(arguments: Arguments) -> dict[str, Any]:
    algorithm = str(arguments.value("algorithm") or "sha256")
    chosen = select(arguments, "checksum", required=True)
    sums: dict[str, str] = {}
    for found in chosen:
        handle = atomic.open_source(found.path, follow=not found.by_pattern)
        with os.fdopen(handle, "rb") as file:
            sums[found.path] = hashlib.file_digest(file, algorithm).hexdigest()
    if "expect" in arguments:
        _compare(sums, arguments.path("expect"))
    size = sum(found.status.st_size for found in chosen)
    outputs: dict[str, Any] = {"checksums": sums, "files": list(sums), "count": len(sums), "bytes": size}
    if len(sums) == 1:
        outputs |= {"path": chosen[0].path, algorithm: sums[chosen[0].path]}
    return outputs


def _compare(sums: dict[str, str], expect: str) -> None:
    """With a sum in hex, or with a file of lines `HEX  name`. Raises Failed."""
    if _HEX.fullmatch(expect):
        if len(sums) != 1:
            raise Failed(f"expect: one sum for {len(sums)} files: name a file of sums")
        expected = dict.fromkeys(sums, expect)
    else:
        expected = _read_sums(expect, sums)
    for path, actual in sums.items():
        if actual != expected[path].lower():
            raise Failed(f"{path}: the checksum is {actual}, expected {expected[path].lower()}")


def _read_sums(path: str, sums: dict[str, str]) -> dict[str, str]:
    """For each file its line in a file of sums: by the whole path, else by its last component."""
    with os.fdopen(atomic.open_source(path, follow=True), "r", encoding="utf-8", errors="surrogateescape") as file:
        text = file.read(MAX_READ_BYTES)
    lines = [_SUM_LINE.fullmatch(line) for line in text.splitlines()]
    named = {match[2]: match[1] for match in lines if match}
    bare = text.strip()
    if not named and _HEX.fullmatch(bare) and len(sums) == 1:
        return dict.fromkeys(sums, bare)
    expected = {}
    for each in sums:
        value = named.get(each) or named.get(os.path.basename(each)) or named.get("./" + os.path.basename(each))
        if value is None:
            raise Failed(f"{path} has no sum for {os.path.basename(each)}")
        expected[each] = value
    return expected


# ---- Waiting --------------------------------------------------------------------------------------------------------


def wait_for(arguments: Arguments) -> dict[str, Any]:
    """Until files are there and have not changed for `stable_for`, or until none is. Raises NotInTime."""
    begun = time.monotonic()
    timeout_s, every_s = arguments.seconds("timeout"), arguments.seconds("every") or 1.0
    stable_s, absent = arguments.seconds("stable_for") or 0.0, arguments.flag("absent", default=False)
    seen: dict[str, tuple[int, ...]] | None = None
    since = begun
    while True:
        found = select(arguments, "wait_for", required=False)
        state = {each.path: _fingerprint(each.path) for each in found}
        now = time.monotonic()
        if state != seen:
            seen, since = state, now
        if bool(found) != absent and now - since >= stable_s:
            sys.stdout.write(f"waited {now - begun:.1f} s\n")
            return _there(found, now - begun)
        left_s = None if timeout_s is None else begun + timeout_s - now
        if left_s is not None and left_s <= 0:
            raise NotInTime(f"{arguments.value('wait_for')}: {_not_yet(found, absent=absent)} within {timeout_s:g} s")
        wait_s = min(every_s, stable_s - (now - since)) if found and stable_s > now - since else every_s
        time.sleep(max(0.01, wait_s if left_s is None else min(wait_s, left_s)))


def _fingerprint(path: str) -> tuple[int, ...]:
    try:
        status = os.stat(path)
    except FileNotFoundError:  # gone, or a link to nothing
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _not_yet(found: list[Found], *, absent: bool) -> str:
    if absent:
        return "still there"
    return "not unchanged for long enough" if found else "did not come"


def _there(found: list[Found], waited_s: float) -> dict[str, Any]:
    paths = [each.path for each in found]
    return {
        "files": paths,
        "count": len(paths),
        "waited_s": round(waited_s, 3),
        **({"path": paths[0]} if len(paths) == 1 else {}),
    }
