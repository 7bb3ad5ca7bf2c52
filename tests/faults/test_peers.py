"""Clients by the thousand: silent, slow, talking nonsense; and a daemon that is out of descriptors or stopped."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from pyflowd.protocol.frames import Command, Hello, frame
from pyflowd.protocol.words import FRAME_MAX
from tests.daemon.instance import Instance
from tests.daemon.keeper_host import KeeperHost
from tests.faults.calls import injected, needs_strace
from tests.faults.figures import Figures
from tests.faults.length import times
from tests.waiting import wait_until

Report = Callable[[Figures], None]
SIMPLE = "overlap: allow\ntasks: {a: {argv: ['true']}}"
CLIENTS = 5000
ANSWER_S = 5.0
"""For a question among thousands of bad peers; a machine that does much else at the same time is no failure."""


@pytest.fixture
def peers() -> Iterator[list[socket.socket]]:
    """Connections of a test, as many as the host allows; closed at its end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    made: list[socket.socket] = []
    yield made
    for peer in made:
        peer.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def nonsense(dice: random.Random) -> bytes:
    """What no client of ours would say."""
    whole = frame(Command(argv=["status"]))
    kind = dice.randrange(9)
    if kind == 0:
        return dice.randbytes(dice.randrange(1, 300))
    if kind == 1:
        return (0xFFFF_FFFF - dice.randrange(100)).to_bytes(4, "big")
    if kind == 2:
        return whole[: dice.randrange(1, len(whole))]
    if kind == 3:
        return (1 << 16).to_bytes(4, "big") + b"\x91" * (1 << 16)
    if kind == 4:
        return frame(Hello()) + (9).to_bytes(4, "big") + dice.randbytes(9)
    if kind == 5:
        body = msgspec.msgpack.encode(["command", dice.choice([None, 1, {}, [1], "x", [None]]), -1, {"a": 1}])
        return len(body).to_bytes(4, "big") + body
    if kind == 6:
        body = bytearray(whole)
        body[dice.randrange(4, len(body))] ^= 1 << dice.randrange(8)
        return bytes(body)
    if kind == 7:
        return FRAME_MAX.to_bytes(4, "big") + b"\xc4"
    return b"\0\0\0\0" * dice.randrange(1, 20)


def call(instance: Instance, timeout_s: float = ANSWER_S) -> float:
    """Ask a plain question; how long it took."""
    began = time.monotonic()
    done = instance.ctl("version", timeout_s=timeout_s)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began


def dial(instance: Instance) -> socket.socket | None:
    peer = socket.socket(socket.AF_UNIX)
    peer.setblocking(False)
    try:
        peer.connect(str(instance.root / "run" / "pyflowd.sock"))
    except BlockingIOError:
        peer.close()
        return None
    return peer


def test_thousands_of_silent_slow_and_mad_clients_delay_nobody(
    daemon: Instance, peers: list[socket.socket], figures: Report
) -> None:
    dice = random.Random(5000)
    daemon.install("w.yaml", SIMPLE)
    assert daemon.process is not None
    process = psutil.Process(daemon.process.pid)
    before = process.memory_info().rss
    taken_s = []
    wanted = CLIENTS * times(1)
    opened = 0
    greeting = frame(Command(argv=["status"]))
    while opened < wanted:
        peer = wait_until(lambda: dial(daemon), "a place in the line: the daemon takes them in its turns")
        opened += 1
        peers.append(peer)
        with contextlib.suppress(OSError):
            if opened % 2:
                peer.send(nonsense(dice))
            elif opened % 4:
                peer.send(greeting[: opened % len(greeting)])
        if opened % 500 == 0:
            taken_s.append(call(daemon))
        if len(peers) > 6000:
            peers.pop(0).close()
    assert daemon.wait_run(daemon.run("w"))["state"] == "succeeded"
    grown = process.memory_info().rss - before
    for peer in peers:
        peer.close()
    call(daemon)
    figures(
        Figures(
            fault="clients: silent, slow, nonsense",
            trials=wanted,
            note=f"a question took {max(taken_s) * 1000:.0f} ms at most among them, memory grew by {grown >> 20} MiB",
        )
    )
    assert grown < 64 << 20
    assert "Traceback" not in daemon.log_text()


