"""Every page in light and dark, on a desktop and on a phone: nothing complains, nothing scrolls sideways, axe finds
nothing, and with scripts off it can be read all the same."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.look import Looker
from tests.browser.site import Site

LOOKS = [("light", False), ("dark", False), ("light", True), ("dark", True)]
PICTURED = {
    "overview-light-desktop", "run-failed-dark-desktop", "workflow-light-desktop", "edit-dark-desktop",
    "run-failed-light-phone",
}  # fmt: skip
"""What the README shows: made again by `make screenshots`."""


@pytest.mark.parametrize(("scheme", "phone"), LOOKS, ids=["light", "dark", "light-phone", "dark-phone"])
def test_no_page_complains_or_scrolls_sideways(look: Looker, site: Site, scheme: str, phone: bool) -> None:
    page = look.page(scheme=scheme, phone=phone)
    wide = []
    for name, path in site.pages().items():
        look.goto(page, path)
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            wide.append(f"{name}: {sticks_out(page)}")
        picture = f"{name}-{scheme}-{'phone' if phone else 'desktop'}"
        if picture in PICTURED:
            look.live(page)
            look.picture(page, picture)
    assert not wide, "\n".join(wide)


def sticks_out(page: Any) -> list[str]:
    """What makes a page wider than it is."""
    found: list[str] = page.evaluate(
        """() => [...document.body.querySelectorAll('*')].filter((each) => {
            const box = each.getBoundingClientRect();
            return box.right > document.documentElement.clientWidth + 1 && !each.closest('[tabindex="0"], .sprite');
        }).slice(0, 5).map((each) => each.outerHTML.slice(0, 100))"""
    )
    return found


@pytest.mark.parametrize(("scheme", "phone"), [("light", False), ("dark", True)], ids=["light", "dark-phone"])
def test_axe_finds_nothing_on_any_page(look: Looker, site: Site, scheme: str, phone: bool) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe: pip install '.[dev]'").Axe()
    page = look.page(scheme=scheme, phone=phone)
    found = []
    for name, path in site.pages().items():
        look.goto(page, path)
        for each in axe.run(page, options=AXE).response["violations"]:
            places = "; ".join(f"{node['target']} {node['html'][:160]} {node['any'][:1]}" for node in each["nodes"][:3])
            found.append(f"{name}: {each['id']} ({len(each['nodes'])} times): {each['help']}: {places}")
    assert not found, "\n".join(found)


AXE = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}


def test_every_page_says_what_it_is_without_scripts(look: Looker, site: Site) -> None:
    page = look.page(scripts=False)
    for name, path in site.pages().items():
        look.goto(page, path)
        assert page.locator("h1").count() == 1, name
        assert page.inner_text("h1").strip(), name
        assert page.locator("main").inner_text().strip(), name


def test_no_page_has_a_script_or_a_style_of_its_own(look: Looker, site: Site) -> None:
    page = look.page()
    found = []
    for name, path in site.pages().items():
        look.goto(page, path)
        found += [f"{name}: {each}" for each in page.evaluate(FOREIGN)]
    assert not found, "\n".join(found)


FOREIGN = """() => [...document.querySelectorAll('*')].filter((each) =>
    ['img', 'iframe', 'object', 'embed', 'video', 'audio', 'base', 'marquee', 'template', 'applet', 'link', 'math']
        .includes(each.localName) && !(each.localName === 'link' && each.getAttribute('href').startsWith('/static/'))
    || (each.localName === 'script' && !each.getAttribute('src')?.startsWith('/static/'))
    || each.localName === 'style'
    || each.getAttributeNames().some((name) => name.startsWith('on') || name === 'style' || name === 'srcdoc')
    || /^\\s*(javascript|data|vbscript):/i.test(each.getAttribute('href') ?? '')
    || (each.localName === 'a' && each.origin && each.origin !== location.origin)
).map((each) => each.outerHTML.slice(0, 200))"""
"""Elements that no template of ours has: made by a name or a value, or against the rules of the house."""


def test_items_of_a_failed_fan_out_have_the_colours_of_their_own_states(look: Looker, site: Site) -> None:
    page = look.page(f"/runs/{site.runs['mixed']}?view=graph")
    fills = page.eval_on_selector_all("#tasks .n .cell", "all => all.map((each) => getComputedStyle(each).fill)")
    assert len(set(fills)) == 2, fills
    assert len(fills) % 3 == 0


def test_hostile_names_logs_and_params_make_no_element(look: Looker, site: Site) -> None:
    """The pages of a workflow whose every text is hostile are among `pages`; here what a click opens, too."""
    page = look.page()
    run = site.runs["hostile"]
    for path in (
        "/workflows/hostile", f"/runs/{run}?task=say", f"/runs/{run}?task=each", f"/runs/{run}?task=fails",
        f"/runs/{run}/log/say", f"/runs/{run}/log/say?q=%3Cscript%3E", f"/runs/{run}/log/fails",
        "/workflows/hostile/edit", "/workflows?q=%3Cscript%3Epwned%3D1%3C%2Fscript%3E",
        "/runs?workflow=%22%3E%3Cimg%20src%3Dx%3E", "/new?file=%22%3E%3Cimg%20src%3Dx%20onerror%3Dpwned%3D1%3E",
        "/slots?workflow=%22%3E%3Csvg%20onload%3Dpwned%3D1%3E",
    ):  # fmt: skip
        page.goto(site.url + path)
        look.live(page)
        assert page.evaluate(FOREIGN) == [], path
        assert page.evaluate("typeof pwned") == "undefined", path
    page.goto(f"{site.url}/runs/{run}/log/say")
    page.click("a:has-text('first')")  # of the lines that are left out at first
    page.wait_for_selector("#L1")
    assert "<script>pwned=1</script>" in page.inner_text("main"), "the text itself is shown"


def test_a_graph_of_a_thousand_tasks_is_drawn_and_can_be_read(look: Looker, site: Site) -> None:
    """Layers of ten, each task after three of the layer before: nothing of it folds."""
    lines = [f"  t{n}: {{run: echo {n}}}" for n in range(10)]
    for n in range(10, 1000):
        before = n // 10 * 10 - 10
        needs = ", ".join(f"t{before + (n * k + k) % 10}" for k in (1, 3, 7))
        lines.append(f"  t{n}: {{run: echo {n}, needs: [{needs}]}}")
    site.daemon.install("thousand.yaml", "tasks:\n" + "\n".join(lines) + "\n")
    page = look.page("/workflows/thousand")
    page.wait_for_selector(".dag svg [data-task]", state="attached")
    assert page.locator(".dag svg [data-task]").count() < 1000, "only what is looked at is sent"
    took_ms = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    print(f"a graph of 1,000 tasks was there after {took_ms:.0f} ms")
    editor = look.page("/workflows/thousand/edit")
    assert "t999" in editor.input_value("#text")
