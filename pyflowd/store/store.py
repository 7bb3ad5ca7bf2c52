"""The store: SQLite through apsw. The only module that opens the database; one connection writes, one reads.

The writing connection commits with `synchronous=FULL` in WAL mode (an acknowledged commit survives a power cut) and
alone checkpoints. Statements live in `writes.sql` and `reads.sql`, the schema in numbered migrations. A full disk
raises `NoSpace` and changes nothing; any other error of the store is fatal to the daemon, not to tasks (rule I8): after
it nothing more may be acknowledged.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import secrets
from collections.abc import Generator, Iterator
from typing import Any

import apsw

from pyflowd.errors import PyflowError, Unavailable
from pyflowd.store import mark, statements
from pyflowd.store.batch import Batch

DATABASE = "pyflow.db"
BALLAST = "ballast"
CHECKPOINT_PAGES = 2000
"""8 MiB of WAL: a checkpoint every few thousand tasks."""
BALLAST_BYTES = 16 << 20
"""Released when the disk is full: room for the ends of several thousand running tasks (rule I9)."""
Row = tuple[Any, ...]
_PUT_BACK = "put it back, or restore a backup (pyflowctl restore FILE --force sets aside what is there)"


class NoSpace(Unavailable):
    """The disk is full; nothing of the batch was committed."""

    code = "no_space"


class StoreError(PyflowError):
    """The store failed; the daemon must end (rule I8)."""

    code = "store_failed"
    exit_status = 4
    fatal = True


class Store:
    """An open store. Use from one thread."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.path = os.path.join(folder, DATABASE)
        self._lock = lock(folder)
        self._mark = -1
        self._writes = statements.read("writes.sql")
        self._reads = statements.read("reads.sql")
        try:
            self._refuse_lost()
            _keep_private(self.path)
            with _fatal(self.path):
                self._writer = _open(self.path, writes=True)
                _migrate(self._writer)
                self._reader = _open(self.path, writes=False)
            _sync_folder(folder)
            self.instance = self._recognized()
        except BaseException:
            os.close(self._lock)
            self._lock = -1
            raise
        self._opened = self._files()
        self.next_run = self.one("last_run")[0] + 1
        self.next_event = self.one("last_event")[0] + 1

    def _refuse_lost(self) -> None:
        """Nothing is begun anew by itself where there has been a store."""
        missing = mark.lost(self.folder, self.path)
        if missing:
            raise StoreError(f"{self.path}: {missing}; {_PUT_BACK}; {_accept(self.folder)}")

    def _recognized(self) -> str:
        """The store's name; its folder says from now on that it is open. Raises StoreError where another belongs."""
        known = mark.read(self.folder)
        instance = self.meta("instance")
        if known is not None and instance != known.instance:
            raise StoreError(
                f"{self.path}: it is another store than was here before; {_PUT_BACK}; {_accept(self.folder)}"
            )
        newest = self.one("last_event")[0]
        if known is not None and newest < known.newest:
            raise StoreError(
                f"{self.path}: its newest event is {newest}, and event {known.newest} was recorded: the disk has lost "
                f"it, or this is an older copy; {_PUT_BACK}; {_accept(self.folder)}"
            )
        instance = instance or self._first_open()
        mark.write(self.folder, mark.Mark(instance=instance, closed=not library_verdict()[0], newest=newest))
        self._mark = mark.open_for_notes(self.folder)
        return instance

    def _files(self) -> dict[str, tuple[int, int] | None]:
        """Device and inode of the database and its log; None: it is not there."""
        found: dict[str, tuple[int, int] | None] = {}
        for path in (self.path, f"{self.path}-wal"):
            try:
                status = os.stat(path)
            except FileNotFoundError:
                found[path] = None
            else:
                found[path] = status.st_dev, status.st_ino
        return found

    def look(self) -> None:
        """Raises StoreError where the files are no longer those that are open: what is written to them is lost."""
        for path, now in self._files().items():
            if now != self._opened[path]:
                what = "was deleted" if now is None else "was replaced"
                raise StoreError(f"{path}: it {what} under this daemon, so nothing more can be recorded; {_PUT_BACK}")

    def damaged(self, why: str) -> StoreError:
        """What to raise where its rows make no sense."""
        return _failure(self.path, why)

    def _first_open(self) -> str:
        instance = secrets.token_hex(4)
        batch = Batch(1)
        batch.add("meta", "instance", instance)
        self.commit(batch)
        return instance

    def close(self) -> None:
        """Checkpoint and close; safe twice."""
        if self._lock >= 0:
            self._reader.close()
            with contextlib.suppress(apsw.Error):  # a reader elsewhere, or a full disk: the log stays as it is
                # Emptied, as it would be read together with whatever is put in the place of the database.
                self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self._writer.close()
            if self._mark >= 0:
                os.close(self._mark)
            mark.write(self.folder, mark.Mark(instance=self.instance, closed=True, newest=self.next_event - 1))
            os.close(self._lock)
            self._lock = -1

    # ---- Writing

    def batch(self) -> Batch:
        return Batch(self.next_event)

    def commit(self, batch: Batch) -> None:
        """Make all of `batch` durable, or raise with nothing of it done. NoSpace: it may be tried again."""
        execute, sql = self._writer.execute, self._writes
        try:
            execute("BEGIN IMMEDIATE")
            for name, bindings in batch.writes:
                execute(sql[name], bindings)
            execute("COMMIT")
        except apsw.FullError as error:
            self._roll_back()
            raise NoSpace(f"{self.folder}: no space left on the device; free some") from error
        except apsw.Error as error:
            self._roll_back()
            raise _failure(self.path, error) from error
        except BaseException:
            self._roll_back()
            raise
        self.next_event = batch.next_event
        if self._mark >= 0:
            mark.note_newest(self._mark, self.instance, batch.next_event - 1)

    def _roll_back(self) -> None:
        if self._writer.in_transaction:
            with contextlib.suppress(apsw.Error):
                self._writer.execute("ROLLBACK")

    # ---- Reading

    def rows(self, name: str, *bindings: object) -> Generator[Row, None, None]:
        """Rows of a statement of `reads.sql`."""
        with _fatal(self.path):
            yield from self._reader.execute(self._reads[name], bindings)

    def one(self, name: str, *bindings: object) -> Row:
        """The only row; raises LookupError where there is none."""
        for row in list(self.rows(name, *bindings)):
            return row
        raise LookupError(f"{name} {bindings}")

    def one_or_none(self, name: str, *bindings: object) -> Row | None:
        return next(iter(list(self.rows(name, *bindings))), None)

    def meta(self, key: str) -> str | None:
        return next((row[0] for row in list(self.rows("meta", key))), None)

    # ---- Space

    def ballast_missing(self) -> int:
        """Bytes that `take_ballast` would take."""
        try:
            return BALLAST_BYTES - os.stat(os.path.join(self.folder, BALLAST)).st_size
        except FileNotFoundError:
            return BALLAST_BYTES

    def release_ballast(self) -> bool:
        """Give the reserve back to the file system; True where there was one."""
        try:
            os.unlink(os.path.join(self.folder, BALLAST))
        except FileNotFoundError:
            return False
        return True

    def take_ballast(self) -> bool:
        """Set the reserve aside; False where there is no room for it."""
        path = os.path.join(self.folder, BALLAST)
        try:
            if os.stat(path).st_size == BALLAST_BYTES:
                return True
        except FileNotFoundError:
            pass
        try:
            handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(handle, 0, BALLAST_BYTES)
            finally:
                os.close(handle)
        except OSError:
            self.release_ballast()
            return False
        return True


