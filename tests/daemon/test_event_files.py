"""File triggers of a real daemon: however files come, and whatever dies, each starts exactly one run."""

from __future__ import annotations

import json
import os
import random
import threading
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from tests.daemon.instance import Instance
from tests.waiting import wait_until

LONG = bool(os.environ.get("PYFLOW_LONG"))
WRITERS, FILES, KILLS = (10, 100, 5) if LONG else (10, 8, 2)


def _renamed(path: Path, body: bytes, _: random.Random) -> None:
    aside = path.parent.parent / f"{path.name}.part"
    aside.write_bytes(body)
    aside.rename(path)


def _at_once(path: Path, body: bytes, _: random.Random) -> None:
    path.write_bytes(body)


def _slowly(path: Path, body: bytes, draw: random.Random) -> None:
    with path.open("wb") as file:
        for at in range(0, len(body), 40):
            file.write(body[at : at + 40])
            file.flush()
            threading.Event().wait(draw.uniform(0, 0.05))


def _as_rsync_does(path: Path, body: bytes, draw: random.Random) -> None:
    aside = path.parent / f".{path.name}.{draw.randrange(1 << 24):06x}"
    _slowly(aside, body, draw)
    aside.rename(path)


def _replaced(path: Path, body: bytes, _: random.Random) -> None:
    """Written under a name that does not count, then linked."""
    aside = path.parent / f"{path.name}.tmp"
    aside.write_bytes(body)
    os.link(aside, path)
    aside.unlink()


MANNERS = (_renamed, _at_once, _slowly, _as_rsync_does, _replaced)


def _write(folder: Path, writer: int) -> None:
    draw = random.Random(writer)
    for number in range(FILES):
        MANNERS[(writer + number) % len(MANNERS)](folder / f"w{writer}-{number}.csv", b"line\n" * 40, draw)


def _workflow(folder: Path, witness: Path, *, claim: bool) -> str:
    trigger = {
        "file": {"path": f"{folder}/*.csv", "stable_for": "300ms", "claim": claim},
        "params": {"file": "${{ event.name }}"},
    }
    return json.dumps(
        {
            "params": {"file": {"type": "string", "required": True}},
            "queue_max": 10_000,
            "overlap": "allow",
            "triggers": {"drop": trigger},
            "tasks": {"take": {"run": f'echo "$PARAM_FILE" >> {witness}'}},
        }
    )


@pytest.mark.parametrize("claim", [True, False])
def test_each_file_of_ten_writers_starts_one_run_over_kills(instance: Instance, tmp_path: Path, claim: bool) -> None:
    folder, witness = tmp_path / "spool" / "in", tmp_path / "witness"
    folder.mkdir(parents=True)
    witness.touch()
    instance.start()
    instance.install("w.yaml", _workflow(folder, witness, claim=claim))
    writers = [threading.Thread(target=_write, args=(folder, n)) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    total = WRITERS * FILES
    for part in range(1, KILLS + 1):
        wait_until(partial(_has, witness, total * part // (KILLS + 2)), "some have run", 120)
        instance.kill()
        instance.start()
    for writer in writers:
        writer.join(60)
    wait_until(lambda: _count(witness) >= total, f"all have run; log: {instance.log_text()[-2000:]}", 120)
    wait_until(lambda: not instance.json("status")["running"], "nothing runs", 60)
    instance.kill()
    instance.start()
    names = Counter(witness.read_text().split())
    assert names == Counter(f"w{writer}-{n}.csv" for writer in range(WRITERS) for n in range(FILES))
    assert len(instance.json("slots", "--events", "w")) == total
    if claim:
        assert not [entry for entry in os.listdir(folder) if entry.endswith(".csv")]


def _has(witness: Path, count: int) -> bool:
    return _count(witness) >= count


def _count(witness: Path) -> int:
    return len(witness.read_text().split())


def test_what_was_there_before_the_trigger_starts_nothing(daemon: Instance, tmp_path: Path) -> None:
    folder, witness = tmp_path / "in", tmp_path / "witness"
    folder.mkdir()
    witness.touch()
    (folder / "old.csv").write_text("old")
    wait_until(lambda: _age_s(folder / "old.csv") > 0.05, "it is older than the trigger")
    daemon.install("w.yaml", _workflow(folder, witness, claim=False))
    (folder / "new.csv").write_text("new")
    wait_until(lambda: _count(witness), "the new one has run")
    daemon.kill()
    daemon.start()
    (folder / "newer.csv").write_text("newer")
    wait_until(lambda: _count(witness) > 1, "the newer one has run")
    assert witness.read_text().split() == ["new.csv", "newer.csv"]


def _age_s(path: Path) -> float:
    now = path.parent / "now"
    now.touch()
    return now.stat().st_mtime - path.stat().st_mtime


def test_a_folder_that_goes_and_comes_back_starts_nothing_and_status_says_so(daemon: Instance, tmp_path: Path) -> None:
    folder, witness = tmp_path / "in", tmp_path / "witness"
    folder.mkdir()
    witness.touch()
    daemon.install("w.yaml", _workflow(folder, witness, claim=False))
    (folder / "a.csv").write_text("a")
    wait_until(lambda: _count(witness), "it has run")
    folder.rename(tmp_path / "away")
    wait_until(lambda: "No such file" in daemon.ctl("status").stdout, "status says that the folder is gone")
    (tmp_path / "away").rename(folder)
    wait_until(lambda: "No such file" not in daemon.ctl("status").stdout, "it is back")
    (folder / "b.csv").write_text("b")
    wait_until(lambda: _count(witness) > 1, "the next one has run")
    assert witness.read_text().split() == ["a.csv", "b.csv"]


def test_a_paused_workflow_claims_no_file_and_says_that_it_was_skipped(daemon: Instance, tmp_path: Path) -> None:
    folder, witness = tmp_path / "in", tmp_path / "witness"
    folder.mkdir()
    daemon.install("w.yaml", _workflow(folder, witness, claim=True))
    assert daemon.ctl("pause", "w").returncode == 0
    (folder / "a.csv").write_text("a")
    (row,) = wait_until(lambda: daemon.json("slots", "--events", "w"), "a row")
    assert (row["fate"], row["reason"]) == ("skipped", "paused")
    assert (folder / "a.csv").exists()
