"""The Debian package: built from the tree, installed, upgraded, removed and purged with dpkg."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.systemd.conftest import what_is_there, wheels
from tests.systemd.machine import REPOSITORY, boot
from tests.waiting import wait_until

SOURCES = ("CHANGELOG.md", "LICENSE", "Makefile", "README.md", "bin", "etc", "man", "pyflowctl", "pyflowd", "systemd")


@pytest.fixture(scope="module")
def packages(shared: Path, pytestconfig: pytest.Config) -> list[Path]:
    """Two versions of the package."""
    if shutil.which("dpkg-shlibdeps") is None or "debian" not in platform.freedesktop_os_release().get("ID", ""):
        pytest.skip("packages are built on Debian, with dpkg-dev")
    cache = pytestconfig.cache
    assert cache is not None
    with (shared / "installed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = wheels(cache.mkdir("systemd"))
    tree = shared / "deb"
    tree.mkdir()
    for name in (*SOURCES, "pyproject.toml"):
        source = REPOSITORY / name
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, tree / name, ignore=ignore) if source.is_dir() else shutil.copy(source, tree / name)
    offline = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(found)}
    done = subprocess.run(
        ["make", "-s", "deb", "DEB_VERSION=1.0-1"],
        cwd=tree, env={**os.environ, **offline}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (first,) = (tree / "dist").glob("*.deb")
    return [first, _next_version(first, tree / "second", "1.0-1", "1.0-2")]


def _next_version(package: Path, work: Path, old: str, new: str) -> Path:
    """The same package once more as another version of itself, without building it again."""
    subprocess.run(["dpkg-deb", "-R", package, work], check=True)
    release = work / "usr/lib/pyflow/releases" / new
    (release.parent / old).rename(release)
    current = work / "usr/lib/pyflow/current"
    current.unlink()
    current.symlink_to(f"releases/{new}")
    for file in (work / "DEBIAN/control", release / "pyvenv.cfg", *(release / "bin").iterdir()):
        if not file.is_symlink():
            file.write_text(file.read_text().replace(old, new))
    made = package.with_name(package.name.replace(old, new))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", work, made], check=True)
    return made


def test_a_package_comes_is_upgraded_under_a_running_task_and_goes(packages: list[Path]) -> None:
    folder = packages[0].parent
    with boot(binds=[f"{folder}:/debs"]) as machine:
        before = what_is_there(machine)
        machine.run("rm -f /usr/sbin/policy-rc.d")  # of container images: it says that nothing is to be started
        machine.run(["dpkg", "-i", f"/debs/{packages[0].name}"])
        wait_until(lambda: machine.run("pyflowctl status", check=False).returncode == 0, "pyflowd answers")
        assert (
            machine.run("systemctl is-enabled pyflowd pyflow-keeper pyflowd.socket").stdout.split() == ["enabled"] * 3
        )
        machine.workflow("gated", "tasks: {t: {run: 'until [ -e /tmp/go ]; do sleep 0.05; done; exit 7'}}\n")
        run = machine.start("gated")
        machine.wait_task(run, "t")
        keeper = machine.main_pid("pyflow-keeper")
        machine.run("echo 'max_tasks: 17' > /etc/pyflow/pyflowd.yaml")
        machine.run(["dpkg", "-i", "--force-confold", f"/debs/{packages[1].name}"])
        wait_until(lambda: machine.run("pyflowctl status", check=False).returncode == 0, "pyflowd answers again")
        assert machine.main_pid("pyflow-keeper") == keeper
        assert machine.read("/etc/pyflow/pyflowd.yaml") == "max_tasks: 17\n"
        machine.run("touch /tmp/go")
        assert machine.wait_state(run)["tasks"]["t"]["exit_code"] == 7
        machine.run("dpkg -r pyflow")
        assert machine.run("pgrep -l ^pyflow", check=False).stdout == ""
        assert machine.read("/etc/pyflow/pyflowd.yaml") == "max_tasks: 17\n"
        machine.run("dpkg -P pyflow && userdel pyflow && groupdel pyflow-op")  # accounts stay, as is Debian's custom
        assert what_is_there(machine) == before
