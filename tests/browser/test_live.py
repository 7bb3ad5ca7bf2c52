"""Pages that change by themselves: what happens is seen, nothing grows, and the mark in the head tells the truth."""

from __future__ import annotations

from typing import Any

from tests.browser.look import Looker
from tests.browser.site import Site


def test_a_run_is_watched_from_its_start_to_its_failure(look: Looker, site: Site) -> None:
    run = site.daemon.run("gated")
    page = look.page(f"/runs/{run}")
    look.live(page)
    page.wait_for_selector("#main .chip:has-text('Running')")
    page.wait_for_selector(".dag [data-task=gate] .n.s-run", state="attached")
    (site.daemon.root / "gate").touch()
    page.wait_for_selector("#main .chip:has-text('Failed')")
    page.wait_for_selector(".dag [data-task=last] .n.s-up", state="attached")
    assert "failed" in page.inner_text("h1")
    (site.daemon.root / "gate").unlink()


def test_a_rerun_from_the_failed_task_keeps_what_is_done(look: Looker, site: Site) -> None:
    """By the page's own buttons, as a person does it."""
    (site.daemon.root / "gate").touch()
    run = site.daemon.run("gated")
    site.daemon.wait_run(run)
    page = look.page(f"/runs/{run}")
    confirm(page, "Rerun from gate")
    page.wait_for_url(lambda url: not url.endswith(f"/runs/{run}"))
    again = int(page.url.split("/runs/")[1].split("?")[0])
    assert again > run
    found = site.daemon.wait_run(again)
    assert found["tasks"]["first"]["reason"], "first is kept, not run again"
    page.wait_for_selector("#main .chip:has-text('Failed')")
    (site.daemon.root / "gate").unlink()


def test_an_approval_is_given_on_the_page(look: Looker, site: Site) -> None:
    run = site.daemon.run("deploy-web")
    site.daemon.wait_task(run, "production", "running")
    page = look.page(f"/runs/{run}")
    look.live(page)
    confirm(page, "Approve")
    assert "Recorded" in page.inner_text(".told")
    page.wait_for_selector("#main .chip:has-text('Succeeded')")
    assert site.daemon.wait_run(run)["state"] == "succeeded"


def test_a_run_is_cancelled_on_the_page(look: Looker, site: Site) -> None:
    run = site.daemon.run("slow")
    page = look.page(f"/runs/{run}")
    look.live(page)
    confirm(page, "Cancel run")
    page.wait_for_selector("#main .chip:has-text('Cancelled')")
    assert site.daemon.wait_run(run)["state"] == "cancelled"


def test_the_page_of_a_workflow_follows_what_happens_and_leaves_what_is_typed(look: Looker, site: Site) -> None:
    page = look.page("/workflows/gated")
    look.live(page)
    site.daemon.ctl("pause", "gated")
    page.wait_for_selector("#head .tag:has-text('paused')")
    page.goto(site.url + "/workflows/nightly-backup")
    look.live(page)
    page.fill("#p-keep_days", "77")
    run = site.daemon.run("nightly-backup")
    page.wait_for_selector(f"#head a[href='/runs/{run}']", state="attached")
    page.wait_for_selector(f"#head:has-text('Run {run} failed')")
    assert page.input_value("#p-keep_days") == "77"
    site.daemon.ctl("resume", "gated")


def test_the_ledger_and_the_installation_follow_what_happens(look: Looker, site: Site) -> None:
    slots, system = look.page("/slots"), look.page("/system")
    look.live(slots)
    look.live(system)
    site.daemon.ctl("drain")
    system.wait_for_selector("h1:has-text('drained')")
    site.daemon.ctl("undrain")
    system.wait_for_selector("h1:not(:has-text('drained'))")
    assert slots.locator("[data-fragment]").count() == 1


def confirm(page: Any, label: str) -> None:
    """A button, and the one that it opens where it asks first."""
    first = page.locator(f"summary:has-text('{label}'), main button:has-text('{label}')").first
    first.click()
    inner = page.locator("details[open] form button:visible")
    if inner.count():
        with page.expect_navigation():
            inner.last.click()
    page.wait_for_load_state()


