"""`reboot: {}`: what the record says of a host that was restarted, by a task or by something else.

The host is one root; its end is SIGKILL to daemon, keeper and everything of theirs, its next boot another id.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.instance import Instance
from tests.daemon.keeper_host import ENTRY
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may restart a host")

PATCH = """
tasks:
  patch: {{run: 'echo patched >> {root}/done'}}
  reboot:
    needs: patch
    reboot: {{command: [sh, -c, 'echo asked >> {root}/asked'], within: {within}}}
  verify: {{needs: reboot, run: 'echo verified >> {root}/done'}}
"""


class Host(Instance):
    """An instance whose boot has a name."""

    def boot(self, boot_id: str) -> None:
        """The keeper is told another boot id than the kernel's: the daemon finds it running."""
        words = [sys.executable, "-I", "-S", ENTRY, "--run-dir", self.root / "run", "--root", self.root]
        subprocess.run([*words, "--boot-id", boot_id, "--detach"], check=True)
        wait_until((self.root / "run" / "keeper.sock").exists, "a keeper")
        self.start()

    def power_off(self) -> None:
        """All at once, as a power cut; no process is left to say anything."""
        found = self.processes()
        self.kill()
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.processes(), "the end of the host")

    def lines(self, name: str) -> list[str]:
        path = self.root / name
        return path.read_text().split() if path.exists() else []

    def begin_patch(self, within: str = "10m") -> int:
        """A run whose task has asked for the restart."""
        self.install("patch.yaml", PATCH.format(root=self.root, within=within))
        run = self.run("patch")
        wait_until(lambda: self.lines("asked"), "the command that restarts the host")
        return run


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    found = Host(tmp_path / "host")
    yield found
    found.end()


def told(task: dict[str, Any]) -> tuple[str, str | None]:
    return task["state"], task["reason"]


@pytest.mark.parametrize("journal", ["kept", "gone"])
def test_a_run_goes_on_after_the_restart_that_it_asked_for(host: Host, journal: str) -> None:
    host.boot("boot-1")
    run = host.begin_patch()
    host.power_off()
    if journal == "gone":  # /run is a new one after each boot
        for path in (host.root / "run").rglob("journal"):
            path.unlink()
    host.boot("boot-2")
    ended = host.wait_run(run)
    assert ended["state"] == "succeeded"
    reboot = ended["tasks"]["reboot"]
    assert (told(reboot), reboot["attempts"]) == (("succeeded", None), 1)
    assert (reboot["values"]["boot_before"], reboot["values"]["boot_after"]) == ("boot-1", "boot-2")
    assert host.lines("done") == ["patched", "verified"]
    assert host.lines("asked") == ["asked"]


def test_what_else_ran_when_a_task_restarted_the_host_is_unknown(host: Host) -> None:
    host.boot("boot-1")
    host.install("other.yaml", f"tasks: {{a: {{run: 'echo started >> {host.root}/other; sleep 600'}}}}\n")
    other = host.run("other")
    wait_until(lambda: host.lines("other"), "the other task")
    run = host.begin_patch()
    host.power_off()
    host.boot("boot-2")
    assert host.wait_run(run)["state"] == "succeeded"
    lost = host.wait_run(other)["tasks"]["a"]
    assert told(lost) == ("failed", "lost")
    assert "host restarted" in lost["error"]


def test_a_crash_of_daemon_and_keeper_is_no_restart_and_the_restart_may_still_come(host: Host) -> None:
    host.boot("boot-1")
    run = host.begin_patch()
    host.power_off()
    host.boot("boot-1")
    assert host.status(run)["tasks"]["reboot"]["state"] == "running"
    host.power_off()
    host.boot("boot-2")
    assert host.wait_run(run)["state"] == "succeeded"
    assert host.lines("done") == ["patched", "verified"]
    assert host.lines("asked") == ["asked"]


def test_a_cancel_ends_a_task_whose_process_was_lost_while_the_host_stayed_up(host: Host) -> None:
    host.boot("boot-1")
    run = host.begin_patch()
    host.power_off()
    host.boot("boot-1")
    host.ctl("cancel", run)
    ended = host.wait_run(run)
    assert ended["state"] == "cancelled"
    assert told(ended["tasks"]["reboot"]) == ("failed", "lost")
    assert host.lines("done") == ["patched"]


def test_a_restart_that_came_before_the_command_was_started_is_not_the_tasks(host: Host) -> None:
    host.boot("boot-1")
    run = host.begin_patch()
    host.power_off()
    words = list((host.root / "state" / "scratch").rglob(".reboot-*"))
    assert [word.read_text() for word in words] == ["boot-1"]
    words[0].unlink()
    host.boot("boot-2")
    assert told(host.wait_run(run)["tasks"]["reboot"]) == ("failed", "lost")
    assert host.lines("done") == ["patched"]


def test_a_daemon_that_dies_meanwhile_changes_nothing(host: Host) -> None:
    host.boot("boot-1")
    run = host.begin_patch()
    host.kill()
    host.boot("boot-1")
    assert host.status(run)["tasks"]["reboot"]["state"] == "running"
    host.kill()
    host.power_off()
    host.boot("boot-2")
    assert host.wait_run(run)["state"] == "succeeded"
    assert host.lines("asked") == ["asked"]


