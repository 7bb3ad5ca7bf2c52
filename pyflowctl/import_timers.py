"""`pyflowctl import timers [UNIT|FILE]...`: timers and services of systemd to workflow files, compared with systemd.

Units are read as files, with their drop-ins; the running systemd is not asked, but for `systemd-analyze calendar`,
which tells when a timer would elapse.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from msgspec import Struct

from pyflowctl import imports, link
from pyflowctl.imports import Failed, Made, Place, Report
from pyflowd.base import zones
from pyflowd.conversion import timer_draft, unit_file
from pyflowd.conversion.crontab_time import REBOOT
from pyflowd.conversion.draft import Draft
from pyflowd.conversion.firings import Proof, compare
from pyflowd.conversion.unit_file import Unit
from pyflowd.errors import nearest
from pyflowd.model.states import is_name
from pyflowd.model.triggers import Dst
from pyflowd.render.commandline import Words
from pyflowd.render.layout import Style
from pyflowd.schedules import cron, schedule

ADMIN = "/etc/systemd/system"
_FOLDERS = (
    ADMIN, "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system",
    "/etc/systemd/user", "/usr/lib/systemd/user",
)  # fmt: skip
_FIRINGS = 1000
"""systemd-analyze is asked for so many at most: it takes a millisecond for each."""
_TIMEOUT_S = 30
_UTC_LINE = re.compile(
    r"(?:\(in UTC\)|elapse|#[0-9]+): \w{3} ([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}) UTC"
)
"""A line in UTC comes only where the zone is another: else the line of the firing itself is in it."""
HINT = "Both would start these now: systemctl disable --now TIMER, or pause the workflows until you have."


class _Found(Struct, frozen=True, kw_only=True):
    """A unit, and where its file is."""

    path: str
    unit: Unit


def import_timers(words: Words, style: Style) -> int:
    """Import, print, and give the exit status."""
    place = imports.place(words)
    made: list[Made] = []
    failed: list[Failed] = []
    remarks: list[tuple[str, str]] = []
    named = words.arguments[1:] or tuple(sorted(glob.glob(f"{ADMIN}/*.timer")))
    if not words.arguments[1:] and not named:
        remarks.append((ADMIN, "there are no timers; name those that you mean"))
    if shutil.which("systemd-analyze") is None:
        remarks.append((named[0] if named else ADMIN, "there is no systemd-analyze here: nothing is compared"))
    taken: set[str] = set()
    for each in named:
        try:
            timer = _find(each, "timer")
            made.append(_make(timer, taken, place, words, style.now_us))
        except (ValueError, link.ClientError) as wrong:
            failed += [
                Failed(file=each, line=0, reason=line.removeprefix(f"{each}: ")) for line in str(wrong).splitlines()
            ]
    report = Report(old="systemd", made=made, failed=failed, remarks=remarks, dry_run=words.has("dry-run"), hint=HINT)
    return imports.show(report, words, style)


# ---- Units ----------------------------------------------------------------------------------------------------------


def _find(name: str, sort: str, beside: str = "") -> _Found:
    """A unit by its file, or by its name in `beside` and in systemd's folders. Raises ValueError, ClientError."""
    if "/" in name or os.path.exists(name):
        return _read(name, os.path.basename(name))
    unit = name if name.endswith(f".{sort}") else f"{name}.{sort}"
    own = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.environ.get("HOME", "/"), ".config")
    folders = [*([beside] if beside else []), os.path.join(own, "systemd", "user"), *_FOLDERS]
    stem, at, _ = unit.rpartition(".")[0].partition("@")
    for folder in folders:
        for file in (unit, f"{stem}@.{sort}" if at else unit):
            path = os.path.join(folder, file)
            if os.path.exists(path):
                return _read(path, unit)
    known = sorted({os.path.basename(path) for folder in folders for path in glob.glob(f"{folder}/*.{sort}")})
    raise ValueError(f"there is no unit {unit[:80]}{nearest(unit, known)}; name it, or its file")


