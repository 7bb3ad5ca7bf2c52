"""Templates, and what every one of them has: marks, times, addresses of static files with their digest."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pyflowd.version import VERSION
from pyflowd.web import times
from pyflowd.web.call import Call
from pyflowd.web.marks import mark

HERE = Path(__file__).parent
STATIC = HERE / "static"
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".png": "image/png"}


class Templates:
    """One for the process."""

    def __init__(self, zone: ZoneInfo, host: str, instance: str) -> None:
        """`host` and `instance`: named at the head of each page."""
        self.zone = zone
        self.files = {path.name: path for path in STATIC.iterdir() if path.suffix in TYPES}
        self.digests = {name: _digest(path) for name, path in self.files.items()}
        # Modules name each other by relative addresses: all have one digest, so that each is loaded once.
        modules = _digest(*(path for name, path in sorted(self.files.items()) if name.endswith(".js")))
        self.digests |= {name: modules for name in self.files if name.endswith(".js")}
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True, auto_reload=False,
        )  # fmt: skip
        self._environment.globals.update(
            mark=mark, static=self.static, link_to=link_to, host=host, instance=instance, version=VERSION
        )
        self._environment.filters.update(
            length=times.length, size=times.size, number=times.number, counted=times.counted
        )

    def static(self, name: str) -> str:
        """The address of a static file: it changes when the file does, so it may be kept for ever."""
        return f"/static/{self.digests[name]}/{name}"

    def draw(self, template: str, call: Call, values: dict[str, Any]) -> str:
        now = call.times.when(call.times.now_us, seconds=True)
        return self._environment.get_template(template).render(call=call, now=now, **values)


def _digest(*paths: Path) -> str:
    found = hashlib.sha256()
    for path in paths:
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


def link_to(*parts: str | int, **query: str | int | None) -> str:
    """An address below /, each part quoted: `link_to("runs", 7, task="a b")` is `/runs/7?task=a+b`."""
    path = "/" + "/".join(quote(str(part), safe="") for part in parts)
    asked = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(asked)}" if asked else path
