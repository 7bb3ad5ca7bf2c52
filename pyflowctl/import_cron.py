"""`pyflowctl import cron FILE...`: crontabs to workflow files, and five years of their firings compared.

It reads the files that are named, and the host's accounts to tell the two sorts of crontab apart.
"""

from __future__ import annotations

import os
import pwd
import re
import sys
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import replace

from pyflowctl import imports, link
from pyflowctl.imports import Failed, Made, Place, Report
from pyflowctl.shellsyntax import ShellText, faults
from pyflowd.base import zones
from pyflowd.conversion import crontab, crontab_draft, crontab_time
from pyflowd.conversion.crontab import Crontab, Job
from pyflowd.conversion.crontab_draft import Surroundings
from pyflowd.conversion.draft import Draft
from pyflowd.conversion.firings import Proof, compare
from pyflowd.model.triggers import Dst
from pyflowd.model.workflow import Workflow
from pyflowd.render.commandline import Words
from pyflowd.render.layout import Style
from pyflowd.schedules import cron, schedule

STDIN = "-"
_SYSTEM = re.compile(r"/etc/crontab|/etc/cron\.d/[^/]+")
_SPOOL = re.compile(r"/var/spool/cron(?:/crontabs|/tabs)?/([A-Za-z0-9_][A-Za-z0-9_.-]{0,31})")
_IGNORED_NAME = re.compile(r"[^A-Za-z0-9_-]")
HINT = (
    "Both would start these jobs now: take the lines out of the crontab (crontab -e), "
    "or pause the workflows until you have (pyflowctl pause NAME)."
)


class _Source(Struct, frozen=True, kw_only=True):
    """A crontab that was read."""

    label: str
    user: str
    found: Crontab
    remarks: tuple[str, ...]
    refused: str = ""
    said: dict[int, str] = {}
    """Lines whose command a shell does not understand, and what it says."""


def import_cron(words: Words, style: Style) -> int:
    """Import, print, and give the exit status."""
    place = imports.place(words)
    made: list[Made] = []
    failed: list[Failed] = []
    remarks: list[tuple[str, str]] = []
    prover = _Prover(style.now_us, place)
    taken: set[str] = set()
    for path in words.arguments[1:]:
        try:
            source = _read(path, words)
        except link.ClientError as error:
            failed.append(Failed(file=path, line=0, reason=str(error).removeprefix(f"{path}: ")))
            continue
        remarks += [(source.label, remark) for remark in (*source.found.remarks, *source.remarks)]
        failed += [Failed(file=source.label, line=each.line, reason=each.reason) for each in source.found.faults]
        jobs = source.found.jobs
        if source.refused:
            failed.append(Failed(file=source.label, line=jobs[0].line, reason=source.refused))
            continue
        for job, name in zip(jobs, crontab_draft.names(jobs, taken), strict=True):
            try:
                made.append(_make(job, name, source, place, prover, words))
            except ValueError as wrong:
                failed.append(Failed(file=source.label, line=job.line, reason=str(wrong)))
    report = Report(old="cron", made=made, failed=failed, remarks=remarks, dry_run=words.has("dry-run"), hint=HINT)
    return imports.show(report, words, style)


def _read(path: str, words: Words) -> _Source:
    """The jobs of a file, and whether they were read as what it is."""
    label = "standard input" if path == STDIN else path
    data = sys.stdin.buffer.read(crontab.MAX_BYTES + 1) if path == STDIN else link.read_file(path)
    absolute = os.path.abspath(path)
    system = words.has("system")
    spool = _SPOOL.fullmatch(absolute)
    found = crontab.read(data, system=system)
    refused = ""
    remarks = []
    if not system and found.jobs:
        why = crontab.looks_like_system(found.jobs, _accounts())
        if _SYSTEM.fullmatch(absolute):
            refused = f"{path} has a user column: read it with --system"
        elif why and any(job.command.split()[0] == "root" for job in found.jobs):
            refused = f"{why}, as in /etc/crontab: read it with --system"
        elif why:
            remarks.append(f"{why}: if that is a column of users, import it again with --system")
    if os.path.dirname(absolute) == "/etc/cron.d" and _IGNORED_NAME.search(os.path.basename(absolute)):
        remarks.append("cron ignores this file: names in cron.d have letters, digits, - and _ only")
    user = words.value("user") or (spool[1] if spool else "")
    if not system and not user and os.geteuid() == 0 and found.jobs:
        remarks.append("whose crontab it is, the file does not say: --user NAME makes the jobs run as NAME")
    return _Source(
        label=label,
        user="" if system else user,
        found=found,
        remarks=tuple(remarks),
        refused=refused,
        said=_syntax(found.jobs),
    )


