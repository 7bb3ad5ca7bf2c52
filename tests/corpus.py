"""Where the corpus beside the project is, for tests that read it; None where there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parent.parent.parent / "shared" / "corpus"
_FOLDER = Path(os.environ.get("PYFLOW_CORPUS", _BESIDE))
CORPUS: Path | None = _FOLDER if _FOLDER.is_dir() else None

needs_corpus = pytest.mark.skipif(CORPUS is None, reason=f"no corpus at {_FOLDER} (set PYFLOW_CORPUS)")
