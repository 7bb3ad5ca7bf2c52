"""The daemon's half of loading: hands files and texts to a child, and hands back what it says (rules D4, D5).

Nothing here blocks: the dispatcher waits for `fileno()` and for `next_deadline()`. The child starts on demand and
ends when it has had nothing to do for a while; if a file ends it, by crash or limit, that file is refused and the
others are asked again. It knows nothing of YAML, and of what is in force.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from collections import deque
from collections.abc import Container, Iterable

from pyflowd.clock import US, Clock
from pyflowd.exit_status import status_text
from pyflowd.folder.loader_frames import (
    FileRequest,
    Folders,
    PluginNotice,
    Ready,
    Rejected,
    Request,
    Result,
    TextRequest,
    TraceRequest,
    frame,
    take_answers,
)
from pyflowd.language.plugins import Known
from pyflowd.model.problem import Problem

IDLE_US = 30 * US
"""How long the child is kept warm: a start costs 100 ms, an edit should be seen in 20."""
FILE_LIMIT_US = 10 * US
"""Wall time for one file. Work is bounded by the child's own limit of processor time, long before; this one is for a
read that hangs, as on a dead network mount."""
START_LIMIT_US = 30 * US
_REAP_US = US
_STOP_S = 2.0
_IN_FLIGHT = 256
"""Requests the child may have before it answers: enough that it never waits for us."""
_CHUNK_BYTES = 64 * 1024

_ENTRY = "import sys; sys.path[:] = sys.argv[1:]; from pyflowd.folder.loader_child import main; main()"


class _Child:
    """A running child: its process, our end of the socket, and what is on the way."""

    def __init__(self, pid: int, peer: socket.socket, now_us: int) -> None:
        self.pid = pid
        self.peer = peer
        self.ready = False
        self.incoming = bytearray()
        self.outgoing = bytearray()
        self.asked: deque[Request] = deque()
        self.since_us = now_us
        """Start, last answer, or first request after a rest: since then the head of `asked` is being worked on."""


class Loader:
    """Loads definitions from the folders; give `submit` the names of files that have settled."""

    def __init__(self, folders: Folders, clock: Clock) -> None:
        self._folders = folders
        self._clock = clock
        self._epoll = select.epoll()
        self._waiting: deque[Request] = deque()
        self._child: _Child | None = None
        self._notice: PluginNotice | None = None
        self._dying: list[int] = []
        """Children told to end and not reaped yet: one that hangs in the kernel must not hang us."""

    def fileno(self) -> int:
        """Readable when `receive` has something to do; the same descriptor for life."""
        return self._epoll.fileno()

    def submit(self, files: Iterable[str], alone: Container[str] = ()) -> None:
        """Ask for files of the folders, by name; one result each, in order. `alone`: those without drop-ins.

        They are read as they are by then: `Sources.holds` tells whether that is what had settled.
        """
        self._ask(FileRequest(self._folders, file, file in alone) for file in files)

    def submit_text(
        self, token: str, label: str, data: bytes, *, stem: str, is_json: bool, owner: int = 0, file: str = ""
    ) -> None:
        """Ask for a text that a client sent, the account `owner` by its uid; its result carries `token`.

        `file`: as which file of the folder it is meant, with the drop-ins that this has.
        """
        self._ask([TextRequest(token, label, stem, is_json, data, self._folders, owner, file)])

    def submit_trace(self, token: str, label: str, data: bytes, *, stem: str, is_json: bool) -> None:
        """Ask where the values of a stored definition come from; its result carries `token`."""
        self._ask([TraceRequest(token, label, stem, is_json, data)])

    def know(self, plugins: Known) -> None:
        """What plugins there are, for all that is asked from now on; until then their use is not checked."""
        self._notice = PluginNotice(plugins)
        if self._child is not None:
            self._child.outgoing += frame(self._notice)
            self._write(self._child)

    @property
    def busy(self) -> bool:
        """Whether a result is still to come."""
        return bool(self._waiting or (self._child and self._child.asked))

    def receive(self) -> list[Result]:
        """The results that have come; does what sending and starting there is to do."""
        child = self._child
        if child is None:
            return []
        results, ended = self._read(child)
        if ended:
            results += self._lost(child)
        self._pump()
        return results

    def next_deadline(self) -> int | None:
        """Boot-time microseconds at which `on_deadline` is to be called; None: not at all."""
        deadlines = []
        if self._dying:
            deadlines.append(self._clock.mono_us() + _REAP_US)
        child = self._child
        if child is not None:
            deadlines.append(child.since_us + self._patience_us(child))
        return min(deadlines, default=None)

    def on_deadline(self, now_us: int) -> list[Result]:
        """Ends a child that hangs, or has nothing to do; the results of what it was asked."""
        self._reap()
        child = self._child
        if child is None or now_us < child.since_us + self._patience_us(child):
            return []
        self._let_go(child)
        if not child.asked:
            return []
        os.kill(child.pid, signal.SIGKILL)
        self._waiting.extendleft(reversed(child.asked))
        head = self._waiting.popleft()
        self._pump()
        return [_rejected(head, "too_slow", f"reading it took more than {FILE_LIMIT_US // US} s")]

    def stop(self) -> None:
        """Ends the child and waits for it, unless it hangs in the kernel; safe twice. Open requests get no result."""
        self._waiting.clear()
        if self._child is not None:
            self._let_go(self._child)
        for pid in self._dying:
            os.kill(pid, signal.SIGKILL)
            process = os.pidfd_open(pid)
            select.select([process], [], [], _STOP_S)
            os.close(process)
        self._reap()
        self._epoll.close()

    # ---- Inside -----------------------------------------------------------------------------------------------------

    def _ask(self, requests: Iterable[Request]) -> None:
        self._waiting.extend(requests)
        self._pump()

    def _pump(self) -> None:
        """Start a child if one is needed, and give it as much as it may have."""
        if not self._waiting and (self._child is None or not self._child.outgoing):
            return
        child = self._child
        if child is None:
            child = self._child = self._start()
            if self._notice is not None:
                child.outgoing += frame(self._notice)
        if not child.asked and child.ready:
            child.since_us = self._clock.mono_us()
        while self._waiting and len(child.asked) < _IN_FLIGHT and len(child.outgoing) < _CHUNK_BYTES:
            child.asked.append(self._waiting[0])
            child.outgoing += frame(self._waiting.popleft())
        self._write(child)

    def _start(self) -> _Child:
        self._reap()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        with theirs:
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", "-c", _ENTRY, package, *filter(os.path.isabs, sys.path)],
                {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "TZ": os.environ.get("TZ", "")},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), 0),
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                ],
                setpgroup=0,
                setsigmask=[],
                setsigdef=[signal.SIGPROF, signal.SIGTERM],
            )
        self._epoll.register(ours, select.EPOLLIN)
        return _Child(pid, ours, self._clock.mono_us())

    def _patience_us(self, child: _Child) -> int:
        if not child.ready:
            return START_LIMIT_US
        return FILE_LIMIT_US if child.asked else IDLE_US

    def _write(self, child: _Child) -> None:
        try:
            while child.outgoing:
                del child.outgoing[: child.peer.send(memoryview(child.outgoing)[:_CHUNK_BYTES].tobytes())]
        except BlockingIOError:
            pass
        except OSError:
            child.outgoing.clear()  # its end is read, and told, by `receive`
        self._epoll.modify(child.peer, select.EPOLLIN | (select.EPOLLOUT if child.outgoing else 0))

    def _read(self, child: _Child) -> tuple[list[Result], bool]:
        """Results that have come, and whether the child is gone. One chunk: the dispatcher has others to serve."""
        try:
            part = child.peer.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return [], False
        except ConnectionError:
            part = b""
        child.incoming += part
        results: list[Result] = []
        for answer in take_answers(child.incoming):
            child.since_us = self._clock.mono_us()
            if isinstance(answer, Ready):
                child.ready = True
            else:
                child.asked.popleft()
                results.append(answer)
        return results, not part

    def _lost(self, child: _Child) -> list[Result]:
        """The child ended by itself: what it was reading is refused, the rest asked again."""
        self._let_go(child)
        self._dying.remove(child.pid)
        status = os.waitstatus_to_exitcode(
            os.waitpid(child.pid, 0)[1]
        )  # it has closed its files: it is as good as gone
        self._waiting.extendleft(reversed(child.asked))
        if not child.ready:
            lost = list(self._waiting)
            self._waiting.clear()
            how = f"the reader of definitions could not be started ({status_text(status)})"
            return [_rejected(request, "loader", how) for request in lost]
        if not child.asked:
            return []
        head = self._waiting.popleft()
        if status == -signal.SIGPROF:
            return [_rejected(head, "too_slow", "reading it takes more than 2 s of processor time")]
        return [_rejected(head, "crashed", f"it crashed the reader ({status_text(status)})")]

    def _let_go(self, child: _Child) -> None:
        """Close our end, by which a healthy child ends."""
        self._child = None
        self._epoll.unregister(child.peer)
        child.peer.close()
        self._dying.append(child.pid)

    def _reap(self) -> None:
        self._dying = [pid for pid in self._dying if os.waitpid(pid, os.WNOHANG)[0] == 0]


def _rejected(request: Request, code: str, message: str) -> Rejected:
    """A refusal of our own, for a file that the child did not answer about."""
    label, token = (request.file, "") if isinstance(request, FileRequest) else (request.label, request.token)
    problem = Problem(file=label, code=code, message=message, fix="take the file apart" if code == "too_slow" else "")
    return Rejected(file=label, token=token, problems=(problem,))