def test_a_daemon_that_is_short_of_descriptors_serves_and_starts_on(
    instance: Instance, peers: list[socket.socket], figures: Report
) -> None:
    """2,000 clients, and a quarter of the descriptors that they would need."""
    daemon = instance
    daemon.start(prefix=("/bin/sh", "-c", 'ulimit -n 500; exec "$@"', "sh"))
    daemon.install("w.yaml", SIMPLE)
    size = len(daemon.log_text())
    while len(peers) < 2000:
        peers.append(wait_until(lambda: dial(daemon), "a place in the line"))
    assert daemon.wait_run(daemon.run("w"))["state"] == "succeeded"
    for peer in peers:
        peer.close()
    call(daemon)
    said = daemon.log_text()[size:]
    figures(Figures(fault="EMFILE, 2,000 clients", trials=len(peers)))
    assert "Traceback" not in said
    assert said.count("\n") < 20, said


@needs_strace
def test_starts_go_on_after_descriptors_or_processes_were_short(instance: Instance, figures: Report) -> None:
    """`fork` and `pipe` fail for a while: no task fails for it, no try is used up, nothing starts twice."""
    from tests.faults.trial import Trial

    trial = Trial(instance)
    trial.begin()
    faults = [
        (call, error)
        for call, error in (("clone3,clone,vfork,fork", "EAGAIN"), ("clone3,clone,vfork,fork", "ENOMEM"),
                            ("pipe2", "EMFILE"), ("pipe2", "ENFILE"))
    ]  # fmt: skip
    for calls, error in faults:
        with injected(instance.keeper().pid, calls, f"error={error}:when=1..2"):
            run = trial.ask()
            assert run is not None
            ended = instance.wait_run(run)
        assert {task["reason"] for task in ended["tasks"].values()} <= {None, "exit_code"}, ended
    verdict, counts = trial.end("fork and pipe fail (EAGAIN, ENOMEM, EMFILE)", len(faults))
    figures(counts)
    assert not verdict.faults


def test_a_daemon_that_was_stopped_goes_on_without_a_burst(daemon: Instance, figures: Report) -> None:
    """SIGSTOP while a schedule is due and tasks end; then all of it is there, and each slot has one row."""
    daemon.install("s.yaml", "schedule: {every: 1s}\noverlap: allow\ntasks: {a: {argv: ['true']}}")
    daemon.install("w.yaml", json.dumps({"tasks": {"a": {"run": "exit 9"}}}))
    run = daemon.run("w")
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGSTOP)
    with contextlib.suppress(Exception):
        daemon.process.wait(3.2 * times(1))
    before = time.time()
    daemon.process.send_signal(signal.SIGCONT)
    assert daemon.wait_run(run)["tasks"]["a"]["exit_code"] == 9
    slots = wait_until(lambda: [one for one in daemon.json("slots") if one["fate"] == "skipped"], "skipped slots")
    all_slots = daemon.json("slots")
    times_of = [one["scheduled_at"] for one in all_slots]
    fired = [one for one in all_slots if one["fate"] == "fired"]
    figures(Figures(fault="SIGSTOP of pyflowd", trials=1, note=f"{len(slots)} slots passed, {len(fired)} fired"))
    assert len(set(times_of)) == len(times_of)
    assert {one["reason"] for one in slots} == {"late"}
    assert time.time() - before < 30


@pytest.fixture
def host(tmp_path: Path) -> Iterator[KeeperHost]:
    keeper = KeeperHost(tmp_path / "k")
    yield keeper
    keeper.end()


def test_a_keeper_under_nonsense_keeps_its_tasks_and_its_daemon(
    host: KeeperHost, peers: list[socket.socket], figures: Report
) -> None:
    dice = random.Random(77)
    host.begin()
    host.start("kept", "/bin/sleep", "60")
    pid = host.wait_running("kept").pid
    trials = times(300)
    hello = b"\x06\0\0\0\x01\x01\0\0\0" + b"1"
    for number in range(trials):
        peer = socket.socket(socket.AF_UNIX)
        peers.append(peer)
        peer.connect(str(host.run_dir / "keeper.sock"))
        with contextlib.suppress(OSError):
            if number % 50 == 0:
                peer.send(hello[: dice.randrange(len(hello))])
            elif number % 3 == 0:
                peer.send((0xFFFF_FFFF - number).to_bytes(4, "little") + b"x" * 100)
            else:
                peer.send(dice.randbytes(dice.randrange(1, 200)))
        if number % 4:
            peer.close()
    assert host.run(f"after-{trials}", "/bin/sh", "-c", "exit 5").exit_code == 5  # type: ignore[union-attr]
    assert os.path.exists(f"/proc/{pid}")
    figures(Figures(fault="nonsense to the keeper", trials=trials))
    host.link.stop("kept", 0)
    host.link.flush()
    host.wait_end("kept")
    assert select.select([host.link], [], [], 0)[0] in ([], [host.link])
