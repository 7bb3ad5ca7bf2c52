"""What the tests with real processes share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.checker import check_fold
from tests.daemon.instance import Instance
from tests.daemon.scenario import Scenario


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "scenario(*ids): what of the corpus's scenarios and patterns a test shows")


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


@pytest.fixture(scope="module")
def shared_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One for all tests of a module, whose workflows are apart. What they leave behind is checked."""
    made = Instance(tmp_path_factory.mktemp("shared") / "root")
    made.start()
    try:
        yield made
        made.stop()
        check_fold(made.root)
    finally:
        made.end()


@pytest.fixture
def scenario(shared_daemon: Instance, tmp_path: Path) -> Scenario:
    return Scenario(shared_daemon, tmp_path)
