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
        (
            "captured clock crashpoints cron definition_text document errors filenames grammar graph http_checks "
            "http_errors http_urls journal model output_file paths pattern pool remains scratch store.statements "
            "systemd tasklogs timers units version"
        ),
    ),
    (
        "formats",
        (
            "attemptlog document_json document_yaml events expression_values http_addresses http_alarm http_files "
            "http_tls janitor keeperlink layout loader_frames notify notify_connection outcomes overlap overlay "
            "process protocol zones"
        ),
    ),
    (
        "the state of a run; words of expressions",
        (
            "catalog commandline expression_lexer expression_lists expression_texts expression_times http_connection "
            "loader notify_payload peer render_json render_origin render_runs retry schedule settling sources state"
        ),
    ),
    (
        "joins; parts of expressions",
        (
            "control expression_functions expression_operators expression_parser joins listing planning render_graph "
            "render_json_pages render_notify render_tasks rerun store.batch"
        ),
    ),
    (
        "items; compiled expressions",
        ("expression_compiler fanout render_host replies store.store watcher"),
    ),
    (
        "sections; expressions",
        ("expression health render sections sentences view_tasks views"),
    ),
    (
        "the engine; templates",
        ("console engine template"),
    ),
    (
        "names and values",
        ("context fields http_answer http_request params"),
    ),
    (
        "parts of sorts of task",
        (
            "decisions definition_fan_out definition_http_parts definition_needs definition_notify definition_process "
            "definition_triggers definition_types definition_waiting gather http_hops http_upload launch origin"
        ),
    ),
    (
        "sorts of task; live runs",
        ("definition_http definition_outputs definition_references http_exchange notify_channels runs"),
    ),
    (
        "workflows; what a task may be",
        ("definition_kinds definition_params endings http_call notify_mail recovery sampler settings workflows"),
    ),
    (
        "attempts that are no process; tasks",
        ("definition_reuse definition_task definitions http_tasks inside notify_send retention"),
    ),
    (
        "definitions; requests about runs",
        ("definition handlers_runs notify_spool"),
    ),
    (
        "the loop; other requests",
        ("assembly dispatcher handlers_approvals handlers_definitions handlers_logs handlers_notify"),
    ),
    (
        "all requests",
        ("handlers lint loader_read"),
    ),
    (
        "the daemon",
        ("daemon loader_child"),
    ),
    (
        "the command",
        ("cli"),
    ),
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

LOG_FORMAT = {"pyflowd.keeper.logindex", "pyflowd.keeper.sink"}
"""What logs are like, and what writes one: of the keeper's house, and for everyone."""

TASK: list[str] = [
    "operation output",
    "function out selection ssh",
    "atomic",
    "lookup transfer",
    "archive contents",
    "extraction",
    "files",
    "__main__",
]
"""So are the programs that run in a task's process."""

CLIENT: list[str] = [
    "logtext packing",
    "link logsource",
    "client logview",
    "beside complete doctor fetch shelltext",
    "fixing",
    "linting",
    "local",
    "thin",
    "__main__",
]


def _floor_of() -> dict[str, int]:
    floors = {f"pyflowd.{name}": n for n, (_, names) in enumerate(FLOORS) for name in names.split()}
    floors |= {f"pyflowctl.{name}": n for n, names in enumerate(CLIENT) for name in names.split()}
    floors |= {f"pyflowd.task.{name}": n for n, names in enumerate(TASK) for name in names.split()}
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
            if imported in LOG_FORMAT:
                continue
            assert module == "pyflowd.keeperlink", f"{module} imports {imported}: only keeperlink speaks to the keeper"
            continue
        assert module.startswith("pyflowctl.") or not imported.startswith("pyflowctl."), f"{module} imports the client"
        assert floors[imported] < floors[module], f"{module} imports {imported}, which is not below it"


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name.startswith("pyflowd.keeper.")))
def test_the_keeper_imports_the_standard_library_and_itself_only(module: str) -> None:
    allowed = sys.stdlib_module_names
    for imported in _imports(ast.parse(MODULES[module].read_text())):
        assert imported.split(".")[0] in allowed or imported.startswith("pyflowd.keeper"), f"{module}: {imported}"


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name.startswith("pyflowd.task.")))
def test_the_programs_of_a_task_import_the_standard_library_and_themselves_only(module: str) -> None:
    for imported in _imports(ast.parse(MODULES[module].read_text())):
        own = f"{imported}.".startswith("pyflowd.task.")
        assert own or imported.split(".")[0] in sys.stdlib_module_names, f"{module}: {imported}"


def test_nobody_imports_the_programs_of_a_task() -> None:
    for module, path in MODULES.items():
        if not module.startswith("pyflowd.task."):
            imports = [name for name in _imports(ast.parse(path.read_text())) if f"{name}.".startswith("pyflowd.task.")]
            assert not imports, f"{module} imports {imports}"


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
