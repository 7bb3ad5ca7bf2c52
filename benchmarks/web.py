"""A15: first byte of the overview with 1,000 workflows and 1,000,000 runs in the store. A16: what 50 open dashboards
delay the daemon's loop, while runs go on. A17: the web front's start by its socket, its memory, its rest.
"""

from __future__ import annotations

import http.client
import multiprocessing
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from statistics import median, quantiles

from benchmarks.harness import BIN, Bench, command_s, daemon, in_turns, ratio, say, start
from benchmarks.idle import TICKS_S, cpu_ticks, pss_bytes
from pyflowctl.client import connect
from pyflowd.protocol.requests import GetVersion
from pyflowd.protocol.tokens import CreateToken, OpenSession, SessionView, Sort, TokenCreated

WORKFLOWS = 1_000
RUNS = 1_000_000
YEAR_US = 365 * 86_400 * 1_000_000
DASHBOARDS = 50
REFETCH_S = 3.0
"""As `data-pause` of the overview."""
STARTS_PER_S = 5
COPY = """
INSERT INTO run (run, workflow, digest, state, reason, trigger, params, requested_by, created_us, started_us, ended_us,
                 tasks_total)
SELECT :run, w.workflow, w.digest, :state, :reason, 'schedule', r.params, 'schedule', :at_us, :at_us + 3000,
       :at_us + 5000000, 1
FROM run r JOIN workflow w ON w.workflow = :workflow WHERE r.run = 1
"""


def fill(root: Path) -> None:
    """A year of runs like the first one, of which one in fifty failed; by SQL, while no daemon is there."""
    first_us = time.time_ns() // 1000 - YEAR_US
    rows = (
        {
            "run": n, "workflow": f"w{n * 7919 % WORKFLOWS}", "at_us": first_us + n * YEAR_US // (RUNS + 2),
            "state": "succeeded" if n % 50 else "failed", "reason": None if n % 50 else "task_failed",
        }
        for n in range(2, RUNS + 2)
    )  # fmt: skip
    with closing(sqlite3.connect(root / "state" / "pyflow.db")) as store, store:
        store.executemany(COPY, rows)


def restarted(bench: Bench) -> subprocess.Popen[bytes]:
    """Its daemon, with a history."""
    bench.process.send_signal(signal.SIGTERM)
    bench.process.wait()
    fill(bench.root)
    return start(bench.root).process


def session(root: Path) -> str:
    """The text of a browser's cookie."""
    with connect(root=str(root)) as client:
        made = [each.text for each in list(client.ask(CreateToken(sort=Sort.LOGIN))) if isinstance(each, TokenCreated)]
        opened = list(client.ask(OpenSession(login=made[0])))
    return next(each.text for each in opened if isinstance(each, SessionView))


class Front:
    """A web front that is given its socket, as by systemd; `get` speaks to it with one session."""

    def __init__(self, root: Path) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cookie = session(root)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _GIVEN, str(self._listener.fileno()), str(BIN / "pyflow-web"), "--root", str(root)],
            pass_fds=[self._listener.fileno()], stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def get(self, path: str) -> float:
        """Seconds to the first byte; the rest is read, too."""
        before = time.perf_counter()
        self._connection.request("GET", path, headers={"Cookie": f"pyflow={self.cookie}"})
        answer = self._connection.getresponse()
        taken = time.perf_counter() - before
        answer.read()
        assert answer.status == 200, (path, answer.status)
        return taken

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        self._listener.close()


_GIVEN = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def dashboard(port: int, cookie: str, until_s: float) -> None:
    """An open overview: its event stream, and its part fetched anew when something happened, as live.js does."""
    headers = f"Host: 127.0.0.1:{port}\r\nCookie: pyflow={cookie}\r\n"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    due_s = last_s = 0.0
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.sendall(f"GET /events?topic=host HTTP/1.1\r\n{headers}\r\n".encode())
        stream.settimeout(0.2)
        while (now_s := time.monotonic()) < until_s:
            with suppress(TimeoutError):
                if re.search(rb"event: (change|reload)", stream.recv(1 << 16)) and not due_s:
                    due_s = max(now_s + 1, last_s + REFETCH_S)
            if due_s and now_s >= due_s:
                connection.request("GET", "/fragment/", headers={"Cookie": f"pyflow={cookie}"})
                connection.getresponse().read()
                due_s, last_s = 0.0, now_s


