"""A booted machine: a real systemd in namespaces of its own, on a throw-away layer over this host's files.

`boot` starts one and `Machine` is the way into it; what is written there is gone at the end, unless the machine has a
disk. `installed` in `conftest.py` gives machines with PyFlow installed and started.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parent.parent.parent
_BOOT = Path(__file__).resolve().parent / "boot-systemd.sh"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Done = subprocess.CompletedProcess[str]


def why_not() -> str:
    """What is missing for machines; empty: nothing."""
    if os.geteuid():
        return "booting a systemd needs root"
    for program in ("/lib/systemd/systemd", "/usr/bin/dbus-daemon"):
        if not Path(program).exists():
            return f"no {program} here: apt-get install systemd dbus"
    if not shutil.which("unshare") or not shutil.which("nsenter"):
        return "no unshare or nsenter here: apt-get install util-linux"
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--net", "--cgroup", "true"], capture_output=True, check=False
    )
    return "" if done.returncode == 0 else "namespaces are not allowed here"


class Machine:
    """One booted machine, seen from outside."""

    def __init__(self, init: int) -> None:
        self.init = init
        """The pid of its systemd, as seen here."""
        self.root = Path(f"/proc/{init}/root")
        """Its file system, as seen here."""

    # ---- Commands

    def run(
        self,
        command: str | Sequence[str],
        *,
        user: str = "",
        check: bool = True,
        timeout_s: float = 60.0,
        env: dict[str, str] | None = None,
    ) -> Done:
        """A command in the machine (a text: by bash), as root or as `user`; its output is text.

        With `check` a status other than 0 fails with what it said.
        """
        words = ["bash", "-c", command] if isinstance(command, str) else list(command)
        if user:  # a login's groups, and the environment of one
            words = ["setpriv", "--reuid", user, "--regid", user, "--init-groups", "env", f"HOME=/home/{user}", *words]
        environment = ["env", "-i", f"PATH={_PATH}", "HOME=/root", "LANG=C.UTF-8", "TZ=UTC"]
        environment += [f"{name}={value}" for name, value in (env or {}).items()]
        inside = ["nsenter", "-a", "-t", str(self.init), "--", *environment, "timeout", "-k", "5", str(timeout_s)]
        done = subprocess.run([*inside, *words], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if check and done.returncode:
            raise AssertionError(f"{command!r} as {user or 'root'}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def ctl(self, *words: str, user: str = "", check: bool = True) -> Any:
        """`pyflowctl -o json WORDS`: its one JSON value; with `check=False` the finished process."""
        done = self.run(["pyflowctl", "-o", "json", *words], user=user, check=check)
        return json.loads(done.stdout) if check else done

    def systemctl(self, *words: str, check: bool = True) -> Done:
        return self.run(["systemctl", *words], check=check)

    def show(self, unit: str, name: str) -> str:
        """The value of one property of a unit."""
        return self.run(["systemctl", "show", "--value", "-p", name, unit]).stdout.strip()

    def main_pid(self, unit: str = "pyflowd") -> int:
        """The unit's main process, as the machine counts; 0: none."""
        return int(self.show(unit, "MainPID"))

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """Entries of the machine's journal, oldest first: `journal("-u", "pyflowd", "PYFLOW_RUN=7")`."""
        self.run(["journalctl", "--sync"])
        done = self.run(["journalctl", "--no-pager", "--all", "-o", "json", *matches], check=False)
        return [json.loads(line) for line in done.stdout.splitlines()]

    # ---- Files and users

    def write(self, path: str, text: str, mode: int = 0o644, owner: str = "root:root") -> None:
        """A file in the machine, renamed into place; folders that are missing are made."""
        self.run(["mkdir", "-p", os.path.dirname(path)])
        target = self.root / path.lstrip("/")
        aside = target.with_name(f".{target.name}.new")
        aside.write_text(text)
        aside.chmod(mode)
        self.run(["chown", owner, f"{os.path.dirname(path)}/{aside.name}"])
        self.run(["mv", "-f", f"{os.path.dirname(path)}/{aside.name}", path])

    def read(self, path: str) -> str:
        """The text of a file of the machine; empty where there is none."""
        file = self.root / path.lstrip("/")
        return file.read_text() if file.exists() else ""

    def add_user(self, name: str, *groups: str) -> None:
        """An account with a home and a group of its own, and these groups beside."""
        self.run(["useradd", "--create-home", "--user-group", "--shell", "/bin/bash", name])
        for group in groups:
            self.run(["gpasswd", "--add", name, group])

    def drop_in(self, unit: str, text: str, name: str = "test.conf") -> None:
        """A drop-in for a unit, and `daemon-reload`."""
        self.write(f"/etc/systemd/system/{unit}.d/{name}", text)
        self.systemctl("daemon-reload")

    # ---- Workflows

    def workflow(self, name: str, text: str, *, mode: int = 0o644, owner: str = "root:root") -> None:
        """A workflow file in /etc/pyflow/workflows; returns when the daemon has it in force."""
        self.write(f"/etc/pyflow/workflows/{name}.yaml", text, mode, owner)
        wait_until(lambda: any(one["workflow"] == name for one in self.ctl("list")), f"workflow {name} is in force")

    def start(self, workflow: str, *words: str, user: str = "") -> int:
        """Record a run; its id."""
        return int(self.ctl("run", workflow, *words, user=user)["run"])

    def status(self, run: int) -> dict[str, Any]:
        """What `status RUN` says."""
        found: dict[str, Any] = self.ctl("status", str(run))
        return found

    def wait_state(self, run: int, *states: str, timeout_s: float = 30.0) -> dict[str, Any]:
        """What `status RUN` says once the run is in one of these states; without states: once it has ended."""
        wanted = states or ("succeeded", "failed", "cancelled")
        return self._wait_status(run, lambda status: status["state"] in wanted, " or ".join(wanted), timeout_s)

    def wait_task(self, run: int, task: str, state: str = "running", timeout_s: float = 30.0) -> dict[str, Any]:
        """What `status RUN` says once one task is in a state."""
        return self._wait_status(
            run, lambda status: status["tasks"][task]["state"] == state, f"{task} {state}", timeout_s
        )

    def _wait_status(
        self, run: int, good: Callable[[dict[str, Any]], bool], what: str, timeout_s: float
    ) -> dict[str, Any]:
        last: list[str] = []

        def found() -> dict[str, Any] | None:
            done = self.ctl("status", str(run), check=False)
            last[:] = [done.stdout + done.stderr]
            status: dict[str, Any] | None = json.loads(done.stdout) if done.returncode in (0, 1, 7) else None
            return status if status and good(status) else None

        try:
            status: dict[str, Any] = wait_until(found, f"run {run}: {what}", timeout_s)
        except AssertionError as error:
            told = self.run(["journalctl", "-n", "40", "--no-pager", "-u", "pyflowd", "-u", "pyflow-keeper"]).stdout
            raise AssertionError(f"{error}\n{''.join(last)}\n{told}") from None
        return status


