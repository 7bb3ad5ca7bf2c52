"""State of the keeper over an upgrade, its options, and what it imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowd.keeper import hunt, upgrade
from pyflowd.keeper.attempt import Attempt
from pyflowd.keeper.mounts import slow_points
from pyflowd.keeper.options import UsageError, parse
from pyflowd.keeper.wire import EXIT, WireError, take_frames

PACKAGE = Path(upgrade.__file__).parent
names = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_characters="\x7f"), min_size=1)


@st.composite
def attempts(draw: st.DrawFn) -> Attempt:
    attempt = Attempt(draw(names))
    for name in upgrade._NUMBERS:
        default = getattr(attempt, name)
        value = draw(st.booleans()) if isinstance(default, bool) else draw(st.integers(-1, 2**62))
        setattr(attempt, name, value)
    attempt.program, attempt.cwd, attempt.user = draw(st.binary()), draw(st.binary()), draw(names)
    attempt.cpu = (draw(st.integers(0)), 1, 2)
    if draw(st.booleans()):
        attempt.masks = tuple(draw(st.lists(st.binary(), min_size=1, max_size=3)))
        attempt.held = draw(st.dictionaries(st.integers(0, 2), st.binary(), max_size=3))
    attempt.journal = tuple(draw(st.lists(st.binary(), max_size=2)))
    if draw(st.booleans()):
        attempt.end = (EXIT, ("0", "", *draw(st.lists(names, max_size=3))))
    return attempt


@given(st.lists(st.tuples(attempts(), st.booleans()), max_size=3), st.binary(), st.lists(names, max_size=3))
def test_a_state_is_read_as_it_was_written(
    kept: list[tuple[Attempt, bool]], received: bytes, lineage: list[str]
) -> None:
    state = upgrade.State()
    state.epoch, state.boot_id, state.lineage = "e", "b", tuple(lineage)
    state.folder, state.lock, state.listener, state.journal, state.daemon = 3, 4, 5, 6, 7
    state.tag, state.tag_step, state.soft_files = 2**62 - 5, 1 << 20, 1024
    state.logger, state.logger_pid, state.logger_received = 8, 99, received
    state.daemon_received, state.daemon_unsent, state.daemon_descriptors = received, b"x" + received, (10, 11)
    state.leaving = True
    state.attempts = kept
    assert fields_of(upgrade.unpack(upgrade.pack(state))) == fields_of(state)


def fields_of(state: upgrade.State) -> dict[str, object]:
    found: dict[str, object] = {name: getattr(state, name) for name in upgrade.State.__slots__}
    found["attempts"] = [
        ({name: getattr(attempt, name) for name in Attempt.__slots__}, unreaped) for attempt, unreaped in state.attempts
    ]
    return found


def test_every_field_of_an_attempt_goes_over_an_upgrade() -> None:
    others = {"id", "cpu", "stop", "program", "cwd", "user", "end", "masks", "held", "journal"}
    assert set(upgrade._NUMBERS) | others == set(Attempt.__slots__)


def test_a_state_of_a_newer_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade, "STATE_VERSION", upgrade.STATE_VERSION + 1)
    packed = upgrade.pack(upgrade.State())
    monkeypatch.undo()
    with pytest.raises(WireError, match="newer"):
        upgrade.unpack(packed)


VERSION_1 = bytes.fromhex(
    "6500000001010000003101000000650100000062010000006407000000332034203520362400000034363131363836303138"
    "3432373338373839392031303438353736203130323420302030040000003820393900000000010000003700000000000000"
    "00000000006700000002040000006c6976652f00000035203020343120302030203020302030203020302031302031312031"
    "32202d3120312031202d31203020302030203005000000302030203000000000060000002f62696e2f78010000002f010000"
    "0075010000003101000000306700000002040000006f7665722d00000030203520302030203020302030203020302030202d"
    "31202d31202d31202d3120302030203020302030203020300500000030203020300000000000000000000000000000000001"
    "00000030020000003636010000003000000000"
)
"""As the keeper of version 0.1.0 wrote it: a live attempt with a pipe, and one that is over."""


def test_a_state_of_the_first_version_is_read_and_its_attempts_have_one_pipe() -> None:
    state = upgrade.unpack(VERSION_1)
    (live, unreaped), (over, _) = state.attempts
    assert (live.id, live.pid, live.tag, live.user, unreaped) == ("live", 41, 5, "u", True)
    assert (live.pipe_fd, live.error_pipe_fd, live.log_fd, live.index_fd) == (10, -1, 11, 12)
    assert (live.log_open, live.logged, live.acknowledged) == (True, True, False)
    assert (over.id, over.end) == ("over", (EXIT, ("0", "")))
    assert sorted(upgrade.descriptors_of(state)) == [3, 4, 5, 6, 7, 8, 10, 11, 12]


def test_a_keeper_that_masks_nothing_refuses_what_is_written_now() -> None:
    """A START with secrets may wait unread in the daemon's socket."""
    assert int(take_frames(bytearray(upgrade.pack(upgrade.State())))[0][1][0]) > 2


