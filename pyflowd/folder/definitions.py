"""The folders of definitions at work: scans become loads, loads definitions in force, problems are kept and told.

Joins watcher, loader and catalog; each of them knows nothing of the others. What changes goes to `workflows` and into
the turn's batch.
"""

from __future__ import annotations

import logging
import os
import selectors
from collections import Counter
from collections.abc import Callable
from itertools import count

import msgspec

from pyflowd.base.filenames import split_name
from pyflowd.base.timers import Timer, Timers
from pyflowd.clock import from_us
from pyflowd.folder.catalog import Catalog, Change, Installed, Noted, Reload, Removed, Row
from pyflowd.folder.listing import UNSAFE
from pyflowd.folder.loader import Loader
from pyflowd.folder.loader_frames import Folders, Leaf, Loaded, Rejected, Result, Seen, Signature, Traced
from pyflowd.folder.planning import HOLD_US, Plan, plan
from pyflowd.folder.plugin_watch import PluginWatch
from pyflowd.folder.settling import AWAY_US, FolderGone, Scan
from pyflowd.folder.sources import Sources, folder_of
from pyflowd.folder.watcher import Watcher
from pyflowd.language.definition_kinds import KINDS
from pyflowd.language.definition_uses import CODES
from pyflowd.language.plugins import Known
from pyflowd.model.problem import Problem, Severity
from pyflowd.protocol.views_runs import RunView
from pyflowd.protocol.views_workflows import WorkflowView
from pyflowd.runtime.workflows import Workflows

AT_ONCE = 64
"""Results that are taken in one turn, of a stream of them."""
TOGETHER_US = 10_000
"""How long the first of a stream of results waits for others."""

log = logging.getLogger("pyflowd.folder.definitions")
_encode = msgspec.msgpack.encode
_seen = msgspec.msgpack.Decoder(tuple[int, int, int, int] | Seen)
"""A bare signature is what was kept of a file before there were parts."""
_problems = msgspec.msgpack.Decoder(tuple[Problem, ...])
_plugins = msgspec.json.Decoder(Known)

PATIENCE_US = 2_000_000
"""How long a start waits for files that are being written."""
_USES = _encode("kind") + _encode("uses")
"""In the compiled form of a definition with a task that uses a plugin."""
Checked = Callable[[Loaded | Rejected], None]
Told = Callable[[str], bool]
"""Whether somebody may be told of a workflow, by its name; empty: of the folder itself."""
Followed = Callable[[tuple[Leaf, ...], str], None]
"""Takes the values with their places, or why they cannot be told."""


