"""`reboot` in a definition: what becomes of it, and what is said of what is wrong."""

from __future__ import annotations

import pytest

from pyflowd.handlers.views import command_text
from pyflowd.language.assembly import assemble
from pyflowd.language.definition_text import Part
from pyflowd.lint import lint
from pyflowd.model.kinds import Reboot
from pyflowd.model.problem import Problem, Severity
from pyflowd.model.workflow import Task


def task(text: str, before: str = "") -> Task:
    workflow, problems = lint.check("w.yaml", f"{before}tasks: {{a: {text}}}\n".encode(), stem="w", is_json=False)
    assert workflow is not None, problems
    return workflow.tasks[0]


def refused(text: str) -> Problem:
    workflow, problems = lint.check("w.yaml", f"tasks: {{a: {text}}}\n".encode(), stem="w", is_json=False)
    assert workflow is None
    (problem,) = (problem for problem in problems if problem.severity is Severity.ERROR)
    return problem


def advice(text: str) -> list[str]:
    assembled = assemble(Part(label="w.yaml", data=text.encode(), is_json=False), stem="w")
    return [problem.code for problem in lint.advise("w.yaml", assembled)]


def test_reboot_needs_nothing_more() -> None:
    assert task("{reboot: {}, user: root}").kind == Reboot(command=(), within_s=600.0)


def test_reboot_says_how_and_within_what_time() -> None:
    found = task("{reboot: {command: [systemctl, kexec], within: 30m}}")
    assert found.kind == Reboot(command=("systemctl", "kexec"), within_s=1800.0)
    assert command_text(found.kind) == "restart of the host by systemctl kexec, within 1800 s"


def test_nothing_of_the_defaults_starts_it_twice_or_holds_up_the_end_of_the_host() -> None:
    before = "defaults: {retry: {attempts: 5, on_lost: retry}, timeout: 1s, kill_grace: 5m, success_codes: 1}\n"
    found = task("{reboot: {}}", before)
    assert (found.retry.attempts, found.retry.on_lost, found.timeout_s, found.kill_grace_s) == (1, "fail", None, 0.0)
    assert found.success_codes == ()


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("{reboot: {}, retry: 2}", "a task with reboot has no retry", "never restarted twice"),
        ("{reboot: {}, timeout: 5m}", "a task with reboot has no timeout", "reboot: {within: 10m}"),
        ("{reboot: {}, for_each: [1, 2]}", "a task with reboot has no for_each", "leave for_each out"),
        ("{reboot: {}, repeat: {max: 2, until: 'true'}}", "a task with reboot has no repeat", "leave repeat out"),
        ("{reboot: {}, run: 'true'}", "both reboot and run", "make two tasks"),
        ("{reboot: true}", "expected a mapping", ""),
        ("{reboot: {command: reboot}}", "a list of a program and its arguments", "[systemctl, kexec]"),
        ("{reboot: {command: []}}", "a list of a program and its arguments", ""),
        ("{reboot: {command: [sh, '${{ run.id }}']}}", "", ""),
        ("{reboot: {within: 0s}}", "", ""),
        ("{reboot: {timeout: 5m}}", "within", ""),
    ],
)
def test_what_is_wrong_with_reboot_is_said(text: str, message: str, fix: str) -> None:
    problem = refused(text)
    assert message in problem.message
    assert fix in problem.fix


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("tasks: {a: {reboot: {}}}\n", ["reboot_user"]),
        ("tasks: {a: {reboot: {}, user: nobody}}\n", ["reboot_user"]),
        ("tasks: {a: {reboot: {}, user: root}}\n", []),
        ("user: root\ntasks: {a: {reboot: {}}}\n", []),
    ],
)
def test_lint_says_that_only_root_may_restart_a_host(text: str, codes: list[str]) -> None:
    assert advice(text) == codes
