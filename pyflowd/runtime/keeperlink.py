"""The daemon's half of the keeper's protocol: requests out, events in, never waiting but in `connect`.

For one thread with a selector: wait until `fileno()` can be read (or written, while `wants_write()`), then `receive`
and `flush`. It knows nothing of runs, of what an attempt is for, or of the store; it starts a keeper where none
answers and it is told to.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import struct
import sys
import time

from msgspec import Struct

from pyflowd.clock import US, Clock, SystemClock
from pyflowd.errors import Refused, Unavailable
from pyflowd.keeper import outputs, wire
from pyflowd.keeper.channel import Channel, close_all
from pyflowd.model.ends import SHORTAGES, End, Exit, LostAttempt, StartFailure, Stop, Usage
from pyflowd.model.states import Lost
from pyflowd.model.workflow import Leftover

_ENTRY = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "keeper", "__main__.py")
_SOCKET = "keeper.sock"
_PAUSE_S = 0.005
_SOFT_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
"""As we were given it, before the daemon raises its own: tasks keep to it."""
_START_AGAIN_US = 300_000
MASKS_MAX_BYTES = 262_144
"""Of one attempt's secrets in all: getting ready to search for them takes up to a second and 70 MB then."""
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "PYFLOW_CRASH", "PYFLOW_JOURNAL_SOCKET")
"""Of the daemon's environment to a keeper that it starts: nothing that could be a secret."""


class StartRequest(Struct, frozen=True, kw_only=True):
    """All that a task process is made of. `env` is exact: nothing is added."""

    attempt: str
    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    user: str | None = None
    umask: int = 0o022
    timeout_s: float | None = None
    kill_grace_s: float = 10.0
    leftover: Leftover = Leftover.KILL
    orphan_grace_s: float = 5.0
    log_max_bytes: int | None = None
    apart: bool = False
    """The index of the log tells standard output and error apart; else both are one stream, in their true order."""
    credentials: dict[str, bytes] = {}
    """Files that the task finds below `$CREDENTIALS_DIRECTORY`, and what is in them."""
    masks: tuple[bytes, ...] = ()
    """Secrets that are taken out of the output before it is written. One of fewer than 8 bytes is not looked for."""
    limits: dict[str, int] = {}
    """Of `wire.LIMITS`."""
    journal: dict[str, str] = {}
    """Fields with which its output goes to the host's journal, too; empty: it does not."""
    origin: tuple[str, str, str] | None = None
    """Absolute path of the definition's file, SHA-256 of its text, name of the task."""

    def __repr__(self) -> str:
        """Neither the environment nor the secrets: they must not come into a log by way of an error."""
        return f"StartRequest(attempt={self.attempt!r})"


class Running(Struct, frozen=True, kw_only=True):
    """The process exists."""

    attempt: str
    pid: int
    started_us: int


class Ended(Struct, frozen=True, kw_only=True):
    """The end of an attempt; told again by each listing until it is acknowledged."""

    attempt: str
    end: End


class Refusal(Struct, frozen=True, kw_only=True):
    """The keeper would not do something, in one line."""

    message: str


class Gone(Struct, frozen=True, kw_only=True):
    """The connection is lost: `connect` again and match what is listed."""


Event = Running | Ended | Refusal | Gone


class Listing(Struct, frozen=True, kw_only=True):
    """What the keeper has. An attempt in neither map was never heard of, if the epoch of its intent is `epoch` or is
    in `lineage`; else its record is lost. `boot_id` is of the present boot.
    """

    epoch: str
    boot_id: str
    lineage: tuple[str, ...]
    running: dict[str, Running]
    ended: dict[str, End]


def output_of_root(run_dir: str, attempt: str) -> str:
    """Where a keeper of root's lets an attempt of root's write its outputs, whatever its environment was to be."""
    return os.path.join(run_dir, outputs.FOLDER, attempt, outputs.FILE)


