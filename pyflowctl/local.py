"""Commands that need no daemon, or more than a daemon: help, lint, import, export, doctor, ...

Imported on demand, and each command imports what it alone needs, so that none pays for another.
"""

from __future__ import annotations

import os
import time

from pyflowctl import link
from pyflowd.errors import PyflowError, Refused, UsageError
from pyflowd.render import commandline, grammar
from pyflowd.render.commandline import Words
from pyflowd.render.layout import Style, clean, page


def run(argv: list[str]) -> int:
    """Run a command of this module; the exit status."""
    try:
        return _run(argv)
    except PyflowError as error:
        return link.tell(link.ClientError(_lines(error), error.exit_status))


def check(argv: list[str], files: dict[str, bytes]) -> None:
    """Raise ClientError where the command line itself is wrong."""
    try:
        commandline.parse(argv, now_us=0, zone=style({}).zone, files=files)
    except UsageError as error:
        raise link.ClientError(_lines(error), error.exit_status) from None


def _lines(error: PyflowError) -> str:
    """The message, safe for a terminal: one line, but for a refusal one for each problem."""
    return "\n".join(map(clean, str(error).split("\n"))) if isinstance(error, Refused) else clean(str(error))


def style(values: dict[str, str]) -> Style:
    """What standard output is like, as the thin client would tell the daemon."""
    terminal = os.isatty(1)
    return Style(
        width=link.terminal_width(),
        colour=link.wants_colour(values.get("colour", "auto"), terminal),
        timezone=link.timezone_name() or "UTC",
        now_us=time.time_ns() // 1000,
        terminal=terminal,
    )


def _run(argv: list[str]) -> int:
    if argv[:2] == ["__complete", "--"]:
        from pyflowctl.complete import candidates

        return _print("".join(f"{name}\t{about}\n" for name, about in candidates(argv[2:])))
    if not argv:
        return _print(grammar.short_help())
    if "--version" in argv and not any(word in grammar.BY_NAME for word in argv):
        argv = ["version" if word == "--version" else word for word in argv]
    if any(word in ("-h", "--help") for word in argv):
        return _help(next((word for word in argv if word in grammar.BY_NAME), None))
    words = commandline.split(argv)
    match words.command:
        case "help":
            return _help(words.argument(0))
        case "completion":
            return _completion(words.arguments[0])
        case "lint":
            return _lint(words)
        case "fix":
            return _fix(words)
        case "import":
            return _import(words)
        case "export":
            from pyflowctl.exporting import export

            return export(words, _style_of(words))
        case "kinds":
            from pyflowctl.kinds import show_kinds

            return show_kinds(words, _style_of(words))
        case "schema":
            return _schema(words)
        case "diff":
            from pyflowctl.diffing import run_diff

            return run_diff(words, _style_of(words))
        case "next":
            return _next(words)
        case "simulate":
            from pyflowctl.simulating import run_simulation

            return run_simulation(words, _style_of(words))
        case "version":
            return _version(words)
        case "restore":
            from pyflowctl.restoring import run_restore

            return run_restore(words)
        case "fsck":
            from pyflowctl.storecheck import run_check

            return run_check(words, _style_of(words))
        case "dashboard":
            from pyflowctl.dashboard import run_dashboard

            return run_dashboard(words, _style_of(words))
        case "doctor":
            from pyflowctl.doctor import doctor

            return doctor(words, _style_of(words))
        case _:
            raise UsageError(f"{words.command} needs a daemon")


def _print(text: str | bytes) -> int:
    link.write(1, text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text)
    return 0


def _style_of(words: Words) -> Style:
    return style({"colour": words.value("colour") or "auto"})


def _help(command: str | None) -> int:
    if command is None:
        return _print(grammar.full_help())
    if command not in grammar.BY_NAME:
        commandline.split([command])  # tells the nearest word
    return _print(grammar.command_help(grammar.BY_NAME[command]))


def _completion(shell: str) -> int:
    if shell not in grammar.SHELLS:
        raise UsageError(f'there is no completion for "{shell}"; there is for: {", ".join(grammar.SHELLS)}')
    folder = os.path.join(os.path.dirname(__file__), "completions")
    with open(os.path.join(folder, f"pyflowctl.{shell}"), "rb") as file:
        return _print(file.read())


def _version(words: Words) -> int:
    from pyflowctl.client import connect
    from pyflowd.render import render_host, render_json
    from pyflowd.version import VERSION

    daemon = None
    said = ""
    try:
        with connect(root=words.value("root"), socket=words.value("socket")) as client:
            daemon = client.daemon
    except PyflowError as error:
        said = str(error)
    if words.value("output") == "json":
        about = {"daemon": None} if daemon is None else render_json.version(daemon)
        return _print(render_json.encode({"client": VERSION, **about}) + b"\n")
    lines = [said] if daemon is None else render_host.version(daemon)
    return _print(page([f"pyflowctl {VERSION}", *lines]))