class Definitions:
    """What is in the folders, and what of it is in force."""

    def __init__(
        self, workflows: Workflows, folders: Folders, timers: Timers, selector: selectors.BaseSelector
    ) -> None:
        self.workflows = workflows
        self.folders = folders
        self.loader = Loader(folders, workflows.clock)
        self.watcher = Watcher(folders, workflows.clock)
        self.plugins = PluginWatch(folders.plugins, KINDS)
        self._known: Known | None = None
        self._check_again = False
        """Files were being read while what plugins there are changed."""
        self.timers = timers
        self.selector = selector
        self.clock = workflows.clock
        self.catalog = Catalog()
        workflows.refusals = self.refusals
        self.held = ""
        """Why vanished files are still in force (rule D6); empty: none are."""
        self._last: Scan | FolderGone | None = None
        self._sources = Sources({}, folders)
        """What is to be believed of the folders since the last scan."""
        self._held_since_us: int | None = None
        self._hold_timer: Timer | None = None
        self._loader_timer: Timer | None = None
        self._texts: dict[str, Checked] = {}
        self._traces: dict[str, Followed] = {}
        self._read: list[Result] = []
        """Results that have come and are not taken yet."""
        self._take_due: Timer | None = None
        self._came: list[str] = []
        """What has come into force with the results that are being taken."""
        self._unsafe: frozenset[str] = frozenset()
        """Folders whose files were refused at the last scan."""
        self._look_again = True
        """Somebody may have mended what was wrong with files that themselves have not changed."""
        self._settled: list[Callable[[], None]] = []
        """Who waits until nothing is unsettled."""
        self._asked = False
        """A scan was asked for and has not come yet."""
        self._believe_gone = False
        """Somebody said `reload`: what is gone is gone (rule D6 asks for a minute otherwise)."""
        self._tokens = count(1)

    def start(self) -> None:
        """Open the books as they were, then look at the folder."""
        rows = (_row(*row) for row in self.workflows.store.rows("files"))
        self.catalog = Catalog(row for row in rows if row.name not in self.workflows.unreadable)
        self.selector.register(self.loader, selectors.EVENT_READ, self._loaded)
        self.selector.register(self.watcher, selectors.EVENT_READ, self._scanned)
        self.selector.register(self.plugins, selectors.EVENT_READ, self._plugins_found)
        self._know(_known_before(self.workflows.store.meta("plugins")))
        self.plugins.start()
        self._asked = True  # the watcher looks at the folder when it starts
        known = [row.seen for row in self.catalog.rows if row.seen is not None]
        self.watcher.start({key: part for seen in known for key, part in seen.parts.items()})

    def stop(self) -> None:
        """Safe twice and before `start`."""
        self.plugins.stop()
        self.watcher.stop()
        self.loader.stop()

    def rescan(self, *, believe_gone: bool = False) -> None:
        """Look at the folder again; `believe_gone`: files that have vanished are not held."""
        self._asked = self._look_again = True
        self._believe_gone = self._believe_gone or believe_gone
        if believe_gone:
            self.plugins.look()
        self.watcher.rescan()

    @property
    def busy(self) -> bool:
        """Whether something that was seen has not settled yet, or is still being read."""
        return (
            self._asked
            or self.plugins.busy
            or self.loader.busy
            or (isinstance(self._last, Scan) and self._last.pending)
        )

    def when_settled(self, then: Callable[[], None]) -> None:
        """Call `then` in the turn in which everything that was seen is in force or refused; at the latest in 2 s."""

        def once() -> None:
            if then in self._settled:
                self._settled.remove(then)
                then()

        self._settled.append(then)
        self.timers.at(self.clock.mono_us() + PATIENCE_US, once)

    def _tell_settled(self) -> None:
        if not self.busy:
            settled, self._settled = self._settled, []
            for then in settled:
                then()

    def check_text(self, label: str, data: bytes, owner: int, then: Checked, *, file: str = "") -> None:
        """Have a text from a client read by the child, as if it belonged to the uid `owner`; `then` is called in a
        later turn with the result. `file`: as that file of the folder, with the drop-ins that this has.
        """
        token = f"text-{next(self._tokens)}"
        self._texts[token] = then
        stem, is_json = split_name(label.rsplit("/", 1)[-1])
        self.loader.submit_text(token, label, data, stem=stem, is_json=is_json, owner=owner, file=file)
        self._arm()

    def trace(self, label: str, data: bytes, then: Followed) -> None:
        """Have the child say where the values of a stored text come from; `then` is called in a later turn."""
        token = f"trace-{next(self._tokens)}"
        self._traces[token] = then
        stem, is_json = split_name(label.rsplit("/", 1)[-1])
        self.loader.submit_trace(token, label, data, stem=stem, is_json=is_json)
        self._arm()

    # ---- Plugins

    def _plugins_found(self, _: int) -> None:
        """Check the files again that use plugins, if what there is has changed."""
        known = self.plugins.receive()
        if known is not None and known != self._known:
            self._know(known)
            self.workflows.runs.batch.add("meta", "plugins", msgspec.json.encode(known).decode())
            log.info("plugins: %s", ", ".join(known) or "none", extra={"action": "plugins"})
            self._check_again = self.loader.busy
            self._check_users()
        self.workflows.topics.add("workflows")
        self._tell_settled()

    def _know(self, known: Known | None) -> None:
        self._known = known
        if known is not None:
            self.loader.know(known)

    def _check_users(self) -> None:
        self.loader.submit([row.file for row in self.catalog.rows if self._uses_plugins(row)])
        self._arm()

    def _uses_plugins(self, row: Row) -> bool:
        entry = self.workflows.entries.get(row.name) if row.name is not None else None
        used = entry is not None and _USES in entry.compiled
        return used or any(problem.code in CODES for problem in row.problems)

    # ---- What is told

    def path_of(self, name: str) -> str:
        """The file that the workflow `name` is in force from, an absolute path; empty: it is not in force."""
        entry = self.workflows.entries.get(name)
        return "" if entry is None else os.path.join(*folder_of(self.folders, entry.file))

    def problems(self, told: Told = lambda _: True) -> list[Problem]:
        """Errors of every file, and why files of the folder are not read; those that may be `told`."""
        found = [problem for row in self.catalog.rows if _may_be_told(row, told) for problem in row.problems]
        found += self._ignored(told)
        if (isinstance(self._last, FolderGone) or self.held) and told(""):
            found.append(Problem(file="the folder", code="held", message=self.held))
        return [problem for problem in found if problem.severity is Severity.ERROR]

    def refusals(self, name: str) -> list[Problem]:
        """Why no file gives the workflow `name`: what is wrong with the one that would by its own name."""
        rows = [row for row in self.catalog.rows if row.name is None and split_name(row.file)[0] == name]
        errors = [problem for row in rows for problem in row.problems if problem.severity is Severity.ERROR]
        ignored = self._last.problems if isinstance(self._last, Scan) else ()
        return [*errors, *(problem for problem in ignored if problem.file.rpartition(".")[0] == name)]

    @property
    def refused(self) -> bool:
        """Whether the newest text of some file is refused."""
        return any(problem.severity is Severity.ERROR for row in self.catalog.rows for problem in row.problems)

    def _ignored(self, told: Told) -> list[Problem]:
        found = self._last.problems if isinstance(self._last, Scan) else ()
        return [problem for problem in found if told(problem.file.rpartition("/")[2].rpartition(".")[0])]

    def notes(self, told: Told = lambda _: True) -> list[str]:
        """What of the folder is ignored or held, and why; what may be `told`."""
        ignored = [f"ignored: {problem}" for problem in self._ignored(told)]
        if not told(""):
            return ignored
        idle = (f"ignored: {key}: there is no file that it could lie over" for key in self._sources.idle)
        return [*ignored, *idle, *([f"held: {self.held}"] if self.held else [])]

    def stale_note(self, name: str) -> list[str]:
        """What whoever starts a run should know where the newest text of the workflow is not in force (rule D2)."""
        row = self.catalog.holder(name)
        if row is None or not row.stale:
            return []
        problem = next(problem for problem in row.problems if problem.severity is Severity.ERROR)
        where = "" if problem.file == row.file else f"{problem.file}, "
        place = f"{where}line {problem.line}: " if problem.line else ""
        since = from_us(self.workflows.find(name).loaded_us).astimezone(self.workflows.zone.info)
        refused = f"the newest text of {row.file} is refused ({place}{problem.message})"
        return [f"{refused}; this run has the text in force since {since:%Y-%m-%d %H:%M:%S %Z}"]

    def view(self, name: str, last: RunView | None) -> WorkflowView:
        """One workflow in force; raises NotFound."""
        entry = self.workflows.find(name)
        row = self.catalog.holder(name)
        return self.workflows.view(entry, list(row.problems) if row else [], last)

    def broken(self, told: Told = lambda _: True) -> list[WorkflowView]:
        """The files that have never had a good text; those that may be `told`."""
        found = []
        for row in self.catalog.rows:
            if row.name is None and row.problems and _may_be_told(row, told):
                stem, _ = split_name(row.file)
                problems = list(row.problems)
                found.append(WorkflowView(workflow=stem, state="broken", file=row.file, problems=problems))
        return found

    def states(self, told: Told) -> Counter[str]:
        """How many workflows that may be `told` are in each state, by the words of `view` and `broken`."""
        found: Counter[str] = Counter()
        for name in filter(told, self.workflows.entries):
            row = self.catalog.holder(name)
            stale = row is not None and row.stale
            found["paused" if self.workflows.is_paused(name) else "stale" if stale else "active"] += 1
        broken = (row for row in self.catalog.rows if row.name is None and row.problems and _may_be_told(row, told))
        found["broken"] = sum(1 for _ in broken)
        return found

    # ---- Scans

    def _scanned(self, _: int) -> None:
        for found in self.watcher.receive():
            self._last = found
            self._asked = False
        self._look()

    def _look(self) -> None:
        """Act on the newest scan; once more when a hold is over."""
        if self._last is None:
            return
        self.workflows.topics.add("workflows")
        now_us = self.clock.mono_us()
        if self._believe_gone and isinstance(self._last, Scan) and not self._asked:
            self._held_since_us, self._believe_gone = now_us - HOLD_US, False
        step = plan(self.catalog.known, self._last, self.folders, self._held_since_us, now_us)
        self._sources = step.sources
        self._hold(step)
        self._read_again()
        for file in step.gone:
            self._apply(self.catalog.remove(file))
            self.workflows.runs.batch.add("file_remove", file)
        for file, seen in step.changed.items():
            self.catalog.asked(file, seen)
        self.loader.submit(step.changed, {file for file, seen in step.changed.items() if seen.parts.keys() <= {file}})
        self._arm()
        self._tell_settled()

    def _read_again(self) -> None:
        """Files that were refused for a folder that others could write to, once it is mended: they are as they were."""
        problems = self._last.problems if isinstance(self._last, Scan) else ()
        unsafe = frozenset(problem.file for problem in problems if problem.code == UNSAFE)
        before, self._unsafe = self._unsafe, unsafe
        asked, self._look_again = self._look_again, False
        if before - unsafe or (asked and not unsafe):
            rows = [row for row in self.catalog.rows if any(each.code == UNSAFE for each in row.problems)]
            self.loader.submit(row.file for row in rows if row.file in self._sources.files)

    def _hold(self, step: Plan) -> None:
        self._held_since_us = step.held_since_us
        if self._hold_timer:
            self._hold_timer.cancel()
            self._hold_timer = None
        if step.held_since_us is None:
            self.held = ""
            return
        if not self.held:
            self.held = f"{step.why}; taken for an unmounted folder, what was in force stays for a minute"
            log.warning("%s", self.held, extra={"action": "folder_held"})
        self._hold_timer = self.timers.at(step.held_since_us + HOLD_US, self._look)

    # ---- Loads

    def _loaded(self, _: int) -> None:
        """Take what has been read; of a stream of files many at once, as each turn that writes costs a sync."""
        self._read += self.loader.receive()
        if len(self._read) >= AT_ONCE or not self.loader.busy:
            self._take_read()
        elif self._take_due is None:
            self._take_due = self.timers.at(self.clock.mono_us() + TOGETHER_US, self._take_read)

    def _take_read(self) -> None:
        if self._take_due is not None:
            self._take_due.cancel()
            self._take_due = None
        results, self._read = self._read, []
        self._take(results)

    def _take(self, results: list[Result]) -> None:
        for result in results:
            match result:
                case Traced(token=token):
                    self._traces.pop(token)(result.leaves, result.problem)
                case Rejected(token=token) if token in self._traces:
                    self._traces.pop(token)((), "; ".join(map(str, result.problems)))
                case Loaded(token=token) | Rejected(token=token) if token:
                    self._texts.pop(token)(result)
                case _:
                    self._take_file(result)
        self._log_new()
        if self._check_again and not self.loader.busy:
            self._check_again = False
            self._check_users()
        self.workflows.topics.add("workflows")
        self._arm()
        self._tell_settled()

    def _take_file(self, result: Result) -> None:
        """Unless it was read while something of it was about to change: the next scan tells what became of that."""
        seen = result.seen if isinstance(result, (Loaded, Rejected)) else None
        if seen is not None and not self._sources.holds(result.file, seen):
            self.catalog.forget(result.file)
            self._asked = True
            self.timers.at(self.clock.mono_us() + AWAY_US, self.watcher.rescan)  # one comes even if all is as it was
        else:
            self._apply(self.catalog.apply(result))

    def _arm(self) -> None:
        """Be called when the child has had its time."""
        if self._loader_timer:
            self._loader_timer.cancel()
        due_us = self.loader.next_deadline()
        if due_us is not None:
            self._loader_timer = self.timers.at(
                due_us, lambda: self._take(self.loader.on_deadline(self.clock.mono_us()))
            )

    def _apply(self, changes: list[Change]) -> None:
        for change in changes:
            match change:
                case Installed(loaded=loaded):
                    self._put(loaded)
                    self._keep(self.catalog.row(loaded.file))
                case Removed(name=name):
                    self.workflows.remove(name)
                    log.info("%s: its file is gone", name, extra={"action": "definition_removed"})
                case Noted(row=row):
                    self._note(row)
                case Reload(file=file):
                    self.loader.submit([file])

    def _log_new(self) -> None:
        """One line for all that came at once: a line each for thousands takes a tenth of the time of loading them."""
        came, self._came = self._came, []
        if came:
            log.info("%s", "; ".join(came), extra={"action": "definition_loaded"})

    def _put(self, loaded: Loaded) -> None:
        source = loaded.source or loaded.file
        self.workflows.put(loaded.name, source, loaded.digest, loaded.text, loaded.compiled)
        self._came.append(f"{loaded.name} is in force, from {source}")

    def _note(self, row: Row) -> None:
        """Problems of a text that is not in force are an event and a line of the log."""
        for problem in row.problems:
            if problem.severity is Severity.ERROR:
                stem, _ = split_name(row.file)
                self.workflows.refused(row.name or stem, problem)
                log.warning("refused: %s", problem, extra={"action": "definition_refused"})
                break
        if row.name is not None and not row.stale:
            self.workflows.moved(row.name, row.source or row.file)
        self._keep(row)

    def _keep(self, row: Row | None) -> None:
        if row is not None:
            seen = None if row.seen is None else _encode(row.seen)
            self.workflows.runs.batch.add(
                "file", row.file, seen, row.name, row.digest, _encode(row.problems), row.claimed
            )


def _may_be_told(row: Row, told: Told) -> bool:
    """A file is of the workflow that it gives, of the one that it would by its name, and of the one that it claims."""
    return told(row.name or split_name(row.file)[0]) and (row.claimed is None or told(row.claimed))


def _row(
    file: str, seen: bytes | None, name: str | None, digest: str | None, problems: bytes, claimed: str | None
) -> Row:
    return Row(
        file=file,
        name=name,
        digest=digest,
        seen=None if seen is None else _decoded(file, seen),
        problems=_problems.decode(problems),
        claimed=claimed,
    )


def _known_before(stored: str | None) -> Known | None:
    """What plugins there were when this was written; None where that is not known, or of another version."""
    try:
        return None if stored is None else _plugins.decode(stored)
    except msgspec.DecodeError:
        return None


def _decoded(file: str, seen: bytes) -> Seen:
    found = _seen.decode(seen)
    return found if isinstance(found, Seen) else Seen({file: Signature(*found)})
