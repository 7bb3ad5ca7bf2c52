"""Started by the keeper, as root, with the path of keeper.yaml: says what stands in it, line by line.

With the folders of workflows (the host's, the vendor's), a definition's path and its digest it says, as JSON, what the
tasks of root's in it may be started with. Ends by itself after ten seconds.
"""

from __future__ import annotations

import os
import signal
import sys

_MOST_S = 10.0

if __name__ == "__main__":
    signal.setitimer(signal.ITIMER_REAL, _MOST_S)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    settings, *definition = sys.argv[1:]
    if definition:
        from pyflowd.rootcheck.definition import answer

        said = answer(*definition)
    else:
        from pyflowd.keeper_settings import answer as answer_settings

        said = answer_settings(settings)
    with open(1, "wb") as out:
        out.write(said.encode())
