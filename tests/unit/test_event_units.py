"""How units of systemd stand: from `systemctl`, from the bus, and where there is neither."""

from __future__ import annotations

import os
import select
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyflowd.triggers.event_unit_bus import Bus, BusError
from pyflowd.triggers.event_unit_source import UnitProblem, UnitSource, ask
from pyflowd.triggers.event_unit_state import UnitState, unit_state

pytest.importorskip("jeepney")

ACTIVE = {"ActiveState": "active", "ActiveEnterTimestampMonotonic": "5", "InactiveEnterTimestampMonotonic": "3"}
DEADLINE_S = 20.0


def wall_of(at_us: int) -> int:
    return 1000 + at_us


@pytest.mark.parametrize(
    ("values", "state"),
    [
        (ACTIVE, ("active", 1005)),
        ({**ACTIVE, "ActiveState": "failed"}, ("failed", 1003)),
        ({**ACTIVE, "ActiveState": "inactive"}, ("inactive", 1003)),
        ({**ACTIVE, "ActiveState": "activating"}, None),
        ({**ACTIVE, "ActiveState": "inactive", "InactiveEnterTimestampMonotonic": "0"}, None),
        ({**ACTIVE, "ActiveEnterTimestampMonotonic": "n/a"}, None),
        ({}, None),
    ],
)
def test_a_unit_has_been_in_its_state_since_it_entered_it(
    values: dict[str, str], state: tuple[str, int] | None
) -> None:
    found = unit_state("x.service", values, "boot", wall_of)
    assert (None if found is None else (found.state, found.since_us)) == state


def test_the_key_is_that_of_the_change() -> None:
    first, again = (unit_state("x.service", ACTIVE, "boot", wall) for wall in (wall_of, lambda at: at))
    assert first is not None
    assert again is not None
    assert first.key == again.key
    assert first.key != unit_state("x.service", ACTIVE, "other boot", wall_of).key  # type: ignore[union-attr]


# ---- systemctl


def systemctl(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(exist_ok=True)
    program = folder / "systemctl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


ANSWER = (
    "printf 'Id=a.service\\nActiveState=active\\nActiveEnterTimestampMonotonic=7\\n\\n"
    "Id=b.service\\nActiveState=failed\\nInactiveEnterTimestampMonotonic=9\\n'"
)


def test_systemctl_is_asked_for_all_units_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systemctl(tmp_path / "bin", f'echo "$@" > {tmp_path}/asked; {ANSWER}', monkeypatch)
    found = ask(["a.service", "b.service"], "boot")
    assert [(state.unit, state.state, state.key) for state in found] == [
        ("a.service", "active", "a.service active boot 7"),
        ("b.service", "failed", "b.service failed boot 9"),
    ]
    assert (tmp_path / "asked").read_text().split()[-3:] == ["--", "a.service", "b.service"]


def test_what_systemctl_complains_of_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systemctl(tmp_path / "bin", "echo 'not booted with systemd' >&2; echo more >&2; exit 1", monkeypatch)
    with pytest.raises(UnitProblem, match=r"^systemctl: not booted with systemd$"):
        ask(["a.service"], "boot")


def test_a_host_without_systemctl_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnitProblem, match="systemctl"):
        ask(["a.service"], "boot")


def no_bus(_: list[str], __: str) -> Bus:
    raise BusError("there is none")


def received(source: UnitSource) -> tuple[list[UnitState], str]:
    assert select.select([source], [], [], DEADLINE_S)[0], "the source tells nothing"
    return source.receive()


def test_without_a_bus_systemctl_is_asked_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systemctl(tmp_path / "bin", ANSWER, monkeypatch)
    source = UnitSource(poll_s=0.01, connect=no_bus)
    source.want(["a.service", "b.service"])
    assert len(received(source)[0]) >= 2
    systemctl(tmp_path / "bin", "echo gone >&2; exit 1", monkeypatch)
    problem = ""
    while not problem:
        _, problem = received(source)
    assert problem == "systemctl: gone"
    source.stop()
    source.stop()


# ---- The bus


