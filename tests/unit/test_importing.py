"""`pyflowctl import cron`, `import timers`, `export systemd`: without a daemon, from files to files."""

from __future__ import annotations

import json
import posix
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pyflowctl import import_timers, imports, thin
from pyflowctl.linting import check_files
from pyflowd.conversion import on_calendar
from tests.corpus import CORPUS, needs_corpus

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this host")
CASES: list[dict[str, Any]] = (
    json.loads((CORPUS / "crontab" / "cases.json").read_text())["cases"] if CORPUS is not None else []
)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    monkeypatch.setattr(posix, "environ", {b"TZ": b"UTC", b"PATH": posix.environ.get(b"PATH", b"/usr/bin:/bin")})
    monkeypatch.setenv("PYFLOW_ROOT", str(tmp_path / "root"))


def in_json(capfd: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, Any]]:
    status = thin.main([*argv, "-o", "json"])
    captured = capfd.readouterr()
    assert captured.err == ""
    found: dict[str, Any] = json.loads(captured.out)
    return status, found


def tab(tmp_path: Path, text: str, name: str = "tab") -> str:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return str(path)


def written(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "root" / "workflows").glob("*"))


# ---- import cron ----------------------------------------------------------------------------------------------------


@needs_corpus
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_a_crontab_of_the_corpus_is_imported(
    case: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "YEARS", 1)  # firings are compared elsewhere
    system = ["--system"] if case["kind"].startswith("system") else []
    status, found = in_json(capfd, "import", "cron", *system, tab(tmp_path, case["text"]))
    keys = ("schedule", "user", "command", "line")
    assert [{key: each[key] for key in keys} for each in found["workflows"]] == [
        {key: job[key] for key in keys} for job in case["jobs"]
    ]
    assert [error["line"] for error in found["errors"]] == [error["line"] for error in case.get("errors", [])]
    assert status == (1 if case.get("errors") else 0)
    problems = check_files([each["path"] for each in found["workflows"]])
    assert [each.code for each in problems if each.severity == "error"] in ([], ["shell_syntax"])


