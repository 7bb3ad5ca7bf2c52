"""Which files count, when they have come to rest, and how they are claimed."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pyflowd.clock import US
from pyflowd.triggers.event_claims import Claimed, Failed, Gone, Taken, claim
from pyflowd.triggers.event_files import Found, Listing, State, Watched, from_key, key_of, list_files, target_of

LATE_US = 10**15
BASE = (1, 1)


class Folder:
    """Files as somebody else makes them, and a clock."""

    def __init__(self) -> None:
        self.files: dict[str, Found] = {}
        self.base = BASE
        self.problem = ""
        self.now_us = 0

    def list(self, _: str) -> Listing:
        return Listing(files=dict(self.files), folders=("/in",), base=self.base, problem=self.problem)

    def put(self, path: str, inode: int = 1, size: int = 1, modified: int = 1, changed_us: int = LATE_US) -> State:
        state = State(inode, size, modified)
        self.files[path] = Found(state, changed_us)
        return state

    def watched(self, before: dict[str, State] | None = None, keys: tuple[str, ...] = ()) -> Watched:
        return Watched("/in/*", stable_us=US, since_us=LATE_US // 2, before=before, keys=keys, lister=self.list)

    def now(self) -> int:
        return self.now_us


def due_after(folder: Folder, watched: Watched, seconds: float = 1.0) -> list[tuple[str, bool, bool]]:
    """What is due when it has been looked at, and again later; all of it is answered."""
    watched.look(folder.now)
    folder.now_us += round(seconds * US)
    due = watched.look(folder.now).due
    watched.look(folder.now, [(each.path, each.state) for each in due])
    return [(each.path, each.arrived, each.changed) for each in due]


# ---- Coming to rest -------------------------------------------------------------------------------------------------


def test_a_new_file_is_due_when_it_has_been_at_rest_for_long_enough() -> None:
    folder = Folder()
    watched = folder.watched({})
    folder.put("/in/a")
    assert due_after(folder, watched, 0.9) == []
    assert due_after(folder, watched, 0.1) == [("/in/a", True, False)]
    assert due_after(folder, watched, 9.0) == []


def test_a_file_that_is_written_on_is_not_due() -> None:
    folder = Folder()
    watched = folder.watched({})
    for size in range(5):
        folder.put("/in/a", size=size)
        assert due_after(folder, watched, 0.9) == []


def test_it_says_when_to_look_again() -> None:
    folder = Folder()
    watched = folder.watched({})
    folder.now_us = 5 * US
    folder.put("/in/a")
    assert watched.look(folder.now).again_us == 6 * US


def test_the_first_look_tells_what_was_there_before() -> None:
    folder = Folder()
    watched = folder.watched()
    old = folder.put("/in/old", changed_us=1)
    folder.put("/in/new")
    assert watched.look(folder.now).before == {"/in/old": old}
    assert due_after(folder, watched) == [("/in/new", True, False)]


def test_a_file_written_on_has_changed_and_one_put_in_its_place_has_arrived_as_well() -> None:
    folder = Folder()
    watched = folder.watched({})
    folder.put("/in/a", inode=1)
    due_after(folder, watched)
    folder.put("/in/a", inode=1, size=2)
    assert due_after(folder, watched) == [("/in/a", False, True)]
    folder.put("/in/a", inode=2, size=3)
    assert due_after(folder, watched) == [("/in/a", True, True)]


def test_a_file_that_went_and_came_back_as_it_was_is_not_due() -> None:
    folder = Folder()
    watched = folder.watched({})
    folder.put("/in/a")
    due_after(folder, watched)
    kept = folder.files.pop("/in/a")
    due_after(folder, watched)
    folder.files["/in/a"] = kept
    assert due_after(folder, watched) == []


def test_a_name_that_comes_again_with_another_file_has_arrived() -> None:
    folder = Folder()
    watched = folder.watched({})
    folder.put("/in/a", inode=1)
    due_after(folder, watched)
    del folder.files["/in/a"]
    due_after(folder, watched)
    folder.put("/in/a", inode=1, modified=2)
    assert due_after(folder, watched) == [("/in/a", True, False)]


def test_new_inodes_after_a_mount_are_no_new_files() -> None:
    folder = Folder()
    watched = folder.watched({})
    folder.put("/in/a", inode=1)
    due_after(folder, watched)
    folder.base = (2, 1)
    folder.put("/in/a", inode=7)
    assert due_after(folder, watched) == []


def test_a_state_that_the_ledger_has_is_not_due_after_a_restart_but_a_change_is() -> None:
    folder = Folder()
    folder.put("/in/a", size=2)
    folder.put("/in/b", size=2)
    keys = (key_of("/in/a", State(1, 2, 1)), key_of("/in/b", State(1, 1, 1)))
    assert due_after(folder, folder.watched({}, keys)) == [("/in/b", False, True)]


def test_while_the_folder_cannot_be_listed_nothing_is_gone() -> None:
    folder = Folder()
    watched = folder.watched({})
    state = folder.put("/in/a")
    due_after(folder, watched)
    folder.files, folder.problem = {}, "/in: Input/output error"
    look = watched.look(folder.now, keys=[key_of("/in/a", state)])
    assert (look.problem, look.forgettable) == ("/in: Input/output error", ())


def test_keys_of_states_that_are_no_more_may_be_forgotten() -> None:
    folder = Folder()
    watched = folder.watched({})
    old, other = folder.put("/in/a"), folder.put("/in/b")
    due_after(folder, watched)
    folder.put("/in/a", size=9)
    due_after(folder, watched)
    keys = [key_of("/in/a", old), key_of("/in/a", State(1, 9, 1)), key_of("/in/b", other)]
    assert watched.look(folder.now, keys=keys).forgettable == (keys[0],)


def test_a_key_holds_any_path() -> None:
    state = State(1, 0, -5)
    assert from_key(key_of("/in/a|b:c\n", state)) == ("/in/a|b:c\n", state)


WRITES = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.booleans(), st.booleans()), min_size=1, max_size=40
)


@given(WRITES)
def test_no_state_is_due_twice_and_none_at_rest_is_missing_over_restarts(
    writes: list[tuple[str, int, bool, bool]],
) -> None:
    """Each write makes a state of its own; some are followed by a restart, some by another before they are at rest."""
    folder = Folder()
    keys: list[str] = []
    watched = folder.watched({})
    settled: list[tuple[str, State]] = []
    for number, (name, inode, rests, restarts) in enumerate(writes):
        state = folder.put(f"/in/{name}", inode=inode, modified=number)
        if restarts:
            watched = folder.watched({}, tuple(keys))
        watched.look(folder.now)
        if not rests:
            continue
        folder.now_us += US
        due = watched.look(folder.now).due
        keys += [key_of(each.path, each.state) for each in due]
        watched.look(folder.now, [(each.path, each.state) for each in due])
        settled.append((f"/in/{name}", state))
    told = Counter(map(from_key, keys))
    assert set(told.values()) <= {1}
    assert set(settled) <= set(told)


# ---- Listing --------------------------------------------------------------------------------------------------------


def names(pattern: str) -> list[str]:
    return sorted(os.path.basename(path) for path in list_files(pattern).files)


def test_only_plain_files_count(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a")
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "fifo.csv")
    (tmp_path / "link.csv").symlink_to(tmp_path / "a.csv")
    (tmp_path / ".hidden.csv").write_text("h")
    assert names(f"{tmp_path}/*.csv") == ["a.csv"]


def test_globs_in_folders_follow_no_symlink_and_no_claimed_folder(tmp_path: Path) -> None:
    for folder in ("one", "claimed"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        (tmp_path / "in" / folder / f"{folder}.csv").write_text("x")
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "away.csv").write_text("x")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "away")
    assert names(f"{tmp_path}/in/*/*.csv") == ["one.csv"]


def test_a_pattern_without_a_glob_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a")
    (tmp_path / "b.csv").write_text("b")
    assert names(f"{tmp_path}/a.csv") == ["a.csv"]


def test_a_folder_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    assert list_files(f"{tmp_path}/none/*").problem == f"{tmp_path}/none: No such file or directory"


def test_a_name_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.csv")).write_text("x")
    found = list_files(f"{tmp_path}/*.csv")
    assert not found.files
    assert "not UTF-8" in found.problem


# ---- Claiming -------------------------------------------------------------------------------------------------------


def state_of(path: Path) -> State:
    status = path.stat()
    return State(status.st_ino, status.st_size, status.st_mtime_ns)


def test_a_claimed_file_is_moved_and_to_claim_it_again_finds_that(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "claimed" / "a"
    source.write_text("text")
    state = state_of(source)
    assert claim(str(source), str(target), state) == Claimed(state)
    assert claim(str(source), str(target), state) == Claimed(state)
    assert (source.exists(), target.read_text()) == (False, "text")


def test_another_file_of_that_name_is_never_replaced(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "claimed" / "a"
    target.parent.mkdir()
    target.write_text("first")
    source.write_text("second")
    assert claim(str(source), str(target), state_of(source)) == Taken()
    assert (target.read_text(), source.read_text()) == ("first", "second")


def test_a_file_that_is_not_what_it_was_is_not_claimed(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_text("text")
    state = state_of(source)
    source.write_text("longer text")
    assert claim(str(source), target_of(str(source)), state) == Gone()
    assert source.exists()


def test_a_symlink_in_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / "claimed").symlink_to(tmp_path / "away")
    source = tmp_path / "a"
    source.write_text("text")
    assert isinstance(claim(str(source), target_of(str(source)), state_of(source)), Failed)
    assert source.exists()


def test_further_names_for_one_file() -> None:
    assert [target_of("/in/a.csv", n) for n in (0, 1)] == ["/in/claimed/a.csv", "/in/claimed/a.csv.1"]
