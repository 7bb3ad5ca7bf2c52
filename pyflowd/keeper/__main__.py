"""Runs the keeper under `python -I -S`: finds its own package, as neither option lets Python do that."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from pyflowd.keeper.main import run

    sys.exit(run(sys.argv[1:]))
