"""`pyflowd.keeper.cgroups` on folders that look like the kernel's; what the kernel does is tried in tests/daemon."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowd.keeper import cgroups, recover
from pyflowd.keeper.cgroups import Cgroups, NoCgroups, name_of, path_below_mount
from pyflowd.keeper.journal import Past, parse
from pyflowd.keeper.options import UsageError
from pyflowd.keeper.options import parse as parse_options
from pyflowd.keeper.wire import LIMITS

UNIFIED = b"30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = (
    b"31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    b"32 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)
BOUND = b"33 24 0:26 /box/one /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
BLANK = b"34 24 0:26 / /srv/my\\040cgroups rw - cgroup2 x rw\n"
FILES = (
    "memory.max", "memory.swap.max", "memory.oom.group", "cpu.max", "cpu.weight", "io.weight", "io.bfq.weight",
    "pids.max",
)  # fmt: skip
ALL = {"memory_max": 1 << 20, "cpu_max": 150, "cpu_weight": 20, "io_weight": 3000, "tasks_max": 9, "nice": 5}


@pytest.mark.parametrize(
    ("inside", "mounts", "path"),
    [
        ("/system.slice/k.service", UNIFIED, "/sys/fs/cgroup/system.slice/k.service"),
        ("/", UNIFIED, "/sys/fs/cgroup"),
        ("/a", HYBRID, "/sys/fs/cgroup/unified/a"),
        ("/box/one/k", BOUND, "/sys/fs/cgroup/k"),
        ("/box/one", BOUND, "/sys/fs/cgroup"),
        ("/k", BLANK, "/srv/my cgroups/k"),
    ],
)
def test_the_folder_of_a_cgroup_is_found_in_the_table_of_mounts(inside: str, mounts: bytes, path: str) -> None:
    assert path_below_mount(inside, mounts) == path


@pytest.mark.parametrize(("inside", "mounts"), [("/a", b""), ("/box/oneness", BOUND), ("/../x", BOUND)])
def test_a_cgroup_outside_of_what_is_mounted_is_none(inside: str, mounts: bytes) -> None:
    with pytest.raises(NoCgroups, match="not mounted"):
        path_below_mount(inside, mounts)


@given(st.tuples(st.text(min_size=1), st.integers(0, 1 << 62)), st.tuples(st.text(min_size=1), st.integers(0, 1 << 62)))
def test_names_are_single_folders_and_no_two_attempts_have_one(one: tuple[str, int], two: tuple[str, int]) -> None:
    names = [name_of(*each, lasting=False) for each in (one, two)]
    for name in names:
        assert name.startswith("attempt-")
        assert "/" not in name
        assert len(name) < 255
    if one[0] != two[0] and one[1] != two[1]:
        assert names[0] != names[1]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cgroups:
    """A new folder has the kernel's files in it."""
    make = os.mkdir

    def mkdir(path: str, mode: int) -> None:
        make(path, mode)
        for file in FILES:
            Path(path, file).touch()

    monkeypatch.setattr(os, "mkdir", mkdir)
    return Cgroups(str(tmp_path), ("memory", "cpu", "io", "pids"))


def test_each_limit_is_written_to_its_file(tree: Cgroups) -> None:
    assert tree.make("attempt-a", ALL) == []
    written = {file: Path(tree.path, "attempt-a", file).read_text() for file in FILES}
    assert written == {
        "memory.max": "1048576", "memory.swap.max": "0", "memory.oom.group": "1", "cpu.max": "150000 100000",
        "cpu.weight": "20", "io.weight": "3000", "io.bfq.weight": "1000", "pids.max": "9",
    }  # fmt: skip


def test_what_is_not_asked_for_is_left_as_it_is(tree: Cgroups) -> None:
    assert tree.make("attempt-a", {"tasks_max": 9}) == []
    assert Path(tree.path, "attempt-a", "memory.max").read_text() == ""
    assert Path(tree.path, "attempt-a", "memory.swap.max").read_text() == ""


def test_limits_without_a_file_are_told(tmp_path: Path) -> None:
    unkept = Cgroups(str(tmp_path)).make("attempt-a", ALL)
    assert unkept == ["memory_max", "cpu_max", "cpu_weight", "io_weight", "tasks_max"]


