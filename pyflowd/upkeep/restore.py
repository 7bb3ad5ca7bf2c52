"""Puts a backup in the place of an instance's store, while no daemon runs; what was there is set aside, never removed.

Everything is unpacked, compared, brought up to date and checked beside the store first. The mark of the store is put
there before the database is touched, so a restore that was cut off anywhere leaves a store that no daemon takes for a
new beginning, and that the next restore goes on with.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from typing import BinaryIO

from msgspec import Struct

from pyflowd.clock import Clock
from pyflowd.errors import PyflowError, Refused
from pyflowd.paths import Paths
from pyflowd.secrets.secrets_store import FILE as SECRETS
from pyflowd.store import mark
from pyflowd.store.snapshot import SCHEMA, Snapshot
from pyflowd.store.store import DATABASE, lock
from pyflowd.upkeep import archive, members
from pyflowd.upkeep.check import check
from pyflowd.upkeep.owner import as_owner_of
from pyflowd.upkeep.restore_config import Config, check_sizes, put_config
from pyflowd.upkeep.settle import settle

PREFIX = "restore-"
ASIDE = "replaced-"
_OF_STORE = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm")


class Restored(Struct, frozen=True, kw_only=True):
    """What was done."""

    manifest: archive.Manifest
    runs_ended: int
    """They were live in the backup."""
    next_run: int
    aside: str
    """Where what was there before is now; empty: there was nothing."""
    config: Config
    has_secrets: bool


class _Found(Struct, frozen=True, kw_only=True):
    """What is known of the store that stands there."""

    exists: bool = False
    runs: int = 0
    """-1: it cannot be read."""
    instance: str = ""
    last_run: int = 0


def restore(file: BinaryIO, paths: Paths, clock: Clock, *, force: bool) -> Restored:
    """Raises Refused, Unavailable (a daemon runs), OSError; then nothing has been changed but for `restore-*`."""
    os.makedirs(paths.state, mode=0o700, exist_ok=True)
    os.makedirs(paths.log, mode=0o700, exist_ok=True)
    with as_owner_of(paths.state):
        holder = lock(paths.state)
        try:
            for folder in (paths.state, paths.log):
                _clear(folder)
            work = tempfile.mkdtemp(prefix=PREFIX, dir=paths.state)
            logs = tempfile.mkdtemp(prefix=PREFIX, dir=paths.log)
            try:
                return _restore(file, paths, clock, work, logs, force=force)
            finally:
                shutil.rmtree(work, ignore_errors=True)
                shutil.rmtree(logs, ignore_errors=True)
        finally:
            os.close(holder)


def _restore(file: BinaryIO, paths: Paths, clock: Clock, work: str, logs: str, *, force: bool) -> Restored:
    manifest = archive.unpack(file, _places(work, logs))
    check_sizes(manifest)
    fresh = os.path.join(work, "state")
    if not os.path.exists(os.path.join(fresh, DATABASE)):
        raise Refused("it holds no store")
    if manifest.schema > SCHEMA:
        raise Refused(
            f"it was made by pyflowd {manifest.pyflow}, whose store has schema {manifest.schema}; this version knows "
            f"{SCHEMA}: install that version, or a newer one"
        )
    before = _found(paths.state)
    _refuse_history(before, paths.state, force=force)
    highest = max([before.last_run, *_numbers(paths.log), *_numbers(os.path.join(paths.state, "artifacts"))])
    ended = settle(fresh, made_at=manifest.made_at, instance=manifest.instance, highest_run=highest, clock=clock)
    with Snapshot(fresh) as snapshot:
        checked = check(snapshot)
        known = {row[0] for row in snapshot.rows("check_runs_known")}
        next_run = snapshot.one("last_run")[0] + 1
    if checked.findings and not force:
        raise Refused(
            f"its store has {len(checked.findings)} faults, the first: {checked.findings[0]}; take an older backup, or "
            "add --force"
        )
    same = before.instance == manifest.instance
    stamp = _new_name(paths, datetime.fromtimestamp(clock.wall_us() / 1_000_000, UTC))
    _exchange(paths.state, work, stamp, has_secrets=os.path.exists(os.path.join(fresh, SECRETS)))
    mine = os.path.join(paths.state, "artifacts"), os.path.join(work, "artifacts")
    _exchange_runs(*mine, os.path.join(paths.state, stamp, "artifacts"), known if same else set())
    _exchange_runs(paths.log, logs, os.path.join(paths.log, stamp), known if same else set())
    config = put_config(paths, work, manifest, os.stat(paths.state))
    aside = os.path.join(paths.state, stamp)
    return Restored(
        manifest=manifest, runs_ended=ended, next_run=next_run, aside=aside if os.path.isdir(aside) else "",
        config=config, has_secrets=members.SECRETS_MEMBER in manifest.members,
    )  # fmt: skip


def _places(work: str, logs: str) -> Callable[[str], str]:
    def place(name: str) -> str:
        top, rest = members.checked(name)
        return os.path.join(logs, rest) if top == "log" else os.path.join(work, top, rest)

    return place


# ---- What is there --------------------------------------------------------------------------------------------------


def _found(folder: str) -> _Found:
    if not os.path.exists(os.path.join(folder, DATABASE)):
        known = mark.read(folder)
        return _Found(instance=known.instance if known else "")
    try:
        with Snapshot(folder) as snapshot:
            return _Found(
                exists=True, runs=snapshot.one("counts")[0], instance=snapshot.meta("instance") or "",
                last_run=snapshot.one("last_run")[0],
            )  # fmt: skip
    except PyflowError:
        return _Found(exists=True, runs=-1)


def _refuse_history(before: _Found, folder: str, *, force: bool) -> None:
    if force or not before.runs:
        return
    what = "a store that cannot be read" if before.runs < 0 else f"a store with {before.runs} runs"
    raise Refused(f"{folder} holds {what}; --force sets it aside, and loses nothing")


def _numbers(top: str) -> Iterator[int]:
    """Of the runs that have a folder there."""
    yield 0
    for _, name in _run_folders(top):
        yield int(name.partition("-")[0])


def _run_folders(top: str) -> list[tuple[str, str]]:
    """(folder of a thousand, name) of each."""
    found = []
    for thousand in os.listdir(top) if os.path.isdir(top) else ():
        if thousand.isdecimal():
            found += [
                (thousand, name)
                for name in os.listdir(os.path.join(top, thousand))
                if name.partition("-")[0].isdecimal()
            ]
    return found


def _new_name(paths: Paths, at: datetime) -> str:
    """Of the folders for what is set aside."""
    stamp = at.strftime(f"{ASIDE}%Y%m%dT%H%M%SZ")
    taken = {*os.listdir(paths.state), *os.listdir(paths.log)}
    return next(name for n in count(1) if (name := stamp if n == 1 else f"{stamp}-{n}") not in taken)


# ---- The exchange ---------------------------------------------------------------------------------------------------


def _exchange(state: str, work: str, stamp: str, *, has_secrets: bool) -> None:
    """The store, and the secrets where the backup has some. The new mark comes first, the database last."""
    fresh, aside = os.path.join(work, "state"), os.path.join(state, stamp)
    names = [name for name in (*_OF_STORE, mark.MARK) if os.path.lexists(os.path.join(state, name))]
    if has_secrets and os.path.lexists(os.path.join(state, SECRETS)):
        names.append(SECRETS)
    if names:
        os.mkdir(aside, 0o700)
    if mark.MARK in names:
        shutil.copy2(os.path.join(state, mark.MARK), os.path.join(aside, mark.MARK))
        names.remove(mark.MARK)
    os.rename(os.path.join(fresh, mark.MARK), os.path.join(state, mark.MARK))
    _sync(state)
    for name in names:
        os.rename(os.path.join(state, name), os.path.join(aside, name))
    if names:
        _sync(aside)
    for name in (SECRETS, DATABASE):
        if os.path.exists(os.path.join(fresh, name)):
            os.rename(os.path.join(fresh, name), os.path.join(state, name))
    _sync(state)


def _exchange_runs(top: str, fresh: str, aside: str, known: set[int]) -> None:
    """Folders of runs: those of the backup in, those of runs that the store does not know, or has anew, aside."""
    new = _run_folders(fresh)
    for thousand, name in _run_folders(top):
        if int(name.partition("-")[0]) not in known or (thousand, name) in new:
            os.makedirs(os.path.join(aside, thousand), mode=0o700, exist_ok=True)
            os.rename(os.path.join(top, thousand, name), os.path.join(aside, thousand, name))
    for thousand, name in new:
        os.makedirs(os.path.join(top, thousand), mode=0o750, exist_ok=True)
        os.rename(os.path.join(fresh, thousand, name), os.path.join(top, thousand, name))


def _clear(folder: str) -> None:
    for name in os.listdir(folder):
        if name.startswith(PREFIX) and os.path.isdir(os.path.join(folder, name)):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


def _sync(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
