"""The typed client for programs: connect, ask, take typed replies. Blocking, one request at a time.

    with connect(root="/srv/pyflow") as client:
        run = client.start("nightly-backup", params={"day": "mon"})
        print(client.wait(run.run).state)

Of the daemon's code it uses the types of `protocol` and `errors` only. It renders nothing.
"""

from __future__ import annotations

import _socket
import os
from collections.abc import Iterable, Iterator
from typing import Any, Self, TypeVar

import msgspec

from pyflowctl import link
from pyflowd.errors import Forbidden, NotFound, PyflowError, Refused, Unavailable, UsageError
from pyflowd.protocol.frames import Hello, frame
from pyflowd.protocol.requests import (
    AnswerApproval,
    CancelRun,
    CheckStore,
    ClearCache,
    DrainHost,
    GetArtifact,
    GetHealth,
    GetHost,
    GetRun,
    GetVersion,
    ListApprovals,
    ListArtifacts,
    ListCache,
    ListRuns,
    ListWorkflows,
    MakeBackup,
    PauseWorkflow,
    Request,
    RerunRun,
    ShowWorkflow,
    StartRun,
    WatchRun,
)
from pyflowd.protocol.views import Alive, ArtifactOpen, BackupOpen, Done, Failure, LogClose, LogOpen, Part, Reply
from pyflowd.protocol.views_host import BackupView, DrainView, HealthView, HostView, StoreCheckView, VersionView
from pyflowd.protocol.views_runs import (
    AnswerView,
    ApprovalPage,
    ApprovalView,
    ArtifactPage,
    ArtifactView,
    CachePage,
    CacheView,
    ClearedView,
    RunPage,
    RunView,
    TaskPage,
    TaskView,
)
from pyflowd.protocol.views_workflows import DefinitionView, WorkflowPage, WorkflowView
from pyflowd.protocol.words import FRAME_MAX

_ERRORS = {error.code: error for error in (UsageError, NotFound, Unavailable, Forbidden, Refused)}
_ANCILLARY_BYTES = 4096
T = TypeVar("T")
_Signal = Alive | LogOpen | LogClose | ArtifactOpen | BackupOpen | Part
# msgspec decodes a union of structs as maps, or one of structs as arrays, not both: the first byte tells which it is.
_reply_decoder: msgspec.msgpack.Decoder[Reply | Done | Failure] = msgspec.msgpack.Decoder(Reply | Done | Failure)
_signal_decoder: msgspec.msgpack.Decoder[_Signal] = msgspec.msgpack.Decoder(_Signal)


class OpenLog(msgspec.Struct, frozen=True):
    """Output of one attempt, as two open files; whoever takes it closes them. The index: `pyflowd.keeper.logindex`."""

    log: LogOpen
    log_fd: int
    index_fd: int


class OpenArtifact(msgspec.Struct, frozen=True):
    """A kept file, open; whoever takes it closes it."""

    artifact: ArtifactOpen
    fd: int


class OpenBackup(msgspec.Struct, frozen=True):
    """A backup, open; whoever takes it closes it."""

    backup: BackupOpen
    fd: int


Answer = Reply | OpenLog | OpenArtifact | OpenBackup | LogClose


def connect(
    *, root: str | None = None, socket: str | None = None, timeout_s: float = link.TIMEOUT_S, token: str | None = None
) -> Client:
    """A client of the daemon at `socket`, or below `root`, or of the one that `pyflowctl` would use.

    Raises Unavailable or Forbidden. `timeout_s`: longest silence; the daemon says every few seconds that it lives.
    `token`: as of `Hello`.
    """
    named = {"--root": root, "--socket": socket}
    path, remedy = link.socket_path({option: value for option, value in named.items() if value})
    try:
        connection = link.connect(path, remedy, timeout_s)
    except link.ClientError as error:
        raise (Forbidden if error.exit_status == Forbidden.exit_status else Unavailable)(str(error)) from None
    try:
        return Client(connection, timeout_s, token)
    except BaseException:
        connection.close()
        raise


