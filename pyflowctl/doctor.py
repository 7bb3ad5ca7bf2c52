"""`doctor`: what the client can see of the installation, then what the daemon says about itself."""

from __future__ import annotations

import os
import sys

from pyflowctl import link
from pyflowctl.client import connect
from pyflowd.errors import PyflowError, Unavailable
from pyflowd.protocol.views import HealthView
from pyflowd.render import render_host, render_json
from pyflowd.render.commandline import Words
from pyflowd.render.layout import Style, page, zone_of
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
        status = Unavailable.exit_status if isinstance(error, Unavailable) else error.exit_status
    if words.value("output") == "json":
        link.write(1, render_json.encode(render_json.health(HealthView(checks=checks))) + b"\n")
    else:
        link.write(1, page(render_host.health(checks, style)))
    return status or (1 if any(level == "error" for level, _, _ in checks) else 0)


def client_checks() -> list[Check]:
    return [check for check in (_python(), _compiled(), _timezone(), _linger()) if check]


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    return ("ok", "python", f"{found} at {sys.executable}")


def _compiled() -> Check:
    """Without compiled files each command takes many times as long."""
    cached = link.__spec__.cached
    if cached and os.path.exists(cached):
        return ("ok", "compiled files", "present")
    folder = os.path.dirname(link.__file__)
    return ("warning", "compiled files", f"missing, so commands start slowly: {sys.executable} -m compileall {folder}")


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
