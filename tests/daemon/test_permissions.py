"""A keeper of root's with keeper.yaml: for whom it starts tasks, and what of root's, whatever the daemon asks."""

from __future__ import annotations

import fcntl
import hashlib
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyflowd.base import process
from pyflowd.keeper import permissions
from pyflowd.model.ends import End, Exit, StartFailure
from pyflowd.rootcheck import plans
from pyflowd.runtime.keeperlink import StartRequest
from tests.daemon.keeper_host import KeeperHost, append, succeeded
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a keeper that is not root becomes nobody else")
TEXT = "user: root\ntasks:\n  t: {argv: [id, -un]}\n  cat: {run: cat, stdin: said}\n"
ENV = {
    "PATH": f"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:{process.COMMANDS}", "HOME": "/root",
}  # fmt: skip


class Host:
    """A keeper with settings, a folder of workflows, and a daemon that says what the test wants."""

    def __init__(self, folder: Path) -> None:
        self.keeper = KeeperHost(folder / "k")
        self.settings = folder / "keeper.yaml"
        self.workflows = folder / "etc" / "workflows"
        self.workflows.mkdir(parents=True)
        self.asked = 0

    def allow(self, users: str = "[nobody]", root: str = "true") -> None:
        text = f"users: {users}\nroot: {root}\nworkflows: {self.workflows}\nvendor: {self.workflows}-vendor\n"
        self.settings.write_text(text)

    def begin(self) -> None:
        self.keeper.begin(options=("--settings", str(self.settings)))

    def define(self, text: str = TEXT, name: str = "w.yaml") -> tuple[str, str]:
        """Path and digest of a definition."""
        path = self.workflows / name
        path.write_text(text)
        return str(path), digest(text)

    def ask(
        self,
        *argv: str,
        user: str | None = None,
        origin: tuple[str, str, str] | None = None,
        stdin: int | None = None,
        **env: str,
    ) -> str:
        self.asked += 1
        attempt = f"a{self.asked}"
        request = StartRequest(
            attempt=attempt, argv=argv or ("id", "-un"), env={**ENV, **env}, cwd="/root" if origin else "/", user=user,
            origin=origin,
        )  # fmt: skip
        logs = append(self.keeper.log_path(attempt)), append(self.keeper.index_path(attempt))
        self.keeper.link.start(request, *logs, stdin)
        self.keeper.link.flush()
        return attempt

    def run(self, *argv: str, **more: object) -> End:
        return self.keeper.wait_end(self.ask(*argv, **more))  # type: ignore[arg-type]

    def refusal(self, *argv: str, **more: object) -> str:
        end = self.run(*argv, **more)
        assert isinstance(end, StartFailure), end
        assert end.step == "user"
        return end.message


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def memory(content: bytes, *, sealed: bool = True) -> int:
    handle = os.memfd_create("x", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(handle, content)
    os.lseek(handle, 0, os.SEEK_SET)
    if sealed:
        fcntl.fcntl(handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return handle


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    made.allow()
    try:
        yield made
    finally:
        made.keeper.end()


# ---- Users ----------------------------------------------------------------------------------------------------------


def test_a_user_that_is_listed_is_served_and_another_is_refused_with_the_file_and_what_to_add(host: Host) -> None:
    host.begin()
    assert succeeded(host.run(user="nobody"))
    remedy = "add it to users there, then: systemctl reload pyflow-keeper"
    assert host.refusal(user="daemon") == f"{host.settings} does not list the user daemon: {remedy}"


def test_a_star_is_everybody_but_root(host: Host) -> None:
    host.allow(users='"*"', root="false")
    host.begin()
    assert succeeded(host.run(user="daemon"))
    assert "write root: true there" in host.refusal(user="root")


def test_a_request_without_a_user_is_one_for_root(host: Host) -> None:
    host.allow(root="false")
    host.begin()
    assert "does not let tasks of root's start" in host.refusal(user=None)


@pytest.mark.parametrize("user", ["nosuchuser", "0day", "0", "65534"])
def test_a_user_that_is_none_is_an_error_whatever_is_listed(host: Host, user: str) -> None:
    host.allow(users='"*"')
    host.begin()
    assert host.refusal(user=user) == f"no user {user} on this host"


def test_another_name_for_root_is_root(host: Host, tmp_path: Path) -> None:
    """In a mount namespace of the keeper's own there is a user toor with the uid 0."""
    accounts = tmp_path / "passwd"
    accounts.write_text(Path("/etc/passwd").read_text() + "toor:x:0:0::/root:/bin/sh\n")
    host.allow(users="[toor]")
    bind = f'mount --bind {accounts} /etc/passwd && exec "$@"'
    apart = ("unshare", "-m", "--propagation", "private", "sh", "-c", bind, "sh")
    host.keeper.begin(options=("--settings", str(host.settings)), prefix=apart)
    assert host.refusal(user="toor") == "user toor is root by its uid: write user: root"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("users: [a, b", "is not believed"),
        ("user: [nobody]\n", 'line 1: keeper.yaml has no key "user" (did you mean "users"?)'),
        ("users: [root]\n", "write root: true"),
        ("root: perhaps\n", "line 1: root:"),
        ("", "does not list the user nobody"),
        ("# nothing\n", "does not list the user nobody"),
    ],
)
def test_settings_that_are_bad_or_say_nothing_serve_nobody(host: Host, text: str, said: str) -> None:
    host.settings.write_text(text)
    host.begin()
    assert said in host.refusal(user="nobody")


