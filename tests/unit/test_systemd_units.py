"""The units, judged without a running systemd: their exposure, and that the manual says every point that remains."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
MOST = {"pyflowd.service": 20, "pyflow-keeper.service": 50, "pyflow-web.service": 15}
"""Exposure of each unit, in tenths (systemd-analyze(1), `security`)."""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")


def _judge(unit: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", *options, f"systemd/{unit}"]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


@needs_systemd
@pytest.mark.parametrize("unit", MOST)
def test_a_unit_is_exposed_no_more_than_said(unit: str) -> None:
    done = _judge(unit, f"--threshold={MOST[unit]}")
    assert done.returncode == 0, done.stdout.splitlines()[-1]


@needs_systemd
@pytest.mark.parametrize("unit", MOST)
def test_every_point_that_remains_stands_in_the_manual(unit: str) -> None:
    page = "pyflow-web.8" if unit == "pyflow-web.service" else "pyflowd.8"
    manual = (REPOSITORY / "man" / page).read_text().replace("\\-", "-")
    section = re.split(r"^\.SH ", manual.split(".SH SECURITY", 1)[1], maxsplit=1, flags=re.M)[0]
    points = json.loads(_judge(unit, "--json=short").stdout)
    remaining = {point["name"].partition("=")[0] for point in points if point.get("exposure")}
    assert sorted(name for name in remaining if name not in section) == []


def test_tasks_inherit_nothing_that_would_break_them() -> None:
    """What the keeper's unit may never have, whatever it would do to the score."""
    text = (REPOSITORY / "systemd/pyflow-keeper.service").read_text()
    said = dict(re.findall(r"^(\w+)=(.*)$", text, flags=re.M))
    for name in ("NoNewPrivileges", "PrivateDevices", "PrivateNetwork", "PrivateTmp", "PrivateUsers", "ProtectHome",
                 "ProtectSystem", "ProtectProc", "MemoryDenyWriteExecute", "RestrictSUIDSGID", "ReadOnlyPaths",
                 "MemoryMax", "CPUQuota", "Nice"):  # fmt: skip
        assert name not in said


def test_the_drop_in_takes_back_every_line_that_binds_tasks() -> None:
    unit = (REPOSITORY / "systemd/pyflow-keeper.service").read_text().split("\n# Every line here", 1)[1]
    binding = set(re.findall(r"^(\w+)=", unit.split("[Install]")[0], flags=re.M))
    given_back = set(re.findall(r"^(\w+)=", (REPOSITORY / "systemd/keeper-all-rights.conf").read_text(), flags=re.M))
    assert binding - given_back == {"DeviceAllow", "KeyringMode", "SystemCallErrorNumber", "UMask"}


@pytest.mark.parametrize("unit", ["pyflowd", "pyflow-keeper", "user/pyflowd", "user/pyflow-keeper"])
def test_journald_drops_no_event_by_its_limit_of_rates(unit: str) -> None:
    assert "\nLogRateLimitIntervalSec=0\n" in (REPOSITORY / f"systemd/{unit}.service").read_text()
