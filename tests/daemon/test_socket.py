"""The control socket under bad peers: limits, silence, nonsense, slowness, strangers; in memory and in a daemon."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import selectors
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from pyflowctl.client import connect
from pyflowd.base.peer import Peer, Roles
from pyflowd.base.timers import Timers
from pyflowd.clock import US
from pyflowd.control import control as control_module
from pyflowd.control.control import HANDSHAKE_S, IDLE_S, Answer, Answers, Control, Frame, Standing, Wait
from pyflowd.errors import Forbidden, NotFound, PyflowError, Unavailable
from pyflowd.model.states import Fate
from pyflowd.protocol.frames import Command, Hello, frame
from pyflowd.protocol.requests import (
    OPERATIONS,
    CancelRun,
    GetLogs,
    GetRun,
    GetVersion,
    ListEvents,
    ListRuns,
    ListSlots,
    Request,
    RerunRun,
    StartRun,
    WatchRun,
)
from pyflowd.protocol.views import Done
from pyflowd.protocol.views_host import VersionView
from pyflowd.protocol.views_runs import EventPage, RunPage
from pyflowd.protocol.words import FRAME_MAX, Level
from pyflowd.store.store import Store
from tests.daemon.instance import REPOSITORY, Instance
from tests.fakes import FakeClock
from tests.waiting import wait_until

IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can become somebody else")


class FakeTokens:
    """Tokens are the names of levels; each holds for a minute, or until it is taken away."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.uid = 1234
        self.groups = frozenset({7, 8})
        self.used = 0

    def open(self, text: str, kernel: Peer) -> Standing:
        if text not in Level.__members__ or text in self.gone:
            raise Forbidden("this token is not valid")
        level = Level[text]
        peer = Peer(
            uid=self.uid, gid=1, pid=kernel.pid, level=level, groups=self.groups, carrier=kernel.uid, token=level
        )
        return Standing(peer, 60 * US)

    def renew(self, peer: Peer, *, used: bool) -> Standing:
        self.used += used
        assert peer.carrier is not None
        return self.open(Level(peer.token).name, Peer(uid=peer.carrier, gid=0, pid=peer.pid))


class Server:
    """A Control in memory: its answers are the test's, its clock is told, `turn` is the dispatcher's."""

    def __init__(self) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind("")  # a name of the kernel's choice
        self.listener.listen(64)
        self.selector = selectors.DefaultSelector()
        self.timers, self.clock = Timers(), FakeClock()
        self.asked: list[Request] = []
        self.big = 0
        """Frames of 64 KiB that an answer to GetVersion begins with."""
        self.pulled = 0
        self.topic = "news"
        self.tokens = FakeTokens()
        self.peer: Peer | None = None
        """Who asked last."""
        roles = Roles(admins=frozenset({os.geteuid()}), operators=frozenset(), readers=frozenset())
        self.control = Control(
            self.listener, self.selector, self.timers, self.clock, roles,
            Answers(self._request, self._command, self.tokens),
        )  # fmt: skip
        self.control.start()
        self.peers: list[socket.socket] = []

    def _request(self, request: Request, peer: Peer) -> Answer:
        self.asked.append(request)
        self.peer = peer
        if isinstance(request, GetRun):
            raise NotFound("no such run")
        if isinstance(request, CancelRun):
            raise ZeroDivisionError("a fault of ours")
        return self._replies(request)

    def _replies(self, request: Request) -> Answer:
        if isinstance(request, WatchRun):
            yield Wait(frozenset({self.topic}))
        for _ in range(self.big):
            self.pulled += 1
            yield Frame(b"x" * 65_536)
        yield Frame(frame(VersionView(version="1")))
        yield Frame(frame(Done()))

    def _command(self, command: Command, _: Peer) -> Answer:
        if command.argv == ["broken"]:
            raise ZeroDivisionError("a fault of ours")
        return iter([Frame(frame(Done()))])

    def turn(self) -> None:
        for key, mask in self.selector.select(0):
            key.data(mask)
        self.timers.fire(self.clock.mono_us())
        self.control.flush()

    def connect(self, *frames: bytes) -> socket.socket:
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(self.listener.getsockname())
        peer.setblocking(False)
        self.peers.append(peer)
        if frames:
            peer.sendall(b"".join(frames))
        self.settle()
        return peer

    def settle(self) -> None:
        for _ in range(8):
            self.turn()

    def close(self) -> None:
        self.control.stop()
        self.control.stop()
        for peer in self.peers:
            peer.close()
        self.selector.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def said(peer: socket.socket) -> list[object]:
    """All whole frames that have come."""
    data = bytearray()
    with contextlib.suppress(BlockingIOError, ConnectionResetError):
        while piece := peer.recv(1 << 20):
            data += piece
    found = []
    while len(data) >= 4:
        size = int.from_bytes(data[:4], "big")
        found.append(msgspec.msgpack.decode(data[4 : 4 + size]))
        del data[: 4 + size]
    return found