# ---- Definitions and cron expressions -------------------------------------------------------------------------------


def _lint(words: Words) -> int:
    if words.has("codes") or words.has("explain"):
        return _lint_codes(words)
    if not words.arguments:
        raise UsageError("lint needs FILE; usage: " + grammar.BY_NAME["lint"].usage)
    from pyflowctl.linting import check_files
    from pyflowd.render import render_host, render_json

    problems = check_files(words.arguments)
    if words.value("output") == "json":
        _print(render_json.encode([render_json.problem(problem) for problem in problems]) + b"\n")
    else:
        _print(page(render_host.lint(len(words.arguments), problems, _style_of(words))))
    return 1 if any(problem.severity == "error" or words.has("strict") for problem in problems) else 0


def _lint_codes(words: Words) -> int:
    from pyflowctl import lintcodes
    from pyflowd.lint.lint_codes import CODES
    from pyflowd.render import render_json

    if words.arguments:
        raise UsageError("lint: --codes and --explain take no FILE")
    name = words.value("explain")
    if words.value("output") == "json":
        shown = [lintcodes.plain(code) for code in CODES.values()]
        return _print(render_json.encode(shown if name is None else lintcodes.plain(lintcodes.find(name))) + b"\n")
    style = _style_of(words)
    return _print(page(lintcodes.table(style) if name is None else lintcodes.explanation(lintcodes.find(name), style)))


def _fix(words: Words) -> int:
    from pyflowctl.fixfiles import fix_file
    from pyflowd.render import render_host, render_json

    files = [fix_file(path, dry_run=words.has("dry-run")) for path in words.arguments]
    if words.value("output") == "json":
        shown = [
            {
                "file": each.path,
                "changed": bool(each.diff),
                "diff": each.diff,
                "problems": [render_json.problem(problem) for problem in each.problems],
            }
            for each in files
        ]
        _print(render_json.encode(shown) + b"\n")
    else:
        _print("".join(each.diff for each in files))
        problems = [problem for each in files for problem in each.problems]
        if problems:
            _print(page(render_host.lint(len(files), problems, _style_of(words))))
        elif not any(each.diff for each in files):
            _print("nothing to change\n")
    return 1 if any(each.problems for each in files) else 0


def _import(words: Words) -> int:
    sort, files = words.arguments[0], words.arguments[1:]
    if sort not in grammar.IMPORTS:
        raise UsageError(f'import knows no "{sort[:40]}"; write one of: {", ".join(grammar.IMPORTS)}')
    if sort == "timers":
        from pyflowctl.import_timers import import_timers

        if words.has("system"):
            raise UsageError("import timers: --system goes with cron only")
        return import_timers(words, _style_of(words))
    from pyflowctl.import_cron import import_cron

    if not files:
        raise UsageError("import cron needs FILE, or - for standard input; usage: " + grammar.BY_NAME["import"].usage)
    return import_cron(words, _style_of(words))


def _schema(words: Words) -> int:
    import json

    from pyflowd.schema import schema

    made = schema.settings_schema() if words.has("settings") else schema.workflow_schema()
    return _print(json.dumps(made, indent=2, ensure_ascii=False) + "\n")


def _next(words: Words) -> int:
    from pyflowd.base import zones
    from pyflowd.model.triggers import Dst
    from pyflowd.render import render_host, render_json
    from pyflowd.render.layout import iso
    from pyflowd.schedules import cron, schedule

    commandline.parse(list(_next_argv(words)), now_us=0, zone=Style().zone)
    seen = _style_of(words)
    expression = words.value("cron") or ""
    try:
        zone = zones.zone(words.value("timezone") or seen.timezone)
        parsed = cron.parse(expression)
    except ValueError as error:
        raise UsageError(str(error)) from None
    shown = Style(width=seen.width, colour=seen.colour, timezone=zone.name, now_us=seen.now_us, terminal=seen.terminal)
    since = words.value("from")
    from_us = commandline.instant_us(since, "--from", now_us=seen.now_us, zone=shown.zone) if since else seen.now_us
    count = int(words.value("limit") or 10)
    found = schedule.upcoming_cron(expression, zone.name, from_us, count, Dst(words.value("dst") or "debian"))
    if words.value("output") == "json":
        return _print(render_json.encode([{"scheduled_at": iso(at_us, shown)} for at_us in found]) + b"\n")
    return _print(page(render_host.cron_slots(cron.describe(parsed), found, shown)))


def _next_argv(words: Words) -> list[str]:
    """The command line again, for the checks that the daemon would make."""
    count = words.value("limit")
    return ["next", "--cron", words.value("cron") or "", *(["-n", count] if count else []), *words.arguments]