def _read(path: str, name: str) -> _Found:
    """A unit of its file and of the drop-ins beside it."""
    paths = [path, *sorted(glob.glob(f"{glob.escape(path)}.d/*.conf"))]
    try:
        texts = [link.read_file(each).decode() for each in paths]
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8") from None
    return _Found(path=path, unit=unit_file.read(name, texts))


def _make(timer: _Found, taken: set[str], place: Place, words: Words, now_us: int) -> Made:
    """One timer to one file. Raises ValueError with one line for each reason."""
    stem = timer.unit.name.removesuffix(".timer")
    if stem.endswith("@"):
        raise ValueError(f"a template: name an instance of it, such as {stem}NAME.timer")
    named = timer.unit.last("Timer", "Unit") or f"{stem}.service"
    if not named.endswith(".service"):
        raise ValueError(f"Unit={named[:80]}: only a service can be a workflow")
    service = _find(named, "service", os.path.dirname(timer.path) or ".")
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-._")[:63]
    if not is_name(name) or name.lower() in taken:
        raise ValueError(f"{stem[:80]} cannot be the name of a workflow, or is one already")
    taken.add(name.lower())
    system = not os.path.dirname(os.path.abspath(timer.path)).endswith("/user")
    draft = timer_draft.draft(timer.unit, service.unit, name, system=system, user=words.value("user") or "")
    text, workflow = imports.compiled(draft)
    path = os.path.join(place.folder, f"{name}.yaml")
    return Made(
        file=timer.path,
        line=timer.unit.line("Timer", "OnCalendar"),
        schedule=", ".join(trigger.cron for trigger in draft.triggers),
        user=draft.user or None,
        command="; ".join(service.unit.all("Service", "ExecStart")),
        draft=draft,
        workflow=workflow,
        text=text,
        path=path,
        proof=_proof(timer.unit, draft, place, now_us),
        outcome="would be written"
        if words.has("dry-run")
        else imports.write_workflow(path, text, force=words.has("force")),
    )


# ---- Proof ----------------------------------------------------------------------------------------------------------


def _proof(timer: Unit, draft: Draft, place: Place, now_us: int) -> Proof | None:
    """Up to the last firing that systemd-analyze was asked for; None where it is not here."""
    texts = timer.all("Timer", "OnCalendar")
    if not texts or shutil.which("systemd-analyze") is None:
        return None
    start, end = imports.years_from(now_us)
    host = imports.host_zone()
    before: set[int] = set()
    for text in texts:
        found = list(elapses(text, start, host.key))
        end = min(end, found[-1] + 1) if len(found) == _FIRINGS else end
        before.update(found)
    triggers = [trigger for trigger in draft.triggers if trigger.cron != REBOOT]
    after: list[int] = []
    for trigger in triggers:
        here = zones.zone(trigger.timezone or place.timezone or host.key)
        slots = schedule.slots(cron.parse(trigger.cron), here, Dst.DEBIAN, start * 60_000_000 - 1, end * 60_000_000 - 1)
        after += (slot_us // 60_000_000 for slot_us in slots)
    named = {trigger.timezone for trigger in triggers}
    zone = ZoneInfo(name) if len(named) == 1 and (name := named.pop()) else host
    was = sorted(minute for minute in before if minute < end)
    return compare(was, sorted(after), start, end, zone, "systemd")


def elapses(text: str, start_minute: int, host_zone: str) -> Iterator[int]:
    """Minutes from `start_minute` on, as `systemd-analyze calendar` tells them. Raises ValueError where it fails."""
    base = datetime.fromtimestamp(start_minute * 60 - 1, ZoneInfo("UTC")).strftime("%Y-%m-%d %H:%M:%S UTC")
    argv = ["systemd-analyze", "calendar", f"--iterations={_FIRINGS}", f"--base-time={base}", "--", text]
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": host_zone}
    try:
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"systemd-analyze cannot be asked: {error}") from None
    if done.returncode:
        raise ValueError(f"systemd-analyze says: {' '.join(done.stderr.split())[:200]}")
    for found in _UTC_LINE.finditer(done.stdout):
        at = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=ZoneInfo("UTC"))
        yield int(at.timestamp()) // 60
