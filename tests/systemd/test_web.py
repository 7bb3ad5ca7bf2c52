"""The web front as a service: nothing runs until somebody asks, and again when nobody does."""

from __future__ import annotations

from tests.systemd.machine import Machine
from tests.waiting import wait_until

ASK = "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8321"


def status_of(machine: Machine, path: str) -> str:
    return machine.run(f"{ASK}{path}", check=False).stdout


def test_it_is_off_until_somebody_turns_it_on(machine: Machine) -> None:
    assert machine.run("systemctl is-enabled pyflow-web.socket", check=False).stdout.strip() == "disabled"
    assert machine.show("pyflow-web.socket", "ActiveState") == "inactive"
    assert status_of(machine, "/healthz") == "000"


def test_whoever_asks_starts_it_and_it_has_no_rights(machine: Machine) -> None:
    machine.systemctl("enable", "--now", "pyflow-web.socket")
    assert machine.show("pyflow-web", "ActiveState") == "inactive"
    assert status_of(machine, "/healthz") == "200"
    assert machine.show("pyflow-web", "ActiveState") == "active"
    pid = machine.main_pid("pyflow-web")
    assert machine.run(f"ps -o user= -p {pid}").stdout.strip() not in ("root", "pyflow")
    said = machine.run(f"grep -E 'CapEff|NoNewPrivs' /proc/{pid}/status").stdout.split()
    assert said == ["CapEff:", "0000000000000000", "NoNewPrivs:", "1"]
    assert status_of(machine, "/") == "303"


def test_a_link_of_the_command_line_logs_in_and_shows_the_host(machine: Machine) -> None:
    url = machine.run("pyflowctl dashboard | grep -o 'http://[^ ]*code=[^ ]*'").stdout.strip()
    code = url.rpartition("code=")[2]
    jar = "-c /tmp/jar -b /tmp/jar"
    login = f"curl -s {jar} -o /dev/null -w '%{{http_code}}' -H 'Origin: http://127.0.0.1:8321' -d code={code}"
    assert machine.run(f"{login} http://127.0.0.1:8321/login").stdout == "303"
    shown = machine.run(f"curl -s {jar} http://127.0.0.1:8321/").stdout
    assert "root, level admin" in shown
    said = [entry["MESSAGE"] for entry in machine.journal("-u", "pyflow-web")]
    assert not [line for line in said if code in line]


def test_a_restart_of_the_daemon_does_not_end_it_nor_the_session(machine: Machine) -> None:
    before = machine.main_pid("pyflow-web")
    machine.systemctl("restart", "pyflowd")
    wait_until(lambda: status_of(machine, "/healthz") == "200", "it answers")
    assert machine.main_pid("pyflow-web") == before
    assert "root, level admin" in machine.run("curl -s -b /tmp/jar http://127.0.0.1:8321/").stdout


def test_it_stops_when_nobody_asks_and_the_next_one_starts_it(machine: Machine) -> None:
    machine.write("/etc/pyflow/web.yaml", "idle: 1s\n")
    machine.systemctl("restart", "pyflow-web")
    assert status_of(machine, "/healthz") == "200"
    wait_until(lambda: machine.show("pyflow-web", "ActiveState") == "inactive", "it has stopped")
    assert machine.show("pyflow-web", "Result") == "success"
    assert machine.show("pyflow-web.socket", "ActiveState") == "active"
    assert status_of(machine, "/healthz") == "200"


def test_settings_that_are_wrong_are_told_in_its_journal(machine: Machine) -> None:
    machine.write("/etc/pyflow/web.yaml", "lissen: 127.0.0.1:1\n")
    machine.systemctl("restart", "pyflow-web", check=False)
    errors = wait_until(lambda: machine.journal("-u", "pyflow-web", "-p", "err"), "it says so")
    assert any("web.yaml:1:1" in entry["MESSAGE"] and "listen" in entry["MESSAGE"] for entry in errors)
    machine.write("/etc/pyflow/web.yaml", "")
