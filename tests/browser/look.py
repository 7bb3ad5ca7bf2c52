"""Pages of the site in a browser, as a person sees them: light or dark, wide or narrow; what the console says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.browser.site import Site

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP evil.test 127.0.0.1",
]  # fmt: skip
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
PICTURES = os.environ.get("PYFLOW_SCREENSHOTS", "")
"""A folder: pictures of pages are put there."""
TIMEOUT_MS = 15_000


class Looker:
    """Contexts by their looks, made when first needed."""

    def __init__(self, browser: Any, site: Site, session: str) -> None:
        self.site = site
        self.complaints: list[str] = []
        self._browser = browser
        self._session = session
        self._contexts: dict[tuple[str, bool, bool], Any] = {}

    def context(self, *, scheme: str = "light", phone: bool = False, scripts: bool = True) -> Any:
        key = (scheme, phone, scripts)
        if key not in self._contexts:
            made = self._browser.new_context(
                viewport=PHONE if phone else DESKTOP, color_scheme=scheme, java_script_enabled=scripts,
                reduced_motion="reduce", has_touch=phone,
            )  # fmt: skip
            made.set_default_timeout(TIMEOUT_MS)
            made.add_cookies([{"name": "pyflow", "value": self._session, "url": self.site.url}])
            self._contexts[key] = made
        return self._contexts[key]

    def page(self, path: str = "", **how: Any) -> Any:
        """A new page; what it complains of is gathered. With a path it is opened there, and must be there."""
        page = self.context(**how).new_page()
        page.on("console", lambda said: said.type in ("error", "warning") and self._complain(page, said.text))
        page.on("pageerror", lambda error: self._complain(page, str(error)))
        page.on("dialog", lambda dialog: (self._complain(page, f"dialog: {dialog.message}"), dialog.dismiss()))
        if path:
            self.goto(page, path)
        return page

    def goto(self, page: Any, path: str) -> None:
        answer = page.goto(self.site.url + path, wait_until="load")
        assert answer.status == 200, f"{path}: {answer.status} {answer.text()[:300]}"

    def live(self, page: Any) -> None:
        """Wait until its stream runs."""
        page.wait_for_selector("#live[data-state=live]", state="attached")

    def picture(self, page: Any, name: str, *, whole: bool = False) -> None:
        if PICTURES:
            page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=whole)

    def _complain(self, page: Any, text: str) -> None:
        self.complaints.append(f"{page.url}: {text}")

    def assert_quiet(self) -> None:
        assert not self.complaints, "\n".join(self.complaints)

    def close(self) -> None:
        for context in self._contexts.values():
            context.close()
        self._contexts.clear()