class FakeSystemd:
    """As much of org.freedesktop.systemd1 as is asked for, on a bus of its own."""

    def __init__(self, folder: Path) -> None:
        from jeepney import message_bus  # type: ignore[import-untyped]
        from jeepney.io.blocking import open_dbus_connection  # type: ignore[import-untyped]

        config = folder / "bus.conf"
        config.write_text(
            '<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" '
            '"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">'
            f"<busconfig><type>session</type><listen>unix:path={folder}/bus</listen>"
            '<policy context="default"><allow send_destination="*"/><allow own="*"/>'
            '<allow receive_sender="*"/></policy></busconfig>'
        )
        self.daemon = subprocess.Popen(
            ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address"], stdout=subprocess.PIPE
        )
        assert self.daemon.stdout is not None
        self.address = self.daemon.stdout.readline().decode().strip()
        self.properties: dict[str, tuple[str, Any]] = {}
        self.set("active", active=5)
        self._connection = open_dbus_connection(bus=self.address)
        self._connection.send_and_get_reply(message_bus.RequestName("org.freedesktop.systemd1"))
        self._lock = threading.Lock()
        self._stopping = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def set(self, state: str, *, active: int = 0, inactive: int = 0) -> None:
        self.properties = {
            "ActiveState": ("s", state),
            "ActiveEnterTimestampMonotonic": ("t", active),
            "InactiveEnterTimestampMonotonic": ("t", inactive),
        }

    def tell(self, only: tuple[str, ...] = ()) -> None:
        """The signal of a change; `only`: with these properties."""
        from jeepney import DBusAddress, new_signal

        changed = {name: value for name, value in self.properties.items() if not only or name in only}
        where = DBusAddress("/unit/x", interface="org.freedesktop.DBus.Properties")
        nothing: list[str] = []
        body = ("org.freedesktop.systemd1.Unit", changed, nothing)
        with self._lock:
            self._connection.send(new_signal(where, "PropertiesChanged", "sa{sv}as", body))

    def _serve(self) -> None:
        from jeepney import HeaderFields, MessageType, new_method_return

        while not self._stopping:
            try:
                message = self._connection.receive(timeout=0.05)
            except TimeoutError:
                continue
            if message.header.message_type is not MessageType.method_call:
                continue
            match message.header.fields.get(HeaderFields.member):
                case "LoadUnit":
                    reply = new_method_return(message, "o", ("/unit/x",))
                case "GetAll":
                    reply = new_method_return(message, "a{sv}", (self.properties,))
                case _:
                    reply = new_method_return(message)
            with self._lock:
                self._connection.send(reply)

    def end(self) -> None:
        self._stopping = True
        self._thread.join(DEADLINE_S)
        self._connection.close()
        self.daemon.terminate()
        self.daemon.wait(DEADLINE_S)
        assert self.daemon.stdout is not None
        self.daemon.stdout.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[FakeSystemd]:
    try:
        made = FakeSystemd(tmp_path)
    except FileNotFoundError:
        pytest.skip("dbus-daemon is not installed")
    yield made
    made.end()


def test_the_bus_tells_how_units_stand_and_each_change(systemd: FakeSystemd) -> None:
    bus = Bus(["x.service"], "boot", systemd.address)
    assert [state.key for state in bus.states()] == ["x.service active boot 5"]
    systemd.set("failed", active=5, inactive=8)
    systemd.tell()
    assert select.select([bus], [], [], DEADLINE_S)[0]
    assert [state.key for state in bus.changes()] == ["x.service failed boot 8"]
    bus.close()


def test_a_change_that_does_not_hold_all_is_asked_for(systemd: FakeSystemd) -> None:
    bus = Bus(["x.service"], "boot", systemd.address)
    systemd.set("failed", active=5, inactive=8)
    systemd.tell(("ActiveState",))
    assert select.select([bus], [], [], DEADLINE_S)[0]
    assert [state.key for state in bus.changes()] == ["x.service failed boot 8"]
    bus.close()


def test_the_source_follows_the_bus_without_asking(systemd: FakeSystemd) -> None:
    source = UnitSource(poll_s=DEADLINE_S, connect=lambda units, boot: Bus(units, boot, systemd.address))
    source.want(["x.service"])
    assert [state.state for state in received(source)[0]] == ["active"]
    systemd.set("failed", active=5, inactive=8)
    systemd.tell()
    assert [state.state for state in received(source)[0]] == ["failed"]
    source.stop()


def test_no_bus_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(BusError):
        Bus(["x.service"], "boot", f"unix:path={tmp_path}/none")
