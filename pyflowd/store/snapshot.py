"""The store as it is at one moment, only read: for whoever copies or checks it, from a process of its own.

Never open one in a process that has the store open: closing a file drops the locks that SQLite holds on it there. It
disturbs the writer as little as any reader does, and neither changes nor checkpoints anything.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import Self

import apsw

from pyflowd.errors import Refused
from pyflowd.store import statements
from pyflowd.store.store import DATABASE, Row

SCHEMA = len(statements.migrations())
"""The newest that this version knows."""


class Snapshot:
    """Of the store in `folder`. Raises Refused where it cannot be read at all; so does every other method."""

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, DATABASE)
        if not os.path.exists(self.path):
            raise Refused(f"{self.path}: there is no store; name its place with --root DIR")
        try:
            self._connection = apsw.Connection(self.path, flags=apsw.SQLITE_OPEN_READONLY)
            self._connection.set_busy_timeout(5000)
            self._connection.execute("BEGIN")
            self.schema = int(self._connection.pragma("user_version"))
        except apsw.Error as error:
            raise self._unreadable(error) from error
        self._reads = statements.read("reads.sql")
        self._checks = statements.read("checks.sql")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def rows(self, name: str, *bindings: object) -> Generator[Row, None, None]:
        """Rows of a statement of `reads.sql` or `checks.sql`."""
        try:
            yield from self._connection.execute(self._checks.get(name) or self._reads[name], bindings)
        except (apsw.Error, UnicodeDecodeError) as error:  # SQLite keeps text as it is given, UTF-8 or not
            raise self._unreadable(error) from error

    def one(self, name: str, *bindings: object) -> Row:
        """The first row; raises LookupError where there is none."""
        for row in list(self.rows(name, *bindings)):
            return row
        raise LookupError(f"{name} {bindings}")

    def meta(self, key: str) -> str | None:
        return next((row[0] for row in list(self.rows("meta", key))), None)

    def damages(self) -> Iterator[str]:
        """What SQLite itself finds wrong with the file, a hundred findings at most."""
        try:
            for (said,) in list(self._connection.execute("PRAGMA integrity_check")):
                if said != "ok":
                    yield str(said)
        except apsw.Error as error:
            yield str(error)

    def copy_into(self, path: str) -> None:
        """A compact copy of the store as it is now, in a new file; the snapshot goes on with a later moment."""
        try:
            self._connection.execute("ROLLBACK")
            self._connection.execute("VACUUM INTO ?", (path,))
            self._connection.execute("BEGIN")
        except apsw.Error as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: apsw.Error | UnicodeDecodeError) -> Refused:
        return Refused(f"{self.path}: {error}")
