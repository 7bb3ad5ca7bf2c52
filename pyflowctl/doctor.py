"""`doctor`: what the client can see of the installation, then what the daemon says about itself."""

from __future__ import annotations

import os
import sys
from importlib.util import cache_from_source

from pyflowctl import link
from pyflowctl.client import connect
from pyflowd import paths
from pyflowd.errors import PyflowError, Unavailable
from pyflowd.protocol.views_host import HealthView
from pyflowd.render import render_host, render_json
from pyflowd.render.commandline import Words
from pyflowd.render.layout import Style, page, zone_of
from pyflowd.upkeep.host import clock, without_daemon
from pyflowd.version import VERSION

Check = tuple[str, str, str]
"""(`ok` | `warning` | `error`, what was looked at, what was found and what to do)."""


def doctor(words: Words, style: Style) -> int:
    """Print all findings; 0 without errors, 4 if no daemon answers, else 1."""
    checks, status = client_checks(), 0
    root, socket = words.value("root"), words.value("socket")
    try:
        with connect(root=root, socket=socket) as client:
            checks += [_version_check(client.daemon.version), *client.health().checks]
    except PyflowError as error:
        checks.append(("error", "daemon", str(error)))
        if isinstance(error, Unavailable) and not socket:
            checks += without_daemon(paths.find(root, dict(os.environ), os.geteuid()))
        status = Unavailable.exit_status if isinstance(error, Unavailable) else error.exit_status
    if words.value("output") == "json":
        link.write(1, render_json.encode(render_json.health(HealthView(checks=checks))) + b"\n")
    else:
        link.write(1, page(render_host.health(checks, style)))
    return status or (1 if any(level == "error" for level, _, _ in checks) else 0)


def client_checks() -> list[Check]:
    return [check for check in (_python(), _compiled(), _timezone(), clock(), _linger()) if check]


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    return ("ok", "python", f"{found} at {sys.executable}")


def _compiled() -> Check:
    """Without compiled files each command takes many times as long."""
    missing, stale = 0, 0
    folders = [os.path.dirname(link.__file__), os.path.dirname(paths.__file__)]
    for folder in folders:
        for place, _, names in os.walk(folder):
            for name in (name for name in names if name.endswith(".py")):
                state = _compiled_state(os.path.join(place, name))
                missing, stale = missing + (state == "missing"), stale + (state == "stale")
    if not (missing or stale):
        return ("ok", "compiled files", "present")
    counted = ((missing, "missing"), (stale, "older than their source"))
    what = " and ".join(f"{count} {word}" for count, word in counted if count)
    remedy = f"{sys.executable} -m compileall {' '.join(folders)}"
    return ("warning", "compiled files", f"{what}, so commands start slowly: {remedy}")


def _compiled_state(source: str) -> str:
    """`fresh`, `missing`, `stale`: by the source's time and size in the head of the compiled file (PEP 552)."""
    try:
        with open(cache_from_source(source), "rb") as file:
            head = file.read(16)
        status = os.stat(source)
    except OSError:
        return "missing"
    if len(head) < 16 or int.from_bytes(head[4:8], "little"):
        return "fresh"  # checked by a hash, not by time
    known = int.from_bytes(head[8:12], "little"), int.from_bytes(head[12:16], "little")
    return "fresh" if known == (int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF) else "stale"


def _timezone() -> Check:
    name = link.timezone_name()
    if not name:
        return ("ok", "time zone", "neither TZ nor /etc/localtime names one: times are shown in the daemon's")
    if name != "UTC" and zone_of(name) is zone_of("no such zone"):
        return ("warning", "time zone", f'"{name}" is not known on this host: times are shown in UTC; set TZ')
    return ("ok", "time zone", name)


def _linger() -> Check | None:
    """A user's daemon ends with the user's last session, unless the user lingers."""
    path, _ = link.socket_path({})
    if not path.startswith("/run/user/"):
        return None
    import pwd

    user = pwd.getpwuid(os.getuid()).pw_name
    if os.path.exists(f"/var/lib/systemd/linger/{user}"):
        return ("ok", "linger", f"{user}'s services go on after logout")
    return ("warning", "linger", f"{user}'s services end at logout: loginctl enable-linger {user}")


def _version_check(daemon: str) -> Check:
    if daemon == VERSION:
        return ("ok", "version", VERSION)
    return ("warning", "version", f"client {VERSION}, daemon {daemon}: restart the daemon after an upgrade")
