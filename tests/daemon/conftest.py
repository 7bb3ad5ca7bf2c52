"""What the tests with real processes share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.instance import Instance


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    """A root without a daemon; everything that is started on it is ended."""
    made = Instance(tmp_path / "root")
    yield made
    made.end()


@pytest.fixture
def daemon(instance: Instance) -> Instance:
    """A root with its daemon."""
    instance.start()
    return instance
