"""The disk fails, fills up, dies, is slow, or was changed by somebody: no promise is broken, and it is said plainly."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyflowd.errors import PyflowError
from pyflowd.store.store import Store
from tests.daemon.checker import check_fold
from tests.daemon.instance import Instance
from tests.faults.calls import injected, needs_strace
from tests.faults.figures import Figures
from tests.faults.filesystem import disk, in_memory, mount, needs_root
from tests.faults.history import judge, read
from tests.faults.length import spread, times
from tests.faults.trial import Trial, of_verdict
from tests.waiting import wait_until

Report = Callable[[Figures], None]
GATED = "gated"


def install_gated(instance: Instance) -> Path:
    """A workflow whose task waits for the test, and ends with 6."""
    gate = instance.root / "gate"
    os.mkfifo(gate)
    instance.install(f"{GATED}.yaml", json.dumps({"tasks": {"t": {"run": f"cat {gate} >/dev/null; exit 6"}}}))
    return gate


# ---- Errors of the disk


@needs_strace
def test_an_error_of_the_disk_ends_the_daemon_and_no_task(instance: Instance, figures: Report) -> None:
    """Rule I8: at the n-th write or sync of a commit; nothing is acknowledged after it, a task lives on."""
    trial = Trial(instance)
    trial.begin()
    gate = install_gated(instance)
    faults = [(call, error, n) for n in (1, 2, 3) for call in ("fdatasync", "pwrite64") for error in ("EIO", "EROFS")]
    tried = spread(faults, 3)
    for call, error, number in tried:
        gated = instance.run(GATED)
        instance.wait_task(gated, "t", "running")
        assert instance.process is not None
        fault = injected(instance.process.pid, call, f"error={error}:when={number}+")
        assert trial.dies(fault), f"{call} {error} {number}: it went on"
        assert instance.process.returncode == 4, instance.log_text()
        assert "pyflow.db" in instance.log_text()
        assert "Traceback" not in instance.log_text()
        trial.come_back()
        gate.write_text("x\n")
        assert instance.wait_run(gated)["tasks"]["t"]["exit_code"] == 6
    instance.stop()
    check_fold(instance.root)
    history = read(instance.root, trial.acknowledged)
    history.attempts = [one for one in history.attempts if one.task != "t"]
    verdict = judge(history)
    figures(of_verdict("error of the disk (EIO, EROFS)", len(tried), history, verdict, trial.back_s))
    assert not verdict.faults


@needs_strace
def test_a_slow_disk_delays_and_loses_nothing(daemon: Instance, figures: Report) -> None:
    """Each sync takes a fifth of a second; questions are answered, requests are acknowledged when they are durable."""
    trial = Trial(daemon)
    daemon.install("w.yaml", "tasks: {a: {argv: ['true']}}")
    assert daemon.process is not None
    with injected(daemon.process.pid, "fdatasync", "delay_enter=200ms"):
        for _ in range(times(2)):
            run = trial.ask()
            assert run is not None, trial.said
            assert daemon.ctl("status").returncode == 0
        daemon.wait_run(run)
    figures(Figures(fault="slow disk (200 ms a sync)", trials=times(2), acknowledged=times(2), lost=0))
    ids = {one["run"] for one in daemon.json("history", "-n", "1000")}
    assert {run for run, _ in trial.acknowledged} <= ids


@needs_root
def test_a_disk_that_may_only_be_read_is_told_at_the_start(instance: Instance, tmp_path: Path) -> None:
    with in_memory(instance.root / "state", "size=64m"):
        instance.start()
        instance.stop()
        mount(instance.root / "state", "-o", "remount,ro")
        instance.log.unlink()
        instance.start(wait=False)
        assert instance.wait_dead() == 4
        said = instance.log_text()
        assert said.count("\n") == 1, said
        assert "state" in said
        assert "can only be read" in said
        instance.end()


@needs_root
def test_a_disk_without_inodes_takes_nothing_breaks_nothing_and_recovers(instance: Instance, figures: Report) -> None:
    with (
        in_memory(instance.root / "state", "size=64m,nr_inodes=60"),
        in_memory(instance.root / "log", "size=64m,nr_inodes=40"),
    ):
        try:
            trial = Trial(instance)
            trial.begin()
            trial.ask()
            for folder in ("state", "log"):
                _use_up_inodes(instance.root / folder)
            run = trial.ask()
            if run is not None:
                ended = instance.wait_run(run)
                for name, task in ended["tasks"].items():
                    assert task["state"] == "succeeded" or "space" in task["error"], (name, task)
            assert instance.ctl("status").returncode == 0
            for folder in ("state", "log"):
                shutil.rmtree(instance.root / folder / "filler")

            def works() -> bool:
                again = trial.ask()
                return again is not None and instance.wait_run(again)["tasks"]["a"]["exit_code"] is not None

            wait_until(works, f"work is done again: {trial.said}")
            verdict, counts = trial.end("no inodes left (state and logs)", 1)
            figures(counts)
            assert not verdict.faults
            assert "Traceback" not in instance.log_text()
        finally:
            instance.end()


def _use_up_inodes(folder: Path) -> None:
    (folder / "filler").mkdir()
    with contextlib.suppress(OSError):
        for number in range(10_000):
            (folder / "filler" / str(number)).touch()


# ---- The power goes


@needs_root
def test_a_power_cut_loses_nothing_that_was_acknowledged(instance: Instance, tmp_path: Path, figures: Report) -> None:
    """While runs are asked for the daemon dies, and with it all that is not on the disk. A call that is under way comes
    to its end before the cut: of a file system that is shut down a sync may return as if it had been done.
    """
    dice = random.Random(6)
    cuts = times(2)
    with disk(tmp_path, instance.root / "state") as drive:
        try:
            trial = Trial(instance)
            trial.begin()
            for _ in range(cuts):
                wanted = len(trial.acknowledged) + dice.randrange(1, 5)
                asking = threading.Thread(target=ask_on, args=(trial,))
                asking.start()
                wait_until(lambda: len(trial.acknowledged) >= wanted, "some runs")  # noqa: B023  (called here)
                instance.kill()
                drive.cut_power()
                asking.join()
                drive.pull_out()
                drive.plug_in()
                trial.come_back()
            verdict, counts = trial.end("power cut", cuts)
            figures(counts)
            assert not verdict.faults
        finally:
            instance.end()


def ask_on(trial: Trial) -> None:
    """Until there is no answer."""
    while trial.ask() is not None:
        pass


# ---- Somebody changed the database


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with some history, its WAL not yet taken in."""
    made = Instance(tmp_path_factory.mktemp("whole") / "root")
    try:
        trial = Trial(made)
        trial.begin()
        for _ in range(5):
            made.wait_run(trial.ask() or 0)
        made.kill()
        yield made.root / "state"
    finally:
        made.end()


