"""Which addresses a request may reach, and how a host's name becomes addresses in bounded time. Knows no protocol.

Refused unless a task allows them: what is link-local or multicast, what names no host, and where clouds hand out
credentials (metadata services). Loopback and private networks are allowed: this is an operator's own tool, and what
it talks to stands there.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from pyflowd.http.http_checks import Network
from pyflowd.http.http_errors import CallError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_REFUSED: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "a cloud's metadata service",
        (
            "169.254.169.254/32", "169.254.170.2/32",  # most clouds; credentials of AWS containers
            "100.100.100.200/32",  # Alibaba
            "168.63.129.16/32",  # Azure's wire server
            "192.0.0.192/32",  # Oracle
            "fd00:ec2::/32", "fd20:ce::254/128",  # AWS, Google
        ),
    ),
    ("link-local", ("169.254.0.0/16", "fe80::/10", "fec0::/10")),
    ("multicast", ("224.0.0.0/4", "ff00::/8")),
    ("the address of no host", ("0.0.0.0/8", "::/128")),
    ("reserved", ("240.0.0.0/4",)),  # with 255.255.255.255, to which all listen
)  # fmt: skip
_RULES = tuple((what, tuple(map(ipaddress.ip_network, networks))) for what, networks in _REFUSED)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

_MAX_LOOKUPS = 64
_lookups = threading.BoundedSemaphore(_MAX_LOOKUPS)
"""Look-ups that hang outlive those who asked, until the system's resolver gives up."""


class Target(NamedTuple):
    """An address as `socket.connect` wants it."""

    family: int
    sockaddr: tuple[Any, ...]

    @property
    def address(self) -> str:
        return str(self.sockaddr[0])


def refusal(text: str, allowed: tuple[Network, ...] = ()) -> str:
    """Why an address may not be reached; empty: it may. An address inside an IPv6 address is judged, too."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if any(address in net for net in allowed):
        return ""
    for each in (address, *_embedded(address)):
        if any(each in net for net in allowed):
            continue
        for what, networks in _RULES:
            if any(each in net for net in networks):
                return what
    return ""


def _embedded(address: Address) -> tuple[ipaddress.IPv4Address, ...]:
    """The IPv4 addresses that an IPv6 address may be routed to: mapped, compatible, 6to4, NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    last = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.ipv4_mapped is not None or address in _NAT64 or (int(address) >> 32 == 0 and int(address) > 1):
        return (last,)
    return (address.sixtofour,) if address.sixtofour is not None else ()


def numeric(host: str) -> str:
    """The address that `host` spells out, in any of the ways that the system reads (`0x7f.1`); empty: it is a name."""
    try:
        return str(socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)[0][4][0])
    except (OSError, UnicodeError):
        return ""


def resolve(host: str, port: int, timeout_s: float, hold: Callable[[Callable[[], None]], None]) -> list[Target]:
    """The addresses of `host`, in the system's order. Raises CallError.

    The system's resolver cannot be interrupted, so a name is looked up in a thread that is left behind when the time
    is over, or when somebody calls what `hold` was given.
    """
    literal = numeric(host)
    if literal:
        return _look_up(literal, port)
    done = threading.Event()
    found: list[list[Target] | CallError] = []
    hold(done.set)
    if not _lookups.acquire(timeout=timeout_s):
        raise CallError(f"{host}: {_MAX_LOOKUPS} look-ups of names hang: is the name server there?", transient=True)

    def look_up() -> None:
        try:
            found.append(_look_up(host, port))
        except CallError as error:
            found.append(error)
        finally:
            _lookups.release()
            done.set()

    threading.Thread(target=look_up, name="pyflow-lookup", daemon=True).start()
    done.wait(timeout_s)
    if not found:
        raise CallError(f"{host}: no answer to the look-up of the name within {timeout_s:g} s", transient=True)
    if isinstance(found[0], CallError):
        raise found[0]
    return found[0]


def _look_up(host: str, port: int) -> list[Target]:
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        why = (error.strerror or str(error)).lower()
        raise CallError(f"{host}: the name cannot be looked up: {why}", transient=True) from None
    except (OSError, UnicodeError) as error:
        raise CallError(f"{host}: the name cannot be looked up: {error}", transient=True) from None
    return [Target(int(family), sockaddr) for family, _, _, _, sockaddr in answers]
