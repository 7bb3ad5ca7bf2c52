"""What the faults share: the figures that each adds to, and the table at the end of a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon.conftest import daemon, instance
from tests.faults.figures import Figures, table

__all__ = ["daemon", "figures", "instance"]
_PROPERTY = "figures"
_told: list[Figures] = []


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Callable[[Figures], None]:
    """Add to the table; called once a test, when it has counted."""
    return lambda counted: record_property(_PROPERTY, counted.plain())


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """In the process that reports: what a worker counted came with its report."""
    if report.when == "teardown":
        _told.extend(Figures(**value) for name, value in report.user_properties if name == _PROPERTY)  # type: ignore[arg-type]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table, and a copy in the file that `PYFLOW_FIGURES` names."""
    if not _told:
        return
    text = table(_told)
    terminalreporter.section("faults")
    terminalreporter.write_line(text)
    if path := os.environ.get("PYFLOW_FIGURES"):
        Path(path).write_text(text)
