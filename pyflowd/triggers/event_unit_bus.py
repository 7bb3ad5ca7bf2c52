"""Units of systemd over D-Bus: how they stand, and each change as it comes. It blocks for a while; one thread.

`jeepney` is an optional part of the installation and is imported when a bus is first wanted.
"""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any

from pyflowd.clock import wall_of_monotonic_us
from pyflowd.triggers.event_unit_state import PROPERTIES, UnitState, unit_state

REPLY_S = 10.0
_NAME = "org.freedesktop.systemd1"
_UNIT = "org.freedesktop.systemd1.Unit"
_PROPERTIES = "org.freedesktop.DBus.Properties"


class BusError(Exception):
    """There is no bus, or no systemd on it."""


class Bus:
    """A connection to the system's bus on which some units are watched. Raises BusError, as all its methods."""

    def __init__(self, units: list[str], boot: str, address: str = "SYSTEM") -> None:
        if find_spec("jeepney") is None:
            raise BusError("jeepney is not installed")
        self._boot = boot
        self._units: dict[str, str] = {}
        """By object path."""
        self._signals: deque[Any] = deque()
        self._open = ExitStack()
        self._guarded(self._connect, units, address)

    def _connect(self, units: list[str], address: str) -> None:
        from jeepney import DBusAddress, MatchRule, message_bus, new_method_call  # type: ignore[import-untyped]
        from jeepney.io.blocking import open_dbus_connection  # type: ignore[import-untyped]

        self._connection = open_dbus_connection(bus=address)
        self._open.callback(self._connection.close)
        manager = DBusAddress("/org/freedesktop/systemd1", bus_name=_NAME, interface="org.freedesktop.systemd1.Manager")
        self._call(new_method_call(manager, "Subscribe"))
        for unit in units:
            (path,) = self._call(new_method_call(manager, "LoadUnit", "s", (unit,)))
            rule = MatchRule(type="signal", interface=_PROPERTIES, member="PropertiesChanged", path=path)
            self._open.enter_context(self._connection.filter(rule, queue=self._signals))
            rule_text = MatchRule(
                type="signal", sender=_NAME, interface=_PROPERTIES, member="PropertiesChanged", path=path
            )
            self._call(message_bus.AddMatch(rule_text))
            self._units[path] = unit

    def fileno(self) -> int:
        """Readable when `changes` may have something."""
        found: int = self._connection.sock.fileno()
        return found

    def states(self) -> list[UnitState]:
        """Of all units."""
        return [state for path in self._units if (state := self._guarded(self._state, path)) is not None]

    def changes(self) -> list[UnitState]:
        """What has come since the last call."""
        found = []
        while told := self._guarded(self._receive):  # again, as more may have come while a reply was waited for
            for path, changed in told:
                if "ActiveState" not in changed:
                    continue
                values = {name: value for name, (_, value) in changed.items()}
                whole = all(name in values for name in PROPERTIES)
                state = self._made(path, values) if whole else self._guarded(self._state, path)
                if state is not None:
                    found.append(state)
        return found

    def close(self) -> None:
        self._open.close()

    def _receive(self) -> list[tuple[str, dict[str, tuple[str, Any]]]]:
        try:
            while True:
                self._connection.recv_messages(timeout=0)
        except TimeoutError:
            pass
        found = []
        while self._signals:
            message = self._signals.popleft()
            path = next(value for field, value in message.header.fields.items() if field.name == "path")
            if message.body[0] == _UNIT and path in self._units:
                found.append((path, message.body[1]))
        return found

    def _state(self, path: str) -> UnitState | None:
        from jeepney import DBusAddress, new_method_call

        address = DBusAddress(path, bus_name=_NAME, interface=_PROPERTIES)
        (properties,) = self._call(new_method_call(address, "GetAll", "s", (_UNIT,)))
        return self._made(path, {name: value for name, (_, value) in properties.items()})

    def _made(self, path: str, values: dict[str, Any]) -> UnitState | None:
        return unit_state(self._units[path], values, self._boot, wall_of_monotonic_us)

    def _call(self, message: Any) -> Any:
        reply = self._connection.send_and_get_reply(message, timeout=REPLY_S)
        if reply.header.message_type.name == "error":
            raise BusError(f"{_NAME}: {reply.body[0] if reply.body else 'error'}")
        return reply.body

    def _guarded(self, call: Any, *arguments: Any) -> Any:
        """What the library and the bus raise, as one error."""
        try:
            return call(*arguments)
        except BusError:
            self._open.close()
            raise
        except (OSError, EOFError, ValueError, KeyError) as error:
            self._open.close()
            raise BusError(f"{type(error).__name__}: {error}") from error
