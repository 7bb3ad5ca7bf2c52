"""What of a host an instance rests on: clock, disks, permissions, limits, accounts. Each finding says what to do.

Looks, changes nothing, and asks no daemon: the daemon tells it of itself, the client where no daemon answers.
"""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import resource
import stat
from collections.abc import Iterable, Iterator

import yaml

from pyflowd import keeper_settings
from pyflowd.base import trust
from pyflowd.errors import Refused
from pyflowd.paths import Paths
from pyflowd.settings import Settings, load
from pyflowd.store import mark
from pyflowd.store.store import BALLAST, BALLAST_BYTES, DATABASE, library_verdict
from pyflowd.units import size_text
from pyflowd.version import VERSION

Check = tuple[str, str, str]
"""(`ok` | `warning` | `error`, what was looked at, what was found and what to do)."""
LOW_BYTES = 512 << 20
LOW_PART = 0.05
LEAST_FILES = 4096
"""Open files: three for each task, one for each client."""
LEAST_WATCHES = 1024
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs", "lustre")
"""Locks and fsync of these are not what SQLite needs."""
_OF_MEMORY = ("overlay", "tmpfs", "ramfs")
"""What is on these goes with the container, or with the boot."""
_TIME_ERROR = 5
_TIMESYNC = "/run/systemd/timesync/synchronized"
_UNSYNCHRONIZED = 0x0040


def checks(paths: Paths, settings: Settings) -> Iterator[Check]:
    """Of the host, for an instance at `paths`."""
    yield from _versions()
    yield _zone_data()
    for name, folder in (("state", paths.state), ("log", paths.log)):
        yield from _disk(name, folder)
    yield _ballast(paths.state)
    yield from _permissions(paths)
    yield from _of_keeper(paths, settings)
    yield from _limits()
    yield from _groups(settings)
    yield _journal()


def without_daemon(paths: Paths) -> Iterator[Check]:
    """What can be said while nobody answers: all of the host, and why a daemon might not start."""
    sound, version = library_verdict()
    yield ("ok", "sqlite", version) if sound else (
        "warning", "sqlite", f"{version} has the WAL-reset bug; a slower journal is used",
    )  # fmt: skip
    if not yaml.__with_libyaml__:
        yield "warning", "libyaml", "PyYAML was built without it: definitions load eight times slower"
    try:
        settings = load(paths.settings)
    except Refused as error:
        for line in str(error).splitlines():
            yield "error", "settings", f"{line}; pyflowd does not start with it"
        settings = Settings()
    else:
        there = "as they are in" if os.path.exists(paths.settings) else "all by default, there is no"
        yield "ok", "settings", f"{there} {paths.settings}"
    yield _store(paths.state)
    yield from checks(paths, settings)


def users(of_workflows: Iterable[tuple[str, str]]) -> Iterator[Check]:
    """(workflow, user) as definitions name them."""
    named: dict[str, list[str]] = {}
    for workflow, user in of_workflows:
        named.setdefault(user, []).append(workflow)
    for user, named_by in sorted(named.items()):
        if _is_account(user):
            continue
        told = ", ".join(named_by[:3]) + (", ..." if len(named_by) > 3 else "")
        yield "warning", "users", f"{user} is no account of this host, and {told} names it: its tasks fail"


def _is_account(user: str) -> bool:
    """Asked once a name: where accounts come from a server, an answer may take long."""
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _versions() -> Iterator[Check]:
    installed = _installed("pyflow")
    if installed not in (None, VERSION):
        what = f"{installed} is installed, {VERSION} runs: systemctl restart pyflowd (tasks go on)"
        yield "warning", "version", what


