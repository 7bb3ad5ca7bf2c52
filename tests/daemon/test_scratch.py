"""The folders of a run are gone with its end, whatever the daemon has been through meanwhile."""

from __future__ import annotations

from pathlib import Path

from tests.daemon.instance import Instance
from tests.waiting import wait_until


def folders(instance: Instance) -> list[Path]:
    return list((instance.root / "state" / "scratch").glob("*-*"))


def test_the_folder_of_a_run_that_ends_after_a_crash_is_gone_with_it(instance: Instance) -> None:
    """No task of it began after the restart, so nothing else asked for its folder: outputs stayed for days."""
    instance.start()
    go = instance.root / "go"
    instance.install("w.yaml", f"tasks: {{a: {{run: 'pyflow-out set x=1; until [ -e {go} ]; do sleep 0.01; done'}}}}\n")
    run = instance.run("w")
    instance.wait_task(run, "a", "running")
    assert folders(instance)
    instance.kill()
    instance.start()
    go.touch()
    assert instance.wait_run(run)["state"] == "succeeded"
    wait_until(lambda: not folders(instance), "the folder of the run is gone")