def test_every_limit_has_a_controller_but_niceness() -> None:
    assert set(cgroups.CONTROLLERS) | {"nice"} == set(LIMITS)


def test_use_is_read_from_the_files_that_are_there(tmp_path: Path) -> None:
    folder = tmp_path / "attempt-a"
    folder.mkdir()
    tree = Cgroups(str(tmp_path))
    nothing = tree.use("attempt-a")
    assert (nothing.user_us, nothing.oom_kills, nothing.tasks_refused, nothing.peak_bytes) == (0, 0, 0, 0)
    (folder / "cpu.stat").write_text("usage_usec 9\nuser_usec 5\nsystem_usec 4\nnr_periods 0\n")
    (folder / "memory.events").write_text("low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\noom_group_kill 1\n")
    (folder / "pids.events").write_text("max 3\n")
    (folder / "memory.peak").write_text("4096\n")
    use = tree.use("attempt-a")
    assert (use.user_us, use.system_us, use.oom_kills, use.tasks_refused, use.peak_bytes) == (5, 4, 2, 3, 4096)


@pytest.mark.parametrize(("events", "pids", "lives"), [(1, "7\n", True), (0, "", False), (1, "", False)])
def test_a_cgroup_lives_while_a_process_is_in_it(tmp_path: Path, events: int, pids: str, lives: bool) -> None:
    folder = tmp_path / "attempt-a"
    folder.mkdir()
    (folder / "cgroup.events").write_text(f"populated {events}\nfrozen 0\n")
    (folder / "cgroup.procs").write_text(pids)
    assert Cgroups(str(tmp_path)).is_populated("attempt-a") is lives


def test_what_may_live_on_is_looked_at_again_only_when_an_orphan_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the end of each attempt would cost a look at everything that others have left running."""
    tried = []
    remove_leaf = cgroups._remove_leaf
    monkeypatch.setattr(cgroups, "_remove_leaf", lambda path: tried.append(os.path.basename(path)) or remove_leaf(path))
    tree = Cgroups(str(tmp_path))
    lasting = tmp_path / "lasting-a"
    lasting.mkdir()
    (lasting / "cgroup.events").write_text("populated 1\n")
    (lasting / "cgroup.procs").write_text("7\n")
    tree.remove("lasting-a")
    for number in range(100):
        (tmp_path / f"attempt-{number}").mkdir()
        tree.remove(f"attempt-{number}")
        tree.sweep(orphans=False)
    assert tried.count("lasting-a") == 1
    assert os.listdir(tmp_path) == ["lasting-a"]
    for file in list(lasting.iterdir()):
        file.unlink()
    tree.sweep(orphans=True)
    assert not os.listdir(tmp_path)


def test_where_there_are_none_there_is_nothing_to_do() -> None:
    none = Cgroups(why="because")
    assert not none
    assert str(none) == "none: because"
    assert none.kill_remains(set(), 0) == 0
    none.keep_only(frozenset())
    none.sweep(orphans=True)
    assert not none.is_populated("attempt-a")


def test_what_there_is_is_told_in_one_line(tmp_path: Path) -> None:
    assert str(Cgroups(str(tmp_path), ("memory", "pids"))) == "cgroup: memory pids"
    assert str(Cgroups(str(tmp_path))) == "cgroup:"


def test_cgroups_of_ended_and_acknowledged_attempts_are_not_doomed() -> None:
    journal = "I\ta\t90\t1\nI\tb\t80\t1\nE\tb\t0\t\t1\t2\t0\t0\t0\t\t0\t0\nI\tc\t70\t1\nA\tc\nO\td\t60\t1\n"
    assert recover.cgroups_of(parse(journal.encode())) == {"attempt-a", "lasting-a", "attempt-d", "lasting-d"}
    assert recover.cgroups_of(Past()) == set()


@pytest.mark.parametrize("value", ["own", "none", "/sys/fs/cgroup/x"])
def test_a_place_may_be_asked_for(value: str) -> None:
    assert parse_options(["--run-dir", "/r", "--cgroup", value]).cgroup == value


def test_a_place_that_is_no_path_is_refused() -> None:
    with pytest.raises(UsageError, match="--cgroup mine"):
        parse_options(["--run-dir", "/r", "--cgroup", "mine"])
