"""What an attempt gives on: the outputs that it wrote, what it printed, the artifacts that it left (rule P5).

Checks them against what the task declares. `given` is pure; `keep_artifact` copies one file, in a thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from typing import Any

from pyflowd.base import output_file
from pyflowd.base.captured import Captured
from pyflowd.language import params
from pyflowd.model.ends import Given, KeptFile
from pyflowd.model.workflow import Capture, Output, Param, Task

_CHUNK_BYTES = 1 << 20
_SHOWN = 200


def given(task: Task, written: bytes | None, captured: Captured | None) -> Given | None:
    """What a success gives on; None where it neither gives nor declares anything. Its `error` says what is wrong."""
    if written is None and captured is None and not task.outputs:
        return None
    try:
        outputs = output_file.parse(written) if written else {}
    except ValueError as error:
        return Given(error=f"$PYFLOW_OUTPUT: {error}")
    try:
        if captured is not None and task.capture is not None:
            outputs |= printed(task.capture, captured)
        outputs |= {declared.name: _declared(declared, outputs) for declared in task.outputs if _has(declared, outputs)}
        size_bytes = len(json.dumps(outputs, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        if size_bytes > output_file.MAX_BYTES:
            raise ValueError(f"outputs of {size_bytes} bytes; at most {output_file.MAX_BYTES}: give a file's name")
    except ValueError as error:
        return Given(error=str(error))
    return Given(outputs=outputs)


def printed(capture: Capture, captured: Captured) -> dict[str, Any]:
    """Standard output as outputs: the text `stdout`, or what it says as JSON; what is no mapping is `result`."""
    if captured.problem:
        raise ValueError(f"standard output cannot be taken: {captured.problem}")
    try:
        text = captured.data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"standard output is not UTF-8 at byte {error.start + 1}") from None
    if capture is Capture.STDOUT:
        return {"stdout": text.removesuffix("\n")}
    try:
        value = json.loads(text)
        found = value if isinstance(value, dict) else {"result": value}
        for name, each in found.items():
            output_file.check(name, each)
    except (ValueError, RecursionError) as error:
        shown = text.strip() if len(text.strip()) <= _SHOWN else text.strip()[: _SHOWN - 1] + "…"
        raise ValueError(f"standard output is no JSON that can be taken ({error}): {json.dumps(shown)}") from None
    return found


def _has(declared: Output, outputs: dict[str, Any]) -> bool:
    if declared.name in outputs:
        return True
    if declared.optional:
        return False
    raise ValueError(f'it did not give the output "{declared.name}", which it declares')


def _declared(declared: Output, outputs: dict[str, Any]) -> Any:
    """The value, as its declaration asks; text of a line is read as the declared type."""
    param = Param(name=declared.name, type=declared.type, pattern=declared.pattern, maximum=declared.maximum)
    try:
        value = params.read_text(param, outputs[declared.name])
        params.check(param, value)
    except ValueError as error:
        raise ValueError(f"output {declared.name}: {error}") from None
    return value


def keep_artifact(source: str, target: str, max_bytes: int, owner: int | None) -> KeptFile:
    """Copy a plain file into the run's folder. `owner`: the only user whose files are taken; None: anybody's.

    Raises OSError, or ValueError with one line; nothing is left behind then.
    """
    handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("is no plain file")
        if owner is not None and status.st_uid != owner:
            raise ValueError("does not belong to the task's user")
        _make_folders(os.path.dirname(target))
        return _copy(handle, target, max_bytes)
    finally:
        os.close(handle)


def _make_folders(folder: str) -> None:
    """Those that are missing, which anybody may pass through and nobody may list: see `scratch`."""
    if not os.path.isdir(folder):
        _make_folders(os.path.dirname(folder))
        with contextlib.suppress(FileExistsError):  # another thread was faster
            os.mkdir(folder)
        os.chmod(folder, 0o711)  # noqa: S103  (whatever the umask is)


def _copy(source: int, target: str, max_bytes: int) -> KeptFile:
    beside = f"{target}.part"
    digest, size_bytes = hashlib.sha256(), 0
    try:
        with open(beside, "wb") as copy:
            while part := os.read(source, _CHUNK_BYTES):
                size_bytes += len(part)
                if size_bytes > max_bytes:
                    raise ValueError(f"has more than {max_bytes} bytes (artifact_max_bytes)")
                digest.update(part)
                copy.write(part)
            copy.flush()
            os.fchmod(copy.fileno(), 0o644)
            os.fsync(copy.fileno())
        os.rename(beside, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    return KeptFile(size_bytes=size_bytes, sha256=digest.hexdigest())