def test_a_keeper_that_knows_one_pipe_only_refuses_what_is_written_now() -> None:
    assert int(take_frames(bytearray(VERSION_1))[0][1][0]) == 1
    assert int(take_frames(bytearray(upgrade.pack(upgrade.State())))[0][1][0]) > 1


def test_the_second_pipe_stays_open_over_an_upgrade() -> None:
    attempt = Attempt("a")
    attempt.pipe_fd, attempt.error_pipe_fd = 20, 21
    state = upgrade.State()
    state.attempts = [(attempt, True)]
    assert upgrade.descriptors_of(upgrade.unpack(upgrade.pack(state))) == [20, 21]


@pytest.mark.parametrize("numbers", [20, 24])
def test_an_attempt_with_too_few_or_too_many_numbers_is_refused(monkeypatch: pytest.MonkeyPatch, numbers: int) -> None:
    state = upgrade.State()
    state.attempts = [(Attempt("a"), True)]
    monkeypatch.setattr(upgrade, "_NUMBERS", (*upgrade._NUMBERS, "pid")[:numbers])
    packed = upgrade.pack(state)
    monkeypatch.undo()
    with pytest.raises(WireError, match=f"{numbers} numbers"):
        upgrade.unpack(packed)


def test_a_state_that_is_cut_off_is_refused() -> None:
    packed = upgrade.pack(upgrade.State())
    with pytest.raises(WireError, match="cut off"):
        upgrade.unpack(packed[:-1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--run-dir DIR is missing"),
        (["--run-dir"], "--run-dir needs a value"),
        (["--run-dir", "x", "--colour", "red"], "--colour is no option"),
        (["--run-dir", "x", "--idle-exit", "soon"], "--idle-exit soon: not a number"),
    ],
)
def test_a_bad_command_line_is_said_in_one_line(arguments: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse(arguments)


def test_options_are_read() -> None:
    options = parse(["--run-dir", "/r", "--root", "/x", "--allow-uid", "5", "--allow-uid", "6", "--idle-exit", "1.5"])
    assert (options.run_dir, options.root, options.allow_uids, options.idle_exit_s) == ("/r", "/x", (5, 6), 1.5)


@given(st.integers(1, 10_000), st.integers(0, 10_000), st.sampled_from([1, 1 << 20]))
def test_a_limit_belongs_to_the_tag_in_whose_range_it_is(attempt: int, below: int, step: int) -> None:
    tags = hunt.Tags(2**61 - 20_000 * step, step)
    tag = 2**61 - attempt * step
    assert tags.of_limit(tag - below % step) == tag


def test_two_lives_begin_far_apart() -> None:
    first, second = hunt.first_tags(), hunt.first_tags()
    assert abs(first.last - second.last) > 1_000_000 * first.step or first.step == 1


def test_only_mounts_that_may_hang_are_slow() -> None:
    table = (
        b"25 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        b"40 25 0:40 / /mnt/my\\040share rw shared:2 - nfs4 host:/x rw\n"
        b"41 25 0:41 / /home/me/s3 rw - fuse.s3fs s3fs rw\n"
    )
    assert slow_points(table) == (b"/mnt/my share", b"/home/me/s3")


def test_the_keeper_imports_nothing_but_the_standard_library_and_itself() -> None:
    look = (
        f"import sys; sys.path.insert(0, {str(PACKAGE.parent.parent)!r})\n"
        "import pyflowd.keeper.main, pyflowd.keeper.launcher\n"
        "foreign = [m for m in sys.modules if m.partition('.')[0] not in sys.stdlib_module_names and m != '__main__']\n"
        "print(sorted(m for m in foreign if not m.startswith('pyflowd.keeper') and m != 'pyflowd'))\n"
        "print('asyncio' in sys.modules, 'ctypes' in sys.modules, 'typing' in sys.modules)\n"
    )
    said = subprocess.run([sys.executable, "-I", "-S", "-c", look], capture_output=True, check=True, text=True)
    assert said.stdout.splitlines() == ["[]", "False False False"]
