"""The loader with its real child."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pyflowd.clock import SystemClock
from pyflowd.loader import FILE_LIMIT_US, IDLE_US, Loader
from pyflowd.loader_frames import Loaded, Rejected, Result, Unsettled, Vanished, signature_of
from pyflowd.model import Workflow
from tests.corpus import CORPUS, needs_corpus

DEADLINE_S = 60.0
GOOD = "tasks: {hello: {run: echo hello}}\n"


class HandClock:
    """The system's clock, which can be set forward."""

    def __init__(self) -> None:
        self.ahead_us = 0

    def wall_us(self) -> int:
        return SystemClock().wall_us() + self.ahead_us

    def mono_us(self) -> int:
        return SystemClock().mono_us() + self.ahead_us


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def loader(tmp_path: Path, clock: HandClock) -> Iterator[Loader]:
    loader = Loader(str(tmp_path), clock)
    yield loader
    loader.stop()


def results(loader: Loader, count: int) -> list[Result]:
    found: list[Result] = []
    deadline = time.monotonic() + DEADLINE_S
    while len(found) < count:
        left = deadline - time.monotonic()
        assert left > 0, f"{len(found)} of {count} in time"
        if select.select([loader], [], [], left)[0]:
            found += loader.receive()
    assert len(found) == count
    return found


def load(loader: Loader, *files: str) -> list[Result]:
    loader.submit(files)
    return results(loader, len(files))


def child_pid(loader: Loader) -> int:
    assert loader._child is not None
    return loader._child.pid


def only_message(result: Result) -> str:
    assert isinstance(result, Rejected), result
    (problem,) = result.problems
    return str(problem)


def test_a_file_is_loaded_with_its_text_digest_and_compiled_form(loader: Loader, tmp_path: Path) -> None:
    (tmp_path / "hello.yaml").write_text(GOOD)
    (loaded,) = load(loader, "hello.yaml")
    assert isinstance(loaded, Loaded)
    assert loaded.name == "hello"
    assert loaded.text == GOOD.encode()
    assert len(loaded.digest) == 64
    assert loaded.signature is not None
    assert msgspec.msgpack.decode(loaded.compiled, type=Workflow).tasks[0].name == "hello"


def test_results_come_in_the_order_asked(loader: Loader, tmp_path: Path) -> None:
    files = [f"w{number}.yaml" for number in range(100)]
    for file in files:
        (tmp_path / file).write_text(GOOD)
    assert [result.file for result in load(loader, *files)] == files


