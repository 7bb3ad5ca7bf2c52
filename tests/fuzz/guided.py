"""`python -m tests.fuzz.guided TARGET [OPTION...]`: one target by atheris, which must be installed; its options follow.

Coverage of the subject leads it, from the seeds on. It ends with the first input that breaks the target, and keeps it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pyflowd", "pyflowctl"]):
    from tests.fuzz.seeds import SEEDS
    from tests.fuzz.targets import TARGETS


def main(name: str, options: list[str]) -> None:
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(SEEDS[name]):
            Path(corpus, str(number)).write_bytes(seed)
        atheris.Setup([sys.argv[0], *options, corpus], TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
