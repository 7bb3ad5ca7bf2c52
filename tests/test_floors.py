"""The map of the house: a module imports only from floors below its own; the keeper imports nothing but the standard
library. To add a module, give it its floor here. A module for which there is none wants to be split.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

FLOORS: list[tuple[str, str]] = [
    (
        "words",
        "clock crashpoints errors filenames graph journal model paths pattern remains systemd timers units version",
    ),
    (
        "formats",
        "cron document events grammar layout loader_frames outcomes overlap protocol rerun retry tasklogs zones",
    ),
    ("readers", "commandline document_json document_yaml fields peer render_json render_runs schedule settling"),
    (
        "parts",
        "catalog control definition_task engine keeperlink loader params render_graph render_host settings watcher",
    ),
    ("rules", "definition_params definition_triggers launch render store.batch store.statements"),
    ("record", "definition store.store"),
    ("runs", "health lint runs views"),
    ("workflows", "loader_child recovery sampler workflows"),
    ("services", "definitions dispatcher retention"),
    ("answers", "replies"),
    ("requests about runs", "handlers_runs"),
    ("requests", "handlers"),
    ("console", "console"),
    ("daemon", "daemon"),
    ("command", "cli"),
]
"""From the ground up; names are below `pyflowd`."""

KEEPER: list[str] = [
    "crash hunt launcher logindex mounts options rundir wire",
    "attempt channel journal sink spawn",
    "logger loggerlink recover",
    "attempts upgrade",
    "keeper",
    "main",
    "__main__",
]
"""The keeper is a house of its own: the standard library and itself, nothing else."""

CLIENT: list[str] = [
    "logtext packing",
    "link logsource",
    "client logview",
    "complete doctor linting",
    "local",
    "thin",
    "__main__",
]


def _floor_of() -> dict[str, int]:
    floors = {f"pyflowd.{name}": n for n, (_, names) in enumerate(FLOORS) for name in names.split()}
    floors |= {f"pyflowctl.{name}": n for n, names in enumerate(CLIENT) for name in names.split()}
    floors |= {f"pyflowd.keeper.{name}": n for n, names in enumerate(KEEPER) for name in names.split()
               if f"pyflowd.keeper.{name}" not in floors}  # fmt: skip
    return floors


def _modules() -> dict[str, Path]:
    found = {}
    for package in ("pyflowd", "pyflowctl"):
        for path in (REPOSITORY / package).rglob("*.py"):
            name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
            if not name.endswith("__init__"):
                found[name] = path
    return found


MODULES = _modules()


def _imports(tree: ast.AST) -> Iterator[str]:
    """Modules of ours that a piece of code imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_from_floors_below_its_own(module: str) -> None:
    floors = _floor_of()
    assert module in floors, f"{module} has no floor"
    for imported in _imports(ast.parse(MODULES[module].read_text())):
        if imported not in MODULES:
            continue
        if module.startswith("pyflowctl.") and imported.startswith("pyflowd."):
            continue  # what of the daemon's package the client may import is said below
        if imported.startswith("pyflowd.keeper.") and not module.startswith("pyflowd.keeper."):
            assert module == "pyflowd.keeperlink", f"{module} imports {imported}: only keeperlink speaks to the keeper"
            continue
        assert module.startswith("pyflowctl.") or not imported.startswith("pyflowctl."), f"{module} imports the client"
        assert floors[imported] < floors[module], f"{module} imports {imported}, which is not below it"


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name.startswith("pyflowd.keeper.")))
def test_the_keeper_imports_the_standard_library_and_itself_only(module: str) -> None:
    allowed = sys.stdlib_module_names
    for imported in _imports(ast.parse(MODULES[module].read_text())):
        assert imported.split(".")[0] in allowed or imported.startswith("pyflowd.keeper"), f"{module}: {imported}"


def test_the_keeper_needs_no_site_packages() -> None:
    entry = MODULES["pyflowd.keeper.__main__"]
    done = subprocess.run([sys.executable, "-I", "-S", entry, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: pyflow-keeper" in done.stdout


def test_the_daemon_loads_neither_asyncio_nor_a_web_server_nor_requests() -> None:
    script = "import sys, pyflowd.cli; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(REPOSITORY)}
    )
    heavy = {"asyncio", "requests", "http.server", "starlette", "uvicorn", "smtplib", "ssl"}
    assert not heavy & set(done.stdout.split())


def test_the_typed_client_imports_protocol_model_and_errors_only() -> None:
    script = "import sys, pyflowctl.client; print(*sorted(name for name in sys.modules if name.startswith('pyflowd.')))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(REPOSITORY)}
    )
    assert set(done.stdout.split()) <= {"pyflowd.errors", "pyflowd.model", "pyflowd.protocol"}