def dashboards(port: int, cookie: str, seconds: float) -> None:
    until_s = time.monotonic() + seconds
    threads = [threading.Thread(target=dashboard, args=(port, cookie, until_s)) for _ in range(DASHBOARDS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def delays_s(bench: Bench, seconds: float) -> list[float]:
    """What the loop lets a small request wait, while runs are started."""
    found = []
    began_s = time.monotonic()
    with connect(root=str(bench.root)) as client:
        starts = 0
        while (now_s := time.monotonic() - began_s) < seconds:
            if now_s * STARTS_PER_S > starts:
                bench.ctl("run", f"w{starts}")
                starts += 1
            before = time.perf_counter()
            list(client.ask(GetVersion()))
            found.append(time.perf_counter() - before)
            time.sleep(0.005)
    return found


def main(seconds: float = 20.0) -> None:
    with daemon(retention={"age": "3650d", "runs": 1_000_000}) as bench:
        bench.install(
            **{f"w{n}": {"schedule": f"{n % 60} {n % 24} * * *", "tasks": {"a": {"run": "true"}}} for n in range(1000)}
        )
        bench.run("w1")
        bench.process = restarted(bench)
        began_s = time.perf_counter()
        front = Front(bench.root)
        try:
            front.get("/healthz")
            cold_s, cold_cpu_s = time.perf_counter() - began_s, cpu_ticks(front.process.pid) / TICKS_S
            overview, plain, bare = in_turns(
                15, lambda: front.get("/"), lambda: front.get("/healthz"),
                lambda: command_s(sys.executable, "-I", "-S", "-c", "pass"),
            )  # fmt: skip
            times = ratio(overview, bare)
            seen = f"{median(overview) * 1e3:.0f} ms, /healthz {median(plain) * 1e3:.1f} ms"
            figures = f"{times:.1f} times a bare interpreter; {seen}"
            say("A15", f"overview of 1,000 workflows, 1,000,000 runs: first byte {figures}", "12", met=times <= 12)
            alone = delays_s(bench, seconds)
            pids = bench.process.pid, front.process.pid
            before = [cpu_ticks(pid) for pid in pids]
            crowd = multiprocessing.Process(target=dashboards, args=(front.port, front.cookie, seconds + 2))
            crowd.start()
            time.sleep(1)
            beside = delays_s(bench, seconds)
            crowd.join()
            ticks = [cpu_ticks(pid) - was for pid, was in zip(pids, before, strict=True)]
            brain, face = (each / TICKS_S / (seconds + 3) * 100 for each in ticks)
            low, high = (quantiles(each, n=100)[98] for each in (alone, beside))
            figures = (
                f"p99 {high * 1e3:.1f} ms, without {low * 1e3:.1f} ms; CPU: daemon {brain:.0f} %, web {face:.0f} %"
            )
            say("A16", f"50 dashboards: a request waits {figures}", "20 ms more", met=high - low <= 0.02)
            time.sleep(16)  # streams that nobody reads any more are let go
            was = cpu_ticks(front.process.pid)
            time.sleep(seconds)
            rest = (cpu_ticks(front.process.pid) - was) / TICKS_S / seconds * 100
            memory = pss_bytes(front.process.pid) / 2**20
            met = cold_cpu_s <= 0.6 and memory <= 80 and rest <= 0.5
            begun = f"{cold_s * 1e3:.0f} ms, of CPU {cold_cpu_s * 1e3:.0f} ms"
            figures = f"{begun}; then idle: {memory:.0f} MiB PSS, {rest:.2f} % CPU"
            say("A17", f"web front, socket to first answer: {figures}", "600 ms of CPU; 80 MiB, 0.5 %", met=met)
        finally:
            front.stop()


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