def library_verdict() -> tuple[bool, str]:
    """Whether SQLite's library is free of the WAL-reset bug (fixed in 3.51.3, 3.50.7 and 3.44.6), and its version."""
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    sound = version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    return sound, apsw.sqlite_lib_version()


def lock(folder: str) -> int:
    """Rule I8: one daemon per state folder. The descriptor that holds it; raises Unavailable where another has it."""
    handle = os.open(os.path.join(folder, "lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
        os.close(handle)
        who = f" (pid {owner})" if owner else ""
        raise Unavailable(f"{folder}: another pyflowd{who} uses this state folder; stop it first") from error
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def _keep_private(path: str) -> None:
    """Who may read what is decided by the daemon, not by the group of its file; SQLite gives its log the same mode."""
    handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(handle, 0o600)
    finally:
        os.close(handle)


def _open(path: str, *, writes: bool) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    connection = apsw.Connection(path, flags=flags, statementcachesize=80)
    connection.set_busy_timeout(5000)
    sound, _ = library_verdict()
    connection.pragma("journal_mode", "wal" if sound else "truncate")
    if writes:
        connection.pragma("synchronous", "full" if sound else "extra")
        connection.pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
    else:
        connection.pragma("query_only", True)
        connection.pragma("wal_autocheckpoint", 0)
    if sound:
        _keep_wal(connection)
    connection.pragma("cache_size", -4096)
    return connection


def _keep_wal(connection: apsw.Connection) -> None:
    """Leave the WAL file in place when the store is closed: a commit into space that the file has already needs no
    change of metadata, which would make its fdatasync wait for every log file that is being created beside it.
    Of every connection: the last to be closed decides, and a daemon that ends before it has begun closes none itself.
    """
    wanted = ctypes.c_int(1)
    connection.file_control("main", apsw.SQLITE_FCNTL_PERSIST_WAL, ctypes.addressof(wanted))


def _migrate(connection: apsw.Connection) -> None:
    steps = statements.migrations()
    version = connection.pragma("user_version")
    if version > len(steps):
        raise StoreError(
            f"{connection.filename}: written by a newer pyflowd (schema {version}, this one knows {len(steps)})"
        )
    for number, step in enumerate(steps[version:], version + 1):
        with connection:
            connection.execute(step)
            connection.pragma("user_version", number)


def _sync_folder(folder: str) -> None:
    """SQLite ignores an error of this; we do not (a lost directory entry loses the database)."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _fatal(path: str) -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        raise _failure(path, error) from error


def _failure(path: str, error: apsw.Error | str) -> StoreError:
    return StoreError(f"{path}: {error}; it was left as it is; check the disk, see pyflowctl fsck, or restore a backup")


def _accept(folder: str) -> str:
    return f"to go on with what is there, remove {mark.path_of(folder)}"
