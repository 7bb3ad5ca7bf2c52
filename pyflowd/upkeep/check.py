"""The whole store, looked at: SQLite's own check, rows against events, rows without owners, files without owners.

One line for each finding, and it changes nothing. It knows nothing of how a finding is mended.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import msgspec

from pyflowd.clock import from_us
from pyflowd.errors import PyflowError
from pyflowd.events import StoredEvent
from pyflowd.model.workflow import Workflow
from pyflowd.paths import Paths
from pyflowd.protocol.views_host import StoreCheckView
from pyflowd.runtime.scratch import Scratch
from pyflowd.store.snapshot import SCHEMA, Snapshot
from pyflowd.upkeep import fold

FINDINGS_MAX = 1000
"""Of one check: who has more of them needs a backup, not a longer list."""
DEFINITIONS_KEPT = 64
_event = msgspec.msgpack.Decoder(StoredEvent)
_workflow = msgspec.msgpack.Decoder(Workflow)


def check(snapshot: Snapshot, paths: Paths | None = None) -> StoreCheckView:
    """Everything; with `paths` also the files of artifacts and logs. Raises Refused where the schema is another."""
    found: list[str] = []
    runs = events = slots = 0
    try:
        for finding in _findings(snapshot, paths):
            found.append(finding)
            if len(found) > FINDINGS_MAX:
                break
        runs, events, slots = snapshot.one("counts")[:3]
    except PyflowError as error:  # a page that cannot be read ends the look at what is on it
        if not found:
            found.append(str(error))
    return StoreCheckView(
        runs=runs, events=events, slots=slots, findings=found[:FINDINGS_MAX], more=len(found) > FINDINGS_MAX
    )


def _findings(snapshot: Snapshot, paths: Paths | None) -> Iterator[str]:
    damaged = False
    for said in snapshot.damages():
        damaged = True
        yield f"{snapshot.path}: {said}"
    if damaged:
        return  # what it holds cannot be trusted, and reading it may not end
    if snapshot.schema != SCHEMA:
        ours = f"this version has {SCHEMA}: {_other_schema(snapshot)}"
        yield f"{snapshot.path}: its schema is {snapshot.schema}, and {ours}"
        return
    yield from _strays(snapshot)
    yield from _slots(snapshot)
    yield from _definitions(snapshot)
    known: dict[str, Workflow] = {}
    for row in snapshot.rows("check_runs"):
        if len(known) >= DEFINITIONS_KEPT:
            known.clear()
        yield from fold.differences(snapshot, row, known)
    for event, body in snapshot.rows("check_host_events"):
        try:
            _event.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            yield f"event {event} of the host cannot be read: {error}"
    if paths is not None:
        yield from _files(snapshot, paths)


def _other_schema(snapshot: Snapshot) -> str:
    if snapshot.schema > SCHEMA:
        return "it was written by a newer pyflowd; install that"
    return "pyflowd brings it up to date when it starts"


def _strays(snapshot: Snapshot) -> Iterator[str]:
    for run, digest in snapshot.rows("check_stray_runs"):
        yield f"run {run}: its definition {digest[:12]} is not there"
    for table, run, count in snapshot.rows("check_stray_rows"):
        yield f"{table}: {count} rows of run {run}, which is not there"
    for table, name, digest in snapshot.rows("check_stray_files"):
        yield f"{table} {name}: its definition {digest[:12]} is not there"


def _slots(snapshot: Snapshot) -> Iterator[str]:
    for what, workflow, trigger, at_us, run in snapshot.rows("check_slots"):
        where = f"slot {workflow}/{trigger} {from_us(at_us).isoformat()}"
        yield f"{where}: run {run} is {'that of another slot, too' if what == 'twice' else 'of another workflow'}"
    for workflow, trigger, at_us, count in snapshot.rows("check_slot_runs"):
        yield f"slot {workflow}/{trigger} {from_us(at_us).isoformat()}: {count} runs were started by it"


def _definitions(snapshot: Snapshot) -> Iterator[str]:
    for digest, text, compiled in snapshot.rows("check_definitions"):
        if hashlib.sha256(text).hexdigest() != digest:
            yield f"definition {digest[:12]}: its text has another SHA-256"
        try:
            _workflow.decode(compiled)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            yield f"definition {digest[:12]}: it cannot be read: {error}"


def _files(snapshot: Snapshot, paths: Paths) -> Iterator[str]:
    """Artifacts that are gone or have another size, and folders that no run owns."""
    scratch = Scratch(paths.state, snapshot.meta("secret") or "")
    known = {row[0] for row in snapshot.rows("check_runs_known")}
    last: int = snapshot.one("last_run")[0]
    for run in sorted(known):
        for _, name, size_bytes, _, origin, folder in snapshot.rows("check_artifacts", run):
            path = scratch.artifact(origin, folder, name)
            try:
                found_bytes = os.stat(path, follow_symlinks=False).st_size
            except FileNotFoundError:
                yield f"run {run}: its artifact {name} is gone: {path}"
                continue
            if found_bytes != size_bytes:
                yield f"run {run}: its artifact {name} has {found_bytes} bytes, on record are {size_bytes}: {path}"
    owners = {row[4] for run in known for row in snapshot.rows("check_artifacts", run)} | known
    for run, path in _folders(scratch.artifacts):
        if run not in owners and run <= last:
            yield f"no run {run} owns its folder of artifacts: {path}"
    for run, path in _folders(paths.log):
        if run not in known and run <= last:
            yield f"no run {run} owns its logs: {path}"


def _folders(top: str) -> Iterator[tuple[int, str]]:
    """(run, path) of the folders of runs below one for each thousand."""
    for thousand in _names(top):
        if not thousand.isdecimal():
            continue
        for name in _names(f"{top}/{thousand}"):
            number = name.partition("-")[0]
            if number.isdecimal():
                yield int(number), f"{top}/{thousand}/{name}"


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
