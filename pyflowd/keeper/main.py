"""Putting a keeper together: from nothing, or from the state of an earlier version of the same process."""

from __future__ import annotations

import os
import resource
import signal
import sys
from _socket import socket

from pyflowd.keeper import capabilities, cgroups, hunt, journal, logger, recover, rundir, spawn, upgrade
from pyflowd.keeper.attempt import OVER
from pyflowd.keeper.attempts import Attempts, now_us
from pyflowd.keeper.cgroups import Cgroups
from pyflowd.keeper.credentials import Credentials
from pyflowd.keeper.journal import Journal
from pyflowd.keeper.keeper import LOG, Keeper, Life, say
from pyflowd.keeper.loggerlink import LoggerLink, adopt_channel
from pyflowd.keeper.memory import close_memory
from pyflowd.keeper.options import USAGE, Options, UsageError, parse
from pyflowd.keeper.outputs import Outputs
from pyflowd.keeper.wire import WireError

EX_USAGE, EX_LOCKED, EX_UNUSABLE = 64, 75, 73


def run(arguments: list[str]) -> int:
    """The exit status: 0, 64 usage, 73 the folder cannot be used, 75 another keeper has it."""
    if "--help" in arguments or "-h" in arguments:
        sys.stdout.write(USAGE)
        return 0
    try:
        options = parse(arguments)
    except UsageError as error:
        say(str(error))
        return EX_USAGE
    if options.logger >= 0:
        logger.main(options.logger)
        return 0
    if options.check >= 0:
        return _check(options.check)
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM))
    if options.resume >= 0:
        keeper = _resume(options)
        say("upgraded in place")
    else:
        try:
            found = _fresh(options)
        except (OSError, rundir.Unusable) as error:
            say(f"{options.run_dir}: {error}")
            return EX_UNUSABLE
        if found is None:
            return EX_LOCKED
        keeper = found
    keeper.run()
    return 0


def _check(descriptor: int) -> int:
    close_memory()
    try:
        upgrade.read_state(descriptor)
    except (OSError, WireError, ValueError, IndexError) as error:
        say(f"cannot take over: {error}")
        return 1
    return 0


def _fresh(options: Options) -> Keeper | None:
    """A new life; None if another keeper holds the folder."""
    rundir.close_strangers()
    folder = rundir.open_folder(options.run_dir)
    if options.detach:
        _detach(folder)
    lock = rundir.lock(folder)
    if lock < 0:
        return None
    passed = rundir.from_systemd()
    options.owns_socket = passed is None
    _prepare_process()
    boot_id = options.boot_id or _boot_id()
    past = journal.read(folder)
    place = _settle(options)
    left = place.kill_remains(recover.cgroups_of(past), recover.PATIENCE_S)
    left = max(left, recover.kill_remains(past, boot_id))
    if left:
        say(f"{left} processes of an earlier keeper's attempts could not be killed")
    life = Life(os.urandom(8).hex(), boot_id, recover.lineage(past))
    tags = hunt.first_tags()
    head = journal.life_lines(life.epoch, boot_id, tags.step, now_us(), life.lineage)
    soft_files = _raise_file_limit()
    credentials = Credentials(options.credentials)
    credentials.remove_all()
    common = spawn.Common(options.task_files or soft_files, credentials, _outputs(options))
    attempts = Attempts(Journal(folder, -1), tags, LoggerLink(options.root), common, place)
    for attempt in recover.kept_attempts(past, boot_id):
        attempts.adopt(attempt, unreaped=False)
    common.outputs.keep_only(attempts.by_id)
    attempts.journal = journal.create(folder, head + attempts.journal_content())
    os.chdir("/")
    keeper = Keeper(options, life, folder, lock, passed or _listen(options, folder), attempts)
    keeper.start_logger()
    return keeper


def _resume(options: Options) -> Keeper:
    """Go on with the state of an earlier version of this process. It has been checked: what fails here is a bug."""
    state = upgrade.read_state(options.resume)
    upgrade.take_descriptors(state)
    _prepare_process()
    if state.holds_secrets():
        close_memory()
    options.owns_socket = rundir.from_systemd() is None
    life = Life(state.epoch, state.boot_id, state.lineage)
    link = LoggerLink(options.root)
    common = spawn.Common(state.soft_files, Credentials(options.credentials), _outputs(options))
    tags = hunt.Tags(state.tag, state.tag_step)
    attempts = Attempts(Journal(state.folder, state.journal), tags, link, common, _settle(options))
    for attempt, unreaped in state.attempts:
        attempts.adopt(attempt, unreaped)
    attempts.cgroups.keep_only(frozenset(one.cgroup for one, _ in state.attempts if one.phase != OVER))
    keeper = Keeper(options, life, state.folder, state.lock, socket(fileno=state.listener), attempts)
    keeper.draining, keeper.leaving = state.draining, state.leaving
    if state.logger >= 0:
        adopt_channel(link, state.logger_pid, state.logger, state.logger_received)
        attempts.known[link.pid] = "logger"
        keeper.watch_logger()
        link.retire()
    channel = upgrade.daemon_channel(state)
    if channel:
        keeper.adopt_daemon(channel)
    return keeper


def _outputs(options: Options) -> Outputs:
    reader = next(iter(options.allow_uids), 0) if os.geteuid() == 0 else 0
    return Outputs(options.run_dir, reader)


def _listen(options: Options, folder: int) -> socket:
    # Whose uid is not allowed is turned away after the connect: the mode need only let the allowed ones come.
    return rundir.listen(folder, 0o666 if options.allow_uids else 0o600)


def _settle(options: Options) -> Cgroups:
    found = cgroups.settle(options.cgroup)
    if not found and options.cgroup != cgroups.NONE:
        say(f"tasks get no cgroup: {found.why}")
    return found


def _prepare_process() -> None:
    with open("/proc/self/comm", "w") as comm:
        comm.write("pyflow-keeper")
    hunt.become_subreaper()
    capabilities.keep_to_self()
    os.umask(0o077)


def _raise_file_limit() -> int:
    """Three descriptors an attempt: as many as may be. Returns what tasks get: the limit as it was."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def _detach(folder: int) -> None:
    """Into the background, a child of nobody who waits; what it says goes to a file in its folder."""
    if os.fork():
        os._exit(0)
    os.setsid()
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600, dir_fd=folder)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(log)
    os.close(null)
