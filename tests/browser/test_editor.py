"""The editor as a person uses it: checked as one types, drawn beside, edited by the drawing, saved after a look."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.look import Looker
from tests.browser.site import GOOD, Site
from tests.waiting import wait_until


@pytest.fixture
def may_edit(site: Site) -> Iterator[None]:
    site.daemon.settings(edit=True)
    site.daemon.ctl("reload")
    yield
    site.daemon.settings()
    site.daemon.ctl("reload")


@pytest.mark.usefixtures("may_edit")
def test_a_text_is_checked_drawn_mended_and_saved(look: Looker, site: Site) -> None:
    site.daemon.install("edited.yaml", GOOD)
    page = look.page("/workflows/edited/edit")
    page.fill("#text", GOOD.replace("needs: count", "needs: cuont"))
    page.wait_for_selector(".prob [data-jump]:has-text('4:')")
    assert page.is_disabled("[data-save]")
    page.click(".prob button:has-text('Fix')")
    page.wait_for_selector("text=No problems")
    assert page.input_value("#text") == GOOD
    page.click("summary:has-text('Add a task')")
    page.fill("[name=add_name]", "third")
    page.select_option("[name=add_needs]", ["show"])
    page.click("button:has-text('Add task')")
    page.wait_for_selector("[data-task=third]", state="attached")
    page.click("summary:has-text('Add a need')")
    page.select_option("[name=need_of]", "third")
    page.select_option("[name=need]", "count")
    page.click("button:has-text('Add need')")
    wait_until(lambda: "[show, count]" in page.input_value("#text"), "the text has one more need")
    page.click("[data-task=count]:visible")
    page.wait_for_selector("[data-help] h2:has-text('count')")
    page.click("[data-save]")
    page.wait_for_selector("h1:has-text('3 lines added, 0 removed')")
    assert "stay as they are" in page.inner_text(".lede")
    page.click("button:has-text('Save edited.yaml')")
    page.wait_for_selector(".told:has-text('Saved: edited.yaml is in force')")
    text = (site.daemon.root / "workflows" / "edited.yaml").read_text()
    assert text == GOOD + "  third:\n    needs: [show, count]\n    run: echo hello\n"


@pytest.mark.usefixtures("may_edit")
def test_a_text_that_somebody_else_changed_meanwhile_is_not_written_over(look: Looker, site: Site) -> None:
    site.daemon.install("shared.yaml", GOOD)
    page = look.page("/workflows/shared/edit", scripts=False)
    theirs = GOOD + "  theirs: {run: echo theirs}\n"
    site.daemon.install("shared.yaml", theirs)
    page.fill("#text", GOOD + "  mine: {run: echo mine}\n")
    page.click("button:has-text('Save')")
    assert "Not saved" in page.inner_text(".told")
    assert "theirs" in page.inner_text(".diff")
    assert page.locator("button[value=save]").count() == 0
    assert (site.daemon.root / "workflows" / "shared.yaml").read_text() == theirs
    page.click("button:has-text('Go on editing')")
    assert "mine" in page.input_value("#text"), "nothing that was typed is lost"


@pytest.mark.usefixtures("may_edit")
def test_a_new_workflow_is_written_without_scripts(look: Looker, site: Site) -> None:
    page = look.page("/new", scripts=False)
    page.fill("#file", "fresh.yaml")
    page.fill("#text", "tasks: {a: {run: echo a}}")
    page.click("button:has-text('Check')")
    assert "No problems" in page.inner_text("main") or "warning" in page.inner_text("main")
    page.click("button:has-text('Save')")
    page.click("button:has-text('Save fresh.yaml')")
    assert "Saved" in page.inner_text(".told")
    assert (site.daemon.root / "workflows" / "fresh.yaml").read_text() == "tasks: {a: {run: echo a}}"


def test_where_it_may_not_be_saved_the_page_says_why(look: Looker, site: Site) -> None:
    page = look.page("/workflows/orders/edit")
    assert page.locator("[data-save]").count() == 0
    assert "edit: true" in page.inner_text("#whynot")
    assert page.is_visible("[data-copy]")
    page.goto(site.url + "/new")
    assert "edit: true" in page.inner_text("#whynot")


def test_a_name_that_is_no_file_is_refused_and_the_text_kept(look: Looker, site: Site) -> None:
    page = look.context(scripts=False).new_page()  # a refusal is no 200, which the console tells
    page.goto(site.url + "/new")
    page.fill("#file", "../../etc/cron.d/x.yaml")
    page.fill("#text", "tasks: {a: {run: echo mine}}")
    page.click("button:has-text('Check')")
    assert "mine" in page.input_value("#text")
    assert not (site.daemon.root.parent / "etc").exists()
