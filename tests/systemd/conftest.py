"""Machines with PyFlow installed: once a session, from wheels, offline; each module boots a copy of the disk."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.systemd.machine import REPOSITORY, Machine, boot, why_not
from tests.waiting import wait_until

OFFLINE = "PIP_CONFIG_FILE=/dev/null PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels"
"""Variables of `make install` in a machine: nothing but the folder of wheels is looked at."""


BEFORE = "/root/before"
"""In a machine: what was there before the installation."""


def what_is_there(machine: Machine) -> str:
    """All files and accounts, but for what a booted system writes by itself."""
    folders = "/etc /lib/systemd /opt /usr/bin /usr/lib/pyflow /usr/lib/systemd /usr/lib/sysusers.d /usr/lib/tmpfiles.d"
    folders += " /usr/local /usr/share/doc /usr/share/man /var/lib /var/log"
    own = "/etc/(passwd|group|shadow|gshadow|subuid|subgid)-$|/etc/.pwd.lock|/var/log/journal|/var/lib/(systemd|dpkg)/"
    found = machine.run(
        f"for folder in {folders}; do find $folder/ -xdev; done 2> /dev/null | grep -vE '{own}' | LC_ALL=C sort"
        "; getent passwd; getent group; getent shadow"
    )
    return found.stdout


class Installed(NamedTuple):
    """What one `make install` left behind."""

    disk: Path
    """The image of the machine's disk, powered off. Boot a copy: see `copy_of`."""
    said: str
    wheels: Path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Here, not at import: what is not asked for needs no reason."""
    here = Path(__file__).parent
    mine = [item for item in items if here in item.path.parents and "needs_no_machine" not in item.keywords]
    reason = why_not() if mine else ""
    if reason:
        for item in mine:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs_no_machine: runs without root and systemd, too")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all workers of this session."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


def wheels(cache: Path) -> Path:
    """A folder with all that an installation needs; kept while what it is made from stays the same."""
    made_from = (REPOSITORY / "pyproject.toml").read_bytes() + (REPOSITORY / "etc" / "wheels.sh").read_bytes()
    key = hashlib.sha256(made_from).hexdigest()[:16]
    folder = cache / f"wheels-{key}"
    if not folder.exists():
        made = cache / f"wheels-{key}.new"
        done = subprocess.run(
            ["make", "-s", "wheels", f"WHEELS={made}"], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        made.rename(folder)
    return folder


@pytest.fixture(scope="session")
def installed(shared: Path, pytestconfig: pytest.Config) -> Installed:
    """PyFlow on the disk of a machine, by `make install` from a folder of wheels; not started."""
    disk, said = shared / "installed.img", shared / "installed.txt"
    cache = pytestconfig.cache
    assert cache is not None
    with (shared / "installed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = wheels(cache.mkdir("systemd"))
        if not said.exists():
            with boot(disk=disk, binds=[f"{found}:/wheels"]) as machine:
                machine.write(BEFORE, what_is_there(machine))
                text = machine.run(f"cd {REPOSITORY} && make -s install {OFFLINE}", timeout_s=300).stdout
            said.write_text(text)
    return Installed(disk, said.read_text(), found)


def copy_of(disk: Path, target: Path) -> Path:
    """The same disk once more."""
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", disk, target], check=True)
    return target


@pytest.fixture(scope="module")
def machine(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine on which `systemctl start pyflowd` has just been said; the module's own."""
    disk = copy_of(installed.disk, tmp_path_factory.mktemp("machine") / "disk.img")
    with boot(disk=disk, binds=[f"{installed.wheels}:/wheels"]) as machine:
        machine.systemctl("start", "pyflowd")
        wait_until(lambda: machine.run("pyflowctl status", check=False).returncode == 0, "pyflowd answers")
        yield machine
    disk.unlink()
