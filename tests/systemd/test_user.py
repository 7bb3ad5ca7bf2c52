"""The same two units for anyone, without root: `systemctl --user`, with lingering."""

from __future__ import annotations

from tests.systemd.machine import Machine
from tests.waiting import wait_until


def test_a_user_has_an_instance_of_their_own_that_outlives_the_login(machine: Machine) -> None:
    machine.add_user("ann")
    machine.systemctl("start", "systemd-logind")
    machine.run("loginctl enable-linger ann")
    uid = machine.run("id -u ann").stdout.strip()
    session = {"XDG_RUNTIME_DIR": f"/run/user/{uid}"}
    wait_until(
        lambda: machine.run(f"test -S /run/user/{uid}/systemd/private", check=False).returncode == 0, "a manager"
    )

    def ann(command: str, check: bool = True) -> str:
        return machine.run(command, user="ann", env=session, check=check).stdout

    ann("mkdir -p ~/.config/pyflow/workflows")
    gated = "tasks: {t: {run: 'id -un; until [ -e ~/go ]; do sleep 0.05; done; exit 7'}}"
    ann(f'printf "%s\\n" "{gated}" > ~/.config/pyflow/workflows/mine.yaml')
    ann("systemctl --user enable --now pyflowd")
    wait_until(lambda: "mine" in ann("pyflowctl list", check=False), "the workflow is in force")
    ann("pyflowctl run mine")
    wait_until(lambda: "1 running" in ann("systemctl --user show -p StatusText pyflowd"), "it runs")
    keeper = ann("systemctl --user show --value -p MainPID pyflow-keeper")
    ann("systemctl --user kill --signal=KILL pyflowd; systemctl --user restart pyflowd")
    ann("touch ~/go")
    wait_until(lambda: "exit code 7" in ann("pyflowctl status 1", check=False), "the true status")
    assert "ann" in ann("pyflowctl logs 1")
    assert ann("systemctl --user show --value -p MainPID pyflow-keeper") == keeper
