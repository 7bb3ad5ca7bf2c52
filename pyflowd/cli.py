"""The command line of `pyflowd`: where its root is, and how it ends."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import resource
import sys

from pyflowd import daemon, journal, paths
from pyflowd.errors import PyflowError, Refused
from pyflowd.paths import Paths
from pyflowd.rehearsal import rehearse
from pyflowd.version import VERSION

GC_THRESHOLD = 20_000
"""Objects that live long are made by the thousand (a run with its tasks): looking at them all at each 700 is waste."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pyflowd",
        description="The PyFlow daemon: watches workflow files, schedules and runs them, remembers everything.",
        epilog="It stays in the foreground and logs to standard error. Stopping it ends no task. See pyflowd(8).",
    )
    parser.add_argument("--root", metavar="DIR", help="keep everything below DIR (also: PYFLOW_ROOT)")
    parser.add_argument("--system", action="store_true", help="be the system instance, also when not started by root")
    parser.add_argument(
        "--no-keeper",
        action="store_true",
        help="do not start pyflow-keeper: a service manager does (implied by --system)",
    )
    parser.add_argument("--check", action="store_true", help="check the settings and all definitions, and end")
    parser.add_argument("--verbose", action="store_true", help="log details")
    parser.add_argument("--version", action="version", version=f"pyflowd {VERSION}")
    return parser


def _check(where: Paths) -> int:
    """0: a daemon that starts now refuses nothing; 6: it would."""
    errors, warnings = rehearse(where)
    for line in errors:
        print(f"pyflowd: {line}", file=sys.stderr)
    for line in warnings:
        print(line)
    if not errors:
        print(f"{where.settings} and {where.workflows}: nothing is refused")
    return Refused.exit_status if errors else 0


def main() -> int:
    """Entry point; the exit status is 0 after a clean stop, else that of the error."""
    options = _parser().parse_args()
    where = paths.find(options.root, dict(os.environ), os.geteuid(), system=options.system)
    if options.check:
        return _check(where)
    gc.freeze()  # what is imported lives as long as we do
    gc.set_threshold(GC_THRESHOLD)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (most_files, most_files)
    )  # the keeper gives tasks the limit it was given
    try:
        daemon.run(where, spawn_keeper=not (options.no_keeper or options.system), verbose=options.verbose)
    except PyflowError as error:
        level = journal.level_prefix(os.environ, logging.ERROR)
        for line in str(error).splitlines():
            print(f"{level}pyflowd: {line}", file=sys.stderr)
        return error.exit_status
    return 0