class KeeperLink:
    def __init__(
        self,
        run_dir: str,
        root_label: str,
        *,
        spawn: bool,
        idle_exit_s: float = 60.0,
        clock: Clock | None = None,
    ) -> None:
        self._run_dir = run_dir
        self._root_label = root_label
        self._spawn = spawn
        self._idle_exit_s = idle_exit_s
        self._clock = clock or SystemClock()
        self._channel: Channel | None = None
        self._keeper_level = 1
        self.cgroups = ""
        """What the keeper has: `cgroup: memory cpu` and so on, or `none: ` and why. Empty: it is older than that."""

    # ---- Connecting ----

    def connect(self, timeout_s: float) -> Listing:
        """Connect, starting a keeper if need be, and list. Waits up to `timeout_s`; then raises Unavailable."""
        self.close()
        give_up_us = self._clock.mono_us() + int(timeout_s * US)
        start_at_us = 0
        reason = "nothing answers"
        while True:
            try:
                return self._try_connect(give_up_us)
            except PermissionError:
                raise Unavailable(
                    f"not allowed to connect to the keeper in {self._run_dir}: it serves root, its own user "
                    "and those named with --allow-uid"
                ) from None
            except (OSError, wire.WireError) as error:
                reason = str(error) or type(error).__name__
                self.close()
            now_us = self._clock.mono_us()
            if now_us >= give_up_us:
                raise Unavailable(f"no keeper in {self._run_dir} after {timeout_s:g} s: {reason}{self._remedy()}")
            if self._spawn and now_us >= start_at_us:
                try:
                    self._start_keeper()
                except OSError as error:  # no process or descriptor to be had just now
                    reason = f"cannot start it: {error.strerror}"
                start_at_us = now_us + _START_AGAIN_US
            time.sleep(_PAUSE_S)

    def _remedy(self) -> str:
        if self._spawn:
            return f" (see {os.path.join(self._run_dir, 'keeper.log')})"
        return " (start it: systemctl start pyflow-keeper)"

    def _try_connect(self, give_up_us: int) -> Listing:
        """One try. Raises OSError if nobody answers, or the keeper ends before it has said WELCOME."""
        folder = os.open(self._run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            # By way of the folder's descriptor: the path may be longer than the 107 bytes of an address.
            connection.connect(f"/proc/self/fd/{folder}/{_SOCKET}")
        except OSError:
            connection.close()
            raise
        finally:
            os.close(folder)
        channel = self._channel = Channel(connection)
        channel.send(wire.frame(wire.HELLO, wire.pack_number(wire.VERSION)) + wire.frame(wire.LIST))
        return self._read_listing(channel, give_up_us)

    def _read_listing(self, channel: Channel, give_up_us: int) -> Listing:
        welcome: list[bytes] = []
        running: dict[str, Running] = {}
        ended: dict[str, End] = {}
        listed = False
        while not (welcome and listed):
            # To the end of what came: an end that follows LISTED at once belongs to what is known now.
            for kind, fields in self._await_frames(channel, give_up_us):
                if kind == wire.WELCOME and len(fields) >= 5:
                    welcome = fields
                elif kind == wire.REFUSED:
                    raise ConnectionError(fields[0].decode(errors="replace"))
                elif kind == wire.LISTED:
                    listed = True
                else:
                    _fold(decode_event(kind, fields), running, ended)
        self._welcomed(welcome)
        lineage = tuple(wire.text(welcome[4]).split("\0")) if welcome[4] else ()
        epoch, boot_id = wire.text(welcome[1]), wire.text(welcome[2])
        return Listing(epoch=epoch, boot_id=boot_id, lineage=lineage, running=running, ended=ended)

    @property
    def is_older(self) -> bool:
        """Whether the keeper knows less than this daemon: it upgrades in place, and its tasks go on."""
        return self._keeper_level < wire.LEVEL

    def _welcomed(self, welcome: list[bytes]) -> None:
        self._keeper_level = wire.number(welcome[5]) if len(welcome) > 5 else 1
        self.cgroups = wire.text(welcome[6]) if len(welcome) > 6 else ""

    def _await_frames(self, channel: Channel, give_up_us: int) -> list[wire.Frame]:
        channel.flush()
        poller = select.poll()
        poller.register(channel.fileno(), select.POLLIN | (select.POLLOUT if channel.wants_write() else 0))
        left_us = give_up_us - self._clock.mono_us()
        if left_us <= 0 or not poller.poll(left_us / 1000):
            raise TimeoutError("it does not answer")
        frames = channel.receive()
        if channel.at_end:
            raise ConnectionResetError("it closed the connection")
        return frames

    def _start_keeper(self) -> None:
        """In a session of its own and detached: it outlives this process, and is nobody's child."""
        arguments = ["--run-dir", self._run_dir, "--root", self._root_label]
        arguments += ["--idle-exit", f"{self._idle_exit_s:g}", "--task-files", str(_SOFT_FILES), "--detach"]
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", _ENTRY, *arguments],
            {name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM, signal.SIGINT),
        )
        os.waitpid(pid, 0)  # it forks and ends at once

    # ---- Requests: queued, sent by `flush` ----

    def start(self, request: StartRequest, log_fd: int, index_fd: int, stdin_fd: int | None = None) -> None:
        """Ask for an attempt. The link takes the descriptors and closes them, also if the connection is lost.

        Log and index must be open for writing with O_APPEND. Raises Refused, taking nothing, for what no process
        can be given, and for secrets that the keeper would not mask.
        """
        self._check_masks(request)
        self._check_limits(request)
        frame = wire.pack_start(_to_wire(request, has_stdin=stdin_fd is not None))
        if len(frame) > wire.MAX_FRAME_BYTES:
            raise Refused(
                f"attempt {request.attempt}: arguments and environment of {len(frame)} bytes; the keeper takes "
                f"{wire.MAX_FRAME_BYTES}: pass large values in a file"
            )
        descriptors = (log_fd, index_fd) if stdin_fd is None else (log_fd, index_fd, stdin_fd)
        if self._channel is None:
            close_all(descriptors)
            return
        self._channel.send(frame, descriptors, close_sent=True)

    def _check_masks(self, request: StartRequest) -> None:
        if request.masks and self._channel and self._keeper_level < wire.LEVEL_MASKS:
            raise Refused(
                f"attempt {request.attempt}: the keeper that runs is older than this daemon and would write the task's "
                "secrets into its log: let it go over to the installed version with systemctl reload pyflow-keeper "
                "(or kill -HUP its pid)"
            )
        size_bytes = sum(map(len, request.masks))
        if size_bytes > MASKS_MAX_BYTES:
            raise Refused(
                f"attempt {request.attempt}: secrets of {size_bytes} bytes cannot all be masked in its output; at most "
                f"{MASKS_MAX_BYTES} can: give large ones to a task of its own, or as files that are no secret"
            )

    def _check_limits(self, request: StartRequest) -> None:
        if request.limits and self._channel and self._keeper_level < wire.LEVEL_SERVICE:
            raise Refused(
                f"attempt {request.attempt}: the keeper that runs is older than this daemon and would start the task "
                f"without its limits ({', '.join(request.limits)}): let it go over to the installed version with "
                "systemctl reload pyflow-keeper (or kill -HUP its pid)"
            )

    def stop(self, attempt: str, grace_s: float) -> None:
        """SIGTERM, and SIGKILL to all of it after the grace; no grace kills at once. It may be repeated."""
        self._send(wire.STOP, attempt.encode(), wire.pack_number(int(grace_s * US)))

    def acknowledge(self, attempt: str) -> None:
        """The end of the attempt is in the record: the keeper forgets it."""
        self._send(wire.ACKNOWLEDGE, attempt.encode())

    def upgrade(self) -> None:
        """Let the keeper go over to the version that is installed now."""
        self._send(wire.UPGRADE)

    def goodbye(self) -> None:
        """The daemon stops: a keeper that keeps nothing ends too. Sent at once, as far as that goes."""
        self._send(wire.GOODBYE)
        self.flush()

    def _send(self, kind: int, *fields: bytes) -> None:
        if self._channel:
            self._channel.send(wire.frame(kind, *fields))

    # ---- The selector's side ----

    def fileno(self) -> int:
        """The descriptor to wait on; -1 without a connection."""
        return self._channel.fileno() if self._channel else -1

    def keeper_uid(self) -> int:
        """The user that the keeper runs as, told by the kernel; -1 without a connection."""
        if not self._channel:
            return -1
        with socket.socket(fileno=os.dup(self._channel.fileno())) as view:
            return int(struct.unpack("3i", view.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1])

    def wants_write(self) -> bool:
        return self._channel is not None and self._channel.wants_write()

    def flush(self) -> None:
        """Send what is queued, as far as the socket takes it. A lost connection shows at the next `receive`."""
        if self._channel:
            try:
                self._channel.flush()
            except OSError:
                self._channel.at_end = True

    def receive(self) -> list[Event]:
        """What has happened. Ends with Gone when the connection is lost; then it is closed."""
        if self._channel is None:
            return []
        events: list[Event] = []
        try:
            for kind, fields in self._channel.receive():
                if kind == wire.WELCOME:  # after an upgrade in place
                    self._welcomed(fields)
                event = decode_event(kind, fields)
                if event is not None:
                    events.append(event)
            lost = self._channel.at_end
        except (OSError, wire.WireError):
            lost = True
        if lost:
            self.close()
            events.append(Gone())
        return events

    def close(self) -> None:
        """Close the connection; descriptors that were not sent are closed too. Safe twice."""
        if self._channel:
            self._channel.close()
            self._channel = None


