"""Entry point of the command `pyflow-keeper`: the same program under `python -I -S`, without site packages."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Replace this process by the keeper."""
    entry = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")
    os.execv(sys.executable, [sys.executable, "-I", "-S", entry, *sys.argv[1:]])  # noqa: S606  no shell on purpose
