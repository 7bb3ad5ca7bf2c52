"""`ssh` tasks against a real server on loopback: scripts, values, exit statuses, broken connections, being stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyflowd.model.kinds import Ssh
from tests.corpus import CORPUS, needs_corpus
from tests.daemon import programs, sshd
from tests.daemon.programs import Ended
from tests.daemon.sshd import Sshd, needs_sshd
from tests.waiting import wait_until

pytestmark = needs_sshd


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with sshd.running(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Sshd]:
    """For a test that changes its settings or breaks it."""
    with sshd.running(tmp_path / "sshd") as running:
        yield running


def kind(server: Sshd, script: str, **fields: Any) -> Ssh:
    given = {
        "host": server.host, "port": server.port, "user": server.user, "identity": server.identity,
        "options": server.options, "script": script,
    }  # fmt: skip
    return Ssh(**{**given, **fields})


def run(server: Sshd, folder: Path, script: str, env: dict[str, str] | None = None, **fields: Any) -> Ended:
    return programs.run(kind(server, script, **fields), folder, **(env or {}))


def is_alive(pid_file: Path) -> bool:
    """Whether the process that wrote its id there lives; a zombie does not."""
    try:
        status = Path(f"/proc/{pid_file.read_text().strip()}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def test_a_script_runs_there_and_its_output_comes_back(server: Sshd, tmp_path: Path) -> None:
    ended = run(server, tmp_path, 'echo "out $0"; echo err >&2')
    assert (ended.status, ended.stdout, ended.stderr) == (0, "out task\n", "err\n")


def test_the_shell_is_strict(server: Sshd, tmp_path: Path) -> None:
    for script in ("false | true\necho no", "false\necho no", 'echo "$NOT_THERE"\necho no'):
        ended = run(server, tmp_path, script)
        assert (ended.status, ended.stdout) == (1, "")


def test_another_shell_may_be_asked_for(server: Sshd, tmp_path: Path) -> None:
    assert run(server, tmp_path, "import sys; print(sys.argv)", shell=("python3", "-c")).stdout == "['-c']\n"


@pytest.mark.parametrize("status", [1, 7, 126, 254])
def test_the_exit_status_is_that_of_the_script(server: Sshd, tmp_path: Path, status: int) -> None:
    ended = run(server, tmp_path, f"exit {status}")
    assert (ended.status, ended.said) == (status, None)


def test_the_scripts_own_255_is_no_broken_connection(server: Sshd, tmp_path: Path) -> None:
    ended = run(server, tmp_path, "echo x >&2; exit 255")
    assert (ended.status, ended.said) == (255, None)
    assert ended.stderr == "x\nthe script itself ended with exit status 255\n"


def test_the_scripts_standard_input_is_empty(server: Sshd, tmp_path: Path) -> None:
    assert run(server, tmp_path, "cat; read -r x || echo end; cat - >&2; echo after").stdout == "end\nafter\n"


HOSTILE = [
    "; touch x", "$(touch x)", "`touch x`", "'; touch x; '", '"; touch x; "', "a\nb\n\n", "\\\\n\\", "*", "  a  b ",
    "EOF\ntouch x\n", "-n", "!!", "\x01\x7f\u2028é", "",
]  # fmt: skip


@pytest.mark.parametrize("login_shell", ["sh", "bash", "dash", "zsh", "fish", "busybox sh", "tcsh"])
def test_hostile_values_arrive_byte_for_byte_whatever_the_login_shell(
    own_server: Sshd, tmp_path: Path, login_shell: str
) -> None:
    if shutil.which(login_shell.split()[0]) is None:
        pytest.skip(f"no {login_shell} on this host")
    own_server.login_shell(login_shell)
    env = {f"PARAM_{n}": text for n, text in enumerate(HOSTILE)}
    script = f'cd "{tmp_path}"; for n in $(seq 0 {len(HOSTILE) - 1}); do v=PARAM_$n; printf "%s\\0" "${{!v}}"; done'
    ended = run(own_server, tmp_path, script, env)
    assert ended.stdout.split("\0")[:-1] == HOSTILE
    assert not (tmp_path / "x").exists()


@needs_corpus
def test_naughty_strings_arrive_byte_for_byte(server: Sshd, tmp_path: Path) -> None:
    assert CORPUS is not None
    strings = json.loads((CORPUS / "nasty" / "naughty_strings.json").read_text())["strings"]
    env = {f"NAUGHTY{n:04}": text for n, text in enumerate(strings)}
    code = "import os, json; print(json.dumps([os.environ[k] for k in sorted(os.environ) if k.startswith('NAUGHTY')]))"
    script = f'python3 -c "{code}"'
    assert json.loads(run(server, tmp_path, script, env).stdout) == strings


def test_values_are_in_no_command_line_of_either_side(server: Sshd, tmp_path: Path) -> None:
    script = 'tr "\\0" " " </proc/$PPID/cmdline; cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" " " || true'
    shown = run(server, tmp_path, script, {"TOKEN": "geheim-4711"}).stdout
    assert "ServerAliveInterval" in shown
    assert "geheim-4711" not in shown


def test_a_large_script_and_large_values_pass(server: Sshd, tmp_path: Path) -> None:
    script = "".join(f"x{n}={'v' * 50}\n" for n in range(2000)) + 'echo "${#x1999} ${#BIG}"\n'
    big = {f"BIG{n}": "b" * 100_000 for n in range(8)} | {"BIG": "b" * 100_000}
    assert run(server, tmp_path, script, big).stdout == "50 100000\n"


def test_much_output_comes_whole(server: Sshd, tmp_path: Path) -> None:
    ended = run(server, tmp_path, "head -c 20000000 /dev/zero; head -c 1000000 /dev/zero >&2")
    assert (len(ended.stdout), len(ended.stderr)) == (20_000_000, 1_000_000)


def test_a_script_that_leaves_a_process_behind_ends(server: Sshd, tmp_path: Path) -> None:
    script = f'sleep 1000 & echo $! >"{tmp_path}/pid"; echo done'
    ended = run(server, tmp_path, script)
    assert (ended.status, ended.stdout) == (0, "done\n")
    wait_until(lambda: not is_alive(tmp_path / "pid"), "the end over there", programs.DEADLINE_S)


# ---- No connection --------------------------------------------------------------------------------------------------


def test_an_unknown_host_key_is_refused(server: Sshd, tmp_path: Path) -> None:
    options = {**server.options, "UserKnownHostsFile": "/dev/null"}
    ended = run(server, tmp_path, f'touch "{tmp_path}/ran"', options=options)
    assert ended.status == 255
    assert "Host key verification failed. Check the host's key" in ended.message
    assert not (tmp_path / "ran").exists()


def test_a_changed_host_key_is_refused(own_server: Sshd, tmp_path: Path) -> None:
    other = (own_server.folder / "client_key.pub").read_text().split()[:2]
    own_server.known_hosts.write_text(f"[127.0.0.1]:{own_server.port} {' '.join(other)}\n")
    ended = run(own_server, tmp_path, f'touch "{tmp_path}/ran"')
    assert "Host key verification failed" in ended.message
    assert not (tmp_path / "ran").exists()


def test_a_new_host_key_may_be_accepted(server: Sshd, tmp_path: Path) -> None:
    options = {"UserKnownHostsFile": str(tmp_path / "known"), "StrictHostKeyChecking": "accept-new"}
    assert run(server, tmp_path, "echo yes", options=options).stdout == "yes\n"


def test_a_refused_connection_says_so(server: Sshd, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        ended = run(server, tmp_path, "true", port=closed.getsockname()[1])
    assert ended.status == 255
    assert ended.message.startswith("no connection to 127.0.0.1, or it broke: ssh: connect to host 127.0.0.1 port")


def test_a_key_that_is_not_let_in_says_so(server: Sshd, tmp_path: Path) -> None:
    ended = run(server, tmp_path, "true", identity=str(server.folder / "host_key"))
    assert "Permission denied (publickey)" in ended.message


def test_without_ssh_the_message_says_what_to_do(server: Sshd, tmp_path: Path) -> None:
    ended = programs.run(kind(server, "true"), tmp_path, PATH="/nonexistent")
    assert (ended.status, "install openssh-client" in ended.message) == (127, True)


def test_a_connection_that_breaks_is_told_from_an_end_of_the_script(server: Sshd, tmp_path: Path) -> None:
    script = f'echo $$ >"{tmp_path}/pid"; kill -KILL "$(ps -o ppid= -p "$PPID")"; sleep 1000'
    ended = run(server, tmp_path, script)
    assert ended.status == 255
    assert ended.message.startswith("no connection to 127.0.0.1, or it broke: ")
    wait_until(lambda: not is_alive(tmp_path / "pid"), "the end over there", programs.DEADLINE_S)


# ---- Being stopped --------------------------------------------------------------------------------------------------


def test_sigterm_stops_the_script_on_the_other_host_and_waits_for_its_end(server: Sshd, tmp_path: Path) -> None:
    script = """
        trap 'sleep 0.3; echo cleaned; exit 3' TERM
        echo $$ >"$PID"
        sleep 1000 &
        wait
    """
    program = programs.start(kind(server, script), tmp_path, PID=str(tmp_path / "pid"))
    wait_until(lambda: is_alive(tmp_path / "pid"), "the script over there", programs.DEADLINE_S)
    os.killpg(program.pid, signal.SIGTERM)
    ended = programs.end(program, tmp_path)
    assert (ended.status, ended.stdout) == (-signal.SIGTERM, "cleaned\n")
    assert not is_alive(tmp_path / "pid")


def test_a_script_that_ignores_sigterm_is_killed_with_what_it_started(server: Sshd, tmp_path: Path) -> None:
    script = """
        trap '' TERM
        sh -c 'echo $$ >"$CHILD"; while :; do sleep 1; done' &
        echo $$ >"$PID"
        wait
    """
    env = {"PID": str(tmp_path / "pid"), "CHILD": str(tmp_path / "child")}
    program = programs.start(kind(server, script), tmp_path, **env)
    wait_until(lambda: is_alive(tmp_path / "pid") and is_alive(tmp_path / "child"), "both", programs.DEADLINE_S)
    os.killpg(program.pid, signal.SIGTERM)
    assert programs.end(program, tmp_path).status == -signal.SIGTERM
    wait_until(
        lambda: not is_alive(tmp_path / "pid") and not is_alive(tmp_path / "child"), "their end", programs.DEADLINE_S
    )


def test_a_killed_client_stops_the_script_on_the_other_host(server: Sshd, tmp_path: Path) -> None:
    program = programs.start(kind(server, f'echo $$ >"{tmp_path}/pid"; sleep 1000'), tmp_path)
    wait_until(lambda: is_alive(tmp_path / "pid"), "the script over there", programs.DEADLINE_S)
    children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
    for pid in [*map(int, children), program.pid]:
        os.kill(pid, signal.SIGKILL)
    program.communicate()
    wait_until(lambda: not is_alive(tmp_path / "pid"), "the end over there", programs.DEADLINE_S)


def test_a_connection_that_does_not_come_about_can_be_given_up(server: Sshd, tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        program = programs.start(kind(server, "true", port=silent.getsockname()[1]), tmp_path)
        connection, _ = silent.accept()
        program.send_signal(signal.SIGTERM)
        assert programs.end(program, tmp_path).status == -signal.SIGTERM
        connection.close()