def test_a_bad_file_is_refused_with_its_place(loader: Loader, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("tasks:\n  a: {rnu: x}\n")
    (rejected,) = load(loader, "bad.yaml")
    assert isinstance(rejected, Rejected)
    assert str(rejected.problems[0]).startswith("bad.yaml:2:")
    assert rejected.signature is not None


def test_a_missing_file_has_vanished(loader: Loader) -> None:
    assert load(loader, "gone.yaml") == [Vanished(file="gone.yaml")]


def test_a_file_that_changed_since_the_scan_is_not_read(loader: Loader, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(GOOD)
    seen = signature_of(os.stat(path))
    loader.submit({"a.yaml": seen})
    assert isinstance(results(loader, 1)[0], Loaded)
    path.write_text("half")
    loader.submit({"a.yaml": seen})
    assert results(loader, 1) == [Unsettled(file="a.yaml")]


def test_a_text_that_a_client_sent_is_checked_under_its_label(loader: Loader) -> None:
    loader.submit_text("t1", "./my.yaml", GOOD.encode(), stem="my", is_json=False)
    (loaded,) = results(loader, 1)
    assert isinstance(loaded, Loaded)
    assert (loaded.token, loaded.file, loaded.name, loaded.signature) == ("t1", "./my.yaml", "my", None)


def test_a_text_larger_than_the_socket_takes_at_once_arrives_whole(loader: Loader) -> None:
    data = GOOD.encode() + b"# " + b"x" * 5_000_000
    loader.submit_text("t1", "big", data, stem="big", is_json=False)
    (loaded,) = results(loader, 1)
    assert isinstance(loaded, Loaded)
    assert loaded.text == data


def test_a_link_out_of_the_folder_is_not_followed(loader: Loader, tmp_path: Path) -> None:
    os.symlink("/etc/hostname", tmp_path / "a.yaml")
    (result,) = load(loader, "a.yaml")
    assert "leads out of the folder" in only_message(result)


def test_a_link_within_the_folder_is_followed(loader: Loader, tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "a.yaml").write_text(GOOD)
    os.symlink("..data/a.yaml", tmp_path / "a.yaml")
    (result,) = load(loader, "a.yaml")
    assert isinstance(result, Loaded)


@pytest.mark.parametrize("name", ["../a.yaml", "sub/a.yaml", "/etc/hostname", ".hidden.yaml", "notes.txt"])
def test_a_name_that_is_none_of_a_definition_is_not_opened(loader: Loader, name: str) -> None:
    (result,) = load(loader, name)
    assert "not named like a definition" in only_message(result)


def test_a_fifo_is_refused_without_waiting_for_a_writer(loader: Loader, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    (result,) = load(loader, "a.yaml")
    assert "no regular file" in only_message(result)


def test_a_file_beyond_the_size_limit_is_refused(loader: Loader, tmp_path: Path) -> None:
    with open(tmp_path / "big.yaml", "wb") as big:
        big.truncate(8 * 1024 * 1024 + 1)
    (result,) = load(loader, "big.yaml")
    assert "8388609 bytes" in only_message(result)


def test_a_file_that_takes_too_much_memory_is_refused_and_the_next_one_loads(loader: Loader, tmp_path: Path) -> None:
    tasks = "".join(f"  t{n}: {{run: x}}\n" for n in range(60_000))
    (tmp_path / "bomb.yaml").write_text(f"defaults: {{cwd: /{'x' * 4000}}}\ntasks:\n{tasks}")
    (tmp_path / "good.yaml").write_text(GOOD)
    bomb, good = load(loader, "bomb.yaml", "good.yaml")
    assert isinstance(bomb, Rejected)
    assert bomb.problems[0].code == "too_large"
    assert isinstance(good, Loaded)


def test_a_child_that_crashes_costs_one_file_and_the_others_are_loaded(loader: Loader, tmp_path: Path) -> None:
    files = [f"w{number}.yaml" for number in range(50)]
    for file in files:
        (tmp_path / file).write_text(GOOD)
    load(loader, files[0])
    os.kill(child_pid(loader), signal.SIGSTOP)
    loader.submit(files)
    os.kill(child_pid(loader), signal.SIGSEGV)
    os.kill(child_pid(loader), signal.SIGCONT)
    found = results(loader, 50)
    assert [result.file for result in found] == files
    assert "SIGSEGV" in only_message(found[0])
    assert all(isinstance(result, Loaded) for result in found[1:])


def test_the_limit_of_processor_time_is_told_as_too_slow(loader: Loader, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    load(loader, "a.yaml")
    os.kill(child_pid(loader), signal.SIGSTOP)
    loader.submit(["a.yaml"])
    os.kill(child_pid(loader), signal.SIGPROF)  # what the limit sends
    os.kill(child_pid(loader), signal.SIGCONT)
    assert "processor time" in only_message(results(loader, 1)[0])


def test_a_read_that_hangs_is_ended_and_the_others_are_loaded(loader: Loader, tmp_path: Path, clock: HandClock) -> None:
    for file in ("a.yaml", "b.yaml"):
        (tmp_path / file).write_text(GOOD)
    load(loader, "a.yaml")
    os.kill(child_pid(loader), signal.SIGSTOP)
    loader.submit(["a.yaml", "b.yaml"])
    clock.ahead_us += FILE_LIMIT_US
    (hung,) = loader.on_deadline(clock.mono_us())
    assert "more than 10 s" in only_message(hung)
    (other,) = results(loader, 1)
    assert isinstance(other, Loaded)
    assert other.file == "b.yaml"


def test_an_idle_child_is_ended_and_started_anew(loader: Loader, tmp_path: Path, clock: HandClock) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    load(loader, "a.yaml")
    first = child_pid(loader)
    assert loader.on_deadline(clock.mono_us()) == []
    assert child_pid(loader) == first
    clock.ahead_us += IDLE_US
    assert loader.on_deadline(clock.mono_us()) == []
    assert loader._child is None
    load(loader, "a.yaml")
    assert child_pid(loader) != first


def test_an_idle_child_that_was_killed_is_not_missed(loader: Loader, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    load(loader, "a.yaml")
    os.kill(child_pid(loader), signal.SIGKILL)
    assert select.select([loader], [], [], DEADLINE_S)[0]
    assert loader.receive() == []
    (again,) = load(loader, "a.yaml")
    assert isinstance(again, Loaded)


def test_no_child_is_left_after_stop(loader: Loader, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    load(loader, "a.yaml")
    pid = child_pid(loader)
    loader.stop()
    loader.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_file_that_changes_while_it_is_read_is_never_loaded_half(loader: Loader, tmp_path: Path) -> None:
    """A writer without manners: whatever is loaded carries the right sum of itself, or is refused."""
    path = tmp_path / "a.yaml"
    texts = {f"description: {fill * 200_000}\n{GOOD}".encode() for fill in "abcdef"}
    for text in sorted(texts):
        path.write_bytes(text)
        loader.submit(["a.yaml"])
        path.write_bytes(text[:100])
        path.write_bytes(text)
    for result in results(loader, len(texts)):
        assert not isinstance(result, Loaded) or result.text in texts


@needs_corpus
def test_every_nasty_file_is_answered_by_one_child_within_its_limits(loader: Loader, tmp_path: Path) -> None:
    assert CORPUS is not None
    rows = json.loads((CORPUS / "nasty" / "manifest.json").read_text())
    expected = {}
    for row in rows:
        file = row["file"].replace("/", "-")
        (tmp_path / file).write_bytes((CORPUS / "nasty" / row["file"]).read_bytes())
        expected[file] = row["expect"]
    found = {result.file: result for result in load(loader, *expected)}
    wrong = [file for file, expect in expected.items() if expect == "reject" and not isinstance(found[file], Rejected)]
    assert not wrong
    codes = {problem.code for result in found.values() if isinstance(result, Rejected) for problem in result.problems}
    assert not codes & {"crashed", "too_slow", "loader"}