def _fold(event: Event | None, running: dict[str, Running], ended: dict[str, End]) -> None:
    if isinstance(event, Running):
        running[event.attempt] = event
    elif isinstance(event, Ended):
        ended[event.attempt] = event.end
        running.pop(event.attempt, None)


def _to_wire(request: StartRequest, *, has_stdin: bool) -> wire.Start:
    try:
        wire.attempt_id(request.attempt.encode())
        argv = [os.fsencode(argument) for argument in request.argv]
        env = [os.fsencode(f"{name}={value}") for name, value in request.env.items()]
        wire.pack_list(argv)
        wire.pack_list(env)
        if not argv or "\0" in request.cwd:
            raise ValueError("no program, or a NUL in the folder")
    except ValueError as error:
        raise Refused(f"attempt {request.attempt!r} cannot be started: {error}") from error
    start = wire.Start(request.attempt, argv, env, os.fsencode(request.cwd), request.user or "")
    start.umask = request.umask
    start.timeout_us = max(1, int(request.timeout_s * US)) if request.timeout_s is not None else 0
    start.kill_grace_us = int(request.kill_grace_s * US)
    start.leftover_allow = request.leftover is Leftover.ALLOW
    start.orphan_grace_us = int(request.orphan_grace_s * US)
    start.log_max_bytes = request.log_max_bytes or 0
    start.flags = (wire.FLAG_STDIN if has_stdin else 0) | (wire.FLAG_APART if request.apart else 0)
    start.masks = request.masks
    start.limits = request.limits
    start.journal = tuple(f"{name}={value}".encode() for name, value in request.journal.items())
    start.origin = request.origin
    start.credentials = tuple(
        part for name, content in request.credentials.items() for part in (name.encode(), content)
    )
    return start


