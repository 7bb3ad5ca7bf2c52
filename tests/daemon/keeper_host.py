"""A real keeper in a temporary folder, and a small daemon of a test that talks to it."""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pyflowd.base.captured import Captured, read_stream
from pyflowd.keeper import logindex
from pyflowd.model.ends import End, Exit
from pyflowd.model.workflow import Leftover
from pyflowd.runtime.keeperlink import Ended, Event, Gone, KeeperLink, Listing, Refusal, Running, StartRequest
from tests.waiting import wait_until

ENTRY = Path(__file__).resolve().parent.parent.parent / "pyflowd" / "keeper" / "__main__.py"
DEADLINE_S = 30.0
ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/"}


def is_alive(pid: int) -> bool:
    """Whether a process runs: zombies are dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def processes_with(word: str) -> list[int]:
    """Pids of live processes with `word` among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if word.encode() in arguments and is_alive(int(entry.name)):
                found.append(int(entry.name))
    return found


class KeeperHost:
    """One keeper after the other in one folder, and one connection."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_dir = folder / "run"
        self.python = sys.executable
        self.logs = folder / "log"
        self.logs.mkdir(parents=True)
        self.process: subprocess.Popen[bytes] | None = None
        self.link = KeeperLink(str(self.run_dir), str(folder), spawn=False)
        self.listing: Listing | None = None
        self.running: dict[str, Running] = {}
        self.ended: dict[str, End] = {}
        self.refusals: list[str] = []
        self.gone = False

    # ---- Keepers ----

    def begin(self, *, crash: str = "", options: tuple[str, ...] = (), prefix: tuple[str, ...] = ()) -> Listing:
        """Start a keeper as a child of the test, and connect."""
        self.launch(crash=crash, options=options, prefix=prefix)
        return self.connect()

    def launch(self, *, crash: str = "", options: tuple[str, ...] = (), prefix: tuple[str, ...] = ()) -> None:
        env = {"PATH": ENV["PATH"], **({"PYFLOW_CRASH": crash} if crash else {})}
        arguments = [self.python, "-I", "-S", str(ENTRY), "--run-dir", str(self.run_dir)]
        with (self.folder / "keeper.err").open("ab") as errors:
            self.process = subprocess.Popen(
                [*prefix, *arguments, "--root", str(self.folder), *options],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )

    def connect(self) -> Listing:
        self.listing = self.link.connect(DEADLINE_S)
        self.gone = False
        self.running.update(self.listing.running)
        self.ended.update(self.listing.ended)
        return self.listing

    def kill(self) -> None:
        """SIGKILL to the keeper; it is reaped when this returns."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def wait_keeper(self) -> int:
        assert self.process is not None
        return self.process.wait(DEADLINE_S)

    @property
    def keeper_pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def logger_pid(self) -> int:
        """The logger that the present keeper has started."""
        found: list[int] = []

        def look() -> bool:
            children = Path(f"/proc/{self.keeper_pid}/task/{self.keeper_pid}/children").read_text().split()
            found[:] = [int(pid) for pid in children if _comm(int(pid)) == "pyflow-logger" and is_alive(int(pid))]
            return bool(found)

        wait_until(look, "a logger")
        return found[0]

    def end(self) -> None:
        """Leave nothing behind: a last keeper kills and forgets all."""
        self.link.close()
        last = KeeperLink(str(self.run_dir), str(self.folder), spawn=True, idle_exit_s=0.05)
        listing = last.connect(DEADLINE_S)
        self.link, self.gone = last, False
        for attempt in listing.running:
            last.stop(attempt, 0)
        last.flush()
        self.running.clear()
        self.ended.clear()
        self.ended.update(listing.ended)
        for attempt in listing.running:
            self.wait_end(attempt)
        for attempt in self.ended:
            last.acknowledge(attempt)
        last.goodbye()
        last.close()
        if self.process:
            self.process.terminate()
            self.process.wait(DEADLINE_S)
        wait_until(lambda: lock_is_free(self.run_dir), "the end of the last keeper")

    # ---- Attempts ----

    def start(
        self,
        attempt: str,
        *argv: str,
        sh: str = "",
        env: dict[str, str] | None = None,
        cwd: str = "/",
        user: str | None = None,
        timeout_s: float | None = None,
        kill_grace_s: float = 10.0,
        leftover: Leftover = Leftover.KILL,
        orphan_grace_s: float = 5.0,
        log_max_bytes: int | None = None,
        umask: int = 0o022,
        stdin: str | None = None,
        apart: bool = False,
        masks: tuple[bytes, ...] = (),
        limits: dict[str, int] | None = None,
        flush: bool = True,
    ) -> None:
        request = StartRequest(
            attempt=attempt,
            argv=argv or ("/bin/sh", "-c", sh),
            env=ENV if env is None else env,
            cwd=cwd,
            user=user,
            umask=umask,
            timeout_s=timeout_s,
            kill_grace_s=kill_grace_s,
            leftover=leftover,
            orphan_grace_s=orphan_grace_s,
            log_max_bytes=log_max_bytes,
            apart=apart,
            masks=masks,
            limits=limits or {},
        )
        stdin_fd = None
        if stdin is not None:
            (self.folder / "stdin").write_text(stdin)
            stdin_fd = os.open(self.folder / "stdin", os.O_RDONLY | os.O_CLOEXEC)
        self.link.start(request, append(self.log_path(attempt)), append(self.index_path(attempt)), stdin_fd)
        if flush:
            self.link.flush()

    def run(self, attempt: str, *argv: str, **options: object) -> End:
        """Start an attempt and wait for its end."""
        self.start(attempt, *argv, **options)  # type: ignore[arg-type]
        return self.wait_end(attempt)

    def wait_end(self, attempt: str) -> End:
        self.wait(lambda: attempt in self.ended, f"the end of {attempt}")
        return self.ended[attempt]

    def wait_running(self, attempt: str) -> Running:
        self.wait(lambda: attempt in self.running, f"the start of {attempt}")
        return self.running[attempt]

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Take events until the condition holds."""
        give_up = time.monotonic() + DEADLINE_S
        while not condition():
            left_s = give_up - time.monotonic()
            assert left_s > 0, f"in vain waited for: {what}"
            assert not self.gone, f"the connection was lost while waiting for: {what}"
            writers = [self.link] if self.link.wants_write() else []
            select.select([self.link], writers, [], min(left_s, 1.0))
            self.link.flush()
            for event in self.link.receive():
                self._note(event)

    def wait_gone(self) -> None:
        self.wait(lambda: self.gone, "the loss of the connection")

    def _note(self, event: Event) -> None:
        if isinstance(event, Running):
            self.running[event.attempt] = event
        elif isinstance(event, Ended):
            self.ended[event.attempt] = event.end
        elif isinstance(event, Refusal):
            self.refusals.append(event.message)
        elif isinstance(event, Gone):
            self.gone = True

    # ---- Logs ----

    def log_path(self, attempt: str) -> Path:
        return self.logs / (attempt.replace("/", "_") + ".log")

    def index_path(self, attempt: str) -> Path:
        return self.logs / (attempt.replace("/", "_") + ".idx")

    def records(self, attempt: str) -> list[logindex.Record]:
        return logindex.parse(self.index_path(attempt).read_bytes())

    def said(self, attempt: str, stream: int, max_bytes: int = 1 << 20) -> Captured:
        """What the attempt said on one stream, so far as it is known now."""
        with self.log_path(attempt).open("rb") as log, self.index_path(attempt).open("rb") as index:
            return read_stream(log.fileno(), index.fileno(), stream, max_bytes)

    def wait_said(self, attempt: str, stream: int, max_bytes: int = 1 << 20) -> Captured:
        wait_until(lambda: self.said(attempt, stream).finished, f"all that {attempt} said")
        return self.said(attempt, stream, max_bytes)

    def wait_log(self, attempt: str) -> bytes:
        """The log, once its index says that it is complete."""
        wait_until(
            lambda: any(kind == logindex.END for _, _, kind, _ in self.records(attempt)), f"the log of {attempt}"
        )
        return self.log_path(attempt).read_bytes()

    def wait_in_log(self, attempt: str, words: str) -> bytes:
        wait_until(lambda: words.encode() in self.log_path(attempt).read_bytes(), f"{words!r} in the log")
        return self.log_path(attempt).read_bytes()


def append(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def succeeded(end: End) -> bool:
    return isinstance(end, Exit) and end.exit_code == 0


def lock_is_free(run_dir: Path) -> bool:
    with (run_dir / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
