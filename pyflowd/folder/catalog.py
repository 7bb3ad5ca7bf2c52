"""Which definition is in force: the books over files, names and versions (rules D2, D3 and D5).

Pure: results of loading go in, what changes comes out; the dispatcher acts on it and keeps rows from which the books
can be opened again. It knows nothing of folders, times and runs.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from pyflowd.folder.loader_frames import Loaded, Rejected, Result, Seen, Traced, Unsettled, Vanished
from pyflowd.model.problem import Problem, Severity


class Row(Struct, frozen=True, kw_only=True):
    """What is known of one file: as it is stored."""

    file: str
    name: str | None = None
    """Of the workflow that is in force from this file; None: none is."""
    digest: str | None = None
    """SHA-256 of the text in force."""
    seen: Seen | None = None
    """What it was made of as it was read last, whether that was good or bad."""
    source: str = ""
    """Key of the file in force where that is not its name: it is the vendor's."""
    problems: tuple[Problem, ...] = ()
    """Of the text read last: warnings of what is in force, or errors of a newer one that is not."""
    claimed: str | None = None
    """A name that this file gives and another file has."""

    @property
    def stale(self) -> bool:
        """Whether a bad newer version leaves an older one in force (rule D2)."""
        return self.name is not None and any(problem.severity is Severity.ERROR for problem in self.problems)


class Installed(Struct, frozen=True):
    """`loaded` is in force from now on: a new workflow, or a new version of one."""

    loaded: Loaded


class Removed(Struct, frozen=True):
    """The workflow `name` is no longer defined: its schedules end, its runs do not (rule D3)."""

    name: str
    file: str


class Noted(Struct, frozen=True):
    """What is in force stays; `row` has new problems, or other parts, to keep and to show."""

    row: Row


class Reload(Struct, frozen=True):
    """A name is free again that this file has asked for: load it once more."""

    file: str


Change = Installed | Removed | Noted | Reload


class Catalog:
    """All files that have been seen, by name."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._rows = {row.file: row for row in rows}
        self._holders = {row.name: row.file for row in self._rows.values() if row.name is not None}

    @property
    def rows(self) -> list[Row]:
        return list(self._rows.values())

    def row(self, file: str) -> Row | None:
        return self._rows.get(file)

    def holder(self, name: str) -> Row | None:
        """The file that the workflow `name` is in force from."""
        return self._rows[self._holders[name]] if name in self._holders else None

    @property
    def known(self) -> dict[str, Seen | None]:
        """What `planning.plan` compares a scan with."""
        return {row.file: row.seen for row in self._rows.values()}

    def asked(self, file: str, seen: Seen) -> None:
        """`file` is being loaded as a scan saw it: it need not be asked for again until it changes."""
        self._rows[file] = replace(self._rows.get(file, Row(file=file)), seen=seen)

    def forget(self, file: str) -> None:
        """What was read of `file` is not what had settled: whatever the next scan sees is to be loaded."""
        if file in self._rows:
            self._rows[file] = replace(self._rows[file], seen=None)

    def apply(self, result: Result) -> list[Change]:
        """What one result of loading changes, in the order in which it is to be done."""
        match result:
            case Loaded():
                return self._loaded(result)
            case Rejected():
                return [self._rejected(result)]
            case Unsettled() | Vanished() | Traced():
                return []  # a scan will tell of it again, and knows whether it stays away

    def remove(self, file: str) -> list[Change]:
        """The file is gone, for good."""
        row = self._rows.pop(file, None)
        return [] if row is None or row.name is None else self._free(row.name, file)

    def _loaded(self, loaded: Loaded) -> list[Change]:
        old = self._rows.get(loaded.file, Row(file=loaded.file))
        seen = loaded.seen or old.seen
        holder = self._holders.get(loaded.name, loaded.file)
        if holder != loaded.file:
            row = replace(old, seen=seen, problems=(_taken(loaded, holder),), claimed=loaded.name)
            self._rows[loaded.file] = row
            return [Noted(row)]
        row = Row(
            file=loaded.file,
            name=loaded.name,
            digest=loaded.digest,
            seen=seen,
            problems=loaded.problems,
            source=loaded.source if loaded.source != loaded.file else "",
        )
        self._rows[loaded.file] = row
        changes: list[Change] = []
        if old.name is not None and old.name != loaded.name:
            changes += self._free(old.name, loaded.file)
        self._holders[loaded.name] = loaded.file
        same = old.name == loaded.name and old.digest == loaded.digest
        return [*changes, Noted(row) if same else Installed(loaded)]

    def _rejected(self, rejected: Rejected) -> Noted:
        old = self._rows.get(rejected.file, Row(file=rejected.file))
        seen = rejected.seen or old.seen
        row = self._rows[rejected.file] = replace(old, seen=seen, problems=rejected.problems, claimed=None)
        return Noted(row)

    def _free(self, name: str, file: str) -> list[Change]:
        """`name` is no longer held by `file`; the first other file that asked for it may have it."""
        del self._holders[name]
        claimants = sorted(row.file for row in self._rows.values() if row.claimed == name)
        return [Removed(name, file), *(Reload(claimant) for claimant in claimants[:1])]


def _taken(loaded: Loaded, holder: str) -> Problem:
    message = f"the name {loaded.name} is taken by {holder}, which stays in force"
    return Problem(file=loaded.file, code="duplicate_name", message=message, fix="give one of them another name")