PARTS = {
    "header": ("pyflow.db", 0, 100), "pages": ("pyflow.db", 100, 1 << 30), "WAL": ("pyflow.db-wal", 0, 1 << 30),
    "WAL index": ("pyflow.db-shm", 0, 136), "mark": ("instance", 0, 36),
}  # fmt: skip


def test_a_flipped_bit_is_noticed_or_does_no_harm(database: Path, tmp_path: Path, figures: Report) -> None:
    """The store opens and says the truth, or names its error. SQLite has no sums of its pages: there, a value may
    change without a word, which is counted; `pyflowctl fsck` compares rows and events.
    """
    dice = random.Random(20_261_123)
    refused = silent = 0
    before = _facts(_copy(database, tmp_path / "whole"))
    trials = times(60)
    for trial in range(trials):
        folder = _copy(database, tmp_path / "flipped")
        part = dice.choice(list(PARTS))
        name, least, most = PARTS[part]
        content = bytearray((folder / name).read_bytes())
        at = dice.randrange(least, min(most, len(content)))
        content[at] ^= 1 << dice.randrange(8)
        (folder / name).write_bytes(content)
        try:
            found = _facts(folder)
        except PyflowError as error:
            refused += 1
            _check_words(str(error), folder)
            continue
        silent += found != before
        assert found == before or part == "pages", f"trial {trial}: {part}, byte {at}: {before ^ found}"
    note = f"{refused} of {trials} were refused by name, {silent} changed a value in a page without a word"
    figures(Figures(fault="flipped bit in the database", trials=trials, note=note))


def _check_words(words: str, folder: Path) -> None:
    assert "\n" not in words
    assert str(folder) in words


def _copy(state: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(state, target)
    return target


def _facts(state: Path) -> set[object]:
    """What a store that opens says; PyflowError where it does not."""
    store = Store(str(state))
    try:
        return {("run", *row) for row in store.rows("runs_for_check")}
    finally:
        store.close()


def test_a_database_of_a_newer_version_is_refused_and_left_alone(instance: Instance) -> None:
    instance.start()
    instance.stop()
    path = instance.root / "state" / "pyflow.db"
    with sqlite3.connect(path) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        database.execute(f"PRAGMA user_version = {version + 1}")
    database.close()
    before = path.read_bytes()
    instance.log.unlink()
    instance.start(wait=False)
    assert instance.wait_dead() == 4
    assert instance.log_text().count("\n") == 1
    assert "newer" in instance.log_text()
    assert path.read_bytes() == before
