"""Runs the programs of a task as the daemon would: the command of `process`, a folder, a file for outputs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pyflowd.base import output_file, process
from pyflowd.model.kinds import File, Python, Ssh

DEADLINE_S = 60.0
ENV = {
    "PATH": f"{process.COMMANDS}:{os.environ.get('PATH', '')}",
    "HOME": "/nonexistent",
    "PYFLOW_PYTHON": sys.executable,
}


class Ended:
    """How a program ended, and what it gave on."""

    def __init__(self, status: int, stdout: bytes, stderr: bytes, outputs: Path) -> None:
        self.status = status
        self.stdout, self.stderr = stdout.decode(), stderr.decode()
        self.outputs = output_file.parse(outputs.read_bytes()) if outputs.exists() else {}
        said = Path(f"{outputs}.error")
        self.said = output_file.parse_said(said.read_bytes()) if said.exists() else None

    @property
    def message(self) -> str:
        """The attempt's own word for its failure."""
        assert self.said is not None, (self.status, self.stderr)
        return self.said.message


def environment(folder: Path, **env: str) -> dict[str, str]:
    return {**ENV, "PYFLOW_OUTPUT": str(folder / "pyflow-outputs"), **env}


def start(kind: Python | File | Ssh, folder: Path, **env: str) -> subprocess.Popen[bytes]:
    """The program of a task, in a process group of its own, as the keeper starts it."""
    all_env = environment(folder, **env)
    command = process.command(kind, "task", all_env, sys.executable, path=(str(folder / "python"),))
    given = folder / "stdin"
    given.write_bytes(command.stdin or b"")
    with given.open("rb") as stdin:
        return subprocess.Popen(
            command.argv, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder, env=all_env,
            start_new_session=True,
        )  # fmt: skip


def end(program: subprocess.Popen[bytes], folder: Path, deadline_s: float = DEADLINE_S) -> Ended:
    """Its end, awaited."""
    try:
        stdout, stderr = program.communicate(timeout=deadline_s)
    except subprocess.TimeoutExpired:
        program.kill()
        raise
    return Ended(program.returncode, stdout, stderr, folder / "pyflow-outputs")


def run(kind: Python | File | Ssh, folder: Path, **env: str) -> Ended:
    for left in ("pyflow-outputs", "pyflow-outputs.error"):
        (folder / left).unlink(missing_ok=True)
    return end(start(kind, folder, **env), folder)


def file(folder: Path, operation: str, operand: Any, **arguments: Any) -> Ended:
    """One operation on files."""
    return run(File(operation=operation, arguments={operation: operand, **arguments}), folder)


def names(folder: Path) -> list[str]:
    """All that is in a folder, but for what this module put there."""
    own = {"stdin", "pyflow-outputs", "pyflow-outputs.error"}
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name not in own)
