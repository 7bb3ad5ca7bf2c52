"""The process that a daemon has its store copied or checked by: a `Job` in, an `Outcome` out, both JSON.

    python -m pyflowd.upkeep '{"job": "backup", "paths": {...}, "with_logs": false, "descriptor": 7}'

It runs at low priority, with the rights of the daemon, and knows nothing of clients.
"""

from __future__ import annotations

import os
import sys

import msgspec

from pyflowd.clock import SystemClock
from pyflowd.errors import PyflowError
from pyflowd.store.snapshot import Snapshot
from pyflowd.upkeep import backup, check
from pyflowd.upkeep.job import Job, Outcome

_NICE = 10


def main() -> int:
    job = msgspec.json.decode(sys.argv[1], type=Job)
    os.nice(_NICE)
    os.umask(0o077)
    try:
        outcome = _do(job)
    except PyflowError as error:
        outcome = Outcome(error=str(error))
    except OSError as error:
        outcome = Outcome(error=f"{error.filename or job.paths.state}: {error.strerror}")
    sys.stdout.buffer.write(msgspec.json.encode(outcome))
    return 0


def _do(job: Job) -> Outcome:
    if job.job == "check":
        with Snapshot(job.paths.state) as snapshot:
            return Outcome(checked=check.check(snapshot, job.paths))
    with open(job.descriptor, "w+b", closefd=False) as target:
        return Outcome(made=backup.make(job.paths, target, SystemClock(), with_logs=job.with_logs))


if __name__ == "__main__":
    sys.exit(main())