def clock() -> Check:
    """By the kernel: whether somebody keeps the clock right. For the client to ask: the sandbox of the daemon's unit
    keeps the clock's system calls from it."""
    buffer = ctypes.create_string_buffer(512)
    state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    status = int.from_bytes(buffer.raw[40:44], "little") if ctypes.sizeof(ctypes.c_long) == 8 else 0
    if state < 0 and os.path.exists(_TIMESYNC):  # as in a task: the keeper's unit has a sandbox, too
        return "ok", "clock", "synchronized, says systemd-timesyncd"
    if state < 0:
        return "warning", "clock", "the kernel does not tell whether it is kept right; see: timedatectl"
    if state == _TIME_ERROR or status & _UNSYNCHRONIZED:
        return "warning", "clock", "nobody keeps it right, so schedules may be early or late: timedatectl set-ntp true"
    return "ok", "clock", "synchronized"


def _zone_data() -> Check:
    for path in ("/usr/share/zoneinfo/tzdata.zi", "/usr/share/zoneinfo/+VERSION"):
        try:
            with open(path, encoding="ascii", errors="replace") as file:
                first = file.readline(100).strip()
        except OSError:
            continue
        return "ok", "zone data", f"{first.removeprefix('# version ')} of the host"
    version = _installed("tzdata")
    if version is None:
        return "warning", "zone data", "its version is not known: install tzdata"
    return "ok", "zone data", f"{version} of the Python package; the host has none"


def _installed(package: str) -> str | None:
    """The version of a Python package as it lies on the disk; None: it is not there."""
    import importlib.metadata  # 1.3 MB, for a question that is seldom asked

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _disk(name: str, folder: str) -> Iterator[Check]:
    subject = f"disk of {name}"
    while not os.path.exists(folder) and folder != "/":  # where it would be made
        folder = os.path.dirname(folder) or "/"
    try:
        room = os.statvfs(folder)
    except OSError as error:
        yield "error", subject, f"{folder}: {error.strerror}"
        return
    free_bytes, size_bytes = room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize
    sort = _file_system(folder)
    text = f"{size_text(free_bytes)} free of {size_text(size_bytes)} ({sort or 'unknown file system'})"
    if free_bytes < min(LOW_BYTES, size_bytes * LOW_PART):
        yield "warning", subject, f"{folder}: only {text}: make room, or shorten retention"
    elif room.f_files and room.f_favail < room.f_files * LOW_PART:
        yield "warning", subject, f"{folder}: only {room.f_favail} of {room.f_files} inodes are free"
    elif sort in _NETWORK:
        yield "warning", subject, f"{folder}: {text}: locks and syncs of a network are not to be relied on; use a disk"
    elif sort in _OF_MEMORY:
        yield "warning", subject, f"{folder}: {text}: what is there goes with the boot or the container; mount a disk"
    else:
        yield "ok", subject, text


def _file_system(folder: str) -> str:
    """Its type, by the mount whose device the folder is on; empty: not known."""
    device = os.stat(folder).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                fields = line.split()
                if fields[2] == wanted and "-" in fields:
                    return fields[fields.index("-") + 1]
    except OSError:
        pass
    return ""


def _ballast(state: str) -> Check:
    """Rule I9."""
    try:
        size_bytes = os.stat(os.path.join(state, BALLAST)).st_size
    except OSError:
        size_bytes = 0
    if size_bytes == BALLAST_BYTES:
        return "ok", "ballast", f"{size_text(size_bytes)} are set aside for a full disk"
    return "warning", "ballast", f"there is none in {state}: pyflowd sets {size_text(BALLAST_BYTES)} aside when it can"