def test_the_mark_tells_when_the_front_and_when_the_daemon_is_away(look: Looker, site: Site) -> None:
    page = look.context().new_page()  # what it says of lost connections is right here
    page.goto(site.url + "/")
    look.live(page)
    site.daemon.stop()
    page.wait_for_selector("#live[data-state=lost]", state="attached")
    assert page.inner_text("#live [data-word]") == "Reconnecting, as of"
    other = look.context().new_page()
    other.goto(site.url + "/slots")
    assert other.inner_text("h1") == "The daemon does not answer"
    assert not other.is_visible("[data-answers]")
    site.daemon.start()
    look.live(page)
    other.click("[data-answers] a")  # waits until it is there
    other.wait_for_selector("h1:has-text('slot')")
    assert other.url.endswith("/slots")
    site.stop_web()
    page.wait_for_selector("#live[data-state=lost]", state="attached")
    site.start_web()
    look.live(page)


def test_a_page_whose_session_is_over_says_so(chromium: Any, site: Site) -> None:
    own = Looker(chromium, site, site.session())
    try:
        page = own.context().new_page()
        page.goto(site.url + "/")
        own.live(page)
        other = own.context().new_page()
        other.goto(site.url + "/")
        other.click("button:has-text('Log out')")
        page.wait_for_selector("#live[data-state=off]", state="attached")
        assert "reload" in page.inner_text("#live [data-word]")
    finally:
        own.close()


MANY = """async (count) => {
    const tell = (detail) => document.dispatchEvent(new CustomEvent('pyflow:events', {detail}));
    for (let n = 0; n < count; n++) tell([{event: n, type: 'attempt_ended', run: 1, task: 't', at_us: 0}]);
}"""


def test_a_page_left_open_does_not_grow(look: Looker, site: Site) -> None:
    """Thousands of events of a run, with the part that shows them fetched again and again."""
    page = look.page("/")
    look.live(page)
    session = page.context.new_cdp_session(page)
    patched = "() => new Promise((done) => document.addEventListener('pyflow:patched', done, {once: true}))"

    def counts() -> dict[str, int]:
        session.send("HeapProfiler.collectGarbage")
        found = session.send("Memory.getDOMCounters")
        return {key: found[key] for key in ("nodes", "jsEventListeners")}

    wait = page.evaluate_handle("() => new Promise((done) => setTimeout(done, 0))")
    wait.dispose()
    before = None
    for round_ in range(4):
        page.evaluate(f"() => {{ window.seen = ({patched})(); }}")
        page.evaluate(MANY, 2000)
        site.daemon.run("orders")
        page.evaluate("() => window.seen")
        if round_ == 1:
            before = counts()
    assert before is not None
    after = counts()
    assert after["nodes"] <= before["nodes"] * 1.25 + 200, (before, after)
    assert after["jsEventListeners"] <= before["jsEventListeners"] + 5, (before, after)


def test_a_hidden_page_lets_its_stream_go_when_another_opens(look: Looker, site: Site) -> None:
    """A browser has six connections for all pages of a host: eight pages must load all the same."""
    hidden = "Object.defineProperty(document, 'hidden', {get: () => globalThis.away === true})"
    look.context().add_init_script(hidden)
    for _ in range(8):
        page = look.page("/")
        look.live(page)
        page.evaluate("globalThis.away = true; document.dispatchEvent(new Event('visibilitychange'))")


def test_keys_move_open_and_change_nothing(look: Looker, site: Site) -> None:
    page = look.page("/")
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url("**/runs")
    page.keyboard.press("?")
    assert page.locator("#keys").get_attribute("open") is not None
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.type") in ("search", "text")
    page.keyboard.press("Escape")
    page.goto(site.url + "/workflows")
    page.keyboard.press("j")
    first = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("j")
    second = page.evaluate("document.activeElement.textContent")
    assert first
    assert first != second
    page.keyboard.press("?")
    page.uncheck("#keys-on")
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("o")
    assert page.url.endswith("/workflows")
    page.evaluate("localStorage.clear()")
