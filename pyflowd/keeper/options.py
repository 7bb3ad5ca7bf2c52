"""The keeper's command line. Parsed by hand: argparse would cost a third of its start."""

from __future__ import annotations

import os
import pwd

from pyflowd.keeper.cgroups import NONE, OWN

USAGE = """\
usage: pyflow-keeper --run-dir DIR [--root DIR] [--idle-exit SECONDS] [--allow-uid UID | --allow-user NAME]...
                     [--cgroup own|none|PATH] [--settings PATH] [--detach]

Parent of all task processes. Started by pyflowd or by systemd; seldom by hand.

  --run-dir DIR        lock, socket (keeper.sock) and journal; made with mode 0700 if missing
  --root DIR           shown in the process list, so that one sees to which instance it belongs
  --idle-exit SECONDS  end when nothing is kept and no daemon has been connected for so long; 0 (default): never
  --allow-uid UID      who may connect, beside root and the keeper's own user; may be repeated
  --allow-user NAME    the same, by name
  --credentials DIR    where tasks find secrets as files; default: the folder credentials in --run-dir
  --cgroup own         a cgroup for each task below the keeper's own, as in a unit with Delegate=yes; PATH: below
                       that one, a folder of the cgroup v2 hierarchy that is nobody else's; default: none
  --stop-grace SECONDS longest grace of a task between SIGTERM and SIGKILL when the keeper itself is told to end by
                       SIGTERM (15); all is over at the latest 12 s after it, which TimeoutStopSec= must allow
  --settings PATH      a file of root's that says for which users tasks are started (keeper.yaml in pyflowd(8)); read
                       again on SIGHUP. Without it a keeper of root's starts them for all
  --task-files N       soft limit of open files for tasks; default: the keeper's own when it starts
  --detach             go into the background
"""


class UsageError(Exception):
    """The command line makes no sense: one line."""


class Options:
    __slots__ = (
        "allow_uids",
        "boot_id",
        "cgroup",
        "check",
        "credentials",
        "detach",
        "idle_exit_s",
        "logger",
        "owns_socket",
        "resume",
        "root",
        "run_dir",
        "settings",
        "stop_grace_s",
        "task_files",
    )

    def __init__(self) -> None:
        self.run_dir = ""
        self.boot_id = ""
        """Of the present boot, for tests, which cannot restart a kernel; empty: the kernel's."""
        self.root = ""
        self.credentials = ""
        self.cgroup = NONE
        self.settings = ""
        self.idle_exit_s = 0.0
        self.stop_grace_s = 15.0
        self.allow_uids: tuple[int, ...] = ()
        self.task_files = 0
        self.detach = False
        self.logger = -1
        """Be a logger; the descriptor of the keeper's socket."""
        self.check = -1
        self.resume = -1
        """The descriptor of the state of an earlier version: look whether it can be taken over; take it over."""
        self.owns_socket = True
        """Bound by itself, not passed by systemd."""


def parse(arguments: list[str]) -> Options:
    options = Options()
    words = iter(arguments)
    for word in words:
        if word == "--detach":
            options.detach = True
            continue
        value = next(words, None)
        if value is None:
            raise UsageError(f"{word} needs a value, or is no option: see --help")
        _take(options, word, value)
    if not options.run_dir and options.logger < 0:
        raise UsageError("--run-dir DIR is missing")
    options.run_dir = os.path.abspath(options.run_dir)
    options.credentials = os.path.abspath(options.credentials or os.path.join(options.run_dir, "credentials"))
    return options


def _take(options: Options, word: str, value: str) -> None:
    try:
        if word == "--run-dir":
            options.run_dir = value
        elif word == "--boot-id":
            options.boot_id = value
        elif word == "--root":
            options.root = value
        elif word == "--credentials":
            options.credentials = value
        elif word == "--cgroup":
            if value not in (NONE, OWN) and not os.path.isabs(value):
                raise UsageError(f"--cgroup {value}: neither own, none nor an absolute path")
            options.cgroup = value
        elif word == "--settings":
            options.settings = os.path.abspath(value)
        elif word == "--idle-exit":
            options.idle_exit_s = float(value)
        elif word == "--task-files":
            options.task_files = int(value)
        elif word == "--stop-grace":
            options.stop_grace_s = float(value)
        elif word == "--allow-uid":
            options.allow_uids += (int(value),)
        elif word == "--allow-user":
            options.allow_uids += (_uid_of(value),)
        elif word in ("--logger", "--check", "--resume"):
            setattr(options, word[2:], int(value))
        else:
            raise UsageError(f"{word} is no option: see --help")
    except ValueError:
        raise UsageError(f"{word} {value}: not a number") from None


def _uid_of(name: str) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise UsageError(f"--allow-user {name}: there is no such user") from None
