"""The thin client: sends one command line to the daemon, shows what comes back, ends with the status that it says.

The daemon parses, handles and renders. Here is only: which files the command line names, and a loop over frames.
Starting Python is most of the cost of a command, so what few commands need is imported when they need it. It knows
nothing of commands but which run without a daemon, and which options take a value.
"""

import _socket
import posix
import time

from pyflowctl.link import (
    TIMEOUT_S,
    UNAVAILABLE_STATUS,
    ClientError,
    ConnectionLost,
    Frames,
    OutputClosed,
    connect,
    read_file,
    socket_path,
    tell,
    terminal_width,
    timezone_name,
    variable,
    wants_colour,
    write,
)
from pyflowctl.packing import FRAME_MAX, Value, pack

PATIENCE_S = 3.0
"""Somebody at a terminal is told after so long that there is no answer yet."""
LOCAL_COMMANDS = (
    "help",
    "lint",
    "fix",
    "import",
    "export",
    "kinds",
    "schema",
    "diff",
    "simulate",
    "completion",
    "dashboard",
    "doctor",
    "restore",
    "fsck",
    "version",
    "__complete",
)
VALUED_OPTIONS = (
    "--root", "--socket", "-o", "--output", "--colour", "--color",
    "-p", "--param", "--key", "-n", "--lines", "--limit", "--since", "--state", "--from",
    "--cron", "--timezone", "--dst", "--run", "--only", "--comment", "--choose", "--to", "--file", "--user",
    "--after", "--explain", "--at", "--slot", "--for", "--trigger", "--parallel", "--backfill",
    "--duration", "--body", "--header", "--into", "--workflow", "--before", "--until", "--fate",
    "--label", "--level", "--expires", "--port",
)  # fmt: skip
"""Options that take a value; a test compares them with the grammar."""
RECONNECT_PAUSE_S = 0.1
"""Nothing tells that a socket has come back: ask again."""
SIGPIPE_STATUS = 141
INTERRUPTED_STATUS = 130
USAGE_STATUS = 2


def scan(argv: list[str]) -> tuple[dict[str, str], list[str]]:
    """The options that take a value (the last one wins) and --force, and the words that are no options."""
    options: dict[str, str] = {}
    words: list[str] = []
    expects = ""
    for number, word in enumerate(argv):
        if expects:
            options[expects] = word
            expects = ""
        elif word == "--":
            words += argv[number + 1 :]
            break
        elif word in VALUED_OPTIONS:
            expects = word
        elif word == "--force":
            options[word] = ""
        elif word.startswith("--") and "=" in word:
            name, _, value = word.partition("=")
            options[name] = value
        elif not word.startswith("-") or word == "-":
            words.append(word)
    return options, words


def is_local(argv: list[str], words: list[str], options: dict[str, str]) -> bool:
    """Whether the command needs no daemon, or not only a daemon."""
    before_end = argv[: argv.index("--")] if "--" in argv else argv
    if not words or "--help" in before_end or "-h" in before_end:
        return True
    return words[0] in LOCAL_COMMANDS or (words[0] == "next" and "--cron" in options)


def names_file(word: str) -> bool:
    """Whether `run WORD` means a file, not an installed workflow."""
    return "/" in word or word.endswith((".yaml", ".yml", ".json"))


def command_frame(argv: list[str], options: dict[str, str], files: dict[str, bytes]) -> bytes:
    """The frame that opens the conversation: protocol.Command, packed by hand."""
    terminal = posix.isatty(1)
    colour = options.get("--colour") or options.get("--color") or "auto"
    try:
        body = pack(
            {
                "type": "command",
                "argv": argv,
                "width": terminal_width(),
                "colour": wants_colour(colour, terminal),
                "terminal": terminal,
                "timezone": timezone_name(),
                "files": files,
            }
        )
    except UnicodeError:
        raise ClientError("the command line is not UTF-8; names and values must be", 2) from None
    if len(body) > FRAME_MAX:
        raise ClientError(
            f"the command line and its files are {len(body) >> 10} KiB, more than the 1 MiB that can be sent; "
            "put the file into the workflows folder instead",
            6,
        )
    return len(body).to_bytes(4, "big") + body


def ask(argv: list[str], options: dict[str, str], words: list[str]) -> int:
    """Send the command line, show the answer, return the exit status."""
    files = {}
    if words[0] == "run" and len(words) > 1 and names_file(words[1]):
        files[words[1]] = read_file(words[1], "a workflow is named without slash and ending")
    if words[:2] == ["secret", "set"] and len(words) == 3:
        from pyflowctl.secretvalue import read_value  # only this command has a value to ask for

        files[words[2]] = read_value(argv, words[2], options)
    if words[:1] == ["hook"] and "--body" in options:
        files[options["--body"]] = read_file(options["--body"])
    if words[0] == "backup" and len(words) == 2:
        from pyflowctl.fetch import require_folder, require_place  # before a copy is made for nothing

        require_folder(words[1])
        require_place(words[1], replaces="--force" in options, other="or name another")
        options["--to"] = words[1]
    frame = command_frame(argv, options, files)
    timeout_s = answer_timeout_s()
    try:
        connection = connect(*socket_path(options), timeout_s)
    except ClientError:
        from pyflowctl.local import check  # a mistyped command is told without a daemon, too

        check(argv, files)
        raise
    answer = Answer(connection, options, timeout_s)
    try:
        send(connection, frame, timeout_s)
        return show(answer, timeout_s, options)
    except KeyboardInterrupt:
        write(2, interrupted(words, answer.look).encode())
        return INTERRUPTED_STATUS
    finally:
        answer.connection.close()


