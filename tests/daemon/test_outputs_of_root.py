"""A daemon without rights and a keeper of root's: what tasks of root's give on arrives, and leads root nowhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pyflowd.paths import Paths
from tests.daemon.instance import ENDED, REPOSITORY
from tests.daemon.keeper_host import ENTRY
from tests.waiting import wait_until

PYTHON = "/usr/bin/python3"
"""One that every account may run: the tests' own may lie in root's home."""


def _minor(python: str) -> str:
    asked = [python, "-c", "import sys; print(sys.version_info[:2])"]
    return subprocess.run(asked, capture_output=True, check=False).stdout.decode() if os.path.exists(python) else ""


pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or _minor(PYTHON) != _minor(sys.executable), reason="needs root, and a Python for everybody"
)
DAEMON = 1
RUN = """
import json, sys
sys.path.insert(0, sys.argv[2])
from pyflowd import daemon
from pyflowd.paths import Paths
daemon.run(Paths(**json.loads(sys.argv[1])), spawn_keeper=False, verbose=False)
"""
WORKFLOW = """
user: root
tasks:
  gives: {run: 'id -un; echo "a=of root" >> "$PYFLOW_OUTPUT"; echo "$PYFLOW_OUTPUT"'}
  takes: {needs: gives, run: 'echo "$A"', env: {A: '${{ tasks.gives.outputs.a }}'}}
  fails: {needs: takes, run: 'echo words of root > "$PYFLOW_OUTPUT.error"; exit 3'}
"""


class Split:
    """Two programs of two accounts, as the units start them."""

    def __init__(self, top: Path) -> None:
        top.chmod(0o755)
        self.paths = Paths(
            label="split", root=None, settings=f"{top}/etc/pyflowd.yaml", workflows=f"{top}/etc/workflows",
            state=f"{top}/state", keeper=f"{top}/keeper", log=f"{top}/log", socket=f"{top}/run/pyflowd.sock",
            default_user="daemon",
        )  # fmt: skip
        for folder in (self.paths.workflows, self.paths.keeper):
            os.makedirs(folder)
        for folder in (self.paths.state, self.paths.log, f"{top}/run"):
            os.makedirs(folder)
            os.chown(folder, DAEMON, DAEMON)
        os.chmod(self.paths.keeper, 0o711)
        self.settings = top / "etc" / "keeper.yaml"
        self.settings.write_text(f"users: [daemon]\nroot: true\nworkflows: {self.paths.workflows}\n")
        Path(self.paths.workflows, "w.yaml").write_text(WORKFLOW)
        self.log = (top / "programs.log").open("ab")
        self.programs = [self._keeper(), self._daemon()]

    def _start(self, *arguments: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen(list(map(str, arguments)), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def _keeper(self) -> subprocess.Popen[bytes]:
        return self._start(
            sys.executable, "-I", "-S", ENTRY, "--run-dir", self.paths.keeper, "--allow-uid", DAEMON, "--settings",
            self.settings, "--cgroup", "none",
        )  # fmt: skip

    def _daemon(self) -> subprocess.Popen[bytes]:
        as_daemon = ("setpriv", f"--reuid={DAEMON}", f"--regid={DAEMON}", "--clear-groups", "--no-new-privs")
        told = json.dumps(msgspec.structs.asdict(self.paths))
        packages = ":".join(filter(os.path.isabs, sys.path))
        return self._start("env", f"PYTHONPATH={packages}", *as_daemon, PYTHON, "-c", RUN, told, REPOSITORY)

    def ctl(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pyflowctl", "--socket", self.paths.socket, *map(str, arguments)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def json(self, *arguments: object) -> Any:
        done = self.ctl("-o", "json", *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def run(self) -> Any:
        wait_until(lambda: '"w"' in self.ctl("-o", "json", "list").stdout, "the workflow is read")
        run = self.json("run", "w")["run"]
        return wait_until(lambda: (found := self.json("status", run))["state"] in ENDED and found, "the end of the run")

    def end(self) -> None:
        for program in reversed(self.programs):
            program.terminate()
            program.wait(20)
        self.log.close()


@pytest.fixture
def split() -> Iterator[Split]:
    with tempfile.TemporaryDirectory() as folder:
        made = Split(Path(folder))
        try:
            yield made
        finally:
            made.end()


def test_what_root_gives_on_arrives_by_a_folder_of_the_keepers(split: Split) -> None:
    found = split.run()
    tasks = found["tasks"]
    assert {name: task["state"] for name, task in tasks.items()} == {
        "gives": "succeeded", "takes": "succeeded", "fails": "failed",
    }, (found, Path(split.log.name).read_text())  # fmt: skip
    run = found["run"]
    user, path = split.ctl("logs", run, "gives", "--raw").stdout.split()
    assert (user, path.startswith(f"{split.paths.keeper}/outputs/")) == ("root", True)
    assert split.ctl("logs", run, "takes", "--raw").stdout == "of root\n"
    assert "words of root" in tasks["fails"]["error"]
    assert not os.path.exists(path), "gone with the acknowledgement"