class Client:
    """One connection. Close it, or use it in `with`."""

    def __init__(self, connection: _socket.socket, timeout_s: float, token: str | None = None) -> None:
        self._connection = connection
        self._buffer = bytearray()
        self._descriptors: list[int] = []
        self._answering = False
        connection.settimeout(timeout_s)
        self._send(frame(Hello(token=token)))
        greeting = [said for said in self._answers() if isinstance(said, VersionView)]
        self.daemon = _present(greeting[0] if greeting else None)
        """Who answered the greeting."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()
        for fd in self._descriptors:
            os.close(fd)
        self._descriptors = []

    def interrupt(self) -> None:
        """From another thread: whoever waits for an answer gets Unavailable at once. Close it there, as ever."""
        try:
            self._connection.shutdown(_socket.SHUT_RDWR)
        except OSError:
            pass  # it is closed already

    def broken(self) -> bool:
        """Whether the daemon has closed the connection, or an answer was not used up: ask by another one."""
        if self._answering or self._buffer:
            return True
        timeout_s = self._connection.gettimeout()
        self._connection.settimeout(0)  # with another one Python waits for bytes before it asks for them
        try:
            self._connection.recv(1, _socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self._connection.settimeout(timeout_s)
        return True

    def ask(self, request: Request) -> Iterator[Answer]:
        """The replies to one request, as they come; the iterator is to be used up before the next request.

        Raises the PyflowError that the daemon answers, or Unavailable.
        """
        if self._answering:
            raise RuntimeError("the answer to the request before has not been used up")
        try:
            data = frame(request)
        except ValueError as error:
            raise Refused(f"{error}: it is too long to be sent") from None
        self._send(data)
        self._answering = True
        return self._answers()

    def _answers(self) -> Iterator[Answer]:
        while True:
            answer = self._next()
            match answer:
                case Done():
                    self._answering = False
                    return
                case Failure():
                    self._answering = False
                    raise _ERRORS.get(answer.code, PyflowError)(answer.message)
                case Alive():
                    continue
                case LogOpen():
                    if len(self._descriptors) < 2:
                        raise Unavailable("the daemon opened a log without its files; is the limit of open files low?")
                    yield OpenLog(answer, self._descriptors.pop(0), self._descriptors.pop(0))
                case ArtifactOpen():
                    if not self._descriptors:
                        raise Unavailable("the daemon opened a file without it; is the limit of open files low?")
                    yield OpenArtifact(answer, self._descriptors.pop(0))
                case BackupOpen():
                    if not self._descriptors:
                        raise Unavailable("the daemon opened a file without it; is the limit of open files low?")
                    yield OpenBackup(answer, self._descriptors.pop(0))
                case _:
                    yield answer

    # ---- Simple questions ----

    def host(self) -> HostView:
        return self._one(GetHost(), HostView)

    def version(self) -> VersionView:
        return self._one(GetVersion(), VersionView)

    def health(self) -> HealthView:
        return self._one(GetHealth(), HealthView)

    def workflows(self) -> list[WorkflowView]:
        pages = self.ask(ListWorkflows())
        return [view for page in pages if isinstance(page, WorkflowPage) for view in page.workflows]

    def runs(self, request: ListRuns | None = None) -> list[RunView]:
        """Runs, newest first."""
        pages = self.ask(request or ListRuns())
        return [view for page in pages if isinstance(page, RunPage) for view in page.runs]

    def run(self, of: int | str, *, items: bool = True) -> tuple[RunView, list[TaskView]]:
        """A run, or the newest run of a workflow, with its tasks, each followed by its items, and its handlers.

        Without `items`: of each fan-out a few that went wrong or are under way.
        """
        found: RunView | None = None
        tasks: list[TaskView] = []
        for answer in self.ask(GetRun(of=str(of), items=items)):
            if isinstance(answer, RunView):
                found = answer
            elif isinstance(answer, TaskPage):
                tasks += answer.tasks
        return _present(found), tasks

    def start(
        self,
        workflow: str,
        *,
        params: dict[str, Any] | None = None,
        key: str = "",
        only: Iterable[str] = (),
        no_cache: bool = False,
    ) -> RunView:
        """Record a run; it exists when this returns. `only`: these tasks and what they need."""
        request = StartRun(workflow=workflow, params=params or {}, key=key, only=list(only), no_cache=no_cache)
        return self._one(request, RunView)

    def rerun(self, run: int, *, failed_only: bool = False, no_cache: bool = False) -> RunView:
        return self._one(RerunRun(run=run, failed_only=failed_only, no_cache=no_cache), RunView)

    def cancel(self, run: int, *, task: str = "") -> RunView:
        """Stop a run, or one task or item of it."""
        return self._one(CancelRun(run=run, task=task), RunView)

    def approvals(self) -> list[ApprovalView]:
        """What waits for an answer."""
        pages = self.ask(ListApprovals())
        return [view for page in pages if isinstance(page, ApprovalPage) for view in page.approvals]

    def approve(self, run: int, task: str, *, comment: str = "", choice: str | None = None) -> AnswerView:
        return self._one(AnswerApproval(run=run, task=task, approve=True, comment=comment, choice=choice), AnswerView)

    def reject(self, run: int, task: str, *, comment: str = "") -> AnswerView:
        return self._one(AnswerApproval(run=run, task=task, approve=False, comment=comment), AnswerView)

    def cache(self, workflow: str | None = None) -> list[CacheView]:
        """Successes that are kept to be used again."""
        pages = self.ask(ListCache(workflow=workflow))
        return [view for page in pages if isinstance(page, CachePage) for view in page.entries]

    def clear_cache(self, workflow: str, task: str | None = None) -> int:
        """How many are used no more."""
        return self._one(ClearCache(workflow=workflow, task=task), ClearedView).entries

    def artifacts(self, of: int | str, task: str | None = None) -> list[ArtifactView]:
        """Files kept with a run."""
        pages = self.ask(ListArtifacts(of=str(of), task=task))
        return [view for page in pages if isinstance(page, ArtifactPage) for view in page.artifacts]

    def artifact(self, of: int | str, task: str, name: str) -> OpenArtifact:
        """One kept file; close its descriptor."""
        return self._one(GetArtifact(of=str(of), task=task, name=name), OpenArtifact)

    def backup(self, *, with_logs: bool = False) -> tuple[OpenBackup, BackupView]:
        """A backup as it is now; close its descriptor. Level admin."""
        opened: OpenBackup | None = None
        view: BackupView | None = None
        for answer in self.ask(MakeBackup(with_logs=with_logs)):
            if isinstance(answer, OpenBackup):
                opened = answer
            elif isinstance(answer, BackupView):
                view = answer
        return _present(opened), _present(view)

    def check_store(self) -> StoreCheckView:
        return self._one(CheckStore(), StoreCheckView)

    def drain(self, *, wait: bool = False) -> DrainView:
        """No task starts from now on; with `wait` it returns when none runs."""
        return [answer for answer in self.ask(DrainHost(wait=wait)) if isinstance(answer, DrainView)][-1]

    def undrain(self) -> DrainView:
        return self._one(DrainHost(drained=False), DrainView)

    def wait(self, run: int) -> RunView:
        """The run when it has ended."""
        last: RunView | None = None
        for answer in self.ask(WatchRun(run=run)):
            if isinstance(answer, RunView):
                last = answer
        return _present(last)

    def definition(self, workflow: str, version: str = "") -> DefinitionView:
        """The definition in force, or another version: six or more digits of its SHA-256, or `~1`, the one before."""
        return self._one(ShowWorkflow(workflow=workflow, version=version), DefinitionView)

    def pause(self, workflow: str, *, paused: bool = True) -> WorkflowView:
        return self._one(PauseWorkflow(workflow=workflow, paused=paused), WorkflowPage).workflows[0]

    def _one(self, request: Request, kind: type[T]) -> T:
        found = [answer for answer in self.ask(request) if isinstance(answer, kind)]
        return _present(found[0] if found else None)

    # ---- Frames ----

    def _send(self, data: bytes) -> None:
        try:
            self._connection.sendall(data)
        except (OSError, TimeoutError) as error:
            raise Unavailable(f"the daemon took no request: {error}; see: systemctl status pyflowd") from None

    def _next(self) -> Reply | Done | Failure | Alive | LogOpen | LogClose | ArtifactOpen | BackupOpen:
        parts: list[bytes] = []
        body = self._body()
        try:
            while _is_array(body):
                signal = _signal_decoder.decode(body)
                if not isinstance(signal, Part):
                    return signal
                parts.append(signal.data)
                body = b"".join(parts) if signal.last else self._body()
            return _reply_decoder.decode(body)
        except msgspec.MsgspecError as error:
            raise Unavailable(f"the answer cannot be read: {error}; are daemon and client of one version?") from None

    def _body(self) -> bytes:
        while True:
            size = int.from_bytes(self._buffer[:4], "big")
            if len(self._buffer) >= 4 and not 0 < size <= FRAME_MAX:
                raise Unavailable("the answer is no frame of this protocol; is it pyflowd that listens there?")
            if len(self._buffer) >= 4 + size > 4:
                body = bytes(self._buffer[4 : 4 + size])
                del self._buffer[: 4 + size]
                return body
            self._buffer += self._received()

    def _received(self) -> bytes:
        try:
            data, ancillary, _, _ = self._connection.recvmsg(1 << 18, _ANCILLARY_BYTES, _socket.MSG_CMSG_CLOEXEC)
        except TimeoutError:
            raise Unavailable("the daemon has said nothing for too long; see: systemctl status pyflowd") from None
        except OSError as error:
            raise Unavailable(f"the connection to the daemon broke: {error}") from None
        self._descriptors += link.descriptors(ancillary)
        if not data:
            raise Unavailable("the daemon closed the connection before it had answered")
        return data


def _is_array(body: bytes) -> bool:
    return 0x90 <= body[0] <= 0x9F or body[0] in (0xDC, 0xDD)


def _present(found: T | None) -> T:
    if found is None:
        raise Unavailable("the daemon's answer lacks what was asked for; are daemon and client of one version?")
    return found
