"""The command `pyflow-web`: reads its settings, takes or makes its socket, serves until told to stop, or not asked."""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
from collections.abc import Sequence

from pyflowctl import link as client_link
from pyflowd import journal, paths
from pyflowd.base import zones
from pyflowd.errors import PyflowError, UsageError
from pyflowd.paths import Paths
from pyflowd.systemd import listeners
from pyflowd.version import VERSION
from pyflowd.web import listening
from pyflowd.web import settings as settings_file
from pyflowd.web.link import Link
from pyflowd.web.settings import Address, Settings

try:
    from pyflowd.web.app import Web
    from pyflowd.web.drawing import Templates
    from pyflowd.web.server import server
except ModuleNotFoundError as missing:
    if (missing.name or "").startswith("pyflow"):
        raise
    sys.exit(f"pyflow-web: there is no {missing.name}: install PyFlow with its extra: pip install 'pyflowd[web]'")

log = logging.getLogger("pyflowd.web")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="pyflow-web",
        description="The dashboard, webhooks, metrics and JSON API of PyFlow: a client of pyflowd without rights.",
        epilog="It stays in the foreground and logs to standard error. See pyflow-web(8).",
    )
    made.add_argument("--root", metavar="DIR", help="of an instance below one folder (also: PYFLOW_ROOT)")
    made.add_argument("--system", action="store_true", help="of the system instance, also when not started by root")
    made.add_argument("--socket", metavar="PATH", help="of the daemon, where it is another one")
    made.add_argument("--settings", metavar="FILE", help="in place of the instance's web.yaml")
    made.add_argument("--listen", metavar="WHERE", help="ADDRESS:PORT or unix:PATH, in place of what web.yaml says")
    made.add_argument("--check", action="store_true", help="check the settings, and end")
    made.add_argument("--version", action="version", version=f"pyflow-web {VERSION}")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; the exit status is 0 after a stop, else that of the error."""
    asked = parser().parse_args(argv)
    _log_to_standard_error()
    try:
        return _main(asked)
    except PyflowError as error:
        level = journal.level_prefix(os.environ, logging.ERROR)
        for line in str(error).splitlines():
            print(f"{level}pyflow-web: {line}", file=sys.stderr)
        return error.exit_status


def _main(asked: argparse.Namespace) -> int:
    where = paths.find(asked.root, dict(os.environ), os.geteuid(), system=asked.system)
    path = asked.settings or settings_file.default_path(where.settings)
    settings = settings_file.load(path)
    at = _address(asked.listen) if asked.listen else settings.listen
    if asked.check:
        return _check(path, settings, at)
    given = listeners()
    if given is not None:
        at = listening.address_of(given)
    listening.judge(settings, at)
    return _serve(given, at, settings, _link(asked, where), where)


def _address(text: str) -> Address:
    try:
        return settings_file.parse_address(text)
    except ValueError as error:
        raise UsageError(f"--listen: {error}; write it as 127.0.0.1:{settings_file.PORT} or unix:/PATH") from None


def _link(asked: argparse.Namespace, where: Paths) -> Link:
    if asked.socket or not asked.system:
        named = {"--root": asked.root or "", "--socket": asked.socket or ""}
        path, _ = client_link.socket_path({name: value for name, value in named.items() if value})
        return Link(path)
    return Link(where.socket)


def _check(path: str, settings: Settings, at: Address) -> int:
    if at != settings.listen:
        listening.judge(settings, at)
    if settings.tls is not None:
        listening.tls_context(settings.tls)
    print(f"{path}: nothing is refused")
    return 0


def _serve(given: socket.socket | None, at: Address, settings: Settings, link: Link, where: Paths) -> int:
    tls = None if settings.tls is None else listening.tls_context(settings.tls)
    listener = listening.prompt(given or listening.listen(at))
    at = listening.address_of(listener)
    listening.judge_mode(settings, at)
    origins = listening.origins(settings, at)
    instance = where.label if where.root is None else os.path.basename(where.root)
    web = Web(link, Templates(zones.host_zone().info, os.uname().nodename, instance), settings, origins)
    log.info("listening on %s%s", listening.best(origins, settings), f" (by {at})" if at.path or settings.url else "")
    serving = server(web.application(), tls=tls, idle_s=settings.idle_s if given is not None else 0.0)
    try:
        serving.run([listener])
    finally:
        link.close()
    log.info("stopped")
    return 0


class _Line(logging.Formatter):
    """A sentence a line, with its priority where journald reads them."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = journal.level_prefix(os.environ, min(record.levelno, logging.ERROR))
        return "\n".join(f"{prefix}{line}" for line in super().format(record).splitlines())


def _log_to_standard_error() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Line("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # what clients send wrong is their affair


if __name__ == "__main__":
    sys.exit(main())
