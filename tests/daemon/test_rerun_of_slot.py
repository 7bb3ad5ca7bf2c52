"""A rerun of a scheduled run is for the same slot: it sees the same nominal time, in the same zone."""

from __future__ import annotations

from tests.daemon.instance import Instance

WORKFLOW = """
cwd: HERE
schedule: {cron: "0 2 * * *", timezone: Pacific/Kiritimati}
tasks:
  say:
    env: {DAY: "${{ date(run.scheduled_at, '%F %z') }}"}
    run: 'echo "$DAY $PYFLOW_SCHEDULED_AT" >> said; sleep 0; [ -e go ]'
"""


def test_a_rerun_of_a_run_of_a_slot_sees_the_time_of_the_slot_also_over_a_restart(daemon: Instance) -> None:
    daemon.install("w.yaml", WORKFLOW.replace("HERE", str(daemon.root)))
    done = daemon.ctl("-o", "json", "run", "w", "--for", "2026-01-05..2026-01-05")
    assert done.returncode == 0, done.stderr
    first = daemon.json("history", "w")[0]["run"]
    assert daemon.wait_run(first)["state"] == "failed"
    second = daemon.json("rerun", first)["run"]
    assert daemon.wait_run(second)["state"] == "failed"
    daemon.stop()
    (daemon.root / "go").touch()
    daemon.start()
    third = daemon.json("rerun", second, "--failed")["run"]
    assert daemon.wait_run(third)["state"] == "succeeded"
    said = (daemon.root / "said").read_text().splitlines()
    assert len(said) == 3
    assert len(set(said)) == 1
    assert said[0].startswith("2026-01-06 +1400 ")
