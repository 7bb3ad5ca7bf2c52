"""What a definition names that this host, its settings or its other definitions would have to know; and clock changes.

Whoever asks says what there is: this reads nothing. What is not known is not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from pyflowd.base import zones
from pyflowd.language import fields
from pyflowd.language.document import Mapping as Node
from pyflowd.language.document import Sequence, quote
from pyflowd.language.fields import Report
from pyflowd.language.lint_places import TaskPlace
from pyflowd.lint.lint_schedules import lint_schedule, written
from pyflowd.model.kinds import Call, Notify
from pyflowd.model.triggers import Schedule, WorkflowTrigger
from pyflowd.model.workflow import Task, Workflow, all_tasks
from pyflowd.schedules import cron
from pyflowd.schedules.calendars import Almanac

_YEAR_S = 400 * 86_400


class Surroundings(NamedTuple):
    """What there is. None: not known."""

    now_s: int = 0
    """0: clock changes are not judged."""
    timezone: str | None = None
    """Of schedules that name none: that of the settings, else the host's."""
    is_user: Callable[[str], bool] | None = None
    is_group: Callable[[str], bool] | None = None
    workflows: Callable[[], frozenset[str]] | None = None
    """Names, asked for only where a definition names one."""
    channels: frozenset[str] | None = None
    pools: Callable[[], frozenset[str]] | None = None
    """Names that the settings or some definition give a size, asked for only where a task takes a slot."""
    almanac: Callable[[], Almanac | None] | None = None
    """Calendars and blackouts, asked for only where a schedule names one; None: they are not known."""


def lint_host(workflow: Workflow, places: Mapping[str, TaskPlace], surroundings: Surroundings, report: Report) -> None:
    """Users, groups, workflows and channels that are not there; schedules that fall into a clock change."""
    root = report.document.root
    if surroundings.is_user is not None:
        _lint_users(root, places.values(), surroundings.is_user, report)
    if surroundings.is_group is not None:
        _lint_groups(workflow, root, surroundings.is_group, report)
    if surroundings.workflows is not None:
        _lint_followed(workflow, root, surroundings.workflows, report)
    for _, task in all_tasks(workflow):
        place = places.get(task.name)
        if place is None:
            continue
        if isinstance(task.kind, Call) and surroundings.workflows is not None:
            _lint_call(task.kind.workflow, workflow.name, place, surroundings.workflows, report)
        if isinstance(task.kind, Notify) and surroundings.channels is not None:
            notify = place.mapping["notify"]
            _lint_channel(task.kind.channel, notify.value_mark("channel"), surroundings.channels, report)
        if surroundings.pools is not None and not task.pools.keys() <= workflow.pools.keys():
            _lint_pools(task, place, surroundings.pools() | workflow.pools.keys(), report)
    if surroundings.channels is not None and workflow.notify:
        for name, mark in _channels(root):
            _lint_channel(name, mark, surroundings.channels, report)
    for schedule in workflow.triggers:
        _lint_schedule(schedule, root, surroundings, report)
        if surroundings.now_s:
            _lint_clock_change(schedule, root, surroundings, report)


def _lint_schedule(schedule: Schedule, root: Node, surroundings: Surroundings, report: Report) -> None:
    named = schedule.calendars or schedule.blackouts
    almanac = surroundings.almanac() if named and surroundings.almanac is not None else None
    lint_schedule(
        schedule, root, report, now_us=surroundings.now_s * 1_000_000, host=surroundings.timezone, almanac=almanac
    )


# ---- Names ----------------------------------------------------------------------------------------------------------


def _lint_users(root: Node, places: Iterable[TaskPlace], is_user: Callable[[str], bool], report: Report) -> None:
    defaults = root.get("defaults")
    holders = [root, *(place.mapping for place in places)]
    if isinstance(defaults, Node):
        holders.append(defaults)
    for holder in holders:
        user = holder.get("user")
        if isinstance(user, str) and not is_user(user):
            message = f"user: there is no user {quote(user)} on this host"
            fix = "create it, or check the file on the host where it is to run"
            report.add(holder.value_mark("user"), "unknown_user", message, fix, warning=True)


def _lint_groups(workflow: Workflow, root: Node, is_group: Callable[[str], bool], report: Report) -> None:
    for key, groups in (("visible_to", workflow.visible_to), ("operate_by", workflow.operate_by)):
        for group in groups:
            if not is_group(group):
                message = f"{key}: there is no group {quote(group)} on this host, and so it gives nobody anything"
                fix = "create it, or check the file on the host where it is to run"
                report.add(root.value_mark(key), "unknown_group", message, fix, warning=True)


