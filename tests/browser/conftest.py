"""A real browser before a real web front. Where there is none, or no playwright, these tests are skipped and say so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.look import FLAGS, Looker
from tests.browser.site import Site

CHROMIUM = Path(os.environ.get("PYFLOW_CHROMIUM", "/usr/bin/chromium"))


@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    """One browser for a worker; pages in it are cheap."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install '.[dev]'")
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM}: apt-get install chromium, or set PYFLOW_CHROMIUM")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def site(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for a worker, with life in it; a test that changes something uses a workflow of its own."""
    made = Site(tmp_path_factory.mktemp("site") / "root")
    try:
        made.start()
        made.populate()
        yield made
    finally:
        made.end()


@pytest.fixture(scope="package")
def session(site: Site) -> str:
    return site.session()


@pytest.fixture
def look(chromium: Any, site: Site, session: str) -> Iterator[Looker]:
    """Opens pages with a session, and fails where one of them complained in the console."""
    made = Looker(chromium, site, session)
    try:
        yield made
    finally:
        made.close()
    made.assert_quiet()