def is_closed(peer: socket.socket) -> bool:
    try:
        while data := peer.recv(1 << 20):
            assert data
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    return True


def codes(peer: socket.socket) -> list[str]:
    return [str(one.get("code", one["type"])) for one in said(peer) if isinstance(one, dict)]


# ---- Who asks


def test_a_hello_says_for_whom_the_peer_speaks(server: Server) -> None:
    server.connect(frame(Hello()), frame(GetVersion()))
    server.settle()
    assert server.peer is not None
    assert (server.peer.uid, server.peer.carrier, server.peer.level) == (os.geteuid(), None, Level.ADMIN)
    server.connect(frame(Hello(token="")), frame(GetVersion()))
    server.settle()
    assert server.peer.is_nobody
    assert (server.peer.carrier, server.peer.level, server.peer.groups) == (os.geteuid(), Level.NONE, frozenset())
    server.connect(frame(Hello(token="READ")), frame(GetVersion()))
    server.settle()
    assert (server.peer.uid, server.peer.carrier, server.peer.level) == (1234, os.geteuid(), Level.READ)


def test_what_is_no_token_is_refused_before_anything_is_answered(server: Server) -> None:
    peer = server.connect(frame(Hello(token="nonsense")), frame(GetVersion()))
    server.settle()
    assert codes(peer) == ["forbidden"]
    assert is_closed(peer)
    assert server.asked == []


@pytest.mark.parametrize("what", ["revoked", "time", "level", "group", "roles"])
def test_a_stream_ends_with_the_rights_of_its_token(server: Server, what: str) -> None:
    peer = server.connect(frame(Hello(token="READ")), frame(WatchRun(run=1)))
    own = server.connect(frame(Hello()), frame(WatchRun(run=1)))
    server.settle()
    match what:
        case "revoked" | "time" | "roles":
            server.tokens.gone.add("READ")
        case "level":
            server.tokens.open = lambda _, kernel: Standing(Peer(uid=1, gid=1, pid=1, carrier=kernel.uid, token=1), US)  # type: ignore[method-assign]
        case _:
            server.tokens.groups -= {8}
    if what == "time":  # nobody says so: it is looked at every minute
        server.clock.advance(60)
    elif what == "roles":
        server.control.take_roles(server.control.known)
    else:
        server.control.review()
    server.settle()
    assert is_closed(peer)
    assert not is_closed(own)


def test_a_stream_goes_on_while_its_token_holds_and_does_not_use_it(server: Server) -> None:
    peer = server.connect(frame(Hello(token="READ")), frame(WatchRun(run=1)))
    server.settle()
    assert server.tokens.used == 1
    for _ in range(10):
        server.clock.advance(60)
        server.settle()
    server.tokens.groups |= {9}
    server.control.review()
    server.settle()
    assert not is_closed(peer)
    assert server.tokens.used == 1


def test_a_request_by_a_token_that_has_ended_is_refused_and_cuts_off(server: Server) -> None:
    peer = server.connect(frame(Hello(token="READ")))
    server.settle()
    server.tokens.gone.add("READ")
    said(peer)
    peer.sendall(frame(GetRun(of="1")))
    server.settle()
    assert codes(peer) == ["forbidden"]
    assert is_closed(peer)


def test_other_roles_do_not_give_a_token_the_rights_of_its_account_or_carrier(server: Server) -> None:
    server.tokens.uid = os.geteuid()
    peers = [server.connect(frame(Hello(token=token))) for token in ("", "READ")]
    server.settle()
    server.control.take_roles(server.control.known)
    for peer in peers:
        peer.sendall(frame(GetVersion()))
        server.settle()
        assert server.peer is not None
        assert server.peer.level <= Level.READ