def _permissions(paths: Paths) -> Iterator[Check]:
    """State and logs are the owner's alone; what is believed is nobody else's to write."""
    wrong = []
    owner = _owner(paths.state)
    for path, others in (
        (paths.state, 0o066), (paths.log, 0o027), (os.path.join(paths.state, DATABASE), 0o077),
        (os.path.join(paths.state, "secrets.store"), 0o077),
    ):  # fmt: skip
        try:
            status = os.stat(path)
        except OSError:
            continue
        if stat.S_IMODE(status.st_mode) & others:
            wrong.append(f"{path} is open to others ({stat.S_IMODE(status.st_mode):04o}): chmod go= {path}")
        if owner is not None and status.st_uid != owner:
            wrong.append(f"{path} belongs to {trust.name_of(status.st_uid)}: chown {trust.name_of(owner)} {path}")
    for path in (paths.workflows, os.path.dirname(paths.settings)):
        fault = trust.of_folder(os.path.abspath(path), os.geteuid() if owner is None else owner)
        if fault is not None:
            wrong.append(f"{fault.message}: {fault.fix}")
    if os.path.exists(paths.settings):
        fault = trust.of_file(paths.settings, os.stat(paths.settings), None)
        if fault is not None:
            wrong.append(f"{fault.message}: {fault.fix}")
    for text in wrong:
        yield "error", "permissions", text
    if not wrong:
        yield "ok", "permissions", "state, logs, settings and workflows are writable by their owners only"


def _of_keeper(paths: Paths, settings: Settings) -> Iterator[Check]:
    """Whom the system's keeper starts tasks for: what it refuses fails only when its time has come."""
    if paths.root is not None or not paths.default_user:
        return
    path = os.path.join(os.path.dirname(paths.settings), "keeper.yaml")
    default_user = settings.default_user or paths.default_user
    try:
        found = keeper_settings.parse(path, keeper_settings.load(path))
    except Refused as refused:
        yield "error", "keeper.yaml", f"{path}: no task is started: {refused}"
        return
    whom = "everybody but root" if keeper_settings.ALL in found.users else ", ".join(found.users) or "nobody"
    if not {default_user, keeper_settings.ALL} & set(found.users):
        yield "error", "keeper.yaml", f"{path} lists {whom}, not {default_user} (default_user): add it to users there"
        return
    what = f"tasks are started for {whom}, and {'for' if found.root else 'not for'} root"
    yield "ok", "keeper.yaml", f"{what}; after a change: systemctl reload pyflow-keeper"


def _owner(path: str) -> int | None:
    try:
        return os.stat(path).st_uid
    except OSError:
        return None


def _limits() -> Iterator[Check]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < LEAST_FILES:
        yield "warning", "open files", f"at most {most}: raise LimitNOFILE= to {LEAST_FILES} or more"
    else:
        yield "ok", "open files", "no limit" if most == resource.RLIM_INFINITY else f"at most {most}"
    try:
        with open("/proc/sys/fs/inotify/max_user_watches", encoding="ascii") as file:
            watches = int(file.read())
    except (OSError, ValueError):
        return
    if watches < LEAST_WATCHES:
        yield "warning", "inotify", f"{watches} watches for each user: sysctl fs.inotify.max_user_watches=65536"
    else:
        yield "ok", "inotify", f"{watches} watches for each user"


def _groups(settings: Settings) -> Iterator[Check]:
    missing = []
    for name in (*settings.group_read, *settings.group_operate, *settings.group_admin):
        try:
            grp.getgrnam(name)
        except KeyError:
            missing.append(name)
    if missing:
        make = " && ".join(f"groupadd --system {name}" for name in missing)
        yield "warning", "groups", f"not on this host, and so nobody has their rights: {', '.join(missing)}; {make}"
    else:
        yield "ok", "groups", ", ".join((*settings.group_read, *settings.group_operate, *settings.group_admin))


def _journal() -> Check:
    if os.path.exists("/run/systemd/journal/socket"):
        return "ok", "journald", "there"
    return "ok", "journald", "not there: lines go to standard error"


def _store(state: str) -> Check:
    database = os.path.join(state, DATABASE)
    try:
        missing = mark.lost(state, database)
    except OSError as error:
        return "error", "store", f"{state}: {error.strerror}"
    if missing:
        return "error", "store", f"{database}: {missing}; put it back, or: pyflowctl restore FILE --force"
    if not os.path.exists(database):
        return "ok", "store", f"none yet in {state}"
    return "ok", "store", f"{size_text(os.stat(database).st_size)} in {state}; all of it is checked by: pyflowctl fsck"