def test_settings_that_others_could_have_written_are_not_believed(host: Host, tmp_path: Path) -> None:
    host.settings.chmod(0o664)
    host.begin()
    assert f"{host.settings} is not believed: {host.settings} can be written by its group" in host.refusal(
        user="nobody"
    )
    host.settings.chmod(0o644)
    os.chown(host.settings, 65534, 65534)
    reload(host)
    assert f"{host.settings} is not believed: {host.settings} belongs to nobody" in host.refusal(user="nobody")
    os.chown(host.settings, 0, 0)
    tmp_path.chmod(0o777)
    reload(host)
    assert f"the folder {tmp_path} can be written" in host.refusal(user="nobody")
    tmp_path.chmod(0o700)
    host.settings.rename(tmp_path / "real")
    host.settings.symlink_to(tmp_path / "real")
    reload(host)
    assert "it cannot be read: Too many levels of symbolic links" in host.refusal(user="nobody")
    host.settings.unlink()
    reload(host)
    assert "it cannot be read: No such file" in host.refusal(user="nobody")
    host.allow()
    reload(host)
    assert succeeded(host.run(user="nobody"))


def reload(host: Host) -> None:
    """SIGHUP; the connection says when the keeper has gone over to itself."""
    os.kill(host.keeper.keeper_pid, signal.SIGHUP)
    host.keeper.link.close()
    host.keeper.connect()


def test_without_settings_a_keeper_asks_nothing(host: Host) -> None:
    host.keeper.begin()
    assert succeeded(host.run(user="daemon"))
    assert succeeded(host.run())


# ---- Tasks of root's ------------------------------------------------------------------------------------------------


def test_a_task_that_roots_file_says_is_started_as_root(host: Host) -> None:
    host.begin()
    path, known = host.define()
    for _ in range(2):
        attempt = host.ask(user="root", origin=(path, known, "t"))
        assert succeeded(host.keeper.wait_end(attempt))
        assert host.keeper.wait_log(attempt) == b"root\n"


@pytest.mark.parametrize(
    ("argv", "env", "said"),
    [
        (("id", "-u"), {}, "its argument 1 is another"),
        (("sh", "-c", "id"), {}, "it has 2 arguments, and 3 are asked"),
        (("id", "-un"), {"LD_PRELOAD": "/tmp/x.so"}, "it has no variable 'LD_PRELOAD'"),
    ],
)
def test_what_the_file_does_not_say_is_refused(
    host: Host, argv: tuple[str, ...], env: dict[str, str], said: str
) -> None:
    host.begin()
    path, known = host.define()
    assert said in host.refusal(*argv, user="root", origin=(path, known, "t"), **env)


