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
            "calendars_ics captured clock crashpoints cron crontab_time definition_text document draft errors "
            "event_files event_hints event_unit_state expression_signatures filenames firings grammar graph "
            "http_checks http_errors http_urls item_key journal model output_file paths pattern plugins pool remains "
            "scratch secrets_memory store.statements systemd tasklogs timers unit_file units version waiting_line"
        ),
    ),
    (
        "formats",
        (
            "attemptlog crontab document_json document_yaml event_claims event_unit_bus events expectation "
            "explain_words expression_values http_addresses http_alarm http_files http_tls janitor keeperlink layout "
            "lint_code lint_places loader_frames notify notify_connection outcomes overlap overlay places process "
            "protocol secrets_file secrets_model short_program zones"
        ),
    ),
    (
        "the state of a run; words of expressions",
        (
            "catalog commandline crontab_draft diff event_unit_source explain expression_lexer expression_lists "
            "expression_texts expression_times fates gates http_connection lint_codes_advice lint_codes_files loader "
            "notify_payload on_calendar peer plugin_survey render_explain render_json render_kinds render_origin "
            "render_places render_runs retry schedule secret_names secrets_command secrets_key settling sources state"
        ),
    ),
    (
        "joins; parts of expressions",
        (
            "calendars control expression_functions expression_operators expression_parser joins lint_codes listing "
            "planning plugin_watch render_backfill render_cache render_diff render_events render_graph render_notify "
            "render_secrets render_tasks rerun secrets_store secrets_vault store.batch timer_draft timetable"
        ),
    ),
    (
        "items; compiled expressions",
        (
            "explain_run expression_compiler expression_types fanout render_host render_json_pages replies "
            "secrets_providers simulation_model store.store watcher"
        ),
    ),
    (
        "sections; expressions",
        (
            "cache changes event_ledger explain_slot explain_task expression health render secrets_resolver sections "
            "sentences simulation_changes simulation_store view_tasks views"
        ),
    ),
    (
        "the engine; templates",
        ("console engine explain_workflow secret_lookups simulation_totals template trigger_condition"),
    ),
    (
        "names and values",
        ("fields http_answer http_request params render_simulation simulation_assumptions"),
    ),
    (
        "parts of sorts of task",
        (
            "backfill calendars_settings context definition_cache definition_events definition_expect "
            "definition_fan_out definition_http_parts definition_needs definition_notify definition_places "
            "definition_process definition_secrets definition_types definition_uses definition_waiting event_values "
            "event_webhook gather http_hops http_upload lint_schedules origin schema_forms secrets_settings "
            "unit_export"
        ),
    ),
    (
        "sorts of task; live runs",
        (
            "decisions definition_http definition_outputs definition_references definition_triggers http_exchange "
            "launch lint_host notify_channels"
        ),
    ),
    (
        "workflows; what a task may be",
        ("definition_kinds definition_params http_call kinds lint_expressions lint_tasks live notify_mail settings"),
    ),
    (
        "attempts that are no process; tasks",
        ("calendars_files definition_reuse definition_task notify_send offers sharing"),
    ),
    (
        "definitions; requests about runs",
        ("calendars_watch definition notify_spool runs"),
    ),
    (
        "the loop; other requests",
        (
            "admission assembly clock_steps endings explain_obstacles handlers_notify handlers_secrets http_tasks "
            "launcher recovery sampler schema_parts simulation_record slots"
        ),
    ),
    (
        "all requests",
        ("lint loader_read plugin_checks schema workflows"),
    ),
    (
        "the daemon",
        ("backfill_runs definitions event_starts expectation_watch idempotency inside loader_child retention"),
    ),
    (
        "the command",
        ("event_file_watch event_units handlers_hooks handlers_runs simulation"),
    ),
    (
        "floor 17",
        (
            "event_sources explain_definitions explain_ledger explain_sources handlers_approvals handlers_backfill "
            "handlers_cache handlers_definitions handlers_logs handlers_places handlers_simulation"
        ),
    ),
    (
        "floor 18",
        ("dispatcher handlers_explain"),
    ),
    (
        "floor 19",
        ("handlers"),
    ),
    (
        "floor 20",
        ("daemon"),
    ),
    (
        "floor 21",
        ("cli"),
    ),
]
"""From the ground up; names are below `pyflowd`."""

KEEPER: list[str] = [
    "credentials",
    "crash hunt launcher logindex maskforms memory mounts options rundir wire",
    "attempt channel journal masking sink spawn",
    "logger loggerlink recover",
    "attempts upgrade",
    "keeper",
    "main",
    "__main__",
]
"""The keeper is a house of its own: the standard library and itself, nothing else."""

LOG_FORMAT = {"pyflowd.keeper.logindex", "pyflowd.keeper.masking", "pyflowd.keeper.memory", "pyflowd.keeper.sink"}
"""What logs are like, what writes one and keeps secrets out of it: of the keeper's house, and for everyone."""

TASK: list[str] = [
    "operation output",
    "function out plugin_types selection ssh",
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
    "beside complete diffing doctor fetch kinds lintshell shelltext",
    "fixing imports",
    "linting import_cron import_timers exporting",
    "fixfiles simulating",
    "local",
    "secretvalue",
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