def decode_event(kind: int, fields: list[bytes]) -> Event | None:
    """An event from a frame of the keeper; None for kinds that this version does not know."""
    if kind == wire.RUNNING and len(fields) >= 3:
        pid, started_us = wire.number(fields[1]), wire.number(fields[2])
        return Running(attempt=wire.text(fields[0]), pid=pid, started_us=started_us)
    if kind == wire.REFUSED and fields:
        return Refusal(message=wire.text(fields[0]))
    if kind in wire.END_FIELDS and len(fields) > wire.END_FIELDS[kind]:
        attempt, *rest = [wire.text(field) for field in fields]
        return Ended(attempt=attempt, end=_decode_end(kind, rest))
    return None


def _decode_end(kind: int, fields: list[str]) -> End:
    try:
        if kind == wire.FAILED:
            step, number, message, at_us = fields[:4]
            shortage = int(number) in SHORTAGES
            return StartFailure(step=step, errno=int(number), message=message, at_us=int(at_us), shortage=shortage)
        if kind == wire.LOST:
            return LostAttempt(why=Lost(fields[0]), at_us=int(fields[1]))
        code, signal_number, started_us, ended_us, user_us, system_us, rss_bytes, stop, leftovers = fields[:9]
        least = wire.END_FIELDS[kind]
        of_cgroup = [int(field) for field in fields[least : least + wire.CGROUP_FIELDS]]
        oom_kills, tasks_refused, peak_bytes = of_cgroup or (0, 0, 0)
        return Exit(
            exit_code=int(code) if code else None,
            signal=int(signal_number) if signal_number else None,
            started_us=int(started_us),
            ended_us=int(ended_us),
            usage=Usage(
                user_us=int(user_us),
                system_us=int(system_us),
                max_rss_bytes=int(rss_bytes),
                memory_peak_bytes=peak_bytes,
            ),
            stop=Stop(stop),
            leftovers=int(leftovers),
            oom_kills=oom_kills,
            tasks_refused=tasks_refused,
        )
    except ValueError as error:
        raise wire.WireError(f"the end of an attempt cannot be read: {error}") from error
