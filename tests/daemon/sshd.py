"""An OpenSSH server of our own on loopback: its keys and settings in a folder, without privileges, gone afterwards."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import wait_until

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
needs_sshd = pytest.mark.skipif(SSHD is None or shutil.which("ssh") is None, reason="no OpenSSH on this host")

DEADLINE_S = 20.0

_CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
MaxStartups 100
"""


class Sshd:
    """A running server, and what a client needs to reach it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.host = "127.0.0.1"
        self.user = getpass.getuser()
        self.identity = str(folder / "client_key")
        self.known_hosts = folder / "known_hosts"

    @property
    def options(self) -> dict[str, str]:
        """For the `options` of a task: nothing of the user's own configuration plays a part."""
        return {"UserKnownHostsFile": str(self.known_hosts), "GlobalKnownHostsFile": "/dev/null"}

    def login_shell(self, shell: str) -> None:
        """Have the login go through this shell, as if it were the account's own."""
        key = (self.folder / "client_key.pub").read_text()
        wrapper = self.folder / "login"
        wrapper.write_text(f'#!/bin/sh\nexec {shell} -c "$SSH_ORIGINAL_COMMAND"\n')
        wrapper.chmod(0o755)
        (self.folder / "authorized_keys").write_text(f'command="{wrapper}" {key}')


@contextmanager
def running(folder: Path) -> Iterator[Sshd]:
    """A server with its own keys below `folder`, which lets its client key in."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("host_key", "client_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / "authorized_keys").write_text((folder / "client_key.pub").read_text())
    if os.geteuid() == 0:  # sshd's own demand, met by its service elsewhere
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    port = _free_port()
    (folder / "sshd_config").write_text(_CONFIG.format(port=port, folder=folder))
    kind, key = (folder / "host_key.pub").read_text().split()[:2]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen(
            [str(SSHD), "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        _await_answer(process, port, folder)
        yield Sshd(folder, port)
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_answer(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    def greets() -> bool:
        assert process.poll() is None, (folder / "sshd.log").read_text()
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    wait_until(greets, "sshd answers", DEADLINE_S)
