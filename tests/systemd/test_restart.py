"""Workflows that restart pyflowd, upgrade the keeper or restart the host, and go on; and what an end of the host is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.conftest import Installed, copy_of
from tests.systemd.machine import Machine, boot
from tests.waiting import wait_until

REBOOT = """\
user: root
tasks:
  patch: {run: 'echo patched >> /root/done'}
  reboot: {needs: patch, reboot: {within: 2m}}
  verify: {needs: reboot, run: 'echo verified >> /root/done'}
"""
SERVICE = """\
user: root
tasks:
  restart: {run: 'systemctl restart pyflowd; echo restarted; exit 3', success_codes: 3}
  keeper: {needs: restart, run: 'systemctl reload pyflow-keeper; echo reloaded; exit 4', success_codes: 4}
  check: {needs: keeper, run: 'pyflowctl status > /dev/null'}
"""
STUBBORN = """\
tasks:
  deaf: {run: 'trap "" TERM; touch /tmp/deaf; while :; do sleep 0.1; done', kill_grace: 10m}
"""
POLITE = """\
tasks:
  polite: {run: 'trap "echo last words; sync; exit 0" TERM; touch /tmp/polite; while :; do sleep 0.1; done'}
"""


@pytest.fixture
def disk(installed: Installed, tmp_path: Path) -> Iterator[Path]:
    found = copy_of(installed.disk, tmp_path / "disk.img")
    yield found
    found.unlink()


def _serve(machine: Machine) -> str:
    """Its boot id, which the keeper has to be told: behind ProtectKernelTunables= it sees that of the host of this
    machine, which stays the same.
    """
    machine.write("/etc/pyflow/keeper.yaml", "users: [pyflow]\nroot: true\n")
    boot_id = machine.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout.strip()
    command = re.findall(r"argv\[\]=(.*?) ;", machine.show("pyflow-keeper", "ExecStart"))[0]
    machine.drop_in("pyflow-keeper.service", f"[Service]\nExecStart=\nExecStart={command} --boot-id {boot_id}\n")
    machine.systemctl("start", "pyflowd")
    wait_until(lambda: machine.run("pyflowctl status", check=False).returncode == 0, "pyflowd answers")
    return boot_id


def _is_down(machine: Machine) -> bool:
    """Whether all services have ended: what is left of systemd has nothing more to do but to let go of the machine."""
    comm = Path(f"/proc/{machine.init}/comm")
    try:
        return comm.read_text().strip() == "systemd-shutdow"
    except OSError:
        return True


def test_a_run_restarts_the_host_and_goes_on_in_the_next_boot(disk: Path) -> None:
    with boot(disk=disk) as machine:
        before = _serve(machine)
        machine.workflow("patch", REBOOT)
        run = machine.start("patch")
        wait_until(lambda: _is_down(machine), "the machine goes down", 60.0)
    with boot(disk=disk) as machine:
        after = _serve(machine)
        ended = machine.wait_state(run)
        done = machine.read("/root/done").split()
    assert ended["state"] == "succeeded"
    reboot = ended["tasks"]["reboot"]
    assert (reboot["state"], reboot["attempts"]) == ("succeeded", 1)
    assert (reboot["values"]["boot_before"], reboot["values"]["boot_after"]) == (before, after)
    assert done == ["patched", "verified"]


def test_a_host_that_goes_down_ends_tasks_in_time_and_the_record_says_that_they_were_lost(disk: Path) -> None:
    with boot(disk=disk) as machine:
        _serve(machine)
        machine.workflow("stubborn", STUBBORN)
        machine.workflow("polite", POLITE)
        runs = machine.start("stubborn"), machine.start("polite")
        for run, name in zip(runs, ("deaf", "polite"), strict=True):
            machine.wait_task(run, name)
            wait_until(lambda name=name: machine.run(f"ls /tmp/{name}", check=False).returncode == 0, name)  # type: ignore[misc]
        machine.run("systemctl poweroff", check=False)
        wait_until(lambda: _is_down(machine), "the machine goes down", 90.0)
    with boot(disk=disk) as machine:
        _serve(machine)
        said = [entry["MESSAGE"] for entry in machine.journal("_PID=1", "UNIT=pyflow-keeper.service")]
        killed = [line for line in said if "timed out" in line or "Killing" in line]
        tasks = [task for run in runs for task in machine.wait_state(run)["tasks"].values()]
        output = machine.run(f"pyflowctl logs {runs[1]} --raw").stdout
    assert {(task["state"], task["reason"]) for task in tasks} == {("failed", "lost")}
    assert not killed
    assert output.endswith("last words\n")


def test_a_workflow_restarts_the_daemon_and_reloads_the_keeper_and_goes_on(disk: Path) -> None:
    with boot(disk=disk) as machine:
        _serve(machine)
        machine.workflow("service", SERVICE)
        before, keeper = machine.main_pid(), machine.main_pid("pyflow-keeper")
        run = machine.start("service")
        ended = machine.wait_state(run)
        assert machine.main_pid() != before
        assert machine.main_pid("pyflow-keeper") == keeper
    assert ended["state"] == "succeeded"
    codes = {name: task["exit_code"] for name, task in ended["tasks"].items()}
    assert codes == {"restart": 3, "keeper": 4, "check": 0}
