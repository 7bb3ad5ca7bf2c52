"""Backups, checks of the store, drain and settings as text. Pure."""

from __future__ import annotations

from pyflowd.protocol.views_host import BackupView, DrainView, SettingsView, StoreCheckView
from pyflowd.render.layout import Style, bold, clean, glyph, iso, moment, plural
from pyflowd.render.render_runs import hint
from pyflowd.units import size_text

_SHOWN = 10


def backup(view: BackupView, style: Style) -> list[str]:
    """What is in it, and what came of restoring it on trial."""
    what = ", with logs and artifacts" if view.with_logs else ""
    counted = f"{plural(view.runs, 'run')}, {plural(view.events, 'event')}, {plural(view.workflows, 'workflow')}"
    head = f"backup of {counted}{what}: {size_text(view.size_bytes)}"
    if view.findings:
        lines = [
            f"{glyph('failed', style)} {bold(head, style)}",
            "restored on trial: something is wrong with the store",
        ]
        lines += [f"  {glyph('error', style)} {clean(finding)}" for finding in view.findings[:_SHOWN]]
        if len(view.findings) > _SHOWN:
            lines.append(f"  and {len(view.findings) - _SHOWN} more: pyflowctl fsck")
    else:
        lines = [f"{glyph('succeeded', style)} {bold(head, style)}"]
        lines.append("restored on trial: the database is whole, and every run is what its events say")
    lines += [f"  {glyph('warning', style)} not in it, as it cannot be read: {clean(path)}" for path in view.left_out]
    if view.has_secrets:
        lines.append(
            f"  {glyph('warning', style)} the key of the encrypted secrets is not in it: keep a copy elsewhere"
        )
    return [*lines, f"SHA-256 {view.sha256}"]


def store_check(view: StoreCheckView, style: Style) -> list[str]:
    """One line a finding, then one sentence."""
    lines = [f"{glyph('error', style)} {clean(finding)}" for finding in view.findings]
    if view.more:
        lines.append("and more")
    counted = f"{plural(view.runs, 'run')}, {plural(view.events, 'event')}, {plural(view.slots, 'slot')}"
    found = plural(len(view.findings), "finding") if view.findings else "nothing found"
    return [*lines, bold(f"{counted} checked: {found}", style)]


def drain(view: DrainView, style: Style) -> list[str]:
    if not view.drained:
        return [f"{glyph('succeeded', style)} tasks start again"]
    since = f" since {moment(view.since_us, style)}" if view.since_us is not None else ""
    active = f"{plural(view.active, 'task')} at work" if view.active else "nothing runs"
    queued = f", {plural(view.queued, 'run')} waiting" if view.queued else ""
    lines = [f"{glyph('paused', style)} drained by {clean(view.by)}{since}: no task starts; {active}{queued}"]
    return [*lines, hint("pyflowctl undrain", style)]


def settings(view: SettingsView, style: Style) -> list[str]:
    lines = []
    if view.live:
        lines.append(f"{glyph('succeeded', style)} settings in force: {', '.join(view.live)}")
    if view.restart:
        lines.append(f"{glyph('warning', style)} settings that need a restart of pyflowd: {', '.join(view.restart)}")
    return lines


# ---- JSON -----------------------------------------------------------------------------------------------------------


def backup_object(view: BackupView) -> dict[str, object]:
    return {
        "made_at": view.made_at, "size_bytes": view.size_bytes, "sha256": view.sha256, "schema": view.schema,
        "with_logs": view.with_logs, "runs": view.runs, "events": view.events, "slots": view.slots,
        "definitions": view.definitions, "workflows": view.workflows, "files": view.files,
        "verified": not view.findings, "findings": view.findings, "left_out": view.left_out,
        "has_secrets": view.has_secrets,
    }  # fmt: skip


def store_check_object(view: StoreCheckView) -> dict[str, object]:
    return {
        "runs": view.runs, "events": view.events, "slots": view.slots, "findings": view.findings, "more": view.more,
    }  # fmt: skip


def drain_object(view: DrainView, style: Style) -> dict[str, object]:
    return {
        "drained": view.drained, "by": view.by or None, "since": iso(view.since_us, style), "active": view.active,
        "queued": view.queued,
    }  # fmt: skip
