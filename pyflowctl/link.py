"""The client's surroundings: where the daemon's socket is, a connection to it, frames from it, the terminal, files.

Everything in the client rests on this, so it imports nothing beyond the interpreter's own start but `_socket`. It
knows nothing of commands.
"""

import _socket
import posix
import sys
import time

from pyflowctl.packing import FRAME_MAX, Value, unpack

SYSTEM_SOCKET = "/run/pyflow/pyflowd.sock"
FILE_MAX_BYTES = 8 << 20
SUN_PATH_MAX_BYTES = 107
TIMEOUT_S = 30.0
"""The daemon says that it lives every few seconds; this long without a frame is no answer (rule I10)."""
UNAVAILABLE_STATUS = 4
_DESCRIPTORS_MAX = 253


class ClientError(Exception):
    """An expected end with one line for standard error."""

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


class ConnectionLost(ClientError):
    """The daemon went away before it had answered."""


class OutputClosed(Exception):
    """Whoever read standard output has gone, as `head` does."""


def read_file(path: str, missing: str = "name a file that is there") -> bytes:
    """The bytes of a file named on the command line, bounded; `missing`: what to do where there is none."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOCTTY)
        try:
            data = bytearray()
            while piece := posix.read(fd, 1 << 16):
                data += piece
                if len(data) > FILE_MAX_BYTES:
                    raise ClientError(f"{path}: larger than 8 MiB, which no definition may be", 6)
        finally:
            posix.close(fd)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        if isinstance(error, FileNotFoundError):
            raise ClientError(f"{path}: there is no such file; {missing}", 3) from None
        raise ClientError(f"{path}: cannot be read: {reason}; name a file that you may read", 6) from None
    return bytes(data)


def variable(name: str) -> str:
    return posix.environ.get(name.encode(), b"").decode("utf-8", "surrogateescape")


def terminal_width() -> int:
    if variable("COLUMNS").isdecimal() and 20 <= int(variable("COLUMNS")) <= 1000:
        return int(variable("COLUMNS"))
    try:
        return posix.get_terminal_size(1).columns or 80
    except OSError:
        return 80


def wants_colour(choice: str, terminal: bool) -> bool:
    if choice in ("always", "never"):
        return choice == "always"
    return terminal and not variable("NO_COLOR") and variable("TERM") not in ("", "dumb")


def timezone_name() -> str:
    """The IANA name that TZ or the link /etc/localtime gives; empty where neither does."""
    if named := variable("TZ").lstrip(":"):
        return named.rpartition("zoneinfo/")[2]
    try:
        return posix.readlink("/etc/localtime").rpartition("zoneinfo/")[2]
    except OSError:
        return ""


def socket_path(options: dict[str, str]) -> tuple[str, str]:
    """The daemon's socket, and how its daemon is started (for the message that there is none)."""
    if path := options.get("--socket"):
        return path, "start pyflowd"
    if "--root" not in options and (path := variable("PYFLOW_SOCKET")):
        return path, "start pyflowd"
    if root := options.get("--root") or variable("PYFLOW_ROOT"):
        return root + "/run/pyflowd.sock", f"start it with: pyflowd --root {root}"
    if posix.getuid() != 0:
        path = runtime_folder() + "/pyflow/pyflowd.sock"
        try:
            posix.stat(path)
        except OSError:
            pass
        else:
            return path, "start it with: systemctl --user start pyflowd"
    return SYSTEM_SOCKET, "start it with: systemctl start pyflowd (or name another with --root DIR)"


def runtime_folder() -> str:
    """Where a user's own daemon has its socket, as `pyflowd.paths` has it; without a session below the state folder."""
    state = variable("XDG_STATE_HOME") or variable("HOME") + "/.local/state"
    return variable("XDG_RUNTIME_DIR") or f"{state}/pyflow/run-{posix.getuid()}"