@pytest.mark.parametrize("order", ["daemon first", "keeper first"])
def test_an_orderly_shutdown_says_the_same_as_a_power_cut(host: Host, order: str) -> None:
    host.boot("boot-1")
    run = host.begin_patch()
    keeper = host.keeper()
    if order == "keeper first":
        for child in keeper.children():
            child.terminate()  # as a service manager does to all; who waits for the end does not mind
        keeper.terminate()
        keeper.wait(20)
    host.stop()
    host.power_off()
    host.boot("boot-2")
    assert host.wait_run(run)["state"] == "succeeded"


def test_a_keeper_that_is_stopped_while_the_host_stays_up_leaves_the_restart_unknown(host: Host) -> None:
    host.boot(Path("/proc/sys/kernel/random/boot_id").read_text().strip())  # which the next keeper will see, too
    run = host.begin_patch(within="4s")
    keeper = host.keeper()
    keeper.terminate()
    keeper.wait(20)
    ended = host.wait_run(run)
    assert told(ended["tasks"]["reboot"]) == ("failed", "lost")
    assert "stopped with the keeper" in ended["tasks"]["reboot"]["error"]
    assert host.lines("done") == ["patched"]


def test_a_host_that_does_not_go_down_fails_the_task_in_words(host: Host) -> None:
    host.boot("boot-1")
    ended = host.wait_run(host.begin_patch(within="200ms"))
    reboot = ended["tasks"]["reboot"]
    assert told(reboot) == ("failed", "exit_code")
    assert "the host is still up 0.2 s after sh -c" in reboot["error"]
    assert not list((host.root / "state").rglob(".reboot-*"))
    assert host.lines("done") == ["patched"]


@pytest.mark.parametrize(
    ("command", "said"),
    [("[sh, -c, 'exit 3']", "sh -c exit 3 ended with exit code 3"), ("[no-such-program]", "there is no program")],
)
def test_a_command_that_fails_takes_its_word_back(host: Host, command: str, said: str) -> None:
    host.boot("boot-1")
    host.install("once.yaml", f"tasks: {{a: {{reboot: {{command: {command}}}}}, b: {{needs: a, run: 'true'}}}}\n")
    failed = host.wait_run(host.run("once"))["tasks"]["a"]
    assert told(failed) == ("failed", "exit_code")
    assert said in failed["error"]
    assert not list((host.root / "state").rglob(".reboot-*"))


def test_a_task_that_failed_while_nobody_listened_stays_failed_over_a_restart_by_somebody_else(host: Host) -> None:
    host.boot("boot-1")
    wait = f"while ! [ -e {host.root}/go ]; do sleep 0.01; done"
    host.install("once.yaml", f"tasks: {{a: {{reboot: {{command: [sh, -c, '{wait}; exit 3']}}}}}}\n")
    run = host.run("once")
    host.wait_task(run, "a", "running")
    word = wait_until(lambda: list((host.root / "state").rglob(".reboot-*")), "the command")[0]
    host.kill()
    (host.root / "go").touch()
    wait_until(lambda: not word.exists(), "its failure")
    wait_until(lambda: not [child for child in host.keeper().children() if "reboot" in child.cmdline()], "its end")
    host.power_off()
    word.write_text("boot-1")  # as if it could not have been taken back: the status that is known counts
    host.boot("boot-2")
    assert told(host.wait_run(run)["tasks"]["a"]) == ("failed", "exit_code")


def test_a_run_may_restart_the_host_twice(host: Host) -> None:
    host.boot("boot-1")
    ask = f"reboot: {{command: [sh, -c, 'echo asked >> {host.root}/asked']}}"
    host.install("twice.yaml", f"tasks: {{a: {{{ask}}}, b: {{needs: a, {ask}}}, c: {{needs: b, run: 'true'}}}}\n")
    run = host.run("twice")
    wait_until(lambda: len(host.lines("asked")) == 1, "the first")
    host.power_off()
    host.boot("boot-2")
    wait_until(lambda: len(host.lines("asked")) == 2, "the second")
    assert host.status(run)["tasks"]["a"]["state"] == "succeeded"
    host.power_off()
    host.boot("boot-3")
    ended = host.wait_run(run)
    assert ended["state"] == "succeeded"
    assert [ended["tasks"][name]["values"]["boot_after"] for name in "ab"] == ["boot-2", "boot-3"]
    assert host.lines("asked") == ["asked", "asked"]


def test_a_cancel_before_the_host_goes_down_ends_the_task_and_nothing_goes_on_after_the_restart(host: Host) -> None:
    host.boot("boot-1")
    run = host.begin_patch()
    host.ctl("cancel", run)
    assert host.wait_run(run)["tasks"]["reboot"]["state"] == "cancelled"
    host.power_off()
    host.boot("boot-2")
    assert host.status(run)["state"] == "cancelled"
    assert host.lines("done") == ["patched"]


def test_a_task_that_would_not_be_root_is_refused_with_the_remedy(host: Host) -> None:
    host.boot("boot-1")
    host.install("nobody.yaml", "tasks: {a: {reboot: {command: ['true']}, user: nobody}}\n")
    failed = host.wait_run(host.run("nobody"))["tasks"]["a"]
    assert told(failed) == ("failed", "start_failed")
    assert "write user: root" in failed["error"]