def _syntax(jobs: tuple[Job, ...]) -> dict[int, str]:
    shells = [job.env.get("SHELL", crontab_draft.CRON_SHELL).rpartition("/")[2] for job in jobs]
    texts = [ShellText(shell=shell, text=job.command, closes=False) for shell, job in zip(shells, jobs, strict=True)]
    return {jobs[index].line: fault.message for index, fault in faults(texts).items() if not fault.is_warning}


def _accounts() -> frozenset[str]:
    return frozenset(entry.pw_name for entry in pwd.getpwall())


def _make(job: Job, name: str, source: _Source, place: Place, prover: _Prover, words: Words) -> Made:
    """One line to one file. Raises ValueError where nothing means the same, or it cannot be written."""
    around = Surroundings(label=source.label, user=source.user, channels=place.channels)
    draft = prover.with_zone(crontab_draft.draft(job, around, name))
    if job.line in source.said:
        remark = f"the shell refuses the command, with cron as well: {source.said[job.line]}"
        draft = replace(draft, remarks=(*draft.remarks, remark))
    try:
        text, workflow = imports.compiled(draft)
    except ValueError:
        if "${{" in job.command:
            raise ValueError("the command holds ${{, which PyFlow reads as an expression: write it as $''{{") from None
        raise
    path = os.path.join(place.folder, f"{name}.yaml")
    outcome = (
        "would be written" if words.has("dry-run") else imports.write_workflow(path, text, force=words.has("force"))
    )
    return Made(
        file=source.label,
        line=job.line,
        schedule=job.schedule,
        user=job.user or source.user or None,
        command=job.command,
        draft=draft,
        workflow=workflow,
        text=text,
        path=path,
        proof=prover.proof(job, workflow),
        outcome=outcome,
    )


class _Prover:
    """Compares firings, those of one schedule once."""

    def __init__(self, now_us: int, place: Place) -> None:
        self._from, self._until = imports.years_from(now_us)
        self._host = imports.host_zone()
        self._instance = place.timezone
        self._proofs: dict[tuple[str, str], Proof] = {}

    def with_zone(self, draft: Draft) -> Draft:
        """The zone of the host, where the instance has another for schedules that name none."""
        if self._instance in (None, self._host.key):
            return draft
        triggers = (
            each if each.timezone or each.cron == crontab_time.REBOOT else replace(each, timezone=self._host.key)
            for each in draft.triggers
        )
        return replace(draft, triggers=tuple(triggers))

    def proof(self, job: Job, workflow: Workflow) -> Proof | None:
        """None where there is nothing to compare: `@reboot`, and dates that never come."""
        if job.times.reboot or not workflow.triggers:
            return None
        name = job.env.get("CRON_TZ") or self._host.key
        trigger = workflow.triggers[0]
        key = (f"{job.schedule}\n{trigger.cron}", f"{name}\n{trigger.timezone}")
        if key not in self._proofs:
            here = zones.zone(trigger.timezone or self._instance or self._host.key)
            parsed = cron.parse(trigger.cron)
            slots = schedule.slots(parsed, here, Dst.DEBIAN, self._from * 60_000_000 - 1, self._until * 60_000_000 - 1)
            zone = ZoneInfo(name)
            old = crontab_time.firings(job.times, zone, self._from, self._until)
            new = (slot_us // 60_000_000 for slot_us in slots)
            self._proofs[key] = compare(old, new, self._from, self._until, zone, "cron")
        return self._proofs[key]