def connect(path: str, remedy: str, timeout_s: float) -> "_socket.socket":
    """A connected socket. Raises ClientError with one line that says where, why and what to do."""
    try:
        return _connect(path, timeout_s)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
        what = "no socket" if isinstance(error, FileNotFoundError) else "nobody listens"
        raise ClientError(f"no daemon at {path}: {what} there; {remedy}", UNAVAILABLE_STATUS) from None
    except PermissionError:
        raise ClientError(
            f"{path}: you may not connect; join the group pyflow or pyflow-op, or name another daemon with --root", 5
        ) from None
    except TimeoutError:
        raise ClientError(
            f"the daemon at {path} takes no connection for {timeout_s:g} s; see: systemctl status pyflowd",
            UNAVAILABLE_STATUS,
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ClientError(f"cannot connect to {path}: {reason}; {remedy}", UNAVAILABLE_STATUS) from None


def _connect(path: str, timeout_s: float) -> "_socket.socket":
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    connection.settimeout(timeout_s)
    try:
        _connect_by_folder(connection, path, timeout_s)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect_by_folder(connection: "_socket.socket", path: str, timeout_s: float) -> None:
    """Connect even where the path is longer than a socket's address may be: by way of its folder's descriptor."""
    folder_fd = -1
    if len(path.encode("utf-8", "surrogateescape")) > SUN_PATH_MAX_BYTES:
        folder, _, name = path.rpartition("/")
        folder_fd = posix.open(folder or "/", posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
        path = f"/proc/self/fd/{folder_fd}/{name}"
    deadline = time.monotonic() + timeout_s
    try:
        while True:
            try:
                return connection.connect(path)
            except BlockingIOError:
                # The kernel has no event for "the queue of a Unix listener has room": ask again.
                if time.monotonic() > deadline:
                    raise TimeoutError from None
                time.sleep(0.02)
    finally:
        if folder_fd >= 0:
            posix.close(folder_fd)


def descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    """The open files that came with a message (SCM_RIGHTS)."""
    return [
        int.from_bytes(data[at : at + 4], sys.byteorder, signed=True)
        for level, kind, data in ancillary
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS
        for at in range(0, len(data) - 3, 4)
    ]


class Frames:
    """Frames from the daemon, with the descriptors that came along, in order."""

    def __init__(self, connection: "_socket.socket") -> None:
        self.connection = connection
        self.descriptors: list[int] = []
        self._buffer = bytearray()

    def reset(self) -> None:
        """Give up the connection and what came of frames that are not whole."""
        self.connection.close()
        for descriptor in self.descriptors:
            posix.close(descriptor)
        self.descriptors = []
        self._buffer.clear()

    def next(self, timeout_s: float) -> list[Value] | None:
        """The next frame; None where the time is up. Raises ConnectionLost where the daemon went away."""
        while (frame := self._parse()) is None:
            self.connection.settimeout(timeout_s)
            try:
                received = self.connection.recvmsg(
                    1 << 18, _socket.CMSG_SPACE(4 * _DESCRIPTORS_MAX), _socket.MSG_CMSG_CLOEXEC
                )
            except (TimeoutError, BlockingIOError):
                return None
            except ConnectionError:
                received = (b"", [], 0, None)
            self.descriptors += descriptors(received[1])
            if not received[0]:
                raise ConnectionLost(
                    "the daemon closed the connection before it had answered; see: systemctl status pyflowd",
                    UNAVAILABLE_STATUS,
                )
            self._buffer += received[0]
        return frame

    def _parse(self) -> list[Value] | None:
        if len(self._buffer) < 4:
            return None
        size = int.from_bytes(self._buffer[:4], "big")
        if size > FRAME_MAX:
            raise ClientError("the answer is no frame of this protocol; is it pyflowd that listens there?", 4)
        if len(self._buffer) < 4 + size:
            return None
        try:
            frame = unpack(bytes(self._buffer[4 : 4 + size]))
        except ValueError as error:
            raise ClientError(f"the answer cannot be read: {error}; are daemon and client of one version?", 4) from None
        del self._buffer[: 4 + size]
        return frame if isinstance(frame, list) else []


def write(stream: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of `data` to standard output (1) or error (2)."""
    view = memoryview(data)
    while view:
        try:
            view = view[posix.write(stream, view) :]
        except BlockingIOError:
            import select  # only where someone else made the terminal non-blocking

            select.select([], [stream], [])
        except BrokenPipeError:
            raise OutputClosed from None
        except OSError as error:
            if stream == 2:
                return  # nowhere is left to say it
            raise ClientError(f"cannot write the output: {error.strerror}", UNAVAILABLE_STATUS) from None


def tell(error: ClientError) -> int:
    """Say the error on standard error, each of several problems on a line of its own; its exit status."""
    text = "".join(f"pyflowctl: {line}\n" for line in str(error).splitlines())
    write(2, text.encode("utf-8", "backslashreplace"))
    return error.exit_status