def test_a_peer_that_speaks_for_others_is_counted_once_as_itself(server: Server) -> None:
    peers = [server.connect(frame(Hello(token=token))) for token in ("", "READ", "ADMIN")]
    server.settle()
    assert server.control.per_user == {os.geteuid(): 3}
    for peer in peers:
        peer.close()
    server.settle()
    assert server.control.per_user == {os.geteuid(): 0}


# ---- Bytes in


def test_a_silent_peer_is_dropped_after_the_handshake_time(server: Server) -> None:
    peer = server.connect()
    server.clock.advance(HANDSHAKE_S - 1)
    server.settle()
    assert not is_closed(peer)
    server.clock.advance(1)
    server.settle()
    assert is_closed(peer)


def test_a_peer_that_sends_half_a_frame_is_dropped_after_the_handshake_time(server: Server) -> None:
    peer = server.connect(frame(Hello())[:-1])
    server.clock.advance(HANDSHAKE_S)
    server.settle()
    assert is_closed(peer)


def test_a_typed_client_that_asks_nothing_is_dropped_after_the_idle_time(server: Server) -> None:
    peer = server.connect(frame(Hello()))
    server.clock.advance(IDLE_S - 1)
    server.settle()
    assert not is_closed(peer)
    server.clock.advance(1)
    server.settle()
    assert is_closed(peer)


def test_a_frame_may_come_byte_by_byte(server: Server) -> None:
    peer = server.connect()
    for byte in frame(Hello()):
        peer.sendall(bytes([byte]))
        server.turn()
    assert codes(peer) == ["version", "done"]


@pytest.mark.parametrize(
    "data",
    [
        (FRAME_MAX + 1).to_bytes(4, "big"),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 64,
        b"\0\0\0\1\xc1",
        b"\0\0\0\0",
        b"\0\0\0\2\x80\x80",
        b"\0\1\0\0" + b"\x91" * 65_536,
        frame(GetVersion()),
    ],
    ids=["too-long", "http", "ff", "no-msgpack", "empty", "trailing", "deep", "no-opening"],
)
def test_nonsense_is_answered_once_and_the_connection_closed(server: Server, data: bytes) -> None:
    peer = server.connect(data)
    assert codes(peer) == ["usage"]
    server.settle()
    assert is_closed(peer)
    assert not server.control.connections


def test_bytes_that_pile_up_behind_a_waiting_answer_are_bounded(server: Server) -> None:
    peer = server.connect(frame(Hello()), frame(WatchRun(run=1)))
    sent = 0
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while sent < 4 * FRAME_MAX:
            with contextlib.suppress(BlockingIOError):
                sent += peer.send(b"x" * 65_536)
            server.turn()
    assert sent <= FRAME_MAX + (1 << 19)
    assert not server.control.connections