def test_five_years_of_firings_are_compared(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = "CRON_TZ=Europe/Berlin\n*/30 2 * * * a\n15 3 * * * b\n"
    _, found = in_json(capfd, "import", "cron", "--dry-run", tab(tmp_path, text))
    stepped, daily = (each["proof"] for each in found["workflows"])
    assert (len(stepped["differences"]), daily["differences"]) == (15, [])
    assert stepped["timezone"] == "Europe/Berlin"
    assert 1826 <= daily["firings_before"] == daily["firings_after"] <= 1827
    assert all("clock change" in each["reason"] for each in stepped["differences"])


def test_a_dry_run_writes_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert thin.main(["import", "cron", "--dry-run", tab(tmp_path, "@daily dump\n")]) == 0
    assert "run: dump" in capfd.readouterr().out
    assert written(tmp_path) == []


def test_a_file_that_is_there_is_not_replaced(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tab(tmp_path, "@daily dump\n")
    assert in_json(capfd, "import", "cron", path)[1]["workflows"][0]["outcome"] == "written"
    assert in_json(capfd, "import", "cron", path)[1]["workflows"][0]["outcome"] == "unchanged"
    there = tmp_path / "root" / "workflows" / "dump.yaml"
    there.write_text("tasks: {a: {run: mine}}\n")
    status, found = in_json(capfd, "import", "cron", path)
    assert (status, found["workflows"]) == (1, [])
    assert "--force replaces it" in found["errors"][0]["reason"]
    assert there.read_text() == "tasks: {a: {run: mine}}\n"
    assert in_json(capfd, "import", "cron", "--force", path)[1]["workflows"][0]["outcome"] == "replaced"
    assert "mine" not in there.read_text()


def test_a_link_that_leads_nowhere_is_not_replaced(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "root" / "workflows"
    folder.mkdir()
    (folder / "dump.yaml").symlink_to("elsewhere")
    _, found = in_json(capfd, "import", "cron", tab(tmp_path, "@daily dump\n"))
    assert "--force replaces it" in found["errors"][0]["reason"]
    assert (folder / "dump.yaml").is_symlink()
    assert [path.name for path in folder.iterdir()] == ["dump.yaml"]


def test_a_name_that_another_file_has_is_not_taken(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "root" / "workflows"
    folder.mkdir()
    (folder / "dump.json").write_text("{}")
    _, found = in_json(capfd, "import", "cron", tab(tmp_path, "@daily dump\n"))
    assert "dump.json has this name already" in found["errors"][0]["reason"]


def test_names_are_unlike_each_other(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tab(tmp_path, "@daily dump\n@weekly Dump\n", "one")
    tab(tmp_path, "@monthly /usr/bin/dump.sh\n", "two")
    in_json(capfd, "import", "cron", "--to", str(tmp_path / "new"), str(tmp_path / "one"), str(tmp_path / "two"))
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["Dump-2.yaml", "dump-3.yaml", "dump.yaml"]


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("test -x /usr/bin/certbot && perl -e 'sleep int(rand(43200))' && certbot renew -q", "certbot-renew"),
        ("cd / && run-parts --report /etc/cron.hourly", "cron-hourly"),
        ("cd /srv/app && nice -n 10 ./bin/sync.sh >/dev/null 2>&1", "sync"),
        ('flock -n /tmp/x.lock -c "work --all" >> work.log', "work"),
        ("/usr/bin/python3 -u /opt/tools/report.py --all", "report"),
        ("X=$(date) PGUSER=a pg_dump app", "pg_dump-app"),
        ("/usr/bin/env FOO=1 timeout 30m /opt/x", "x"),
        ("../../etc/passwd", "passwd"),
        ("ÄÖÜ", "job"),
        ("x" * 200, "x" * 58),
    ],
)
def test_a_name_is_made_of_the_command(
    command: str, name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, found = in_json(capfd, "import", "cron", "--dry-run", tab(tmp_path, f"@daily {command}\n"))
    assert found["workflows"][0]["name"] == name


def test_mail_becomes_a_rule_where_a_channel_writes_to_the_same_people(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "root" / "pyflowd.yaml").write_text("channels: {admins: {mail: {to: root@example.com}}}\n")
    _, found = in_json(capfd, "import", "cron", tab(tmp_path, "MAILTO=root\n@daily a\nMAILTO=bob\n@daily b\n"))
    assert "notify: admins\n" in (tmp_path / "root" / "workflows" / "a.yaml").read_text()
    assert "notify" not in re.sub("#.*", "", (tmp_path / "root" / "workflows" / "b.yaml").read_text())
    assert any("MAILTO=bob" in remark for remark in found["workflows"][1]["remarks"])


def test_a_system_crontab_without_its_option_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, found = in_json(capfd, "import", "cron", tab(tmp_path, "@daily root /usr/bin/a\n"))
    assert (status, found["workflows"]) == (1, [])
    assert "--system" in found["errors"][0]["reason"]


def test_the_zone_of_the_settings_does_not_move_a_job(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root" / "pyflowd.yaml").write_text("timezone: Asia/Tokyo\n")
    _, found = in_json(capfd, "import", "cron", "--dry-run", tab(tmp_path, "0 5 * * * a\n"))
    workflow = found["workflows"][0]
    assert workflow["timezone"] == imports.host_zone().key
    assert workflow["proof"]["differences"] == []


def test_a_command_with_an_expression_is_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, found = in_json(capfd, "import", "cron", tab(tmp_path, "@daily echo ${{ x }}\n"))
    assert (status, found["workflows"]) == (1, [])
    assert "${{" in found["errors"][0]["reason"]


@pytest.mark.parametrize(
    ("assignment", "reason"),
    [("A-B=1", "letters, digits and _ only"), ("PYFLOW_X=1", "rename it"), ("RANDOM_DELAY=soon", "number of minutes"),
     ("CRON_TZ=Mars/Base", "no time zone")],
)  # fmt: skip
def test_what_cannot_be_said_is_an_error_of_the_line(
    assignment: str, reason: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, found = in_json(capfd, "import", "cron", tab(tmp_path, f"{assignment}\n@daily a\n"))
    assert [error["line"] for error in found["errors"]] == [2]
    assert reason in found["errors"][0]["reason"]


def test_cron_says_where_and_why_on_standard_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tab(tmp_path, "60 * * * * a\n@daily b\n")
    assert thin.main(["import", "cron", path]) == 1
    assert capfd.readouterr().err == f"pyflowctl: {path}:1: minute 60: out of range, 0 to 59\n"
    assert written(tmp_path) == ["b.yaml"]


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, found = in_json(capfd, "import", "cron", str(tmp_path / "none"))
    assert (status, found["errors"][0]["line"]) == (1, 0)


@pytest.mark.parametrize("argv", [["import", "cron"], ["import", "fcron", "x"], ["import"], ["export", "k8s", "x"]])
def test_a_wrong_command_line_is_told(argv: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert thin.main(argv) == 2
    assert capfd.readouterr().err.count("\n") == 1


# ---- import timers --------------------------------------------------------------------------------------------------

SERVICE = """\
[Unit]
Description=Back up things
[Service]
Type=oneshot
User=backup
Environment="OPTS=-v --all" DIR=/srv
ExecStartPre=-/bin/mkdir -p /var/backups/%p
ExecStart=/usr/local/bin/backup $OPTS --dir=${DIR} "a b" \\
  100%% last
TimeoutStartSec=2h 30min
ProtectSystem=strict
"""


def units(tmp_path: Path, timer: str, service: str = SERVICE) -> str:
    (tmp_path / "backup.timer").write_text(f"[Timer]\n{timer}\n")
    (tmp_path / "backup.service").write_text(service)
    return str(tmp_path / "backup.timer")


def test_a_timer_becomes_a_workflow(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    timer = units(tmp_path, "OnCalendar=Mon..Fri 02:30 Europe/Berlin\nRandomizedDelaySec=15min\nPersistent=true")
    status, found = in_json(capfd, "import", "timers", timer)
    (workflow,) = found["workflows"]
    assert (status, workflow["schedule"], workflow["user"]) == (0, "30 2 * * 1-5", "backup")
    assert [remark.split("=")[0].split(":")[0] for remark in workflow["remarks"]] == [
        "Persistent", "RandomizedDelaySec", "not taken over",
    ]  # fmt: skip
    text = Path(workflow["path"]).read_text()
    assert "jitter: 15m" in text
    assert "set -f; exec /usr/local/bin/backup ${OPTS} --dir=\"${DIR}\" 'a b' 100% last" in text
    assert not [each for each in check_files([workflow["path"]]) if each.severity == "error"]


@pytest.mark.parametrize(
    ("timer", "reason"),
    [
        ("OnUnitActiveSec=1d", "which needs `every`"),
        ("OnCalendar=*:*:0/20", "it has seconds"),
        ("OnCalendar=Fri..Mon 12:00", "runs backwards"),
        ("OnCalendar=2030-01-01 00:00", "it has a year"),
        ("OnCalendar=Mon *-*-02..09 10:00", "must both fit"),
        ("", "neither OnCalendar= nor OnBootSec="),
        ("OnCalendar=daily\nUnit=x.target", "only a service"),
    ],
)
def test_a_timer_that_cannot_be_said_is_an_error(
    timer: str, reason: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status, found = in_json(capfd, "import", "timers", units(tmp_path, timer))
    assert (status, found["workflows"]) == (1, [])
    assert reason in found["errors"][0]["reason"]


def test_a_drop_in_of_a_unit_counts(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    timer = units(tmp_path, "OnCalendar=daily")
    (tmp_path / "backup.timer.d").mkdir()
    (tmp_path / "backup.timer.d" / "x.conf").write_text("[Timer]\nOnCalendar=\nOnCalendar=hourly\n")
    assert in_json(capfd, "import", "timers", timer)[1]["workflows"][0]["schedule"] == "0 * * * *"


def test_a_start_after_boot_waits_first(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _, found = in_json(capfd, "import", "timers", units(tmp_path, "OnBootSec=5min"))
    assert "wait: 5m" in Path(found["workflows"][0]["path"]).read_text()
    assert found["workflows"][0]["proof"] is None


@needs_systemd
def test_systemd_fires_alike_but_for_the_skipped_hour(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _, found = in_json(capfd, "import", "timers", units(tmp_path, "OnCalendar=02:30 Europe/Berlin"))
    proof = found["workflows"][0]["proof"]
    assert proof["firings_before"] == import_timers._FIRINGS
    assert {each["reason"].split(" on ")[0] for each in proof["differences"]} == {"clock change: 1 hour left out"}


# ---- export systemd -------------------------------------------------------------------------------------------------

JOB = """\
description: 100% of it
schedule: {cron: "30 2 1,15 * 5", timezone: Europe/Berlin, jitter: 5m}
user: root
timeout: 1h
env: {A: "b c$d%e"}
tasks:
  dump: {run: "echo \\"$A\\" 100%\\necho two", success_codes: [0, 3]}
"""


def verified(paths: list[str]) -> str:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True, timeout=60, check=False
    )
    named = [line for line in done.stderr.splitlines() if any(Path(path).name in line for path in paths)]
    return "\n".join(named)


def exported(tmp_path: Path, text: str, capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (tmp_path / "job.yaml").write_text(text)
    status, found = in_json(capfd, "export", "systemd", str(tmp_path / "job.yaml"), "--to", str(tmp_path / "units"))
    assert status == 0
    return found


def test_a_single_task_becomes_a_service_and_a_timer(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = exported(tmp_path, JOB, capfd)
    assert [Path(each["path"]).name for each in found["files"]] == ["job.service", "job.timer"]
    service, timer = (each["text"] for each in found["files"])
    assert 'ExecStart=/bin/bash -euo pipefail -c "echo \\"$$A\\" 100%%\\necho two" dump' in service
    assert 'Environment="A=b c$d%%e"' in service
    assert "OnCalendar=*-*-01,15 02:30:00 Europe/Berlin\nOnCalendar=Fri *-*-* 02:30:00 Europe/Berlin\n" in timer
    assert "RandomizedDelaySec=300\nFixedRandomDelay=true" in timer


@needs_systemd
@pytest.mark.parametrize("text", [JOB, JOB + '  ship: {needs: dump, run: echo, stdin: x, env: {B: "it\'s"}}\n'])
def test_systemd_finds_nothing_wrong_with_units(text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = exported(tmp_path, text, capfd)
    assert verified([each["path"] for each in found["files"] if not each["path"].endswith(".sh")]) == ""


def test_several_tasks_become_a_script_that_does_the_same(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = """\
tasks:
  last: {needs: [one, two], run: "cat; echo $0 $B", stdin: "in'put\\n", env: {B: "it's $A"}}
  one: {argv: [echo, "a  b", $HOME]}
  two: {run: exit 3, success_codes: 3, timeout: 10s}
"""
    found = exported(tmp_path, text, capfd)
    script = next(each["path"] for each in found["files"] if each["path"].endswith("job.sh"))
    done = subprocess.run([script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "a  b $HOME\nin'put\nlast it's $A\n"


def test_a_script_ends_with_the_first_task_that_fails(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = exported(tmp_path, "tasks: {a: {run: exit 4}, b: {needs: a, run: echo no}}\n", capfd)
    script = next(each["path"] for each in found["files"] if each["path"].endswith("job.sh"))
    done = subprocess.run([script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (4, "")


def test_what_systemd_cannot_do_is_refused_one_by_one(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "job.yaml").write_text(
        "params: {p: {required: true}}\n"
        "tasks:\n"
        "  a: {run: 'true', if: params.p == 'x', for_each: [1, 2]}\n"
        "  b: {wait: 5m}\n"
        "  c: {needs: a, trigger_rule: any_failed, run: 'true'}\n"
        "finally: {d: {run: 'true'}}\n"
    )
    assert thin.main(["export", "systemd", str(tmp_path / "job.yaml"), "--to", str(tmp_path / "units")]) == 6
    lines = capfd.readouterr().err.splitlines()
    assert [line.split(": ", 2)[2].split(":")[0] for line in lines] == [
        "finally", "param p", "task a", "task a", "task b", "task c",
    ]  # fmt: skip
    assert not (tmp_path / "units").exists()


def test_a_crontab_comes_and_leaves(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    in_json(capfd, "import", "cron", "--system", tab(tmp_path, "0 4 * * 1-5 root /usr/bin/a && b%x\n"))
    status, found = in_json(capfd, "export", "systemd", "a", "--to", str(tmp_path / "units"))
    assert status == 0
    texts = "".join(each["text"] for each in found["files"])
    assert "OnCalendar=Mon,Tue,Wed,Thu,Fri *-*-* 04:00:00\n" in texts
    assert "printf %s 'x\n' | /bin/sh -c '/usr/bin/a && b'" in texts


# ---- OnCalendar -----------------------------------------------------------------------------------------------------


@needs_corpus
def test_calendars_of_the_corpus_are_these_in_cron() -> None:
    assert CORPUS is not None
    rows = json.loads((CORPUS / "cron" / "systemd_calendar.json").read_text())["rows"]
    for row in rows:
        wanted = row["cron_equivalent"]
        if wanted is None or len(wanted.split()) == 6:
            with pytest.raises(ValueError, match="OnCalendar="):
                on_calendar.to_cron(row["on_calendar"])
        else:
            found = on_calendar.to_cron(row["on_calendar"])
            assert (found.cron, found.timezone or "UTC") == (wanted, row["cron_tz"])


@needs_systemd
@pytest.mark.parametrize(
    "text",
    ["*-*-* *:0/15", "Mon *-*-08..14 10:00", "*-*~01 23:55", "Sat *-*~07/1 01:00", "*-01/3-01 00:00", "quarterly",
     "Mon,Wed..Sun 8..18/2:05", "*-*-1..7 9,17:30"],
)  # fmt: skip
def test_a_calendar_in_cron_fires_as_systemd_says(text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _, found = in_json(capfd, "import", "timers", "--dry-run", units(tmp_path, f"OnCalendar={text} UTC"))
    proof = found["workflows"][0]["proof"]
    assert proof["differences"] == []
    assert proof["firings_before"] > 15
