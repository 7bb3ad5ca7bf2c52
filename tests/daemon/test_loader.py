"""The loader with its real child."""

from __future__ import annotations

import hashlib
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
from pyflowd.folder.loader import FILE_LIMIT_US, IDLE_US, Loader
from pyflowd.folder.loader_frames import Folders, Loaded, Rejected, Result, Traced, Vanished, signature_of
from pyflowd.language.definition_text import unpack
from pyflowd.model.workflow import Workflow
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
    loader = Loader(Folders(str(tmp_path)), clock)
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
    assert loaded.seen is not None
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
    assert rejected.seen is not None
    assert rejected.seen.parts.keys() == {"bad.yaml"}


def test_a_missing_file_has_vanished(loader: Loader) -> None:
    assert load(loader, "gone.yaml") == [Vanished(file="gone.yaml")]


def test_a_file_is_told_with_what_it_was_like_when_it_was_read(loader: Loader, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(GOOD)
    os.utime(path, (1, 1))
    (loaded,) = load(loader, "a.yaml")
    assert isinstance(loaded, Loaded)
    assert loaded.seen is not None
    assert loaded.seen.parts["a.yaml"].mtime_ns == signature_of(os.stat(path)).mtime_ns


def test_a_text_that_a_client_sent_is_checked_under_its_label(loader: Loader) -> None:
    loader.submit_text("t1", "./my.yaml", GOOD.encode(), stem="my", is_json=False)
    (loaded,) = results(loader, 1)
    assert isinstance(loaded, Loaded)
    assert (loaded.token, loaded.file, loaded.name, loaded.seen) == ("t1", "./my.yaml", "my", None)


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


# ---- Parts ----------------------------------------------------------------------------------------------------------

TEMPLATE = "params: {x: {type: string, required: true}}\ntasks: {hello: {run: echo hello}}\n"


@pytest.fixture
def layered(tmp_path: Path, clock: HandClock) -> Iterator[Loader]:
    """With all four folders."""
    for folder in ("workflows", "templates", "vendor/workflows", "vendor/templates"):
        (tmp_path / folder).mkdir(parents=True)
    loader = Loader(Folders(f"{tmp_path}/workflows", f"{tmp_path}/vendor/workflows"), clock)
    yield loader
    loader.stop()


def put(tmp_path: Path, **texts: str) -> None:
    for name, text in texts.items():
        path = tmp_path / name.replace("__", "/").replace("_d/", ".d/").replace("_yaml", ".yaml")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def test_a_definition_is_loaded_with_all_its_parts(layered: Loader, tmp_path: Path) -> None:
    put(tmp_path, workflows__a_yaml="template: t\nwith: {x: y}\n", templates__t_yaml=TEMPLATE)
    put(tmp_path, workflows__a_yaml_d__1_yaml="description: mine\n")
    (loaded,) = load(layered, "a.yaml")
    assert isinstance(loaded, Loaded)
    assert [part.label for part in unpack(loaded.text)] == ["templates/t.yaml", "a.yaml", "a.yaml.d/1.yaml"]
    assert loaded.digest == hashlib.sha256(loaded.text).hexdigest()
    assert loaded.seen is not None
    assert set(loaded.seen.parts) == {"a.yaml", "a.yaml.d/1.yaml", "templates/t.yaml"}
    assert loaded.seen.template == "t"


def test_other_parts_make_another_digest(layered: Loader, tmp_path: Path) -> None:
    put(tmp_path, workflows__a_yaml=GOOD)
    digests = set()
    for text in ("", "description: x\n", "description: y\n"):
        if text:
            put(tmp_path, workflows__a_yaml_d__1_yaml=text)
        (loaded,) = load(layered, "a.yaml")
        assert isinstance(loaded, Loaded)
        digests.add(loaded.digest)
    assert len(digests) == 3


def test_what_is_said_to_be_alone_is_read_alone(layered: Loader, tmp_path: Path) -> None:
    put(tmp_path, workflows__a_yaml=GOOD, workflows__a_yaml_d__1_yaml="description: mine\n")
    layered.submit(["a.yaml"], {"a.yaml"})
    (loaded,) = results(layered, 1)
    assert isinstance(loaded, Loaded)
    assert (loaded.text, loaded.seen is not None and set(loaded.seen.parts)) == (GOOD.encode(), {"a.yaml"})


def test_a_missing_template_is_remembered_by_its_name(layered: Loader, tmp_path: Path) -> None:
    put(tmp_path, workflows__a_yaml="template: sya\n", templates__say_yaml=TEMPLATE)
    (rejected,) = load(layered, "a.yaml")
    assert isinstance(rejected, Rejected)
    assert 'did you mean "say"' in only_message(rejected)
    assert rejected.seen is not None
    assert (rejected.seen.template, set(rejected.seen.parts)) == ("sya", {"a.yaml"})


def test_a_template_that_leads_out_of_its_folder_is_not_read(layered: Loader, tmp_path: Path) -> None:
    put(tmp_path, workflows__a_yaml="template: t\n", workflows__b_yaml=TEMPLATE)
    os.symlink("../workflows/b.yaml", tmp_path / "templates" / "t.yaml")
    (rejected,) = load(layered, "a.yaml")
    assert "templates/t.yaml: it is a link that leads out" in only_message(rejected)


def test_a_drop_in_that_cannot_be_read_refuses_the_whole(layered: Loader, tmp_path: Path) -> None:
    put(tmp_path, workflows__a_yaml=GOOD)
    (tmp_path / "workflows" / "a.yaml.d").mkdir()
    os.symlink("/etc/hostname", tmp_path / "workflows" / "a.yaml.d" / "1.yaml")
    (rejected,) = load(layered, "a.yaml")
    assert "a.yaml.d/1.yaml: it is a link that leads out" in only_message(rejected)


def test_a_drop_in_folder_that_leads_elsewhere_is_not_entered(layered: Loader, tmp_path: Path) -> None:
    put(tmp_path, workflows__a_yaml=GOOD, templates__1_yaml="description: no\n")
    os.symlink("../templates", tmp_path / "workflows" / "a.yaml.d")
    (rejected,) = load(layered, "a.yaml")
    assert "a.yaml.d: it is a link that leads out" in only_message(rejected)


def test_a_drop_in_folder_that_is_a_link_within_the_folder_is_entered(layered: Loader, tmp_path: Path) -> None:
    put(tmp_path, workflows__a_yaml=GOOD)
    (tmp_path / "workflows" / "..data" / "over").mkdir(parents=True)
    (tmp_path / "workflows" / "..data" / "over" / "1.yaml").write_text("owner: ann\n")
    os.symlink("..data/over", tmp_path / "workflows" / "a.yaml.d")
    (loaded,) = load(layered, "a.yaml")
    assert isinstance(loaded, Loaded), loaded
    assert b"owner: ann" in loaded.text


def test_all_parts_together_are_bounded(layered: Loader, tmp_path: Path) -> None:
    put(tmp_path, workflows__a_yaml=GOOD)
    for n in range(3):
        put(tmp_path, **{f"workflows__a_yaml_d__{n}_yaml": f"# {'x' * 3_000_000}\nowner: x\n"})
    (rejected,) = load(layered, "a.yaml")
    assert "with what it belongs to" in only_message(rejected)


def test_the_origin_of_every_value_is_told_from_the_stored_text(layered: Loader, tmp_path: Path) -> None:
    put(tmp_path, workflows__a_yaml="template: t\nwith: {x: y}\n", templates__t_yaml=TEMPLATE)
    (loaded,) = load(layered, "a.yaml")
    assert isinstance(loaded, Loaded)
    (tmp_path / "templates" / "t.yaml").unlink()
    layered.submit_trace("t1", "a.yaml", loaded.text, stem="a", is_json=False)
    (traced,) = results(layered, 1)
    assert isinstance(traced, Traced)
    assert [(leaf.path, leaf.file, leaf.line) for leaf in traced.leaves] == [
        (("tasks", "hello", "run"), "templates/t.yaml", 2),
        (("env", "TEMPLATE_X"), "a.yaml", 2),
    ]


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