def test_a_seeded_fuzz_of_openings_breaks_nothing(server: Server) -> None:
    dice = random.Random(20_260_310)
    openings = [frame(Hello()), frame(Command(argv=["status"])), frame(Command(argv=[], files={"a": b"b"}))]
    for _ in range(400):
        data = bytearray(dice.choice(openings))
        for _ in range(dice.randrange(1, 5)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        server.connect(bytes(data) + dice.randbytes(dice.randrange(40))).close()
    server.settle()
    assert not server.control.connections
    assert codes(server.connect(frame(Hello()))) == ["version", "done"]


# ---- Requests


def test_a_refused_request_leaves_a_typed_client_its_connection(server: Server) -> None:
    peer = server.connect(frame(Hello()), frame(GetRun(of="1")), frame(GetVersion()))
    assert codes(peer) == ["version", "done", "not_found", "version", "done"]


def test_a_fault_in_one_request_ends_neither_the_server_nor_another_answer(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    other = server.connect(frame(Hello()))
    peer = server.connect(frame(Hello()), frame(CancelRun(run=1)))
    assert codes(peer) == ["version", "done", "internal"]
    other.sendall(frame(GetVersion()))
    server.settle()
    assert codes(other)[-1] == "done"
    assert "a request failed" in caplog.text


def test_a_fault_is_told_to_the_thin_client_in_its_own_frames(server: Server) -> None:
    line, finish = said(server.connect(frame(Command(argv=["broken"]))))
    assert line == ["print", 2, b"pyflowctl: internal error; see the daemon's log\n"]
    assert finish == ["finish", 4]


def test_a_second_request_is_answered_after_the_next_commit_and_at_once(server: Server) -> None:
    """It is begun while answers are sent, so what it changed is not durable until the turn after."""
    peer = server.connect()
    peer.sendall(frame(Hello()) + frame(GetVersion()))
    server.turn()
    assert server.control.has_work(), "the dispatcher would sleep"
    assert len(server.asked) == 2
    assert codes(peer) == ["version", "done"]
    server.turn()
    assert codes(peer) == ["version", "done"]


def test_what_was_asked_in_a_turn_that_is_not_durable_is_refused(server: Server) -> None:
    peer = server.connect(frame(Hello()))
    said(peer)
    peer.sendall(frame(GetVersion()))
    for key, mask in server.selector.select(0):
        key.data(mask)
    server.control.refuse_fresh(Unavailable("no space"))
    server.settle()
    assert codes(peer) == ["unavailable"]


def test_a_waiting_answer_says_that_it_lives(server: Server) -> None:
    peer = server.connect(frame(Hello()), frame(WatchRun(run=1)))
    said(peer)
    for _ in range(3):
        server.clock.advance(control_module.ALIVE_S)
        server.settle()
    assert said(peer) == [["alive"]] * 3
    server.control.wake({server.topic})
    server.settle()
    assert codes(peer) == ["version", "done"]


# ---- Slow and many


def test_a_peer_that_does_not_read_costs_one_frame_and_delays_nobody(server: Server) -> None:
    server.big = 10_000
    server.connect(frame(Hello()))
    server.settle()
    stuck = server.pulled
    assert stuck < 20  # what the kernel's buffer takes
    (connection,) = server.control.connections
    assert len(connection.out) == 1
    server.big = 0
    assert codes(server.connect(frame(Hello()))) == ["version", "done"]
    assert server.pulled == stuck


def test_a_long_answer_to_a_fast_reader_is_cut_into_turns(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.big = 50
    peer = server.connect()
    ticks = iter(range(0, 10**9, control_module.TURN_US // 4))
    monkeypatch.setattr(server.clock, "mono_us", lambda: next(ticks))
    monkeypatch.setattr(server.control, "_send", lambda connection: not connection.out.clear())
    peer.sendall(frame(Hello()))
    server.turn()
    server.turn()
    assert 0 < server.pulled < 20
    assert server.control.has_work()


def test_connections_are_capped_in_all_and_one_more_is_told_why(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.control, "_most", 3)
    peers = [server.connect(frame(Hello())) for _ in range(4)]
    assert [codes(peer)[-1] for peer in peers] == ["done", "done", "done", "unavailable"]
    assert is_closed(peers[3])
    line, finish = said(server.connect(frame(Command(argv=["status"]))))
    assert b"3 clients are connected" in line[2]  # type: ignore[index]
    assert finish == ["finish", 4]
    peers[0].close()
    server.settle()
    assert codes(server.connect(frame(Hello())))[-1] == "done"


def test_connections_are_capped_for_each_user_but_root(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_module, "CONNECTIONS_PER_USER", 2)
    monkeypatch.setattr(control_module, "identify", lambda *_: Peer(uid=1000, gid=1000, pid=1))
    peers = [server.connect(frame(Hello())) for _ in range(3)]
    assert [codes(peer)[-1] for peer in peers] == ["done", "done", "unavailable"]
    monkeypatch.setattr(control_module, "identify", lambda *_: Peer(uid=0, gid=0, pid=1))
    assert [codes(server.connect(frame(Hello())))[-1] for _ in range(3)] == ["done", "done", "done"]
    for peer in peers:
        peer.close()
    server.settle()
    assert not server.control.per_user[1000]


def test_of_too_many_silent_peers_the_oldest_goes_and_who_asks_is_heard(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_module, "SILENT_MAX", 3)
    asked = server.connect(frame(Hello()))
    silent = [server.connect() for _ in range(5)]
    assert [is_closed(peer) for peer in silent] == [True, True, False, False, False]
    assert codes(server.connect(frame(Hello())))[-1] == "done"
    assert not is_closed(asked)


def test_fewer_peers_are_served_where_fewer_files_may_be_open() -> None:
    assert control_module.most_connections(1024) == control_module.CONNECTIONS_MAX
    assert control_module.most_connections(500) == 150
    assert control_module.most_connections(64) == 16


def test_without_descriptors_the_listener_rests_instead_of_spinning(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def __getattr__(self, name: str) -> object:
            return getattr(server.listener, name)

        def accept(self) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(server.control, "listener", Full())
    server.connect()
    assert server.selector.select(0) == []
    monkeypatch.setattr(server.control, "listener", server.listener)
    server.clock.advance(control_module.ACCEPT_PAUSE_S)
    server.settle()
    assert len(server.control.connections) == 1


def test_no_connection_leaves_a_descriptor_behind(server: Server) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = count()
    for _ in range(50):
        peer = server.connect(frame(Hello()), frame(WatchRun(run=1)))
        peer.close()
        server.settle()
    assert count() == before


# ---- Levels


def test_the_levels_of_all_requests_are_as_agreed() -> None:
    assert {kind.__name__: known.level.name for kind, known in OPERATIONS.items() if known.level is not Level.READ} == {
        "StartRun": "OPERATE", "CancelRun": "OPERATE", "RerunRun": "OPERATE", "PauseWorkflow": "OPERATE",
        "SendNotification": "OPERATE", "AnswerApproval": "OPERATE", "Reload": "ADMIN",
        "SetSecret": "ADMIN", "RemoveSecret": "ADMIN", "ListSecrets": "ADMIN", "RekeySecrets": "ADMIN",
        "ClearCache": "OPERATE", "StartBackfill": "OPERATE", "CancelBackfill": "OPERATE",
        "MarkSeen": "OPERATE", "SaveDefinition": "ADMIN",
        "GetVersion": "NONE", "GetIdentity": "NONE", "RevokeToken": "NONE", "OpenSession": "NONE",
        "DeliverHook": "NONE",
        "ListAudit": "ADMIN", "MakeBackup": "ADMIN", "CheckStore": "ADMIN", "DrainHost": "ADMIN",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("uid", "groups", "level"),
    [
        (0, set(), Level.ADMIN), (500, set(), Level.ADMIN), (1000, set(), Level.NONE), (1000, {7}, Level.READ),
        (1000, {8}, Level.OPERATE), (1000, {7, 8}, Level.OPERATE), (1000, {9}, Level.NONE),
        (61_183, {7, 8}, Level.OPERATE), (61_184, {7, 8}, Level.NONE), (65_519, {8}, Level.NONE),
        (65_520, {8}, Level.OPERATE),
    ],
)  # fmt: skip
def test_the_level_of_a_peer_comes_from_its_uid_and_groups(uid: int, groups: set[int], level: Level) -> None:
    roles = Roles(admins=frozenset({0, 500}), operators=frozenset({8}), readers=frozenset({7}))
    assert roles.level(uid, frozenset(groups)) is level


def as_user(instance: Instance, *arguments: str, groups: str = "") -> subprocess.CompletedProcess[str]:
    who = ["setpriv", "--reuid=65534", "--regid=65534", f"--groups={groups}" if groups else "--clear-groups"]
    code = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); from pyflowctl.thin import main; "
    code += "sys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [*who, sys.executable, "-c", code, "--root", str(instance.root), *arguments],
        capture_output=True, text=True, timeout=30, check=False, env={"PATH": os.environ["PATH"]}, cwd="/",
    )  # fmt: skip


@pytest.fixture
def open_to_all() -> Iterator[Instance]:
    """A root that other accounts can reach, as /run/pyflow can be; pytest keeps its own folders to itself."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        made = Instance(Path(folder) / "root")
        made.root.chmod(0o755)
        (made.root / "run").mkdir(mode=0o755)
        if as_user(made, "help").returncode:
            pytest.skip("the interpreter cannot be run by nobody")
        yield made
        made.end()


@needs_root
def test_a_stranger_is_told_that_he_may_not(open_to_all: Instance) -> None:
    open_to_all.start()
    for command in (["status"], ["run", "w"], ["cancel", "1"], ["reload"], ["logs", "1"]):
        done = as_user(open_to_all, *command)
        assert done.returncode == 5, done
        assert "nobody may not do this" in done.stderr


@needs_root
def test_readers_read_operators_start_and_neither_defines(open_to_all: Instance) -> None:
    open_to_all.settings(group_read="games", group_operate="mail")
    open_to_all.start()
    open_to_all.install("w.yaml", "tasks: {a: {run: 'true'}}")
    file = open_to_all.root / "x.yaml"
    file.write_text("tasks: {a: {run: 'true'}}")
    file.chmod(0o644)
    said_of = {}
    for name, groups in (("games", "5,60"), ("mail", "8")):
        runs = [["status"], ["run", "w"], ["run", str(file)], ["reload"]]
        said_of[name] = [as_user(open_to_all, *command, groups=groups).returncode for command in runs]
    assert said_of == {"games": [0, 5, 5, 5], "mail": [0, 0, 5, 5]}


# ---- A real daemon


HOSTILE: list[Request] = [
    CancelRun(run=(1 << 63) - 1),
    CancelRun(run=-1),
    RerunRun(run=1 << 63),
    RerunRun(run=0, latest=True, from_task="x" * 1000),
    GetLogs(of="9" * 30),
    GetLogs(of="9" * 5000),
    GetLogs(of="../../etc/passwd", task="\0"),
    GetRun(of="\N{ARABIC-INDIC DIGIT ONE}"),
    ListRuns(limit=1 << 63, state="bogus"),
    ListRuns(since_us=-(1 << 63), limit=(1 << 63) - 1),
    ListSlots(since_us=1 << 63),
    ListSlots(limit=-5),
    ListEvents(after=1 << 63),
    ListEvents(run=(1 << 64) - 1),
    WatchRun(run=(1 << 64) - 1),
    StartRun(workflow="w", params={"x": {"y": [b"bytes", 1.5e308]}}),
    StartRun(workflow="w", key="k" * 500_000),
    StartRun(workflow="w", params={"\0" * 50: "x"}, params_are_text=True),
    StartRun(file="", data=b"x"),
    StartRun(file="a\nb/\0", data=b"tasks: {a: {run: x}}"),
    StartRun(file="\N{SNOWMAN}" * 9000, data=b"\xff\0"),
]


def test_no_request_ends_the_daemon_or_hangs(daemon: Instance) -> None:
    daemon.install("w.yaml", "tasks: {a: {run: 'true'}}")
    for request in HOSTILE:
        with connect(root=str(daemon.root), timeout_s=10) as client, contextlib.suppress(PyflowError):
            list(client.ask(request))
    assert daemon.ctl("status").returncode == 0
    assert "Traceback" not in daemon.log_text()


@pytest.mark.parametrize(
    "command",
    [
        Command(argv=[]),
        Command(argv=[""] * 5000),
        Command(argv=["status"], width=-5),
        Command(argv=["status"], width=1 << 62),
        Command(argv=["status"], width=0, colour=True, terminal=True),
        Command(argv=["list"], timezone="../../../etc/passwd"),
        Command(argv=["list"], timezone="x" * 100_000),
        Command(argv=["list"], timezone="\0"),
        Command(argv=["run", "x.yaml"], files={"y": b""}),
        Command(argv=["next", "-n", "1000000"]),
        Command(argv=["version", "--"]),
        Command(argv=["lint", "/etc/passwd"]),
    ],
    ids=lambda command: f"{command.argv[:1]}-{command.width}-{command.timezone[:9]!r}",
)
def test_a_strange_command_line_is_answered(command: Command, shared: Instance) -> None:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect(str(shared.root / "run" / "pyflowd.sock"))
        peer.sendall(frame(command))
        data = b""
        while piece := peer.recv(1 << 16):
            data += piece
    assert b"finish" in data
    assert "Traceback" not in shared.log_text()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One daemon for questions that change nothing."""
    made = Instance(tmp_path_factory.mktemp("shared") / "root")
    try:
        made.write("s.yaml", "schedule: '* * * * *'\ntasks: {a: {run: 'true'}}")
        made.start()
        yield made
    finally:
        made.end()


def test_a_reader_that_stops_holds_nobody_to_the_past(instance: Instance) -> None:
    """An answer that stands half read must not hold the reading connection of the store to an old state."""
    (instance.root / "state").mkdir()
    store = Store(str(instance.root / "state"))
    batch = store.batch()
    for minute in range(30_000):
        batch.slot("old", "cron", minute * 60 * US, Fate.SKIPPED, "down", None)
    store.commit(batch)
    store.close()
    instance.start()
    instance.install("w.yaml", "tasks: {a: {run: 'true'}}")
    with socket.socket(socket.AF_UNIX) as slow:
        slow.settimeout(10)
        slow.connect(str(instance.root / "run" / "pyflowd.sock"))
        slow.sendall(frame(Hello()) + frame(ListSlots()))
        slow.recv(10)
        assert instance.process is not None
        before = psutil.Process(instance.process.pid).memory_info().rss
        assert instance.wait_run(instance.run("w"))["state"] == "succeeded"
        assert psutil.Process(instance.process.pid).memory_info().rss - before < 16 << 20


def test_a_status_of_ten_thousand_tasks_to_a_slow_reader_delays_nobody(daemon: Instance) -> None:
    tasks = {f"t{n}": {"argv": ["true"], "needs": ["gate"]} for n in range(10_000)}
    tasks["gate"] = {"argv": ["sleep", "60"]}  # type: ignore[dict-item]
    daemon.install("w.yaml", json.dumps({"tasks": tasks}))
    run = daemon.run("w")
    with socket.socket(socket.AF_UNIX) as slow:
        slow.settimeout(10)
        slow.connect(str(daemon.root / "run" / "pyflowd.sock"))
        slow.sendall(frame(Command(argv=["status", str(run), "-o", "json"])))
        slow.recv(10)
        assert daemon.ctl("version").returncode == 0
        data = b""
        while piece := slow.recv(1 << 16):
            data += piece
    assert data.count(b'"state"') > 10_000


def test_a_page_that_fits_no_frame_is_cut(daemon: Instance) -> None:
    daemon.install("w.yaml", "params: {x: {}}\noverlap: allow\ntasks: {a: {run: 'true'}}")
    value = "x" * 100_000
    with connect(root=str(daemon.root)) as client:
        for _ in range(12):
            client.start("w", params={"x": value})
        pages = [page for page in client.ask(ListRuns(limit=12)) if isinstance(page, RunPage)]
    assert len(pages) > 1
    assert sum(len(page.runs) for page in pages) == 12


def test_events_are_pages_in_order_and_a_limit_means_the_newest(daemon: Instance) -> None:
    daemon.install("w.yaml", "tasks: {a: {run: 'true'}}")
    for _ in range(3):
        daemon.wait_run(daemon.run("w"))
    with connect(root=str(daemon.root)) as client:

        def events(limit: int) -> list[int]:
            pages = client.ask(ListEvents(limit=limit))
            return [event.event for page in pages if isinstance(page, EventPage) for event in page.events]

        everything = events(10_000)
        assert everything == sorted(everything)
        assert everything == list(range(1, len(everything) + 1))
        assert events(5) == everything[-5:]


ACTIVATE = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1] + ".new")
listener.listen(16)
os.rename(sys.argv[1] + ".new", sys.argv[1])
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.executable, [sys.executable, "-c",
    "import sys; from pyflowd.cli import main; sys.exit(main())", "--root", sys.argv[2]])
"""


def test_the_socket_may_come_from_systemd(instance: Instance, tmp_path: Path) -> None:
    path = tmp_path / "given.sock"
    with instance.log.open("ab") as log:
        instance.process = subprocess.Popen(
            [sys.executable, "-c", ACTIVATE, str(path), str(instance.root)],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stdout=log, stderr=log, cwd="/",
        )  # fmt: skip
    wait_until(path.exists, "the socket")
    with connect(socket=str(path), timeout_s=20) as client:
        assert client.version().version
    assert not (instance.root / "run" / "pyflowd.sock").exists()
    assert instance.stop() == 0
    assert path.exists(), "it is systemd's"


def test_failures_of_every_kind_are_known_to_the_typed_client(shared: Instance) -> None:
    with connect(root=str(shared.root)) as client:
        for _ in range(2):  # the connection goes on
            with pytest.raises(NotFound):
                client.cancel(99)
