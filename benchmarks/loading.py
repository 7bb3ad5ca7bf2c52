"""A9: load of 1,000 and 10,000 files of 40 lines, cold beside the floor of YAML's C loader, and warm."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.harness import Bench, daemon, say, start

FILE = """\
# Workflow {n}
description: Loads what came in during the night, number {n}
labels: {{team: data, tier: "2"}}
schedule: "{minute} 3 * * *"
timeout: 2h
env:
  SOURCE: /srv/incoming/{n}
  TARGET: /srv/done/{n}
tasks:
  fetch:
    run: |
      ls "$SOURCE"
      cp -a "$SOURCE" "$TARGET"
    retry: {{attempts: 3, delay: 10s}}
    timeout: 10m
  check:
    needs: fetch
    argv: [test, -d, /srv/done/{n}]
  load:
    needs: [check]
    run: |
      for file in "$TARGET"/*; do
        echo "loading $file"
      done
    env:
      BATCH: "{n}"
      MODE: append
  index:
    needs: load
    run: echo index
    continue_on_error: true
  report:
    needs: [load, index]
    trigger_rule: all_done
    run: echo "done {n}"
  tidy:
    needs: report
    run: rm -rf "$SOURCE"
    success_codes: [0, 1]
"""


def write(folder: Path, count: int) -> None:
    for n in range(count):
        (folder / f"w{n}.yaml").write_text(FILE.format(n=n, minute=n % 60))


def floor_s(folder: Path) -> float:
    """Nothing but YAML's C loader over the same files."""
    before = time.perf_counter()
    for path in folder.iterdir():
        with path.open("rb") as file:
            yaml.load(file, Loader=yaml.CSafeLoader)
    return time.perf_counter() - before


def loaded_s(bench: Bench, count: int, since: float) -> float:
    from pyflowctl.client import connect

    with connect(root=str(bench.root)) as client:
        while client.host().workflows < count:
            time.sleep(0.02)  # a status of thousands of workflows takes some milliseconds of the daemon's time, too
    return time.perf_counter() - since


def measure(count: int) -> tuple[float, float, float]:
    """(floor, cold, warm) in seconds."""
    settings: dict[str, Any] = {}
    with daemon(**settings) as bench:
        aside = bench.root / "aside"
        aside.mkdir()
        write(aside, count)
        floor = floor_s(aside)
        bench.process.send_signal(signal.SIGTERM)
        bench.process.wait()
        (bench.root / "workflows").rmdir()
        aside.rename(bench.root / "workflows")
        before = time.perf_counter()
        again = start(bench.root)
        cold = loaded_s(again, count, before)
        again.process.send_signal(signal.SIGTERM)
        again.process.wait()
        before = time.perf_counter()
        bench.process = start(bench.root).process
        warm = loaded_s(bench, count, before)
        return floor, cold, warm


def main() -> None:
    empty = measure(1)[2]
    for count in (1_000, 10_000):
        floor, cold, warm = measure(count)
        times, more = (cold - empty) / floor, warm - empty
        figures = f"cold {cold:.2f} s, floor {floor:.2f} s; start of an empty daemon {empty:.2f} s taken off"
        say("A9", f"{count:,} files: cold {times:.2f} times the floor; {figures}", "1.5", met=times <= 1.5)
        say("A9", f"{count:,} files: warm {more:.2f} s more than none", "0.3 s for 10,000", met=more <= 0.3)


if __name__ == "__main__":
    main()
