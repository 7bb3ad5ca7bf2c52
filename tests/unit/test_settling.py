"""When a change in the folder is believed (rule D4), over times that the test makes."""

from __future__ import annotations

from pyflowd.folder.loader_frames import Signature
from pyflowd.folder.settling import AWAY_US, OPEN_LIMIT_US, SETTLE_US, Settling

OLD = Signature(1, 1, 10, 1)
NEW = Signature(2, 2, 20, 1)
NEWER = Signature(3, 3, 30, 1)


def settled(**files: Signature) -> Settling:
    settling = Settling()
    settling.observe(files, 0)
    settling.observe(files, SETTLE_US)
    return settling


def test_a_new_file_counts_when_it_has_rested() -> None:
    settling = Settling()
    assert settling.observe({"a": NEW}, 0) == ({}, SETTLE_US, False)
    assert settling.observe({"a": NEW}, SETTLE_US - 1).entries == {}
    assert settling.observe({"a": NEW}, SETTLE_US).entries == {"a": NEW}


def test_each_change_starts_the_rest_anew() -> None:
    settling = Settling()
    settling.observe({"a": NEW}, 0)
    settling.observe({"a": NEWER}, 90_000)
    assert settling.observe({"a": NEWER}, SETTLE_US).entries == {}
    assert settling.observe({"a": NEWER}, 90_000 + SETTLE_US).entries == {"a": NEWER}


def test_the_settled_version_stands_while_a_newer_one_is_written() -> None:
    settling = settled(a=OLD)
    assert settling.observe({"a": NEW}, 500_000).entries == {"a": OLD}


def test_a_file_renamed_into_place_counts_at_once_and_is_told_again() -> None:
    settling = settled(a=OLD)
    settling.moved_in("a")
    assert settling.observe({"a": NEW}, 500_000) == ({"a": NEW}, 500_000 + SETTLE_US, False)
    assert settling.observe({"a": NEW}, 500_000 + SETTLE_US) == ({"a": NEW}, None, True)


def test_a_file_written_to_after_its_rename_must_rest() -> None:
    settling = Settling()
    settling.moved_in("a")
    settling.written("a", 0)
    assert settling.observe({"a": NEW}, 0).entries == {}


def test_a_file_held_open_by_its_writer_waits_for_the_close() -> None:
    settling = Settling()
    settling.written("a", 0)
    settling.observe({"a": NEW}, 0)
    assert settling.observe({"a": NEW}, 10 * SETTLE_US).entries == {}
    settling.closed("a")
    assert settling.observe({"a": NEW}, 10 * SETTLE_US + 1).entries == {"a": NEW}


def test_a_close_that_was_never_told_is_not_waited_for_for_ever() -> None:
    settling = Settling()
    settling.written("a", 0)
    settling.observe({"a": NEW}, 0)
    assert settling.observe({"a": NEW}, OPEN_LIMIT_US).entries == {"a": NEW}


def test_a_file_that_comes_back_was_never_gone() -> None:
    settling = settled(a=OLD)
    assert settling.observe({}, 500_000).entries == {"a": OLD}
    assert settling.observe({"a": OLD}, 600_000) == ({"a": OLD}, None, False)
    assert settling.observe({}, 500_000 + AWAY_US).entries == {"a": OLD}


def test_a_file_that_stays_away_is_gone() -> None:
    settling = settled(a=OLD)
    assert settling.observe({}, 500_000).look_again_us == 500_000 + AWAY_US
    assert settling.observe({}, 500_000 + AWAY_US).entries == {}