def _lint_followed(workflow: Workflow, root: Node, workflows: Callable[[], frozenset[str]], report: Report) -> None:
    """Triggers that wait for runs of a workflow that is not there."""
    for trigger in workflow.events:
        if not isinstance(trigger, WorkflowTrigger) or trigger.workflow in (workflow.name, *workflows()):
            continue
        guess = fields.suggest(trigger.workflow, tuple(sorted(workflows())))
        message = f"{trigger.name}: there is no workflow {quote(trigger.workflow)} beside this file{guess}"
        mark = root["triggers"].key_mark(trigger.name)
        report.add(mark, "unknown_workflow", message, "put its file into the same folder", warning=True)


def _lint_call(name: str, own: str, place: TaskPlace, workflows: Callable[[], frozenset[str]], report: Report) -> None:
    if name == own:
        return
    known = workflows()
    if name in known:
        return
    written = place.mapping["workflow"]
    mark = written.value_mark("name") if isinstance(written, Node) else place.mapping.value_mark("workflow")
    guess = fields.suggest(name, tuple(sorted(known)))
    message = f"workflow: there is no workflow {quote(name)} beside this file{guess}"
    report.add(mark, "unknown_workflow", message, "put its file into the same folder", warning=True)


def _channels(root: Node) -> Iterable[tuple[str, int]]:
    """Channels of the rules under `notify`, and where."""
    written = root.get("notify")
    rules = zip(written, written.marks, strict=True) if isinstance(written, Sequence) else [(written, -1)]
    for rule, mark in rules:
        at = root.value_mark("notify") if mark < 0 else mark
        if isinstance(rule, Node) and isinstance(rule.get("channel"), str):
            yield rule["channel"], rule.value_mark("channel")
        elif isinstance(rule, str):
            yield rule, at


def _lint_channel(name: str, mark: int, channels: frozenset[str], report: Report) -> None:
    if name not in channels:
        guess = fields.suggest(name, tuple(sorted(channels)))
        message = f"notify: the settings have no channel {quote(name)}{guess}"
        report.add(mark, "unknown_channel", message, "add it under channels: of pyflowd.yaml", warning=True)


def _lint_pools(task: Task, place: TaskPlace, sized: frozenset[str], report: Report) -> None:
    for name in task.pools:
        if name not in sized and "pool" in place.mapping:
            written = place.mapping["pool"]
            mark = written.key_mark(name) if isinstance(written, Node) else place.mapping.value_mark("pool")
            guess = fields.suggest(name, tuple(sorted(sized)))
            message = f"pool: nothing gives the pool {quote(name)} a size, so that it has one slot{guess}"
            fix = f"declare it: pools: {{{name}: 4}} in a workflow or in pyflowd.yaml; for one at a time use locks:"
            report.add(mark, "unsized_pool", message, fix, warning=True)


# ---- Clock changes --------------------------------------------------------------------------------------------------


def _lint_clock_change(schedule: Schedule, root: Node, surroundings: Surroundings, report: Report) -> None:
    """Fixed times that a coming clock change leaves out or has twice, unless `dst` says that this was thought of."""
    place = written(schedule, root)
    if not schedule.enabled or not schedule.cron or place is None or any("dst" in keys for keys in place.keys):
        return
    parsed = cron.parse(schedule.cron)
    if parsed.reboot or parsed.any_hour:
        return
    name = schedule.timezone or surroundings.timezone
    if name is None:
        return
    zone = zones.zone(name)
    found = _clock_change(parsed, zone, surroundings.now_s)
    if found is None:
        return
    at, is_gap = found
    what = "is left out" if is_gap else "comes twice"
    does = "it runs at the end of the gap" if is_gap else "it runs the first time only"
    message = f"{schedule.name}: on {at:%Y-%m-%d} the time {at:%H:%M} {what} in {zone.name}; {does}"
    fix = "choose another time, use timezone: UTC, or write dst: debian to say that this is meant"
    report.add(place.mark_of("cron"), "clock_change", message, fix, warning=True)


def _clock_change(parsed: cron.Cron, zone: zones.Zone, now_s: int) -> tuple[datetime, bool] | None:
    """The first time of a schedule, on the wall, that a change of the next year skips (true) or has twice (false)."""
    at_s = now_s
    while at_s < now_s + _YEAR_S:
        stretch = zone.stretch(at_s)
        if stretch.start_s > now_s and stretch.before_s != stretch.offset_s:
            before, after = stretch.start_s + stretch.before_s, stretch.start_s + stretch.offset_s
            first = parsed.next_from(-(-min(before, after) // 60))
            if first is not None and first * 60 < max(before, after):
                return datetime.fromtimestamp(first * 60, tz=zones.zone("UTC").info), before < after
        at_s = stretch.end_s
    return None
