"""The application without a daemon: what takes long keeps nobody else waiting."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pyflowd.errors import Unavailable
from pyflowd.web.app import LANE_THREADS, LANE_WAITING, Web
from pyflowd.web.drawing import Templates
from pyflowd.web.link import Link
from pyflowd.web.settings import Settings
from pyflowd.web.table import table


def test_what_takes_long_leaves_room_for_all_else_and_waits_in_bounds(tmp_path: Path) -> None:
    web = Web(Link(str(tmp_path / "none.sock")), Templates(ZoneInfo("UTC"), "host", "r"), Settings(), frozenset())
    go_on = threading.Event()

    async def act() -> None:
        lane = [
            asyncio.ensure_future(web._at_work(lambda: go_on.wait(30), "edit"))
            for _ in range(LANE_THREADS + LANE_WAITING)
        ]
        await asyncio.sleep(0)
        try:
            assert await web._at_work(lambda: "a page", "") == "a page"
            with pytest.raises(Unavailable, match="try again"):
                await web._at_work(lambda: True, "edit")
        finally:
            go_on.set()
        assert all(await asyncio.gather(*lane))

    asyncio.run(act())


def test_the_editor_has_a_lane_of_its_own() -> None:
    assert {route.lane for route in table() if "edit" in route.path or route.path == "/new"} == {"edit"}
    assert {route.lane for route in table() if "edit" not in route.path and route.path != "/new"} == {""}