class Answer(Frames):
    """The frames of one answer, over restarts of the daemon where it has said what to ask then."""

    def __init__(self, connection: "_socket.socket", options: dict[str, str], timeout_s: float) -> None:
        super().__init__(connection)
        self._options = options
        self._timeout_s = timeout_s
        self._again: list[str] = []
        self._lost_s: float | None = None
        """When the daemon went away, until a frame comes again."""
        self.look = ""
        """The command that tells what becomes of the run; empty until the daemon has named one."""

    def next(self, timeout_s: float) -> list[Value] | None:
        while True:
            try:
                frame = super().next(timeout_s)
            except ConnectionLost as error:
                if not self._again:
                    raise ConnectionLost(f"{error}{self._goes_on()}", error.exit_status) from None
                self._reconnect()
                return ["alive"]
            if frame is not None:
                self._lost_s = None
            match frame:
                case ["again", list(argv)]:
                    self._again = [word for word in argv if isinstance(word, str)]
                    self.look = " ".join(["pyflowctl", *self._again[:2]]) if self._again else self.look
                case ["passage", int(stream), bytes(text), list(argv)]:
                    self._again = [word for word in argv if isinstance(word, str)]
                    return ["print", stream, text]
                case _:
                    return frame

    def _reconnect(self) -> None:
        """Ask a daemon that has come back; raises ClientError where none comes in time."""
        self.reset()
        now_s = time.monotonic()
        self._lost_s = self._lost_s or now_s
        while now_s - self._lost_s < self._timeout_s:
            time.sleep(RECONNECT_PAUSE_S)
            try:
                self.connection = connect(*socket_path(self._options), self._timeout_s)
                send(self.connection, command_frame(self._again, self._options, {}), self._timeout_s)
            except ClientError:
                now_s = time.monotonic()
            else:
                return
        raise ClientError(
            f"the daemon went away and has not come back within {self._timeout_s:g} s{self._goes_on()}",
            UNAVAILABLE_STATUS,
        )

    def _goes_on(self) -> str:
        return f"; the run goes on, see: {self.look}" if self.look else ""


def send(connection: "_socket.socket", frame: bytes, timeout_s: float) -> None:
    try:
        connection.sendall(frame)
    except TimeoutError:
        raise ClientError(f"the daemon took no request for {timeout_s:g} s", UNAVAILABLE_STATUS) from None
    except ConnectionError:
        pass  # it may have answered before it closed: that is read next


def answer_timeout_s() -> float:
    """PYFLOW_TIMEOUT in seconds, else the default."""
    text = variable("PYFLOW_TIMEOUT")
    try:
        timeout_s = float(text) if text else TIMEOUT_S
    except ValueError:
        timeout_s = 0.0
    if not 0.0 < timeout_s < 1e6:
        raise ClientError(f'PYFLOW_TIMEOUT is "{text}": write a number of seconds above 0', 2)
    return timeout_s


def show(frames: Frames, timeout_s: float, options: dict[str, str]) -> int:
    """Show frames until the last one; its exit status."""
    frame = _first(frames, timeout_s)
    while True:
        if frame is None:
            raise ClientError(
                f"the daemon has said nothing for {timeout_s:g} s; see: systemctl status pyflowd", UNAVAILABLE_STATUS
            )
        match frame:
            case ["print", int(stream), bytes(text)]:
                write(2 if stream == 2 else 1, text)
            case ["finish", int(exit_status)]:
                return exit_status
            case ["artifact_open", *_]:
                from pyflowctl.fetch import save  # only `artifacts RUN TASK NAME` fetches a file

                save(frame, frames.descriptors, options)
            case ["backup_open", *_]:
                from pyflowctl.fetch import save_backup  # only `backup` fetches one

                save_backup(frame, frames.descriptors, options)
            case ["log_open", *_]:
                from pyflowctl.logview import show_logs  # only `logs` and `run --follow` read logs

                terminal = posix.isatty(1)
                colour = options.get("--colour") or options.get("--color") or "auto"
                return show_logs(frames, frame, timeout_s, terminal, wants_colour(colour, terminal))
            case _:
                pass  # "alive", or what a newer daemon says beyond this client
        frame = frames.next(timeout_s)


def _first(frames: Frames, timeout_s: float) -> list[Value] | None:
    """The first frame. Who waits at a terminal is told so: systemd takes connections for a daemon that cannot start."""
    if timeout_s > PATIENCE_S and posix.isatty(2):
        if (frame := frames.next(PATIENCE_S)) is not None:
            return frame
        write(2, b"pyflowctl: pyflowd does not answer yet; is it starting? See: systemctl status pyflowd\n")
        timeout_s -= PATIENCE_S
    return frames.next(timeout_s)


def interrupted(words: list[str], look: str = "") -> str:
    """What to say when Ctrl-C ended the wait; `look` is the command that goes on with it."""
    if words[:1] == ["logs"]:
        return ""  # there is no other way to end it
    if look:
        return f"pyflowctl: interrupted; the run goes on without this client, see: {look}\n"
    if words[:1] in (["run"], ["rerun"]):
        return "pyflowctl: interrupted; a recorded run goes on without this client: see pyflowctl status\n"
    return ""


def main(argv: list[str]) -> int:
    """Run one command line; the exit status."""
    options, words = scan(argv)
    try:
        for name in ("--root", "--socket"):
            if options.get(name) == "":  # the daemon of this host would be asked instead
                raise ClientError(f"{name} names nothing; name a place, or leave {name} out", USAGE_STATUS)
        if is_local(argv, words, options):
            from pyflowctl.local import run  # what works without a daemon

            return run(argv)
        return ask(argv, options, words)
    except ClientError as error:
        return tell(error)
    except OutputClosed:
        return SIGPIPE_STATUS
    except KeyboardInterrupt:
        write(2, interrupted(words).encode())
        return INTERRUPTED_STATUS
