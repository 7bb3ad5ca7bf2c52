"""What must hold of a store whatever was killed, looked at from outside: the database and the tasks' own witnesses."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pyflowd.store.snapshot import Snapshot
from pyflowd.store.store import Store
from pyflowd.upkeep.check import check


def check_fold(root: Path) -> int:
    """Rule I6: every run's rows are the fold of its events; the number of runs. The daemon must not be running."""
    Store(str(root / "state")).close()
    with Snapshot(str(root / "state")) as snapshot:
        found = check(snapshot)
    about_runs = [finding for finding in found.findings if not finding.startswith("definition ")]  # made-up digests
    assert not about_runs, "\n".join(about_runs)
    return found.runs


def check_witness(witness: Path) -> Counter[str]:
    """Rule I3: each attempt wrote its name once, at its start. What was written, for further questions."""
    lines = witness.read_text().splitlines() if witness.exists() else []
    started = Counter(line for line in lines if line.startswith("start "))
    twice = [line for line, times in started.items() if times > 1]
    assert not twice, f"started twice: {twice}"
    return Counter(lines)
