"""What modules say for themselves, they say as the server says it."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from pyflowd.web.times import Times, length
from tests.browser.look import Looker

SECONDS = [
    0,
    0.04,
    0.4,
    0.6,
    5,
    9.94,
    9.96,
    30,
    59.4,
    59.6,
    60,
    89,
    90,
    119,
    3599,
    3600,
    3629,
    5400,
    86_399,
    86_400,
    180_000,
]


def test_lengths_and_relative_times_are_those_of_the_server(look: Looker) -> None:
    page = look.page("/")
    module = page.locator("script[src*='page.js']").get_attribute("src").replace("page.js", "times.js")
    said = page.evaluate(
        """async ([module, seconds]) => {
            const {length, relative} = await import(module);
            return seconds.map((each) => [length(each * 1e6), relative(each * 1e6, 0), relative(-each * 1e6, 0)]);
        }""",
        [module, SECONDS],
    )
    times = Times(ZoneInfo("UTC"), 0)
    us = [round(each * 1_000_000) for each in SECONDS]
    assert said == [[length(each), times.relative(each), times.relative(-each)] for each in us]
