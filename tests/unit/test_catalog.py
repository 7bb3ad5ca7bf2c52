"""Which definition is in force (rules D2, D3, D5)."""

from __future__ import annotations

import pytest

from pyflowd.folder.catalog import Catalog, Change, Installed, Noted, Reload, Removed
from pyflowd.folder.loader_frames import Loaded, Rejected, Result, Seen, Signature, Unsettled, Vanished
from pyflowd.model.problem import Problem

BAD = Problem(file="a.yaml", line=2, column=1, code="unknown_key", message="wrong")


def seen(file: str, mark: int) -> Seen:
    return Seen({file: Signature(mark, mark, mark, mark)})


def good(file: str, name: str, digest: str = "d1") -> Loaded:
    return Loaded(file=file, name=name, digest=digest, text=b"", compiled=b"", seen=seen(file, len(digest)))


def bad(file: str) -> Rejected:
    return Rejected(file=file, problems=(BAD,), seen=seen(file, 9))


def kinds(changes: list[Change]) -> list[str]:
    return [type(change).__name__ for change in changes]


def test_a_new_definition_is_installed() -> None:
    catalog = Catalog()
    assert catalog.apply(good("a.yaml", "a")) == [Installed(good("a.yaml", "a"))]
    assert catalog.holder("a") == catalog.row("a.yaml")


def test_the_same_text_again_changes_nothing_in_force() -> None:
    catalog = Catalog()
    catalog.apply(good("a.yaml", "a"))
    assert kinds(catalog.apply(good("a.yaml", "a"))) == ["Noted"]


def test_a_new_text_is_installed() -> None:
    catalog = Catalog()
    catalog.apply(good("a.yaml", "a"))
    assert kinds(catalog.apply(good("a.yaml", "a", "d2"))) == ["Installed"]


def test_a_bad_newer_version_leaves_the_older_in_force_and_is_stale() -> None:
    catalog = Catalog()
    catalog.apply(good("a.yaml", "a"))
    (noted,) = catalog.apply(bad("a.yaml"))
    assert isinstance(noted, Noted)
    assert (noted.row.name, noted.row.digest, noted.row.stale, noted.row.problems) == ("a", "d1", True, (BAD,))


def test_the_old_text_restored_is_no_longer_stale() -> None:
    catalog = Catalog()
    catalog.apply(good("a.yaml", "a"))
    catalog.apply(bad("a.yaml"))
    (noted,) = catalog.apply(good("a.yaml", "a"))
    assert isinstance(noted, Noted)
    assert not noted.row.stale


def test_a_file_that_was_always_bad_is_noted_and_defines_nothing() -> None:
    catalog = Catalog()
    (noted,) = catalog.apply(bad("a.yaml"))
    assert isinstance(noted, Noted)
    assert (noted.row.name, noted.row.stale) == (None, False)


def test_a_removed_file_removes_its_workflow() -> None:
    catalog = Catalog()
    catalog.apply(good("a.yaml", "a"))
    assert catalog.remove("a.yaml") == [Removed("a", "a.yaml")]
    assert catalog.holder("a") is None
    assert catalog.remove("a.yaml") == []


def test_of_two_files_with_one_name_the_earlier_stays_and_both_are_named() -> None:
    catalog = Catalog()
    catalog.apply(good("b.yaml", "a"))
    (noted,) = catalog.apply(good("a.yaml", "a", "d2"))
    assert isinstance(noted, Noted)
    assert "b.yaml" in str(noted.row.problems[0])
    assert "a.yaml" in str(noted.row.problems[0])
    holder = catalog.holder("a")
    assert holder is not None
    assert holder.file == "b.yaml"


def test_the_second_file_may_have_the_name_when_it_is_free() -> None:
    catalog = Catalog()
    catalog.apply(good("b.yaml", "a"))
    catalog.apply(good("a.yaml", "a", "d2"))
    assert catalog.remove("b.yaml") == [Removed("a", "b.yaml"), Reload("a.yaml")]
    assert kinds(catalog.apply(good("a.yaml", "a", "d2"))) == ["Installed"]


def test_a_file_that_changes_its_name_frees_the_old_one() -> None:
    catalog = Catalog()
    catalog.apply(good("a.yaml", "a"))
    assert kinds(catalog.apply(good("a.yaml", "b", "d2"))) == ["Removed", "Installed"]
    assert catalog.holder("a") is None


def test_a_file_that_wants_a_taken_name_keeps_its_own() -> None:
    catalog = Catalog()
    catalog.apply(good("a.yaml", "a"))
    catalog.apply(good("b.yaml", "b"))
    (noted,) = catalog.apply(good("b.yaml", "a", "d2"))
    assert isinstance(noted, Noted)
    assert (noted.row.name, noted.row.digest, noted.row.stale) == ("b", "d1", True)


@pytest.mark.parametrize("result", [Unsettled(file="a.yaml"), Vanished(file="a.yaml")])
def test_what_a_scan_will_tell_again_changes_nothing(result: Result) -> None:
    catalog = Catalog()
    catalog.apply(good("a.yaml", "a"))
    assert catalog.apply(result) == []
    assert catalog.holder("a") is not None


def test_a_file_that_was_asked_for_is_known_until_it_changes() -> None:
    catalog = Catalog()
    catalog.asked("a.yaml", seen("a.yaml", 1))
    assert catalog.known == {"a.yaml": seen("a.yaml", 1)}


def test_the_books_can_be_opened_again_from_their_rows() -> None:
    catalog = Catalog()
    catalog.apply(good("a.yaml", "a"))
    catalog.apply(bad("a.yaml"))
    catalog.apply(good("b.yaml", "a", "d2"))
    again = Catalog(catalog.rows)
    assert again.known == catalog.known
    assert again.remove("a.yaml") == catalog.remove("a.yaml")


def test_what_was_read_too_early_is_to_be_loaded_whatever_comes() -> None:
    catalog = Catalog()
    catalog.apply(good("a.yaml", "a"))
    catalog.forget("a.yaml")
    assert catalog.known == {"a.yaml": None}
