"""The thin client: what it sends, what it shows, how it ends; and that it stays thin."""

from __future__ import annotations

import os
import posix
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pyflowctl import thin
from pyflowd import paths
from pyflowd.protocol.frames import Again, Finish, Print, frame
from pyflowd.protocol.views import Alive
from pyflowd.render.grammar import COMMANDS, GLOBAL_OPTIONS
from tests.unit.fakedaemon import DEADLINE_S, FakeDaemon, sends

REPO = Path(__file__).resolve().parent.parent.parent
DONE = frame(Finish(0))


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No instance of this host is found by chance."""
    kept = {name: posix.environ[name] for name in (b"PATH", b"TZ") if name in posix.environ}
    monkeypatch.setattr(posix, "environ", {**kept, b"PYFLOW_ROOT": str(tmp_path).encode()})
    (tmp_path / "run").mkdir()


def socket_of(tmp_path: Path) -> Path:
    return tmp_path / "run" / "pyflowd.sock"


def start_client(tmp_path: Path, *argv: str, **options: int) -> subprocess.Popen[bytes]:
    environment = {"PYFLOW_ROOT": str(tmp_path), "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-m", "pyflowctl", *argv]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, **options)


# ---- Thin -----------------------------------------------------------------------------------------------------------


def test_a_command_imports_nothing_but_the_socket(tmp_path: Path) -> None:
    script = (
        "import sys; before = set(sys.modules); sys.path.insert(0, sys.argv.pop(1))\n"
        "from pyflowctl.thin import main\n"
        "status = main(sys.argv[1:])\n"
        "sys.stderr.write(' '.join(sorted(set(sys.modules) - before)))\n"
    )
    with FakeDaemon(socket_of(tmp_path), sends(frame(Print(1, b"fine\n")), DONE)):
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", script, str(REPO), "status"],
            env={"PYFLOW_ROOT": str(tmp_path)},
            capture_output=True,
            timeout=DEADLINE_S,
            check=True,
        )
    assert done.stdout == b"fine\n"
    assert done.stderr.decode().split() == [
        "_socket",
        "pyflowctl",
        "pyflowctl.link",
        "pyflowctl.packing",
        "pyflowctl.thin",
    ]


def test_the_options_with_a_value_are_those_of_the_grammar() -> None:
    options = [option for spec in COMMANDS for option in spec.options] + list(GLOBAL_OPTIONS)
    assert set(thin.VALUED_OPTIONS) == {name for option in options if option.value for name in option.names}


# ---- What it sends --------------------------------------------------------------------------------------------------


def test_the_command_line_is_sent_as_it_is(tmp_path: Path) -> None:
    argv = ["-o", "json", "history", "bücher", "--since", "2h"]
    with FakeDaemon(socket_of(tmp_path), sends(DONE)) as daemon:
        assert thin.main(argv) == 0
    assert daemon.commands[0].argv == argv


def test_a_file_that_run_names_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_bytes(b"tasks: {}\n")
    with FakeDaemon(socket_of(tmp_path), sends(DONE)) as daemon:
        thin.main(["run", "-p", "a=b", str(path)])
    assert daemon.commands[0].files == {str(path): b"tasks: {}\n"}


def test_the_value_of_a_param_is_no_file(tmp_path: Path) -> None:
    with FakeDaemon(socket_of(tmp_path), sends(DONE)) as daemon:
        thin.main(["run", "-p", "/etc/passwd", "deploy"])
    assert daemon.commands[0].files == {}


def test_a_file_that_does_not_fit_a_frame_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "large.yaml"
    path.write_bytes(b"#" * (1 << 20))
    assert thin.main(["run", str(path)]) == 6
    assert "more than the 1 MiB that can be sent" in capfd.readouterr().err


def test_a_file_that_is_missing_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert thin.main(["run", str(tmp_path / "no.yaml")]) == 3
    assert capfd.readouterr().err.startswith(f"pyflowctl: {tmp_path}/no.yaml: there is no such file")


@pytest.mark.parametrize(
    ("environment", "choice", "terminal", "wanted"),
    [
        ({b"TERM": b"xterm"}, "auto", True, True),
        ({b"TERM": b"xterm"}, "auto", False, False),
        ({b"TERM": b"dumb"}, "auto", True, False),
        ({b"TERM": b"xterm", b"NO_COLOR": b"1"}, "auto", True, False),
        ({b"TERM": b"xterm", b"NO_COLOR": b"1"}, "always", False, True),
        ({b"TERM": b"xterm"}, "never", True, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    monkeypatch: pytest.MonkeyPatch, environment: dict[bytes, bytes], choice: str, terminal: bool, wanted: bool
) -> None:
    monkeypatch.setattr(posix, "environ", environment)
    assert thin.wants_colour(choice, terminal) is wanted


@pytest.mark.parametrize(
    ("tz", "name"), [(b"Europe/Berlin", "Europe/Berlin"), (b":/usr/share/zoneinfo/Asia/Tokyo", "Asia/Tokyo")]
)
def test_the_time_zone_is_that_of_tz(monkeypatch: pytest.MonkeyPatch, tz: bytes, name: str) -> None:
    monkeypatch.setattr(posix, "environ", {b"TZ": tz})
    assert thin.timezone_name() == name


# ---- Where the daemon is --------------------------------------------------------------------------------------------


def test_the_socket_that_is_named_comes_first() -> None:
    assert thin.socket_path({"--socket": "/x/y.sock", "--root": "/r"})[0] == "/x/y.sock"


def test_root_on_the_command_line_comes_before_the_environment() -> None:
    assert thin.socket_path({"--root": "/r"})[0] == "/r/run/pyflowd.sock"


def test_root_on_the_command_line_comes_before_a_socket_of_the_environment() -> None:
    posix.environ[b"PYFLOW_SOCKET"] = b"/x/y.sock"
    assert thin.socket_path({"--root": "/r"})[0] == "/r/run/pyflowd.sock"


def test_a_socket_of_the_environment_comes_before_its_root() -> None:
    posix.environ[b"PYFLOW_SOCKET"] = b"/x/y.sock"
    assert thin.socket_path({})[0] == "/x/y.sock"


def test_root_of_the_environment_is_used(tmp_path: Path) -> None:
    assert thin.socket_path({})[0] == str(socket_of(tmp_path))


def test_a_user_without_an_instance_asks_the_systems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(posix, "environ", {b"XDG_RUNTIME_DIR": str(tmp_path).encode()})
    monkeypatch.setattr(posix, "getuid", lambda: 1000)
    assert thin.socket_path({})[0] == "/run/pyflow/pyflowd.sock"


def test_a_user_with_an_instance_asks_that(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pyflow").mkdir()
    (tmp_path / "pyflow" / "pyflowd.sock").touch()
    monkeypatch.setattr(posix, "environ", {b"XDG_RUNTIME_DIR": str(tmp_path).encode()})
    monkeypatch.setattr(posix, "getuid", lambda: 1000)
    assert thin.socket_path({})[0] == str(tmp_path / "pyflow" / "pyflowd.sock")


def test_a_users_socket_is_where_the_daemon_puts_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path)}
    path = Path(paths.of_user(environment, 1000).socket)
    path.parent.mkdir(parents=True)
    path.touch()
    monkeypatch.setattr(posix, "environ", {name.encode(): value.encode() for name, value in environment.items()})
    monkeypatch.setattr(posix, "getuid", lambda: 1000)
    assert thin.socket_path({})[0] == str(path)


def test_a_socket_in_a_deep_folder_is_reached(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    (deep / "run").mkdir(parents=True)
    folder = os.open(deep / "run", os.O_PATH)
    try:
        with FakeDaemon(Path(f"/proc/self/fd/{folder}/pyflowd.sock"), sends(DONE)):
            assert thin.main(["--root", str(deep), "status"]) == 0
    finally:
        os.close(folder)


def test_without_a_daemon_the_socket_and_the_remedy_are_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert thin.main(["status"]) == 4
    wanted = f"no daemon at {socket_of(tmp_path)}: no socket there; start it with: pyflowd --root {tmp_path}\n"
    assert capfd.readouterr().err == f"pyflowctl: {wanted}"


def test_a_socket_that_nobody_listens_on_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(socket_of(tmp_path)))
    listener.close()
    assert thin.main(["status"]) == 4
    assert "nobody listens there" in capfd.readouterr().err


def test_a_mistyped_command_is_told_without_a_daemon(capfd: pytest.CaptureFixture[str]) -> None:
    assert thin.main(["stauts"]) == 2
    assert 'did you mean "status"?' in capfd.readouterr().err


# ---- What it shows, how it ends -------------------------------------------------------------------------------------


def test_both_streams_and_the_status_are_the_daemons(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    frames = (frame(Print(1, b"out\n")), frame(Alive()), frame(Print(2, b"err\n")), frame(Finish(7)))
    with FakeDaemon(socket_of(tmp_path), sends(*frames)):
        assert thin.main(["status"]) == 7
    assert capfd.readouterr() == ("out\n", "err\n")


def test_frames_may_come_byte_by_byte(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def slowly(connection: socket.socket) -> None:
        for byte in frame(Print(1, b"whole\n")) + DONE:
            connection.sendall(bytes([byte]))

    with FakeDaemon(socket_of(tmp_path), slowly):
        assert thin.main(["status"]) == 0
    assert capfd.readouterr().out == "whole\n"


def test_a_daemon_that_says_nothing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    posix.environ[b"PYFLOW_TIMEOUT"] = b"0.1"
    daemon = FakeDaemon(socket_of(tmp_path), lambda _: daemon.over.wait(DEADLINE_S) and None)
    with daemon:
        assert thin.main(["status"]) == 4
    assert "has said nothing for 0.1 s" in capfd.readouterr().err


def test_a_daemon_that_accepts_nothing_is_given_up(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    posix.environ[b"PYFLOW_TIMEOUT"] = b"0.1"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as other:
        listener.bind(str(socket_of(tmp_path)))
        listener.listen(0)
        other.connect(str(socket_of(tmp_path)))  # the queue is full now
        assert thin.main(["status"]) == 4
    assert "takes no connection for 0.1 s" in capfd.readouterr().err


def test_a_time_out_that_is_no_number_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    posix.environ[b"PYFLOW_TIMEOUT"] = b"soon"
    assert thin.main(["status"]) == 2
    assert "write a number of seconds" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "closed the connection before it had answered"),
        (frame(Print(1, b""))[:-1], "closed the connection before it had answered"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "no frame of this protocol"),
        (b"\x00\x00\x00\x01\xc1", "cannot be read"),
    ],
)
def test_an_answer_that_is_none_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], answer: bytes, message: str
) -> None:
    with FakeDaemon(socket_of(tmp_path), sends(answer)):
        assert thin.main(["status"]) == 4
    error = capfd.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_reader_that_went_away_ends_it_quietly(tmp_path: Path) -> None:
    with FakeDaemon(socket_of(tmp_path), sends(frame(Print(1, b"x" * 100_000)), DONE)):
        reading, writing = os.pipe()
        os.close(reading)
        client = start_client(tmp_path, "list", stdout=writing)
        os.close(writing)
        _, error = client.communicate(timeout=DEADLINE_S)
    assert (client.returncode, error) == (141, b"")


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    with FakeDaemon(socket_of(tmp_path), sends(frame(Print(1, b"x")), DONE)):
        full = os.open("/dev/full", os.O_WRONLY)
        client = start_client(tmp_path, "list", stdout=full)
        os.close(full)
        _, error = client.communicate(timeout=DEADLINE_S)
    assert (client.returncode, error) == (4, b"pyflowctl: cannot write the output: No space left on device\n")


def test_an_interrupt_while_a_run_is_waited_for_says_that_it_goes_on(tmp_path: Path) -> None:
    daemon = FakeDaemon(socket_of(tmp_path), lambda _: daemon.over.wait(DEADLINE_S) and None)
    with daemon:
        client = start_client(tmp_path, "run", "deploy", "--wait")
        assert daemon.asked.wait(DEADLINE_S)
        client.send_signal(signal.SIGINT)
        _, error = client.communicate(timeout=DEADLINE_S)
    assert client.returncode == 130
    assert error == b"pyflowctl: interrupted; a recorded run goes on without this client: see pyflowctl status\n"


# ---- Over a restart of the daemon -----------------------------------------------------------------------------------


def test_a_wait_goes_on_with_the_daemon_that_comes_back(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    argv = ["wait", "42", "-o", "json"]
    answers = iter([sends(frame(Again(argv))), sends(frame(Print(1, b"{}\n")), frame(Finish(1)))])
    with FakeDaemon(socket_of(tmp_path), lambda connection: next(answers)(connection)) as daemon:
        assert thin.main(["run", "deploy", "--wait", "-o", "json"]) == 1
    assert [command.argv for command in daemon.commands] == [["run", "deploy", "--wait", "-o", "json"], argv]
    assert capfd.readouterr() == ("{}\n", "")


def test_a_daemon_that_does_not_come_back_is_told_with_the_command_to_look(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    posix.environ[b"PYFLOW_TIMEOUT"] = b"0.3"

    def goes_away(connection: socket.socket) -> None:
        connection.sendall(frame(Again(["wait", "42"])))
        socket_of(tmp_path).rename(tmp_path / "aside")

    with FakeDaemon(socket_of(tmp_path), goes_away):
        assert thin.main(["run", "deploy", "--wait"]) == 4
        (tmp_path / "aside").rename(socket_of(tmp_path))
    assert capfd.readouterr().err == (
        "pyflowctl: the daemon went away and has not come back within 0.3 s; the run goes on, see: pyflowctl wait 42\n"
    )


def test_an_answer_that_cannot_be_had_twice_is_not_asked_for_twice(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with FakeDaemon(socket_of(tmp_path), sends(frame(Again(["wait", "42"])), frame(Again([])))) as daemon:
        assert thin.main(["run", "deploy", "--wait"]) == 4
    assert len(daemon.commands) == 1
    assert capfd.readouterr().err.endswith("; the run goes on, see: pyflowctl wait 42\n")


def test_an_interrupt_names_the_run_that_goes_on(tmp_path: Path) -> None:
    def waits(connection: socket.socket) -> None:
        connection.sendall(frame(Again(["wait", "42"])) + frame(Print(1, b"x")))
        daemon.over.wait(DEADLINE_S)

    daemon = FakeDaemon(socket_of(tmp_path), waits)
    with daemon:
        client = start_client(tmp_path, "run", "deploy", "--wait", stdout=subprocess.PIPE)
        assert client.stdout is not None
        client.stdout.read(1)
        client.send_signal(signal.SIGINT)
        _, error = client.communicate(timeout=DEADLINE_S)
    assert client.returncode == 130
    assert error == b"pyflowctl: interrupted; the run goes on without this client, see: pyflowctl wait 42\n"


@pytest.mark.parametrize("option", ["--root", "--socket"])
def test_an_empty_place_is_not_the_daemon_of_this_host(
    tmp_path: Path, option: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with FakeDaemon(socket_of(tmp_path), sends(DONE)) as daemon:
        assert thin.main([option, "", "status"]) == 2
    assert daemon.commands == []
    assert f"{option} names nothing" in capfd.readouterr().err


def test_output_to_a_terminal_that_does_not_block_arrives_whole(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    text = b"y" * 500_000
    with FakeDaemon(socket_of(tmp_path), sends(frame(Print(1, text)), DONE)):
        client = start_client(tmp_path, "list", stdout=writing)
        os.close(writing)
        with os.fdopen(reading, "rb") as output:
            assert output.read() == text
        _, error = client.communicate(timeout=DEADLINE_S)
    assert (client.returncode, error) == (0, b"")


def test_after_two_dashes_everything_is_a_word() -> None:
    assert thin.scan(["run", "--key", "k", "--", "--root", "x"]) == ({"--key": "k"}, ["run", "--root", "x"])


def test_who_waits_at_a_terminal_is_told_that_there_is_no_answer_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only before the first frame: a run that is waited for may be silent for long."""
    ours, theirs = socket.socketpair()
    said: list[bytes] = []

    def answer(stream: int, text: bytes) -> None:
        said.append(text)
        theirs.sendall(frame(Finish(exit_status=7)))

    monkeypatch.setattr(thin, "PATIENCE_S", 0.01)
    monkeypatch.setattr(thin, "write", answer)
    with ours, theirs:
        monkeypatch.setattr(thin.posix, "isatty", lambda stream: False)
        with pytest.raises(thin.ClientError, match="the daemon has said nothing"):
            thin.show(thin.Frames(ours), 0.05, {})
        assert said == []
        monkeypatch.setattr(thin.posix, "isatty", lambda stream: stream == 2)
        assert thin.show(thin.Frames(ours), DEADLINE_S, {}) == 7
    assert [b"is it starting? See: systemctl status pyflowd" in text for text in said] == [True]
