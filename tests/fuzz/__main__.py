"""`python -m tests.fuzz [SECONDS] [TARGET...]`: every target for so long, from a seed that is told.

One line a target: executions, the slowest, how memory grew. The first input that breaks one is kept in a file that the
last line names, and the exit status is 1. `guided` goes by coverage instead.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from typing import NamedTuple

from tests.fuzz.mutation import mutated
from tests.fuzz.seeds import SEEDS, WORDS
from tests.fuzz.targets import TARGETS


class Told(NamedTuple):
    executions: int
    slowest_s: float
    grown_kib: int


def fuzz(name: str, seed: int, seconds: float = 0, executions: int = 0) -> Told:
    """Run one target for a time, or for a number of inputs. What breaks it is raised, with the input as a note."""
    target, dice = TARGETS[name], random.Random(f"{name} {seed}")
    seeds, words = SEEDS[name], WORDS.get(name, [])
    for data in seeds:
        target(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    end, done, slowest_s = time.monotonic() + seconds, 0, 0.0
    while done < executions or time.monotonic() < end:
        data = mutated(dice, seeds, words)
        began = time.process_time()
        try:
            target(data)
        except BaseException as error:
            error.add_note(f"{name}: {data!r}")
            raise
        slowest_s = max(slowest_s, time.process_time() - began)
        done += 1
    return Told(done, slowest_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def main(arguments: list[str]) -> int:
    seconds = float(arguments[0]) if arguments else 60.0
    seed = int(time.time())
    broken = 0
    print(f"seed {seed}")
    for name in arguments[1:] or TARGETS:
        try:
            told = fuzz(name, seed, seconds=seconds / len(arguments[1:] or TARGETS))
        except Exception as error:  # noqa: BLE001  (whatever it is, it is told)
            broken += 1
            with tempfile.NamedTemporaryFile("w", prefix=f"fuzz-{name}-", suffix=".txt", delete=False) as file:
                file.write("\n".join([repr(error), *getattr(error, "__notes__", [])]))
            print(f"{name:16} {error!r:.200}\n  kept in {file.name}", flush=True)
            continue
        print(
            f"{name:16} {told.executions:10,} executions, slowest {told.slowest_s * 1000:7.1f} ms, "
            f"memory grew by {told.grown_kib >> 10} MiB", flush=True,
        )  # fmt: skip
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
