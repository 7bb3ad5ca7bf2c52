"""What may still live of an attempt whose record is lost: found by its session and its environment, and killed.

For the rare case in which the keeper that could do it better does not know the attempt any more (its folder was taken
away). Nothing is signalled that does not carry the attempt's own variables in the session that the attempt began.
"""

from __future__ import annotations

import os
import signal


def kill_session(session: int, marks: dict[str, str]) -> int:
    """Kill the processes of `session` whose environment has all `marks`; how many. What is not ours to see is left."""
    import psutil  # costs 10 ms and memory, and this is rare

    killed = 0
    for pid in psutil.pids():
        try:
            if os.getsid(pid) != session:
                continue
            environment = psutil.Process(pid).environ()
            if all(environment.get(name) == value for name, value in marks.items()):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        except (psutil.Error, OSError):
            continue  # it has ended, or is another user's
    return killed