def test_what_no_file_says_is_refused(host: Host, tmp_path: Path) -> None:
    host.begin()
    path, known = host.define()
    assert "only as a file of root's" in host.refusal(user="root")
    assert "has no task u that runs as root" in host.refusal(user="root", origin=(path, known, "u"))
    assert "began with another text" in host.refusal(user="root", origin=(path, digest("other"), "t"))
    elsewhere = tmp_path / "w.yaml"
    elsewhere.write_text(TEXT)
    assert "it is not in" in host.refusal(user="root", origin=(str(elsewhere), known, "t"))
    around = f"{host.workflows}/../w.yaml"
    assert "it is not in" in host.refusal(user="root", origin=(around, known, "t"))
    assert "is gone" in host.refusal(user="root", origin=(f"{host.workflows}/none.yaml", known, "t"))
    mild, other = host.define("tasks: {t: {argv: [id, -un]}}\n", "mild.yaml")
    assert "has no task t that runs as root" in host.refusal(user="root", origin=(mild, other, "t"))


@pytest.mark.parametrize("what", ["mode", "owner", "folder", "link", "fifo", "hard link"])
def test_a_file_that_is_not_roots_alone_is_not_believed(host: Host, tmp_path: Path, what: str) -> None:
    host.begin()
    path, known = host.define()
    if what == "mode":
        os.chmod(path, 0o666)
    elif what == "owner":
        os.chown(path, 65534, 65534)
    elif what == "folder":
        host.workflows.chmod(0o775)
    elif what == "fifo":
        os.unlink(path)
        os.mkfifo(path)
    else:
        own = tmp_path / "own"
        own.mkdir()
        os.rename(path, own / "w.yaml")
        os.chown(own / "w.yaml", 65534, 65534)
        if what == "link":
            os.symlink(own / "w.yaml", path)
        else:
            os.link(own / "w.yaml", path)
    said = host.refusal(user="root", origin=(path, known, "t"))
    wanted = {
        "mode": "can be written by everybody", "owner": "belongs to nobody", "folder": "can be written by its group",
        "link": "leads out of the folder", "fifo": "no regular file", "hard link": "belongs to nobody",
    }  # fmt: skip
    assert wanted[what] in said


def test_a_definition_that_was_approved_stays_so_for_the_runs_that_began_with_it(host: Host) -> None:
    host.begin()
    path, known = host.define()
    assert succeeded(host.run(user="root", origin=(path, known, "t")))
    _, newer = host.define(TEXT.replace("-un", "-u"))
    assert succeeded(host.run(user="root", origin=(path, known, "t")))
    assert "argument 1 is another" in host.refusal(user="root", origin=(path, newer, "t"))
    assert succeeded(host.run("id", "-u", user="root", origin=(path, newer, "t")))


def test_standard_input_is_what_the_file_says_and_in_memory_that_nobody_can_change(host: Host) -> None:
    host.begin()
    path, known = host.define()
    shell = plans.host_of(str(host.workflows)).strict_shell
    argv = (*shell, "cat", "cat")
    origin = (path, known, "cat")
    attempt = host.ask(*argv, user="root", origin=origin, stdin=memory(b"said"))
    assert succeeded(host.keeper.wait_end(attempt))
    assert host.keeper.wait_log(attempt) == b"said"
    assert "standard input is another" in host.refusal(*argv, user="root", origin=origin, stdin=memory(b"else"))
    unsealed = memory(b"said", sealed=False)
    assert "no sealed memory" in host.refusal(*argv, user="root", origin=origin, stdin=unsealed)
    reader, writer = os.pipe()
    os.write(writer, b"said")
    assert "no sealed memory" in host.refusal(*argv, user="root", origin=origin, stdin=reader)
    os.close(writer)
    assert "it has standard input" in host.refusal(*argv, user="root", origin=origin)


def test_modules_beside_the_workflows_must_be_roots_alone(host: Host) -> None:
    host.begin()
    folder = host.workflows.parent / "python"
    folder.mkdir()
    (folder / "m.py").write_text("def f(): return 1\n")
    (folder / "m.py").chmod(0o666)
    path, known = host.define('user: root\ntasks: {p: {python: "m:f"}}\n', "p.yaml")
    said = host.refusal(user="root", origin=(path, known, "p"))
    assert f"what it would import is not believed: {folder}/m.py can be written by everybody" in said


