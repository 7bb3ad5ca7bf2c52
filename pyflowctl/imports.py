"""What all importers have in common: a draft is compiled and compared with what was meant, written, and shown.

A file is never replaced unless that was asked for, and is never there in half. It knows nothing of what is imported.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from zoneinfo import ZoneInfo

from msgspec import Struct

from pyflowctl import link
from pyflowd import paths, settings, units
from pyflowd.base import zones
from pyflowd.base.filenames import SUFFIXES
from pyflowd.conversion import draft as drafts
from pyflowd.conversion.draft import Draft
from pyflowd.conversion.firings import Difference, Proof
from pyflowd.errors import Refused, UsageError
from pyflowd.lint.lint import check
from pyflowd.model.kinds import Argv, Shell, Wait
from pyflowd.model.problem import Severity
from pyflowd.model.workflow import Workflow
from pyflowd.notify.notify_channels import Mail
from pyflowd.render import render_json
from pyflowd.render.commandline import Words
from pyflowd.render.layout import Cell, Style, Table, bold, clean, dim, glyph, page, plural

YEARS = 5
"""For how long the firings are compared: all leap years' days and ten clock changes are among them."""
_DIFFERENCES_SHOWN = 12
_MODE = 0o644


class Failed(Struct, frozen=True, kw_only=True):
    """What could not be imported."""

    file: str
    line: int
    reason: str


class Made(Struct, frozen=True, kw_only=True):
    """A workflow that was made of a line, or of a unit."""

    file: str
    line: int
    schedule: str
    user: str | None
    command: str
    draft: Draft
    workflow: Workflow
    text: str
    path: str
    proof: Proof | None = None
    outcome: str = ""
    """`written`, `replaced`, `unchanged`, or `would be written`."""


class Place(Struct, frozen=True, kw_only=True):
    """Where workflows go, and what is known of the instance that they are for."""

    folder: str
    timezone: str | None
    channels: dict[str, tuple[str, ...]]


def place(words: Words) -> Place:
    """The folder that is named, else the instance's own."""
    root = words.value("root")
    instance = paths.find(root, dict(os.environ), os.getuid())
    try:
        found = settings.load(instance.settings)
    except Refused:
        found = settings.Settings()  # what is wrong with it is for the daemon to say
    channels = {name: channel.to for name, channel in found.channels.items() if isinstance(channel, Mail)}
    folder = words.value("to")
    if folder == "":
        raise UsageError("--to names nothing; write --to DIR, or leave it out")
    return Place(folder=folder or instance.workflows, timezone=found.timezone, channels=channels)


def host_zone() -> ZoneInfo:
    """The zone of what runs on this host: TZ of whoever imports does not count."""
    return zones.host_zone({}).info


