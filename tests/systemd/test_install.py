"""`make install` and `make uninstall`, offline, and an upgrade while a task runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.conftest import BEFORE, OFFLINE, Installed, copy_of, what_is_there
from tests.systemd.machine import REPOSITORY, Machine, boot
from tests.waiting import wait_until

VERSION = next(
    line.split('"')[1] for line in (REPOSITORY / "pyproject.toml").read_text().splitlines() if line[:7] == "version"
)
SECOND = "99.0.0"
GATED = "tasks: {t: {run: 'until [ -e /tmp/go ]; do sleep 0.05; done; exit 7'}}\n"

UNITS = ["pyflowd.service", "pyflow-keeper.service", "pyflow-web.socket", "pyflow-web.service"]


@pytest.fixture
def bare(installed: Installed, tmp_path: Path) -> Iterator[Machine]:
    """A machine on which PyFlow is installed and nothing of it runs."""
    disk = copy_of(installed.disk, tmp_path / "disk.img")
    with boot(disk=disk, binds=[f"{installed.wheels}:/wheels"]) as machine:
        yield machine
    disk.unlink()


def test_the_next_steps_are_said(installed: Installed) -> None:
    assert f"PyFlow {VERSION} is installed in /opt/pyflow" in installed.said
    steps = [line.split()[0] for line in installed.said.splitlines() if line.startswith("  ")]
    assert steps == ["1.", "2.", "3.", "4."]


def test_everything_is_where_hosts_look_for_it(machine: Machine) -> None:
    assert machine.run("pyflowd --version").stdout == f"pyflowd {VERSION}\n"
    assert machine.run(["systemd-analyze", "verify", "pyflowd.socket", *UNITS]).stderr == ""
    user_units = [f"/usr/local/lib/systemd/user/{unit}" for unit in UNITS]
    assert (
        machine.run(["systemd-analyze", "--user", "verify", *user_units], env={"XDG_RUNTIME_DIR": "/tmp"}).stderr == ""
    )
    for page in ("pyflowctl.1", "pyflowd.8", "pyflow-web.8", "pyflow-workflow.5"):
        machine.run(f"gzip -dc /usr/local/share/man/man{page[-1]}/{page}.gz | grep -q '^.TH'")
    for example in ("hello.yaml", "whole/upgrade-host.yaml", "whole/python/backup.py"):
        assert machine.read(f"/usr/local/share/doc/pyflow/examples/{example}")
    for shell in ("bash-completion/completions/pyflowctl", "zsh/site-functions/_pyflowctl"):
        assert "pyflowctl" in machine.read(f"/usr/local/share/{shell}")
    modes = "stat -c '%a %U:%G %n' /opt/pyflow/current/ /etc/pyflow /etc/pyflow/workflows /etc/pyflow/*.yaml "
    modes += "/var/lib/pyflow /var/log/pyflow /run/pyflow /run/pyflow-keeper"
    assert machine.run(modes).stdout.splitlines() == [
        "755 root:root /opt/pyflow/current/",
        "755 root:root /etc/pyflow",
        "755 root:root /etc/pyflow/workflows",
        "644 root:root /etc/pyflow/keeper.yaml",
        "644 root:root /etc/pyflow/pyflowd.yaml",
        "644 root:root /etc/pyflow/web.yaml",
        "700 pyflow:pyflow /var/lib/pyflow",
        "700 pyflow:pyflow /var/log/pyflow",
        "755 pyflow:pyflow /run/pyflow",
        "710 root:pyflow /run/pyflow-keeper",
    ]


def test_nothing_of_the_installation_can_be_written_by_others_than_root(machine: Machine) -> None:
    assert (
        machine.run(
            "find /opt/pyflow/ ! -type l ( ! -user root -o -perm /022 )".replace("(", "\\(").replace(")", "\\)")
        ).stdout
        == ""
    )


def test_an_upgrade_takes_daemon_and_keeper_over_and_the_task_goes_on(machine: Machine) -> None:
    machine.workflow("gated", GATED)
    run = machine.start("gated")
    before = machine.wait_task(run, "t")
    keeper, release = machine.main_pid("pyflow-keeper"), machine.run("readlink /opt/pyflow/current").stdout
    machine.write("/etc/pyflow/pyflowd.yaml", "max_tasks: 17\n")
    sources = "CHANGELOG.md LICENSE Makefile README.md bin etc man pyflowctl pyflowd pyproject.toml systemd"
    machine.run(f"mkdir /root/second && cd {REPOSITORY} && cp -R {sources} /root/second")
    told = machine.run(
        f"cd /root/second && sed -i 's/^version = .*/version = \"{SECOND}\"/' pyproject.toml && "
        f"sed -i 's/^VERSION = .*/VERSION = \"{SECOND}\"/' pyflowd/version.py && make -s install {OFFLINE}",
        timeout_s=300,
    ).stdout
    assert f"PyFlow {SECOND} is in force" in told
    assert release.strip().removeprefix("releases/") in told
    wait_until(lambda: SECOND in machine.run("pyflowctl version", check=False).stdout, "the second version answers")
    assert f"/{SECOND}-" in machine.run("readlink /opt/pyflow/current").stdout
    assert machine.main_pid("pyflow-keeper") == keeper
    said = [entry["MESSAGE"] for entry in machine.journal("-u", "pyflow-keeper")]
    assert sum("upgraded in place" in line for line in said) == 1
    assert machine.read("/etc/pyflow/pyflowd.yaml") == "max_tasks: 17\n"
    assert machine.run(["ls", f"/opt/pyflow/{release.strip()}"]).stdout  # to go back to
    now = machine.status(run)
    assert now["tasks"]["t"]["started_at"] == before["tasks"]["t"]["started_at"]
    machine.run("touch /tmp/go")
    task = machine.wait_state(run)["tasks"]["t"]
    assert (task["exit_code"], task["attempts"]) == (7, 1)


def test_what_does_not_build_changes_nothing(bare: Machine) -> None:
    release = bare.run("readlink /opt/pyflow/current; ls /opt/pyflow/releases").stdout
    done = bare.run(f"cd {REPOSITORY} && make -s install {OFFLINE} PIP_FIND_LINKS=/nowhere", check=False)
    assert done.returncode
    assert bare.run("readlink /opt/pyflow/current; ls /opt/pyflow/releases").stdout == release
    done = bare.run(f"cd {REPOSITORY} && make -s install PYTHON=/nowhere/python3", check=False)
    assert "there is no /nowhere/python3" in done.stderr


def test_uninstall_leaves_what_is_yours_and_purge_leaves_nothing(bare: Machine) -> None:
    bare.systemctl("enable", "--now", "pyflowd")
    bare.ctl("status")
    bare.run(f"cd {REPOSITORY} && make -s uninstall")
    assert bare.run("pyflowctl --version", check=False).returncode == 127
    assert "pyflow" not in bare.run("systemctl list-units --all --no-legend --plain").stdout.replace("pyflow-test", "")
    assert bare.run("pgrep -l ^pyflow", check=False).stdout == ""
    assert bare.read("/etc/pyflow/pyflowd.yaml")
    assert (bare.root / "var/lib/pyflow").is_dir()
    bare.run(f"cd {REPOSITORY} && make -s uninstall PURGE=1")
    left = set(what_is_there(bare).splitlines()) ^ set(bare.read(BEFORE).splitlines())
    assert not left


def test_a_daemon_of_the_host_takes_no_settings_that_anybody_could_have_written(bare: Machine) -> None:
    bare.run("chmod o+w /etc/pyflow/pyflowd.yaml")
    done = bare.run("runuser -u pyflow -- /opt/pyflow/current/bin/pyflowd --system --check", check=False)
    assert done.returncode == 6
    assert "/etc/pyflow/pyflowd.yaml can be written by everybody (mode 0646)" in done.stderr
    bare.run("chmod o-w /etc/pyflow/pyflowd.yaml")
    assert bare.run("runuser -u pyflow -- /opt/pyflow/current/bin/pyflowd --system --check").returncode == 0