def test_a_bomb_of_a_definition_ends_the_child_and_nothing_else(host: Host) -> None:
    host.begin()
    text = 'user: root\ntasks: {t: {argv: [id, -un], env: {X: &a "' + "x" * 100_000 + '"}}}\n'
    bomb = text + "".join(f"k{n}: [{', '.join(['*a'] * 900)}]\n" for n in range(1000))
    path, known = host.define(bomb, "bomb.yaml")
    assert f"{path}: " in host.refusal(user="root", origin=(path, known, "t"))
    good, known = host.define()
    assert succeeded(host.run(user="root", origin=(good, known, "t")))


# ---- While the keeper waits for the answer --------------------------------------------------------------------------


def slowly(host: Host) -> tuple[str, str, str]:
    """A definition whose check is stopped by the test."""
    path, known = host.define()
    return path, known, "t"


def children(host: Host) -> list[int]:
    text = Path(f"/proc/{host.keeper.keeper_pid}/task/{host.keeper.keeper_pid}/children").read_text()
    found = []
    for pid in map(int, text.split()):
        try:
            if b"w.yaml" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:
            continue
    return found


def stop_check(host: Host) -> int:
    """Stop the program that checks; its pid."""
    wait_until(lambda: children(host), "a program that checks")
    pid = children(host)[0]
    os.kill(pid, signal.SIGSTOP)
    return pid


def test_others_are_served_while_one_is_checked_and_a_stop_ends_the_wait(host: Host) -> None:
    host.begin()
    assert succeeded(host.run(user="nobody"))
    waiting = host.ask(user="root", origin=slowly(host))
    pid = stop_check(host)
    assert succeeded(host.run(user="nobody"))
    assert waiting not in host.keeper.ended
    host.keeper.link.stop(waiting, 5.0)
    host.keeper.link.flush()
    end = host.keeper.wait_end(waiting)
    assert isinstance(end, StartFailure)
    assert end.errno == 125  # ECANCELED
    os.kill(pid, signal.SIGCONT)


def test_a_new_daemon_is_not_told_of_what_waits_and_asks_for_it_again(host: Host) -> None:
    host.begin()
    assert succeeded(host.run(user="nobody"))
    host.ask(user="root", origin=slowly(host))
    pid = stop_check(host)
    host.keeper.link.close()
    listing = host.keeper.connect()
    assert "a2" not in listing.running
    assert "a2" not in listing.ended
    host.asked = 1
    again = host.ask(user="root", origin=slowly(host))
    assert again == "a2"
    os.kill(pid, signal.SIGCONT)
    assert succeeded(host.keeper.wait_end(again))


def test_what_waited_for_a_daemon_that_is_gone_is_never_started(host: Host) -> None:
    """The new one may have cancelled it: it is as what the old one sent and nobody has read."""
    host.begin()
    assert succeeded(host.run(user="nobody"))
    host.ask(user="root", origin=slowly(host))
    pid = stop_check(host)
    host.keeper.link.close()
    host.keeper.connect()
    os.kill(pid, signal.SIGCONT)
    assert succeeded(host.run(user="root", origin=slowly(host)))
    listing = host.keeper.connect()
    assert "a2" not in {*listing.running, *listing.ended, *host.keeper.running, *host.keeper.ended}


