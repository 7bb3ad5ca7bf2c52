"""Looking after a running instance: backup under load, drain, reload of settings, a store that is taken away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from pyflowctl.client import OpenBackup, connect
from pyflowd.paths import below
from pyflowd.protocol.requests import MakeBackup
from pyflowd.settings import SETTINGS
from pyflowd.store.snapshot import Snapshot
from pyflowd.upkeep.check import check
from tests.daemon.instance import PYFLOWD, REPOSITORY, Instance
from tests.waiting import wait_until

QUICK = "tasks: {a: {run: echo hi}, b: {needs: a, run: echo there}}\n"
LONG = "tasks: {a: {run: 'while [ ! -e \"$GO\" ]; do sleep 0.02; done', env: {GO: %s}}, b: {needs: a, run: echo b}}\n"


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Instance]:
    """A second instance, to restore into."""
    made = Instance(tmp_path / "other")
    yield made
    made.end()


def gate(instance: Instance) -> Path:
    return instance.root / "go"


def install_long(instance: Instance) -> None:
    instance.install("long.yaml", LONG % json.dumps(str(gate(instance))))


# ---- Backup and restore


def test_a_backup_under_load_restores_to_a_consistent_prefix(
    instance: Instance, other: Instance, tmp_path: Path
) -> None:
    """Finding D7: what was acknowledged before it began is in it, and all that is in it fits together."""
    instance.start()
    instance.install("quick.yaml", "queue_max: 10000\n" + QUICK)
    acknowledged: list[int] = []
    stop = threading.Event()

    def load() -> None:
        with connect(root=str(instance.root)) as client:
            while not stop.is_set():
                acknowledged.append(client.start("quick").run)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        wait_until(lambda: len(acknowledged) > 20, "runs are recorded")
        before = acknowledged[-1]
        done = instance.ctl("-o", "json", "backup", tmp_path / "b.tar.gz")
        assert done.returncode == 0, done.stderr + done.stdout
    finally:
        stop.set()
        thread.join()
    told = json.loads(done.stdout)
    assert told["verified"]
    assert told["findings"] == []
    assert before <= told["runs"] <= acknowledged[-1]
    assert (tmp_path / "b.tar.gz").stat().st_mode & 0o777 == 0o600
    restored = other.ctl("-o", "json", "restore", tmp_path / "b.tar.gz")
    assert restored.returncode == 0, restored.stderr
    with Snapshot(str(other.root / "state")) as snapshot:
        found = check(snapshot, below(str(other.root)))
        known = {row[0] for row in snapshot.rows("check_runs_known")}
    assert found.findings == []
    assert known == set(range(1, told["runs"] + 1))
    other.start()
    assert other.run("quick") >= 1001, "numbers that may have been given since are not given again"


def test_what_lived_in_the_backup_is_not_started_by_a_daemon_on_the_restored_store(
    instance: Instance, other: Instance, tmp_path: Path
) -> None:
    instance.start()
    install_long(instance)
    run = instance.run("long")
    instance.wait_task(run, "a", "running")
    assert instance.ctl("backup", tmp_path / "b.tar.gz").returncode == 0
    assert other.ctl("restore", tmp_path / "b.tar.gz").returncode == 0
    other.start()
    found = other.status(run)
    assert (found["state"], found["reason"]) == ("cancelled", "restored")
    assert found["tasks"]["a"]["exit_code"] is None
    assert found["tasks"]["b"]["attempts"] == 0
    assert instance.status(run)["state"] == "running", "the instance that the backup is of goes on"
    gate(instance).touch()
    assert instance.wait_run(run)["state"] == "succeeded"


def test_restore_refuses_while_the_daemon_runs_and_where_there_is_history(instance: Instance, tmp_path: Path) -> None:
    instance.start()
    instance.install("quick.yaml", QUICK)
    instance.wait_run(instance.run("quick"))
    assert instance.ctl("backup", tmp_path / "b.tar.gz").returncode == 0
    refused = instance.ctl("restore", tmp_path / "b.tar.gz", "--force")
    assert (refused.returncode, "stop it first" in refused.stderr) == (4, True)
    instance.stop()
    refused = instance.ctl("restore", tmp_path / "b.tar.gz")
    assert refused.returncode == 6
    assert "a store with 1 runs; --force sets it aside" in refused.stderr
    assert instance.ctl("restore", tmp_path / "b.tar.gz", "--force").returncode == 0
    instance.start()
    assert instance.status(1)["state"] == "succeeded"


def test_a_backup_never_replaces_a_file_unasked_and_is_not_made_for_nothing(instance: Instance, tmp_path: Path) -> None:
    instance.start()
    target = tmp_path / "b.tar.gz"
    target.write_text("precious")
    done = instance.ctl("backup", target)
    assert (done.returncode, target.read_text()) == (6, "precious")
    assert instance.ctl("backup", target, "--force").returncode == 0
    assert target.read_bytes()[:2] == b"\x1f\x8b"


def test_only_one_backup_is_made_at_a_time_and_one_that_nobody_waits_for_is_given_up(instance: Instance) -> None:
    instance.start()
    with instance.client() as client:
        started = client.ask(MakeBackup())
        first = next(started)
        assert isinstance(first, OpenBackup)
        os.close(first.fd)
        list(started)
        opened, view = client.backup()
        os.close(opened.fd)
        assert view.findings == []
    wait_until(lambda: not [name for name in os.listdir(instance.root / "state") if name.startswith("backup-")], "gone")


# ---- Drain


def test_a_drained_host_starts_nothing_over_a_restart_until_it_is_undrained(instance: Instance) -> None:
    instance.start()
    instance.install("quick.yaml", QUICK)
    install_long(instance)
    long = instance.run("long")
    instance.wait_task(long, "a", "running")
    told = instance.json("drain")
    assert (told["drained"], told["active"]) == (True, 1)
    quick = instance.run("quick")
    waiting = subprocess.Popen(
        [sys.executable, "-m", "pyflowctl", "--root", str(instance.root), "drain", "--wait"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.PIPE, cwd="/",
    )  # fmt: skip
    gate(instance).touch()
    assert waiting.wait(20) == 0
    assert waiting.stdout is not None
    assert b"nothing runs" in waiting.stdout.read()
    waiting.stdout.close()
    instance.stop()
    instance.start()
    found = instance.status(quick)
    assert (found["state"], found["tasks"]["a"]["state"]) == ("queued", "waiting")
    found = instance.status(long)
    assert (found["state"], found["tasks"]["a"]["state"], found["tasks"]["b"]["state"]) == (
        "running",
        "succeeded",
        "queued",
    )
    assert "drained by" in instance.ctl("status").stdout
    assert "waits, as no task starts: the host is drained by" in instance.ctl("explain", quick).stdout
    assert instance.json("undrain")["drained"] is False
    for run in (quick, long):
        assert instance.wait_run(run)["state"] == "succeeded"


def test_a_gate_that_opens_while_the_host_is_drained_lets_nothing_in(instance: Instance) -> None:
    instance.start()
    opened = instance.root / "open"
    instance.install(
        "gated.yaml", f"gates: {{path_exists: [{opened}], every: 100ms, wait: 1h}}\ntasks: {{a: {{run: echo a}}}}\n"
    )
    run = instance.run("gated")
    wait_until(lambda: "gate" in instance.ctl("status", run).stdout, "it waits for its gate")
    instance.ctl("drain")
    opened.touch()
    quick = instance.json("drain")
    assert quick["queued"] == 1
    wait_until(lambda: "undrained" in instance.ctl("status", run).stdout, "it waits for the host")
    assert instance.status(run)["state"] == "queued"
    instance.ctl("undrain")
    assert instance.wait_run(run)["state"] == "succeeded"


# ---- Settings


def test_settings_are_read_again_and_bad_ones_change_nothing(instance: Instance) -> None:
    instance.start()
    install_long(instance)
    instance.install("quick.yaml", QUICK)
    long = instance.run("long")
    instance.wait_task(long, "a", "running")
    instance.settings(max_tasks=1, timezone="Asia/Tokyo")
    told = instance.ctl("reload")
    assert told.returncode == 0
    assert "settings in force: max_tasks" in told.stdout
    assert "need a restart of pyflowd: timezone" in told.stdout
    quick = instance.run("quick")
    wait_until(lambda: "max_tasks is 1" in instance.ctl("explain", quick).stdout, "it waits for a place of the host")
    (instance.root / "pyflowd.yaml").write_text("max_tasks: many\n")
    assert instance.process is not None
    instance.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "pyflowd.yaml:1:12: max_tasks" in instance.ctl("status").stdout, "status says it")
    assert "those from before stay in force" in instance.ctl("doctor").stdout
    refused = instance.ctl("reload")
    assert refused.returncode == 6
    assert "pyflowd.yaml:1:12: max_tasks" in refused.stderr
    instance.settings(max_tasks=5)
    instance.process.send_signal(signal.SIGHUP)
    assert instance.wait_run(quick)["state"] == "succeeded"
    assert "settings:" not in instance.ctl("status").stdout
    gate(instance).touch()
    instance.wait_run(long)


def test_every_setting_is_either_in_force_at_once_or_said_to_need_a_restart(instance: Instance) -> None:
    others: dict[str, object] = {
        "max_tasks": 9, "log_max_bytes": "1MiB", "run_log_max_bytes": "2MiB", "artifact_max_bytes": "3MiB",
        "retention": {"runs": 5}, "sample_interval": "9s", "pools": {"p": 2}, "group_read": "g", "group_operate": "g",
        "group_admin": "g", "audit_age": "9d", "calendars": {"c": {"days": "mon"}},
        "blackouts": {"b": {"from": "2026-12-20", "to": "2027-01-05"}},
        "channels": {"ops": {"webhook": {"url": "http://127.0.0.1:1/"}}}, "notify": ["ops"],
        "edit": True, "web_proxy_level": "read",
    }  # fmt: skip
    later: dict[str, object] = {
        "timezone": "Asia/Tokyo", "secrets": [{"store": True}], "secrets_key": "/nowhere/key", "journal": "never",
        "log": {"journal": "none"}, "default_user": "nobody",
    }  # fmt: skip
    assert {*others, *later} == set(SETTINGS.keys), "a new setting: say here whether it needs a restart"
    instance.start()
    instance.settings(**others, **later)
    told = instance.ctl("reload")
    assert told.returncode == 0, told.stderr
    lines = [line for line in told.stdout.splitlines() if "settings" in line]
    assert [set(line.partition(": ")[2].split(", ")) for line in lines] == [set(others), set(later)]
    manual = (REPOSITORY / "man" / "pyflowd.yaml.5").read_text().partition(".SH SETTINGS")[0]
    assert [key for key in later if key not in manual] == []


def pyflowd(instance: Instance, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PYFLOWD, "--root", str(instance.root), *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip


def test_a_daemon_with_bad_settings_ends_with_a_line_for_each(instance: Instance) -> None:
    (instance.root / "pyflowd.yaml").write_text("max_tasks: many\nnonsense: 1\n")
    done = pyflowd(instance)
    assert done.returncode == 6
    lines = done.stderr.splitlines()
    assert [line.startswith(f"pyflowd: {instance.root}/pyflowd.yaml:") for line in lines] == [True, True]


def test_check_tells_what_a_start_would_refuse_and_starts_nothing(instance: Instance) -> None:
    instance.write("good.yaml", QUICK)
    assert pyflowd(instance, "--check").returncode == 0
    assert not (instance.root / "state").exists()
    instance.write("bad.yaml", "tasks: {a: {runn: echo}}\n")
    instance.write("bomb.yaml", "[" * 5000)
    done = pyflowd(instance, "--check")
    assert done.returncode == 6
    assert 'bad.yaml:1:13: a task has no key "runn"' in done.stderr
    assert "bomb.yaml" in done.stderr


# ---- The store


def test_fsck_says_the_same_with_and_without_a_daemon(instance: Instance) -> None:
    instance.start()
    instance.install("quick.yaml", QUICK)
    instance.wait_run(instance.run("quick"))
    served = instance.json("fsck")
    assert (served["runs"], served["findings"]) == (1, [])
    instance.stop()
    assert instance.json("fsck")["findings"] == []
    (instance.root / "log" / "000000" / "1").rename(instance.root / "log" / "000000" / "2")
    done = instance.ctl("fsck", "-o", "json")
    assert (done.returncode, json.loads(done.stdout)["findings"]) == (0, []), "2 may be a run to come"


def test_a_database_that_is_taken_away_ends_the_daemon_and_no_new_one_is_begun(instance: Instance) -> None:
    instance.start()
    instance.install("quick.yaml", QUICK)
    instance.stop()
    (instance.root / "state" / "pyflow.db").rename(instance.root / "away.db")
    done = pyflowd(instance)
    assert done.returncode == 4
    assert "the database is gone" in done.stderr
    assert not (instance.root / "state" / "pyflow.db").exists()
    (instance.root / "away.db").rename(instance.root / "state" / "pyflow.db")
    instance.start()


@pytest.mark.parametrize("name", ["pyflow.db", "pyflow.db-wal"])
def test_a_file_of_the_store_that_is_deleted_under_a_daemon_ends_it_and_not_its_tasks(
    instance: Instance, name: str
) -> None:
    often = "from pyflowd import daemon; daemon.STORE_LOOK_EVERY_US = 20_000; "
    errors = instance.root.parent / "errors"
    with errors.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", often + PYFLOWD, "--root", str(instance.root)],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stderr=log, cwd="/",
        )  # fmt: skip
    try:
        wait_until(lambda: instance.ctl("next").returncode == 0, "it serves")
        install_long(instance)
        instance.wait_task(instance.run("long"), "a", "running")
        (instance.root / "state" / name).rename(instance.root / "away")
        assert process.wait(20) == 4
        assert f"{name}: it was deleted under this daemon" in errors.read_text()
        assert len(instance.processes()) > 2, "keeper, logger, and the task"
    finally:
        process.kill()
        process.wait()
        gate(instance).touch()


def test_a_row_that_makes_no_sense_is_a_named_error_at_the_start(instance: Instance) -> None:
    instance.start()
    install_long(instance)
    run = instance.run("long")
    instance.wait_task(run, "a", "running")
    instance.kill()
    connection = apsw.Connection(str(instance.root / "state" / "pyflow.db"))
    connection.execute("UPDATE event SET body = x'93' WHERE run = ?", (run,))
    connection.close()
    done = pyflowd(instance)
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert "pyflow.db" in done.stderr
    assert "restore a backup" in done.stderr
    assert "run 1: it cannot be read" in instance.ctl("fsck").stdout
    (instance.root / "go").touch()
