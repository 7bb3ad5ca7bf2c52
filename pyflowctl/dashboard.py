"""`dashboard`: a link that logs its reader in, once; and for an instance of one's own, the web front that serves it.

The login is made by the daemon, for the account that asks. The web front of the system's instance is a service; that of
any other is started here, as a child that ends with this command. It knows nothing of what the pages show.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time

import psutil

from pyflowctl import link
from pyflowctl.client import connect
from pyflowd import paths
from pyflowd.base import names
from pyflowd.base.peer import is_web_front
from pyflowd.clock import US
from pyflowd.errors import Unavailable, UsageError
from pyflowd.protocol.tokens import CreateToken, Sort, TokenCreated
from pyflowd.render import commandline
from pyflowd.render.commandline import Words
from pyflowd.render.layout import Style, dim, iso, page
from pyflowd.render.render_json import encode
from pyflowd.web import settings as settings_file
from pyflowd.web.settings import Address, Settings

START_S = 20.0
"""How long the web front may take until it answers."""
STOP_S = 15.0
_LOOK_EVERY_S = 0.05
"""Nothing tells that a port is listened on."""
_NEEDED = ("starlette", "uvicorn", "jinja2")
_PR_SET_PDEATHSIG = 1
_TCP_LISTEN = "0A"
_SERVICE = "start it with: systemctl enable --now pyflow-web.socket"


def run_dashboard(words: Words, style: Style) -> int:
    """The exit status. Raises PyflowError, ClientError."""
    named = {f"--{name}": words.value(name) or "" for name in ("root", "socket")}
    path, _ = link.socket_path({option: value for option, value in named.items() if value})
    is_system = path == link.SYSTEM_SOCKET
    root = None if named["--socket"] else words.value("root")
    where = paths.find(root, dict(os.environ), os.geteuid(), system=is_system)
    settings = settings_file.load(settings_file.default_path(where.settings))
    if is_system:
        return _of_service(words, style, path, settings)
    return _of_our_own(words, style, path, root, settings)


def _of_service(words: Words, style: Style, path: str, settings: Settings) -> int:
    if words.has("port"):
        raise UsageError("dashboard: --port is for an instance of one's own; the service's is `listen` in web.yaml")
    url = _url(settings, settings.listen)
    if not settings.listen.path:
        if not _listens(settings.listen):
            raise Unavailable(f"nobody listens at {settings.listen}, where the dashboard would be; {_SERVICE}")
        if stranger := _stranger(settings.listen):
            held = f"{settings.listen} is held by a program of {stranger}, not by pyflow-web"
            raise Unavailable(f"{held}, and gets no login; {_SERVICE}")
    _tell(words, style, url, path, "")
    return 0


def _of_our_own(words: Words, style: Style, path: str, root: str | None, settings: Settings) -> int:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise Unavailable(
            f"the dashboard needs {', '.join(missing)}, which this installation lacks; "
            f"install them with: {sys.executable} -m pip install 'pyflowd[web]'"
        )
    with connect(root=root, socket=words.value("socket")):
        pass  # no daemon, nothing to show
    at = _place(words, settings)
    argv = [sys.executable, "-P", "-m", "pyflowd.web.main", "--socket", path, "--listen", str(at)]
    parent = os.getpid()
    with subprocess.Popen(
        [*argv, *(["--root", root] if root else [])], stdin=subprocess.DEVNULL,
        preexec_fn=lambda: _end_with(parent),  # noqa: PLW1509  (there is no other thread)
    ) as child:  # fmt: skip
        try:
            _wait_until_it_answers(child, settings, at)
            _tell(words, style, _url(settings, at), path, "; Ctrl-C ends the dashboard")
            return child.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            _stop(child)


def _place(words: Words, settings: Settings) -> Address:
    """Where to listen: as asked, else as the settings say, else, where that is taken, at any port of this host."""
    text = words.value("port")
    if text is not None:
        if not (text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) <= 65_535):
            raise UsageError("--port: that is no port; write a number from 1 to 65535")
        return Address(host="127.0.0.1", port=int(text))
    at = settings.listen
    if at == Settings().listen and _listens(at):
        with socket.create_server((at.host, 0)) as free:
            return Address(host=at.host, port=free.getsockname()[1])
    return at


def _listens(at: Address) -> bool:
    try:
        with socket.create_connection((at.host, at.port), timeout=2.0):
            return True
    except OSError:
        return False


def _stranger(at: Address) -> str:
    """The account that listens there, if it is neither the host's nor the web front's own; see proc_net_tcp(5)."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError), open(table, encoding="ascii") as lines:
            for line in list(lines)[1:]:
                words = line.split()
                port, state, uid = int(words[1].rpartition(":")[2], 16), words[3], int(words[7])
                if state == _TCP_LISTEN and port == at.port and not (uid == 0 or is_web_front(uid)):
                    account = names.account_of_uid(uid)
                    return str(uid) if account is None else account.pw_name
    return ""


def _url(settings: Settings, at: Address) -> str:
    return settings.url or f"{'https' if settings.tls else 'http'}://{at}"


def _end_with(parent: int) -> None:
    """In the child: killed with its parent, however that ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


def _wait_until_it_answers(child: subprocess.Popen[bytes], settings: Settings, at: Address) -> None:
    """Raises Unavailable. It has said itself what is wrong where it ends."""
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        if child.poll() is not None:
            raise Unavailable("the dashboard could not be served; why stands above")
        if _listens_itself(child, at) and (at.path or settings.tls or _is_well(at)):
            return
        time.sleep(_LOOK_EVERY_S)
    raise Unavailable(f"the dashboard does not answer within {START_S:g} s at {at}")


def _listens_itself(child: subprocess.Popen[bytes], at: Address) -> bool:
    """And not another program that came before it, which is not to be told a login."""
    with contextlib.suppress(psutil.Error):
        sockets = psutil.Process(child.pid).net_connections("unix" if at.path else "tcp")
        return any(
            str(each.laddr) == at.path if at.path else each.status == psutil.CONN_LISTEN and each.laddr.port == at.port
            for each in sockets
        )
    return False


def _is_well(at: Address) -> bool:
    connection = http.client.HTTPConnection(at.host, at.port, timeout=2.0)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _stop(child: subprocess.Popen[bytes]) -> None:
    """It had the same Ctrl-C from the terminal; one signal more does no harm."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()


def _tell(words: Words, style: Style, url: str, path: str, more: str) -> None:
    """The link, with a login unless none is wanted."""
    made = None if words.has("no-login") else _login(words, path)
    shown = url if made is None else f"{url}/login?code={made.text}"
    if words.value("output") == "json":
        expires = None if made is None else iso(made.token.expires_us, style)
        link.write(1, encode({"url": url, "login": None if made is None else shown, "expires_at": expires}) + b"\n")
        return
    note = f"logs in as {made.token.account}, once, within {_seconds(made)} s{more}" if made else more.lstrip("; ")
    link.write(1, page([shown, *([dim(f"  {note}", style)] if note else [])]))


def _login(words: Words, path: str) -> TokenCreated:
    with connect(socket=path) as client:
        request = CreateToken(sort=Sort.LOGIN, level=commandline.level(words), label="dashboard")
        for reply in client.ask(request):
            if isinstance(reply, TokenCreated):
                return reply
    raise Unavailable("the daemon made no login; are daemon and client of one version?")


def _seconds(made: TokenCreated) -> int:
    assert made.token.expires_us is not None
    return (made.token.expires_us - made.token.created_us) // US