def years_from(now_us: int) -> tuple[int, int]:
    """Minutes since the epoch: the next one, and the one five years later."""
    start = -(-now_us // 60_000_000)
    at = datetime.fromtimestamp(start * 60, ZoneInfo("UTC"))
    days = [at.replace(year=at.year + YEARS, day=28 if (at.month, at.day) == (2, 29) else at.day)]
    return start, int(days[0].timestamp()) // 60


# ---- Making ---------------------------------------------------------------------------------------------------------


def compiled(draft: Draft) -> tuple[str, Workflow]:
    """The text, and what it means. Raises ValueError where it does not mean what the draft says."""
    text = drafts.text(draft)
    workflow, problems = check(f"{draft.name}.yaml", text.encode(), stem=draft.name, is_json=False)
    if workflow is None:
        first = next(problem for problem in problems if problem.severity is Severity.ERROR)
        raise ValueError(f"PyFlow cannot say it: {first.message}" + (f"; {first.fix}" if first.fix else ""))
    if not means(workflow, draft):
        raise ValueError("PyFlow cannot say it exactly: please report this line")
    return text, workflow


def means(workflow: Workflow, draft: Draft) -> bool:
    """Whether the compiled definition has the values of the draft, to the letter."""
    wanted = [task.run or task.argv or task.wait for task in draft.tasks]
    found: list[object] = []
    for task in workflow.tasks:
        match task.kind:
            case Shell(text=text, shell=shell) if shell == draft.shell:
                found.append(text)
            case Argv(argv=argv):
                found.append(argv)
            case Wait(for_s=for_s) if for_s is not None:
                found.append(units.duration_written(for_s))
            case _:
                return False
    return (
        found == wanted
        and [task.stdin for task in workflow.tasks] == [task.stdin for task in draft.tasks]
        and workflow.env == draft.env
        and (workflow.user or "") == draft.user
        and [(each.cron, each.timezone, each.jitter_s) for each in workflow.triggers]
        == [(each.cron, each.timezone, each.jitter_s) for each in draft.triggers]
    )


# ---- Writing --------------------------------------------------------------------------------------------------------


def write_workflow(path: str, text: str, *, force: bool) -> str:
    """As `write`; two files of one stem would be two definitions of one workflow."""
    stem = path.removesuffix(".yaml")
    for suffix in SUFFIXES:
        if suffix != ".yaml" and os.path.lexists(stem + suffix):
            raise ValueError(f"{stem}{suffix} has this name already: rename it, or choose another folder with --to")
    return write(path, text, force=force)


def write(path: str, text: str, *, force: bool, mode: int = _MODE) -> str:
    """What became of the file. Raises ValueError where there is another of its name, or it cannot be written."""
    data = text.encode()
    folder = os.path.dirname(path)
    try:
        with suppress(FileNotFoundError), open(path, "rb") as file:
            if file.read(len(data) + 1) == data:
                return "unchanged"
            if not force:
                raise ValueError(f"{path} is there already, and is another: --force replaces it")
        os.makedirs(folder or ".", exist_ok=True)
        return _put(path, data, force=force, mode=mode)
    except FileExistsError:
        raise ValueError(f"{path} is there already: --force replaces it") from None
    except OSError as error:
        raise ValueError(f"{path}: it cannot be written: {error.strerror}") from None


def _put(path: str, data: bytes, *, force: bool, mode: int) -> str:
    """Write beside and rename; without `force` a link, which never replaces."""
    folder, name = os.path.split(path)
    beside = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        outcome = "replaced" if os.path.lexists(path) else "written"
        if force:
            os.rename(beside, path)
        else:
            os.link(beside, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(beside)
    handle = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return outcome


# ---- Showing --------------------------------------------------------------------------------------------------------


class Report(Struct, frozen=True, kw_only=True):
    """What an import came to."""

    old: str
    """What the old scheduler is called."""
    made: Sequence[Made]
    failed: Sequence[Failed]
    remarks: Sequence[tuple[str, str]] = ()
    """File, and what is to be said of it."""
    dry_run: bool = False
    hint: str = ""
    """What is left to do."""


def show(report: Report, words: Words, style: Style) -> int:
    """Print it; 1 if something could not be imported."""
    if words.value("output") == "json":
        link.write(1, render_json.encode(_json(report)) + b"\n")
    else:
        link.write(1, page(list(_lines(report, style))))
        errors = (f"pyflowctl: {_where(each.file, each.line)}: {each.reason}" for each in report.failed)
        link.write(2, page([clean(line) for line in errors]))
    return 1 if report.failed else 0


def _json(report: Report) -> dict[str, object]:
    return {
        "workflows": [_made_json(made) for made in report.made],
        "errors": [{"file": each.file, "line": each.line, "reason": each.reason} for each in report.failed],
        "remarks": [{"file": file, "remark": remark} for file, remark in report.remarks],
        "dry_run": report.dry_run,
    }


def _made_json(made: Made) -> dict[str, object]:
    return {
        "name": made.draft.name,
        "schedule": made.schedule,
        "user": made.user,
        "command": made.command,
        "line": made.line,
        "file": made.file,
        "path": made.path,
        "outcome": made.outcome,
        "timezone": next((each.timezone for each in made.draft.triggers), None),
        "text": made.text,
        "remarks": list(made.draft.remarks),
        "proof": None if made.proof is None else _proof_json(made.proof),
    }


def _proof_json(proof: Proof) -> dict[str, object]:
    zone = ZoneInfo(proof.zone)
    return {
        "from": _iso(proof.from_minute, zone),
        "to": _iso(proof.until_minute, zone),
        "timezone": proof.zone,
        "firings_before": proof.before,
        "firings_after": proof.after,
        "differences": [
            {"at": _iso(each.minute, zone), "before": each.before, "after": each.after, "reason": each.reason}
            for each in proof.differences
        ],
    }


def _iso(minute: int, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(minute * 60, zone).isoformat()


def _lines(report: Report, style: Style) -> Iterator[str]:
    if report.dry_run:
        for made in report.made:
            yield bold(f"# ---- {clean(made.path)}", style)
            yield from made.text.splitlines()
            yield ""
    for file in dict.fromkeys([*(made.file for made in report.made), *(file for file, _ in report.remarks)]):
        yield bold(clean(file), style)
        yield from (f"  {glyph('warning', style)} {clean(remark)}" for each, remark in report.remarks if each == file)
        yield from _of_file([made for made in report.made if made.file == file], style)
    yield from _proofs(report, style)
    yield ""
    failed = f", {plural(len(report.failed), 'error')}" if report.failed else ""
    yield bold(f"{plural(len(report.made), 'workflow')}{failed}", style)
    if report.hint and any(made.outcome in ("written", "replaced") for made in report.made):
        yield report.hint


def _of_file(made: Sequence[Made], style: Style) -> Iterator[str]:
    """Workflows with their remarks; one that several have is said once, at the end."""
    count = Counter(remark for each in made for remark in each.draft.remarks)
    for each, line in zip(made, Table(style).lines([_row(each) for each in made]), strict=True):
        yield line
        yield from (f"      - {clean(remark)}" for remark in each.draft.remarks if count[remark] == 1)
    for remark in (remark for remark in count if count[remark] > 1):
        names = ", ".join(each.draft.name for each in made if remark in each.draft.remarks)
        who = "all of them" if count[remark] == len(made) else names
        yield f"  - {clean(who)}: {clean(remark)}"


def _row(made: Made) -> list[Cell]:
    return [
        Cell(f"line {made.line}" if made.line else ""),
        Cell(clean(made.draft.name)),
        Cell(clean(made.schedule)),
        Cell(clean(made.user or "")),
        Cell(clean(f"{made.outcome}: {made.path}")),
    ]


def _proofs(report: Report, style: Style) -> Iterator[str]:
    proven = [(made, made.proof) for made in report.made if made.proof is not None]
    if not proven:
        return
    proof = proven[0][1]
    span = f"{_day(proof.from_minute, proof.zone)} to {_day(proof.until_minute, proof.zone)}"
    yield ""
    yield bold(f"Firings from {span}, {report.old} and PyFlow:", style)
    rows = [_proof_row(made, proof) for made, proof in proven]
    for (made, proof), line in zip(proven, Table(style).lines(rows), strict=True):
        yield line
        yield from _differences(proof, report.old, made, style)
    count = sum(len(proof.differences) for _, proof in proven)
    yield dim(f"  {plural(count, 'difference')} in all" if count else "  no differences", style)


def _proof_row(made: Made, proof: Proof) -> list[Cell]:
    found = plural(len(proof.differences), "difference") if proof.differences else "the same"
    return [
        Cell(clean(made.draft.name)),
        Cell(f"{proof.before}", right=True),
        Cell(f"{proof.after}", right=True),
        Cell(found, "warning" if proof.differences else "ok"),
        Cell(proof.zone),
    ]


def _differences(proof: Proof, old: str, made: Made, style: Style) -> Iterator[str]:
    for each in proof.differences[:_DIFFERENCES_SHOWN]:
        yield f"      {_moment(each, proof)}  {_times(old, each.before)}, {_times('PyFlow', each.after)}: {each.reason}"
    more = len(proof.differences) - _DIFFERENCES_SHOWN
    if more > 0:
        yield dim(f"      and {more} more: -o json has all of {clean(made.draft.name)}", style)


def _times(who: str, count: int) -> str:
    return f"{who} {('does not', 'once', 'twice')[count] if count < 3 else f'{count} times'}"


def _moment(difference: Difference, proof: Proof) -> str:
    return datetime.fromtimestamp(difference.minute * 60, ZoneInfo(proof.zone)).strftime("%a %Y-%m-%d %H:%M %Z")


def _day(minute: int, zone: str) -> str:
    return datetime.fromtimestamp(minute * 60, ZoneInfo(zone)).strftime("%Y-%m-%d")


def _where(file: str, line: int) -> str:
    return f"{file}:{line}" if line else file
