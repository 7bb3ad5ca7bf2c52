"""Crontabs are read as cron reads them; all cases of the corpus."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyflowd.conversion.crontab import Crontab, looks_like_system, percent, read
from tests.corpus import CORPUS, needs_corpus

CASES: list[dict[str, Any]] = (
    json.loads((CORPUS / "crontab" / "cases.json").read_text())["cases"] if CORPUS is not None else []
)


def read_text(text: str, *, system: bool = False) -> Crontab:
    return read(text.encode(), system=system)


# ---- The corpus -----------------------------------------------------------------------------------------------------


@needs_corpus
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_a_crontab_of_the_corpus_has_these_jobs(case: dict[str, Any]) -> None:
    found = read_text(case["text"], system=case["kind"].startswith("system"))
    shown = [
        {
            "line": job.line,
            "schedule": job.schedule,
            "user": job.user,
            "command": job.command,
            "stdin": job.stdin,
            "env": job.env,
            **({"tz": job.env["CRON_TZ"]} if "CRON_TZ" in job.env else {}),
            **({"quiet": True} if job.quiet else {}),
            **({"group": job.group} if job.group else {}),
            **({"never": True} if job.times.never else {}),
        }
        for job in found.jobs
    ]
    assert shown == case["jobs"]


@needs_corpus
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_a_crontab_of_the_corpus_has_these_faults(case: dict[str, Any]) -> None:
    found = read_text(case["text"], system=case["kind"].startswith("system"))
    assert [fault.line for fault in found.faults] == [error["line"] for error in case.get("errors", [])]


# ---- Lines ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("60 * * * * a", "minute 60: out of range, 0 to 59"),
        ("* * * b", "neither a job nor an assignment"),
        ("*/0 * * * * d", "a step of 0"),
        ("5 5 5 5 5", "there is no command"),
        ("@fortnightly e", "@fortnightly is no nickname of cron"),
        ("export FOO=1", "cron knows no export: write NAME=VALUE"),
        ("7/20 * * * * a", "a step only after a range or a star; write 7-59/20"),
        ("22-2 * * * * a", "the range runs backwards"),
        ("0 0 L * * a", "L is no number"),
        ("0~59 * * * * a", "a random time of other crons"),
        ('A="x" y', "the value begins with a quote, and does not end with it"),
    ],
)
def test_a_line_that_cron_refuses_says_why(line: str, reason: str) -> None:
    (fault,) = read_text(line + "\n").faults
    assert reason in fault.reason


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A = b c ", "b c"),
        ("A=' b '", " b "),
        ('"A"=x', "x"),
        ('A="it\'s"', "it's"),
        ("A=x#y", "x#y"),
        ("A=$HOME/bin", "$HOME/bin"),
        ("A=", ""),
    ],
)
def test_an_assignment_is_read_by_the_quoting_rules_of_crontab(line: str, value: str) -> None:
    (job,) = read_text(f"{line}\n@daily env\n").jobs
    assert job.env == {"A": value}


@pytest.mark.parametrize(
    ("text", "command", "stdin"),
    [
        ("date +\\%F", "date +%F", None),
        ("mail%hello%world", "mail", "hello\nworld\n"),
        ("mail%a\\%b%", "mail", "a%b\n"),
        ("cat%", "cat", None),
        ("echo a\\\\b", "echo a\\\\b", None),
        ("echo \\\\%x", "echo \\\\", "x\n"),
        ("cat %  ", "cat ", "  \n"),
    ],
)
def test_percent_signs_end_the_command_and_lines_of_its_input(text: str, command: str, stdin: str | None) -> None:
    assert percent(text) == (command, stdin)


def test_a_comment_right_above_a_line_belongs_to_it_alone() -> None:
    found = read_text("# header\n\n# dump it\n# well\n0 1 * * * a\n0 2 * * * b\n")
    assert [job.comment for job in found.jobs] == [("dump it", "well"), ()]


def test_a_fault_does_not_harm_its_neighbours() -> None:
    found = read(b"0 1 * * * a\n0 2 * * * \xff\n0 3 * * * c\n", system=False)
    assert ([job.line for job in found.jobs], [fault.line for fault in found.faults]) == ([1, 3], [2])


def test_lines_that_end_as_on_windows_are_told() -> None:
    assert "Windows" in read_text("@daily a\r\n").remarks[0]


def test_a_job_that_is_commented_out_is_told() -> None:
    (remark,) = read_text("#0 1 * * * a\n# m h  dom mon dow   command\n# at 5 in the morning\n").remarks
    assert remark.startswith("1 line that is commented out")


def test_a_user_column_between_tabs_is_found() -> None:
    (job,) = read_text("18 */3\t* * *\tamavis\ttest -e x\n", system=True).jobs
    assert (job.user, job.command) == ("amavis", "test -e x")


def test_a_command_where_the_user_should_be_asks_for_the_other_sort() -> None:
    (fault,) = read_text("0 1 * * * /usr/bin/a b\n", system=True).faults
    assert "leave out --system" in fault.reason


def test_a_file_whose_commands_all_begin_with_a_user_looks_like_a_system_crontab() -> None:
    accounts = frozenset({"root", "www-data"})
    found = read_text("0 1 * * * root a b\n0 2 * * * www-data c d\n")
    assert "root" in looks_like_system(found.jobs, accounts)
    assert not looks_like_system(read_text("0 1 * * * root a b\n0 2 * * * c d\n").jobs, accounts)


def test_a_crontab_that_is_no_crontab_is_not_read_at_length() -> None:
    (fault,) = read(b"#" * (9 << 20), system=False).faults
    assert "bytes" in fault.reason
