"""The map of the house: a module imports only from floors below its own; the keeper imports nothing but the standard
library. A new package gets its floor here; a module for which there is no package wants to be split.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

FLOORS: list[tuple[str, str]] = [
    ("words", "clock crashpoints errors exit_status keeper model paths systemd task units version"),
    ("formats", "events journal protocol"),
    ("what several parts stand on", "base"),
    ("what a run does next; values; the way in", "control engine expressions"),
    ("slots; requests; what is kept", "http schedules store"),
    ("the workflow file", "language"),
    ("what is made of it", "conversion lint notify plugins render triggers"),
    ("secrets", "secrets"),
    ("settings", "keeper_settings settings"),
    ("live runs", "runtime schema"),
    ("the workflows folder; a virtual clock; copies and checks", "folder simulation upkeep"),
    ("requests", "handlers"),
    ("what the keeper asks of us", "rootcheck"),
    ("the daemon", "daemon rehearsal"),
    ("the command", "cli"),
    ("the web front, a client of the daemon", "web"),
]
"""From the ground up: the parts of `pyflowd`, packages and modules. Within a package, imports go in no circle."""

LOG_FORMAT = {
    "pyflowd.keeper.journald", "pyflowd.keeper.logindex", "pyflowd.keeper.masking", "pyflowd.keeper.memory",
    "pyflowd.keeper.sink",
}  # fmt: skip
"""What logs and entries of the journal are like, what writes them and keeps secrets out: of the keeper's house, and for
everyone."""
SPEAKS_TO_KEEPER = "pyflowd.runtime.keeperlink"

WEB_KNOWS = (
    "base clock errors exit_status journal keeper language lint model paths protocol render systemd units version"
)
"""What the web front shares with the daemon: words, formats and how they are shown; nothing that holds or decides."""
WEB_SPEAKS_BY = {"pyflowctl.client", "pyflowctl.link"}
WEB_READS_BY = {
    ("pyflowd.web.editor.reader", "pyflowctl.linting"),
    ("pyflowd.web.editor.help", "pyflowd.schema.schema"),
}
"""What reads typed texts is a process of its own, as `pyflowctl lint` is."""
SHOWS_THE_WAY_TO_WEB = ("pyflowctl.dashboard", "pyflowd.web.settings")
"""Who reads where the web front listens, to print its address."""

TASK: list[str] = [
    "operation output",
    "function out plugin_types reboot selection ssh",
    "atomic plugin_module",
    "lookup plugin transfer",
    "archive contents",
    "extraction",
    "files",
    "__main__",
]
"""So are the programs that run in a task's process."""

CLIENT: list[str] = [
    "lintcodes logtext packing shellwords",
    "link logsource shellcommands shellsyntax",
    "client logview shellhazards surroundings",
    "beside complete dashboard diffing doctor fetch kinds lintshell restoring shelltext storecheck",
    "fixing imports",
    "linting import_cron import_timers exporting",
    "fixfiles simulating",
    "local",
    "secretvalue",
    "thin",
    "__main__",
]


def _part(module: str) -> str:
    """`runs` of the daemon's package is of the part `runtime`; the client is a part by itself."""
    package, _, name = module.partition(".")
    return name.partition(".")[0] if package == "pyflowd" else package


def _modules() -> dict[str, Path]:
    found = {}
    for package in ("pyflowd", "pyflowctl"):
        for path in (REPOSITORY / package).rglob("*.py"):
            name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
            if not name.endswith("__init__"):
                found[name] = path
    return found


MODULES = _modules()
ALLOWED = {"pyflowd.errors", *(name for name in MODULES if name.split(".")[1:2] in (["model"], ["protocol"]))}
ALLOWED |= {"pyflowd.model", "pyflowd.protocol"}
"""What the typed client may load."""


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
def test_a_module_imports_only_from_its_own_part_and_from_floors_below(module: str) -> None:
    floors = {name: n for n, (_, names) in enumerate(FLOORS) for name in names.split()}
    own = _part(module)
    assert own == "pyflowctl" or own in floors, f"{own} has no floor"
    for imported in _imports(ast.parse(MODULES[module].read_text())):
        if imported not in MODULES or _part(imported) == own:
            continue
        if own == "web":
            allowed = imported in WEB_SPEAKS_BY or _part(imported) in WEB_KNOWS.split()
            assert allowed or (module, imported) in WEB_READS_BY, f"{module} imports {imported}: it is a client"
            continue
        assert _part(imported) != "web" or (module, imported) == SHOWS_THE_WAY_TO_WEB, f"{module} imports {imported}"
        assert _part(imported) != "pyflowctl", f"{module} imports the client"
        if own == "pyflowctl":
            continue  # what of the daemon's package the client may import is said below
        if _part(imported) == "keeper" and imported not in LOG_FORMAT:
            assert module == SPEAKS_TO_KEEPER, f"{module} imports {imported}: only {SPEAKS_TO_KEEPER} speaks to it"
            continue
        assert floors[_part(imported)] < floors[own], f"{module} imports {imported}, which is not below it"


def test_imports_go_in_no_circle() -> None:
    graph = {
        module: [name for name in _imports(ast.parse(path.read_text())) if name in MODULES]
        for module, path in MODULES.items()
    }
    assert tuple(TopologicalSorter(graph).static_order())


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


def test_the_daemon_loads_neither_asyncio_nor_a_web_server_nor_requests_nor_archives() -> None:
    script = "import sys, pyflowd.cli; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(REPOSITORY)}
    )
    heavy = {"asyncio", "requests", "http.server", "starlette", "uvicorn", "smtplib", "ssl"}
    heavy |= {"email", "importlib.metadata", "tarfile", "zipfile", "pyflowd.upkeep.backup"}
    heavy |= {"difflib", "psutil", "statistics"}
    assert not heavy & set(done.stdout.split())


def test_the_typed_client_imports_protocol_model_and_errors_only() -> None:
    script = "import sys, pyflowctl.client; print(*sorted(name for name in sys.modules if name.startswith('pyflowd.')))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(REPOSITORY)}
    )
    assert set(done.stdout.split()) <= ALLOWED