def test_a_check_that_somebody_has_stopped_is_given_up(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program that checks has given up its rights: a task of nobody's can stop it."""
    monkeypatch.setattr(permissions, "_PATIENCE_US", 0)
    epoll = select.epoll()
    children: dict[int, object] = {}
    said: list[str] = []
    host.allow()
    found = permissions.Permissions(str(host.settings), epoll, children, lambda: None, said.append)
    (pid,) = children
    os.kill(pid, signal.SIGSTOP)
    assert found.next_due_us()
    found.on_time()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    (descriptor,) = (each for each, _ in epoll.poll(10))
    assert found.on_answer(descriptor) == []
    assert found.settings is not None
    assert "could not be read" in found.settings.error
    assert said == [f"no task is started, as {host.settings} is not believed: {found.settings.error}"]
    host.keeper.begin()


def test_a_check_that_is_killed_is_an_error_of_the_start_and_not_the_last_word(host: Host) -> None:
    host.begin()
    assert succeeded(host.run(user="nobody"))
    waiting = host.ask(user="root", origin=slowly(host))
    os.kill(stop_check(host), signal.SIGKILL)
    end = host.keeper.wait_end(waiting)
    assert isinstance(end, StartFailure)
    assert "it could not be checked" in end.message
    assert succeeded(host.run(user="root", origin=slowly(host)))


def test_a_task_goes_on_over_a_reload_that_reads_the_settings_again(host: Host) -> None:
    host.begin()
    waiting = host.ask("sleep", "60", user="nobody")
    host.keeper.wait_running(waiting)
    host.allow(users="[daemon]")
    reload(host)
    assert "does not list the user nobody" in host.refusal(user="nobody")
    assert succeeded(host.run(user="daemon"))
    host.keeper.link.stop(waiting, 5.0)
    host.keeper.link.flush()
    assert isinstance(host.keeper.wait_end(waiting), Exit)


# ---- What a task is given -------------------------------------------------------------------------------------------

LOOK = """
import os, re, resource, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print("ids", os.getresuid(), os.getresgid(), sorted(os.getgroups()))
print("caps", *(status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")))
print("signals", *(status[name].strip() for name in ("SigBlk", "SigIgn", "ShdPnd")))
files = sorted(set(map(int, os.listdir("/proc/self/fd"))) - {3})
print("files", files, os.umask(0), os.getcwd(), os.getsid(0) == os.getpid())
print("env", sorted(name for name in os.environ if name != "LC_CTYPE"))  # Python sets that itself
"""


@pytest.mark.parametrize("way", ["fast", "full"])
def test_a_task_has_its_users_rights_and_nothing_of_ours(host: Host, way: str) -> None:
    """Started by a keeper with inheritable and ambient capabilities, an open file, a blocked and an ignored signal."""
    leaky = (
        "import os, signal, sys; os.set_inheritable(os.open('/etc/passwd', os.O_RDONLY), True); "
        "signal.signal(signal.SIGUSR1, signal.SIG_IGN); signal.signal(signal.SIGPIPE, signal.SIG_IGN); "
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2]); os.umask(0); os.execvp(sys.argv[1], sys.argv[1:])"
    )
    held = ("setpriv", "--inh-caps", "+chown,+net_admin", "--ambient-caps", "+chown,+net_admin")
    host.keeper.begin(prefix=("/usr/bin/env", "python3", "-c", leaky, *held))
    attempt = host.ask("python3", "-I", "-S", "-c", LOOK, user="nobody" if way == "full" else None)
    assert succeeded(host.keeper.wait_end(attempt))
    said = dict(line.split(" ", 1) for line in host.keeper.wait_log(attempt).decode().splitlines())
    none = "0" * 16
    inheritable, permitted, effective, ambient = said["caps"].split()
    assert (inheritable, ambient) == (none, none)
    if way == "full":
        assert said["ids"] == "(65534, 65534, 65534) (65534, 65534, 65534) [65534]"
        assert (permitted, effective) == (none, none)
    else:
        assert said["ids"].startswith("(0, 0, 0) (0, 0, 0)")
    blocked, ignored, _ = said["signals"].split()
    assert int(blocked, 16) == 0
    assert int(ignored, 16) & 0x7FFFFFFF & ~(1 << 12) & ~(1 << 24) == 0  # Python ignores SIGPIPE and SIGXFSZ itself
    assert said["files"] == "[0, 1, 2] 18 / True"
    assert said["env"] == "['HOME', 'PATH']"


def test_no_descriptor_stays_behind(host: Host) -> None:
    host.begin()
    path, known = host.define()
    assert succeeded(host.run(user="root", origin=(path, known, "t")))
    count = len(os.listdir(f"/proc/{host.keeper.keeper_pid}/fd"))
    for _ in range(5):
        host.refusal(user="root", origin=(path, "0" * 64, "t"))
        host.refusal("other", user="root", origin=(path, known, "t"), stdin=memory(b""))
        assert succeeded(host.run(user="root", origin=(path, known, "t")))
    for attempt in list(host.keeper.ended):
        host.keeper.link.acknowledge(attempt)
    host.keeper.link.flush()
    wait_until(lambda: len(os.listdir(f"/proc/{host.keeper.keeper_pid}/fd")) <= count, "as many as before")