@contextlib.contextmanager
def boot(*, disk: Path | None = None, binds: Sequence[Path | str] = (), cgroup: str = "hybrid") -> Iterator[Machine]:
    """A machine that runs until the block ends. `disk`: an image that keeps what it writes; `binds`: of this host,
    read-only, at the same place or `SOURCE:TARGET`. `cgroup`: `hybrid` (limits by v1) or `v2` (the tree only)."""
    work = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    words: list[str] = ["bash", str(_BOOT), "--pid-file", str(work / "pid"), "--cgroup", cgroup, "--timeout", "900"]
    words += ["--outside", *(("--disk", str(disk)) if disk else ())]
    for bind in (REPOSITORY, *binds):
        words += ["--bind-ro", str(bind)]
    with (work / "log").open("wb") as log:
        # It runs until its standard input, a pipe of ours, is closed: it cannot outlive this process.
        process = subprocess.Popen([*words, "--", "cat"], stdin=subprocess.PIPE, stdout=log, stderr=log)
    try:
        pid = work / "pid"

        def up() -> int:
            assert process.poll() is None, f"it did not boot: {(work / 'log').read_text()}"
            return int(pid.read_text() or 0) if pid.exists() else 0

        machine = Machine(wait_until(up, "a systemd is booted", 60.0))
        running = ["systemctl", "is-system-running", "--wait"]
        assert machine.run(running, check=False).stdout.strip() in ("running", "degraded")
        yield machine
    finally:
        assert process.stdin
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(40)
        if process.poll() is None:
            process.terminate()
            process.wait()
        shutil.rmtree(work)
