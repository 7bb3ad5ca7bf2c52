"""Where things are (design, section 4): the system instance, a user's instance, or everything below `--root DIR`."""

from __future__ import annotations

import os

from msgspec import Struct


class Paths(Struct, frozen=True, kw_only=True):
    """Absolute paths of one instance."""

    label: str
    """What the process list and messages call this instance."""
    root: str | None
    settings: str
    workflows: str
    vendor: str = ""
    """Workflows that packages bring; `workflows` lies over them."""
    state: str
    keeper: str
    log: str
    socket: str
    default_user: str = ""
    """See `settings.Settings`; of the instance, where the settings say nothing."""


def below(root: str) -> Paths:
    """Everything below one folder."""
    root = os.path.abspath(root)
    return Paths(
        label=root,
        root=root,
        settings=f"{root}/pyflowd.yaml",
        workflows=f"{root}/workflows",
        vendor=f"{root}/vendor/workflows",
        state=f"{root}/state",
        keeper=f"{root}/run",
        log=f"{root}/log",
        socket=f"{root}/run/pyflowd.sock",
    )


SYSTEM = Paths(
    label="system",
    root=None,
    settings="/etc/pyflow/pyflowd.yaml",
    workflows="/etc/pyflow/workflows",
    vendor="/usr/lib/pyflow/workflows",
    state="/var/lib/pyflow",
    keeper="/run/pyflow-keeper",
    log="/var/log/pyflow",
    socket="/run/pyflow/pyflowd.sock",
    default_user="pyflow",
)


def of_user(environ: dict[str, str], uid: int) -> Paths:
    """A user's own instance, by the XDG base directories."""
    home = environ.get("HOME", "/")
    config = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    state = environ.get("XDG_STATE_HOME") or f"{home}/.local/state"
    runtime = environ.get("XDG_RUNTIME_DIR") or f"{state}/pyflow/run-{uid}"
    return Paths(
        label="user",
        root=None,
        settings=f"{config}/pyflow/pyflowd.yaml",
        workflows=f"{config}/pyflow/workflows",
        vendor="/usr/lib/pyflow/user/workflows",
        state=f"{state}/pyflow",
        keeper=f"{runtime}/pyflow/keeper",
        log=f"{state}/pyflow/log",
        socket=f"{runtime}/pyflow/pyflowd.sock",
    )


def find(root: str | None, environ: dict[str, str], uid: int, *, system: bool = False) -> Paths:
    """`--root`, else `PYFLOW_ROOT`, else the system's for root (or `--system`), else the user's own."""
    chosen = root or environ.get("PYFLOW_ROOT")
    if chosen:
        return below(chosen)
    return SYSTEM if system or uid == 0 else of_user(environ, uid)
