"""`restore`: puts a backup in the place of a store, in this process, with the rights of whoever calls it."""

from __future__ import annotations

import os

from pyflowctl import link
from pyflowd import paths
from pyflowd.clock import SystemClock
from pyflowd.errors import NotFound, Refused, UsageError
from pyflowd.paths import Paths
from pyflowd.render.commandline import Words
from pyflowd.render.layout import clean, page, plural
from pyflowd.render.render_json import encode
from pyflowd.upkeep.restore import Restored, restore


def run_restore(words: Words) -> int:
    """Exit status 0; raises PyflowError, and then nothing was changed."""
    if words.has("socket"):
        raise UsageError("restore: a socket is no place for a store; name its folder with --root DIR or --into DIR")
    where = place(words.value("into") or words.value("root"))
    path = words.arguments[0]
    os.umask(0o077)
    try:
        with open(path, "rb") as file:
            done = restore(file, where, SystemClock(), force=words.has("force"))
    except FileNotFoundError as error:
        raise NotFound(f"{error.filename}: there is no such file; name a backup") from None
    except Refused as error:
        raise Refused(f"{path}: {error}") from error
    except OSError as error:
        where_to = error.filename or path
        raise Refused(f"{where_to}: {error.strerror}; restore as the user of pyflowd, or as root") from error
    as_json = words.value("output") == "json"
    link.write(1, encode(_object(done)) + b"\n" if as_json else page(_lines(done, where)))
    return 0


def place(root: str | None) -> Paths:
    """The instance that is meant, as pyflowd finds it."""
    return paths.find(root, dict(os.environ), os.geteuid())


def _lines(done: Restored, where: Paths) -> list[str]:
    of = done.manifest
    made = f"{of.made_at}, by pyflowd {of.pyflow} on {of.host}"
    lines = [f"restored {plural(of.runs, 'run')} into {where.state}, from a backup of {clean(made)}"]
    if done.runs_ended:
        count = plural(done.runs_ended, "run")
        lines.append(f"  ended, as they were live in the backup and nobody knows how they went on: {count}")
    lines.append("  slots since then are recorded as skipped (down); run those that matter with: pyflowctl run --for")
    lines.append(f"  the next run has the number {done.next_run}")
    if done.aside:
        lines.append(f"  what was there is in {done.aside}")
    lines += [f"  written, as it was not there: {clean(each)}" for each in done.config.written]
    lines += [f"  left as it is, though the backup has another: {clean(each)}" for each in done.config.kept]
    lines += [f"  not written, as its owner is no account here: {clean(each)}" for each in done.config.ownerless]
    lines += [f"  it was root's; read it, then: chown root {clean(each)}" for each in done.config.unconfirmed]
    if done.has_secrets:
        lines.append("  the secrets are there; their key is in no backup: put it where it was")
    if not of.with_logs:
        lines.append("  logs and artifacts are not in this backup (it was made without --with-logs)")
    return [*lines, "start pyflowd now"]


def _object(done: Restored) -> dict[str, object]:
    of = done.manifest
    return {
        "made_at": of.made_at, "host": of.host, "pyflow": of.pyflow, "runs": of.runs, "runs_ended": done.runs_ended,
        "next_run": done.next_run, "aside": done.aside or None, "config_written": done.config.written,
        "config_kept": done.config.kept, "config_ownerless": done.config.ownerless,
        "config_unconfirmed": done.config.unconfirmed, "has_secrets": done.has_secrets, "with_logs": of.with_logs,
    }  # fmt: skip
