"""A backup of a running instance: one archive, and the proof that it can be restored.

Made in a process of its own, from a snapshot: the daemon is not disturbed. The copy is unpacked again beside the store,
and checked as a whole. It knows nothing of who gets the archive.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import tempfile
from typing import BinaryIO

from pyflowd.clock import Clock, from_us
from pyflowd.errors import Unavailable
from pyflowd.paths import Paths
from pyflowd.protocol.views_host import BackupView
from pyflowd.store.snapshot import Snapshot
from pyflowd.store.store import DATABASE
from pyflowd.units import size_text
from pyflowd.upkeep import archive, members
from pyflowd.upkeep.check import check
from pyflowd.version import VERSION

PREFIX = "backup-"
"""Of the folders that this works in; one that is left over is taken away by the next."""
SPARE_BYTES = 64 << 20
"""Left free on the state folder's disk whatever a backup needs."""


def make(paths: Paths, target: BinaryIO, clock: Clock, *, with_logs: bool) -> BackupView:
    """Write the archive into `target`, which can be read back. Raises Refused, Unavailable, OSError."""
    _clear(paths.state)
    work = tempfile.mkdtemp(prefix=PREFIX, dir=paths.state)
    try:
        with Snapshot(paths.state) as snapshot:
            _require_space(paths.state, snapshot.path)
            made_at = from_us(clock.wall_us()).isoformat()
            copy = os.path.join(work, DATABASE)
            snapshot.copy_into(copy)
        manifest, left_out = _pack(paths, work, copy, target, made_at, with_logs=with_logs)
        os.unlink(copy)
        target.seek(0)
        findings = _try(target, os.path.join(work, "trial"), manifest)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    target.seek(0)
    digest, size_bytes = hashlib.sha256(), 0
    while piece := target.read(1 << 20):
        digest.update(piece)
        size_bytes += len(piece)
    return BackupView(
        size_bytes=size_bytes, sha256=digest.hexdigest(), made_at=made_at, schema=manifest.schema, with_logs=with_logs,
        runs=manifest.runs, events=manifest.events, slots=manifest.slots, definitions=manifest.definitions,
        workflows=manifest.workflows, files=len(manifest.members), findings=findings, left_out=left_out,
        has_secrets=members.SECRETS_MEMBER in manifest.members,
    )  # fmt: skip


def _pack(
    paths: Paths, work: str, copy: str, target: BinaryIO, made_at: str, *, with_logs: bool
) -> tuple[archive.Manifest, list[str]]:
    left_out: list[str] = []
    writer = archive.Writer(target)
    writer.add_file(members.STORE, copy)
    for name, path in members.files(paths, with_logs=with_logs):
        try:
            writer.add_file(name, path)
        except PermissionError:
            left_out.append(path)
    with Snapshot(work) as copied:
        runs, events, slots, definitions, workflows = copied.one("counts")
        manifest = archive.Manifest(
            pyflow=VERSION, schema=copied.schema, made_at=made_at, host=socket.gethostname(),
            instance=copied.meta("instance") or "", with_logs=with_logs, runs=runs, events=events, slots=slots,
            definitions=definitions, workflows=workflows, members=dict(writer.members),
        )  # fmt: skip
    writer.finish(manifest)
    target.flush()
    return manifest, left_out


def _try(target: BinaryIO, folder: str, manifest: archive.Manifest) -> list[str]:
    """Restore the archive into a folder of its own and look at all of it; logs and artifacts are compared only."""

    def place(name: str) -> str | None:
        top, rest = members.checked(name)
        return None if top in ("artifacts", "log") else os.path.join(folder, top, rest)

    if archive.unpack(target, place) != manifest:
        return ["the manifest is not what was written"]
    with Snapshot(os.path.join(folder, "state")) as restored:
        found = check(restored)
        counts = restored.one("counts")
    wanted = (manifest.runs, manifest.events, manifest.slots, manifest.definitions, manifest.workflows)
    if counts != wanted:
        return [*found.findings, f"the restored store counts {counts}, the manifest {wanted}"]
    return found.findings


def _require_space(folder: str, database: str) -> None:
    """The copy and the trial are there one after the other, each beside the archive."""
    room = os.statvfs(folder)
    free_bytes = room.f_bavail * room.f_frsize
    needed_bytes = 2 * os.stat(database).st_size + SPARE_BYTES
    if free_bytes < needed_bytes:
        raise Unavailable(
            f"{folder}: {size_text(free_bytes)} are free; a backup needs {size_text(needed_bytes)} there for a while"
        )


def _clear(folder: str) -> None:
    """What a backup left behind whose process was killed; only one is made at a time."""
    for name in os.listdir(folder):
        if name.startswith(PREFIX) and os.path.isdir(os.path.join(folder, name)):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
