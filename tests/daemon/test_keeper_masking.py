"""Secrets in the output of tasks, with a real keeper: none is written anywhere, whatever dies meanwhile (rule P6)."""

from __future__ import annotations

import base64
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyflowd.errors import Refused
from pyflowd.keeper import wire
from pyflowd.keeper.logindex import DATA, END, GAP, STDERR, STDOUT
from pyflowd.keeper.masking import HELD_MAX_BYTES
from pyflowd.keeper.sink import PIPE_BYTES
from pyflowd.model.ends import StartFailure
from pyflowd.runtime.keeperlink import MASKS_MAX_BYTES, KeeperLink, StartRequest
from tests.daemon.keeper_host import DEADLINE_S, ENTRY, ENV, KeeperHost, append, is_alive, succeeded
from tests.waiting import wait_until

NOBODY = 65_534
PLAIN = secrets.token_urlsafe(24).encode()
AWKWARD = (
    b"p\xc3\xa4ss " + secrets.token_hex(8).encode() + b"'\"\\/<&>%+\nand a second line " + secrets.token_hex(8).encode()
)
CANARIES = (PLAIN, AWKWARD)
ENCODED = {
    "plain": PLAIN,
    "awkward": AWKWARD,
    "base64": base64.b64encode(b"user:" + PLAIN),
    "json": json.dumps(AWKWARD.decode()).encode(),
    "url": urllib.parse.quote_plus(AWKWARD).encode(),
    "hex": PLAIN.hex().encode(),
}
TALK = """
import os, sys
def say(text, size):
    for at in range(0, len(text), size):
        os.write(stream, text[at : at + size])
for stream in (1, 2):
    os.write(stream, b"begin\\n")
    for name in ("PLAIN", "AWKWARD", "BASE64", "JSON", "URL", "HEX"):
        say(os.environb[name.encode()] + b"|\\n", 1)
        say(os.environb[name.encode()] + b"|\\n", 1000)
half = os.environb[b"PLAIN"][:12]
rest = os.environb[b"PLAIN"][12:]
for turn in range(int(sys.argv[1])):
    os.write(1, b"half %d: " % turn + half)
    os.write(2, b"waits %d\\n" % turn)
    open("pipe").read()
    os.write(1, rest + b" whole\\n")
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[KeeperHost]:
    keeper = KeeperHost(tmp_path / "k")
    os.mkfifo(keeper.folder / "pipe")
    keeper.begin()
    yield keeper
    keeper.end()


def talk(host: KeeperHost, turns: int, *, apart: bool = True) -> None:
    """A task that prints its secrets in every manner, and then half of one, and waits."""
    env = {**ENV, **{name.upper(): os.fsdecode(value) for name, value in ENCODED.items()}}
    argv = (sys.executable, "-c", TALK, str(turns))
    host.start("a", *argv, env=env, cwd=str(host.folder), masks=CANARIES, apart=apart)


def go_on(host: KeeperHost) -> None:
    (host.folder / "pipe").write_text("go\n")


def leaks(content: bytes) -> list[str]:
    """Which canaries stand in it, raw or written in some way; 10 bytes of one in a row are a leak."""
    found = []
    for name, text in ENCODED.items():
        core = text.strip(b'"')[8:-8] if name == "base64" else text.strip(b'"')
        if any(core[at : at + 10] in content for at in range(len(core) - 9)):
            found.append(name)
    return found


def leaks_below(folder: Path) -> list[tuple[str, list[str]]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [(path.name, found) for path in files if (found := leaks(path.read_bytes()))]


def leaks_of(pid: int) -> list[str]:
    """What everybody may read of a process."""
    return leaks(b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ")))


def test_nothing_of_a_secret_is_written(host: KeeperHost) -> None:
    talk(host, 1)
    host.wait_in_log("a", "waits 0")
    pids = (host.keeper_pid, host.logger_pid())
    go_on(host)
    assert succeeded(host.wait_end("a"))
    out, error = host.wait_said("a", STDOUT), host.wait_said("a", STDERR)
    assert (
        out.data
        == b"begin\n" + b"***|\n" * 4 + _in_base64() * 2 + _quoted() * 2 + b"***|\n" * 4 + b"half 0: *** whole\n"
    )
    assert error.data == b"begin\n" + b"***|\n" * 4 + _in_base64() * 2 + _quoted() * 2 + b"***|\n" * 4 + b"waits 0\n"
    assert leaks_below(host.folder) == []
    assert [leaks_of(pid) for pid in pids] == [[], []]


def _in_base64() -> bytes:
    return ENCODED["base64"][:7] + b"***|\n"


def _quoted() -> bytes:
    return b'"***"|\n'


def test_the_index_counts_what_is_written(host: KeeperHost) -> None:
    host.run("a", sh=f"echo {PLAIN.decode()}", masks=CANARIES)
    assert host.wait_log("a") == b"***\n"
    assert [(offset, kind) for offset, _, kind, _ in host.records("a")] == [(0, DATA), (4, END)]


def test_the_quota_counts_what_is_written(host: KeeperHost) -> None:
    line = PLAIN.decode()
    host.run("a", sh=f"yes {line} | head -n 4000", masks=CANARIES, log_max_bytes=20_000)
    assert host.wait_log("a") == b"***\n" * 4000


def test_secrets_are_masked_after_the_daemon_has_died(host: KeeperHost) -> None:
    talk(host, 1)
    host.wait_in_log("a", "waits 0")
    host.link.close()
    go_on(host)
    log = host.wait_log("a")
    host.connect()
    assert b"*** whole" in log
    assert leaks_below(host.folder) == []


def test_secrets_are_masked_after_the_keeper_has_died(host: KeeperHost) -> None:
    script = 'echo begin; printf %s "${S%????????}"; read line < pipe; printf "%s\\n" "${S#????????????????????????}"'
    host.start("a", sh=script, env={**ENV, "S": PLAIN.decode()}, cwd=str(host.folder), masks=CANARIES)
    host.wait_in_log("a", "begin")
    host.kill()
    go_on(host)
    assert host.wait_log("a") == b"begin\n***\n"


def test_the_log_of_an_attempt_that_a_dead_keeper_left_is_written_by_nobody_else(host: KeeperHost) -> None:
    talk(host, 1)
    host.wait_in_log("a", "waits 0")
    logger = host.logger_pid()
    host.kill()
    os.kill(logger, signal.SIGKILL)
    wait_until(lambda: not is_alive(logger), "the logger's end")
    before = host.log_path("a").read_bytes()
    host.begin()
    host.wait_end("a")
    assert host.log_path("a").read_bytes() == before
    assert leaks_below(host.folder) == []


def test_the_rest_of_a_secret_whose_beginning_died_with_a_logger_is_masked(host: KeeperHost) -> None:
    talk(host, 3)
    for turn in range(3):
        host.wait_in_log("a", f"waits {turn}")
        wait_for_half(host, turn)
        os.kill(host.logger_pid(), signal.SIGKILL)
        go_on(host)
    assert succeeded(host.wait_end("a"))
    log = host.wait_log("a")
    assert log.count(b"*** whole") == 3
    assert leaks_below(host.folder) == []
    gaps = [record[3] for record in host.records("a") if record[2] == GAP]
    assert gaps == [PIPE_BYTES + 2 * HELD_MAX_BYTES] * 3


def wait_for_half(host: KeeperHost, turn: int) -> None:
    host.wait_in_log("a", f"half {turn}: ")


def test_an_upgrade_goes_on_masking_in_the_middle_of_a_secret(host: KeeperHost) -> None:
    talk(host, 3)
    for turn in range(3):
        host.wait_in_log("a", f"waits {turn}")
        wait_for_half(host, turn)
        upgrade(host)
        go_on(host)
    assert succeeded(host.wait_end("a"))
    assert host.wait_log("a").count(b"*** whole") == 3
    assert leaks_below(host.folder) == []
    assert [record[2] for record in host.records("a")].count(GAP) == 0


def upgrade(host: KeeperHost) -> None:
    logger = host.logger_pid()
    host.link.upgrade()
    host.link.flush()
    wait_until(lambda: not is_alive(logger), "the old logger's end")


def test_after_an_upgrade_a_logger_that_is_killed_is_given_the_secrets_again(host: KeeperHost) -> None:
    talk(host, 1)
    host.wait_in_log("a", "waits 0")
    upgrade(host)
    os.kill(host.logger_pid(), signal.SIGKILL)
    go_on(host)
    assert succeeded(host.wait_end("a"))
    assert b"*** whole" in host.wait_log("a")
    assert leaks_below(host.folder) == []


def test_a_secret_in_the_folder_of_a_task_is_not_in_the_record_of_its_failed_start(host: KeeperHost) -> None:
    end = host.run("a", "/bin/true", cwd=f"/nonexistent/{PLAIN.decode()}", masks=CANARIES)
    assert isinstance(end, StartFailure)
    assert "/nonexistent/***" in end.message
    assert leaks_below(host.folder) == []


def test_a_task_without_secrets_has_a_log_as_ever_beside_one_with_some(host: KeeperHost) -> None:
    host.run("a", sh=f"echo {PLAIN.decode()}", masks=CANARIES)
    host.run("b", sh="echo nothing to hide")
    assert host.wait_log("b") == b"nothing to hide\n"
    assert host.wait_log("a") == b"***\n"


# ---- Cores ----


def python_for(prefix: tuple[str, ...]) -> str:
    """An interpreter that another account can run the keeper with: the present one may lie below /root."""
    for python in (sys.executable, "/usr/bin/python3"):
        tried = [*prefix, "env", python, "-I", "-S", str(ENTRY), "--help"]  # setpriv has all rights until its exec
        if os.path.exists(python) and subprocess.run(tried, capture_output=True, check=False).returncode == 0:
            return python
    pytest.skip("no interpreter, or no source, that the account nobody can read")


@pytest.fixture
def modest_host() -> Iterator[KeeperHost]:
    """A keeper that is not root: to whom the kernel gives its files in /proc says whether its memory is closed."""
    with tempfile.TemporaryDirectory() as folder:
        keeper = KeeperHost(Path(folder) / "k")
        prefix: tuple[str, ...] = ()
        if os.geteuid() == 0:
            for path in (folder, keeper.folder, keeper.logs):
                os.chown(path, NOBODY, NOBODY)
            prefix = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
            keeper.python = python_for(prefix)
        keeper.begin(prefix=prefix)
        yield keeper
        keeper.end()


def owners(host: KeeperHost) -> list[int]:
    return [Path(f"/proc/{pid}/environ").stat().st_uid for pid in (host.keeper_pid, host.logger_pid())]


def test_neither_keeper_nor_logger_leaves_a_core_once_it_holds_secrets(modest_host: KeeperHost) -> None:
    modest_host.run("a", "/bin/true")
    modest_host.wait_log("a")
    assert 0 not in owners(modest_host)
    modest_host.run("b", "/bin/true", masks=CANARIES)
    modest_host.wait_log("b")
    assert owners(modest_host) == [0, 0]


def test_after_an_upgrade_no_core_is_left_either(modest_host: KeeperHost) -> None:
    os.mkfifo(modest_host.folder / "pipe", 0o666)
    modest_host.start("a", sh="read line < pipe", cwd=str(modest_host.folder), masks=CANARIES)
    modest_host.wait_running("a")
    upgrade(modest_host)
    wait_until(lambda: owners(modest_host) == [0, 0], "closed memory of keeper and logger")


def test_a_task_of_a_keeper_that_holds_secrets_may_leave_a_core(modest_host: KeeperHost) -> None:
    modest_host.run("a", "/bin/true", masks=CANARIES)
    modest_host.run("b", sh="stat -c %u /proc/$$/environ; ulimit -c")
    owner, limit = modest_host.wait_log("b").split()
    assert owner != b"0"
    assert limit == subprocess.run(["/bin/sh", "-c", "ulimit -c"], capture_output=True, check=True).stdout.strip()


# ---- A keeper that cannot ----


def serve(folder: Path, *levels: bytes) -> tuple[KeeperLink, socket.socket]:
    """A connection to a keeper that tells this level, or none as the first version did."""
    (folder / "run").mkdir()
    answer = wire.frame(wire.WELCOME, b"1", b"epoch", b"boot", b"7", b"", *levels) + wire.frame(wire.LISTED)
    served: list[socket.socket] = []

    def accept() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "run" / "keeper.sock"))
            listener.listen()
            served.append(listener.accept()[0])
            served[0].sendall(answer)

    thread = threading.Thread(target=accept)
    thread.start()
    link = KeeperLink(str(folder / "run"), "x", spawn=False)
    link.connect(DEADLINE_S)
    thread.join()
    return link, served[0]


def request(*masks: bytes) -> StartRequest:
    return StartRequest(attempt="a", argv=("/bin/true",), env={}, cwd="/", masks=masks)


def start(link: KeeperLink, folder: Path, *masks: bytes) -> None:
    descriptors = append(folder / "log"), append(folder / "idx")
    try:
        link.start(request(*masks), *descriptors)
    except Refused:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def test_an_older_keeper_is_given_no_task_with_secrets(tmp_path: Path) -> None:
    link, peer = serve(tmp_path)
    with peer:
        with pytest.raises(Refused, match="reload pyflow-keeper"):
            start(link, tmp_path, PLAIN)
        start(link, tmp_path)
        link.close()


def test_an_older_keeper_that_has_been_upgraded_is_given_them(tmp_path: Path) -> None:
    link, peer = serve(tmp_path, b"1")
    with peer:
        peer.sendall(wire.frame(wire.WELCOME, b"1", b"epoch", b"boot", b"7", b"", b"%d" % wire.LEVEL))
        assert select.select([link], [], [], DEADLINE_S)[0]
        assert link.receive() == []
        start(link, tmp_path, PLAIN)
        link.close()


def test_a_keeper_says_after_its_upgrade_what_it_understands(host: KeeperHost) -> None:
    host.link._keeper_level = 1
    upgrade(host)
    host.wait(lambda: host.link._keeper_level == wire.LEVEL, "the new version's level")
    host.run("a", sh=f"echo {PLAIN.decode()}", masks=CANARIES)
    assert host.wait_log("a") == b"***\n"


def test_secrets_that_are_too_much_to_look_for_are_refused(host: KeeperHost) -> None:
    with pytest.raises(Refused, match="at most 262144"):
        start(host.link, host.logs, b"x" * MASKS_MAX_BYTES, b"y")


def test_a_request_does_not_show_its_secrets_and_environment() -> None:
    asked = StartRequest(attempt="a", argv=("x",), env={"S": PLAIN.decode()}, cwd="/", masks=(PLAIN,))
    assert PLAIN.decode() not in f"{asked!r} {asked}"
