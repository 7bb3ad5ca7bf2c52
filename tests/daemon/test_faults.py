"""Everything that goes wrong around a daemon: each fault works, or gives one plain line and its documented exit status.

Nothing is lost, nothing hangs, and no traceback stands anywhere, the daemon's own log included.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import psutil
import pytest

from pyflowd.base.timers import Timers
from pyflowd.runtime.dispatcher import Dispatcher
from pyflowd.runtime.health import Health
from tests.daemon.checker import check_fold
from tests.daemon.instance import REPOSITORY, Instance
from tests.fakes import FakeClock
from tests.waiting import wait_until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount, or become somebody else")
SIMPLE = "tasks: {a: {run: 'echo said'}}"
TYPED = """
params:
  day: {type: date, required: true}
  count: {type: integer, minimum: 1}
  mode: {enum: [fast, slow]}
tasks: {a: {run: 'echo "$PARAM_COUNT"'}}
"""


def one_line(done: subprocess.CompletedProcess[str], exit_status: int, *words: str) -> None:
    """The command failed with this status and said why in one line of standard error, which holds these words."""
    assert done.returncode == exit_status, done
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(("pyflowctl: ", "pyflowd: ")), done.stderr
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr


def pyflowd(root: Path | str, *prefix: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A daemon that is expected to end at once."""
    code = "import sys; from pyflowd.cli import main; sys.exit(main())"
    return subprocess.run(
        [*prefix, sys.executable, "-c", code, "--root", str(root)], text=True, capture_output=True, timeout=30,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}, check=False, cwd="/",
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _no_traceback(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test does to its daemon, the log never shows a traceback."""
    given = [request.getfixturevalue(name) for name in ("instance", "small") if name in request.fixturenames]
    yield
    for one in given:
        assert "Traceback" not in one.log_text()


# ---- What a user gets wrong


def test_an_unknown_workflow_is_not_found_and_the_nearest_is_named(daemon: Instance) -> None:
    daemon.install("backup.yaml", SIMPLE)
    one_line(daemon.ctl("run", "bakcup"), 3, 'no workflow "bakcup"', 'did you mean "backup"')


@pytest.mark.parametrize("command", ["run", "show", "next", "logs"])
def test_a_workflow_whose_file_is_refused_says_what_is_wrong_with_it(command: str, daemon: Instance) -> None:
    daemon.write("bad.yaml", "tasks:\n  a:\n    rum: x\n")
    wait_until(lambda: daemon.json("list"), "the file is seen")
    one_line(daemon.ctl(command, "bad"), 6, "bad.yaml:3:5", 'no key "rum"', 'did you mean "run"', "pyflowctl list")


def test_a_workflow_whose_file_is_not_read_says_why(daemon: Instance, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.yaml").write_text(SIMPLE)
    (daemon.root / "workflows" / "far.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    one_line(daemon.ctl("run", "far"), 6, "far.yaml", "leads out of the folder", "copy the file here")


@pytest.mark.parametrize(("option", "task"), [("--only", "a[3]"), ("--only", "a[x y]")])
def test_one_item_cannot_be_asked_for_alone(option: str, task: str, daemon: Instance) -> None:
    daemon.install("w.yaml", SIMPLE)
    one_line(daemon.ctl("run", "w", option, task), 2, f'"{task}" is one item', "name the whole task here: a")


@pytest.mark.parametrize("command", ["status", "logs", "graph", "cancel", "rerun"])
def test_an_unknown_run_is_not_found(command: str, daemon: Instance) -> None:
    one_line(daemon.ctl(command, "4711"), 3, "no run 4711")


def test_all_problems_of_params_are_told_at_once(daemon: Instance) -> None:
    daemon.install("w.yaml", TYPED)
    done = daemon.ctl("run", "w", "-p", "count=0", "-p", "mode=fats", "-p", "dya=2026-01-01")
    one_line(done, 6, "dya", "count: 0 is less than 1", "mode:", "day: a value is required")
    assert daemon.json("history") == []


def test_a_value_of_the_wrong_type_is_refused(daemon: Instance) -> None:
    daemon.install("w.yaml", TYPED)
    one_line(daemon.ctl("run", "w", "-p", "count=many", "-p", "day=2026-02-30"), 6, "an integer", "a date")


def test_a_cycle_is_shown(instance: Instance, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("tasks: {a: {run: x, needs: c}, b: {run: x, needs: a}, c: {run: x, needs: b}}")
    instance.start()
    done = instance.ctl("run", file)
    assert done.returncode == 6
    assert re.search(
        r"c\.yaml:1:\d+: .*(a -> b -> c -> a|b -> c -> a -> b|c -> a -> b -> c|a -> c -> b -> a)", done.stderr
    )


def test_a_cycle_in_the_folder_is_told_by_status_and_list(daemon: Instance) -> None:
    daemon.write("c.yaml", "tasks: {a: {run: x, needs: b}, b: {run: x, needs: a}}")
    found = wait_until(lambda: daemon.json("status")["problems"], "the problem")
    assert found[0]["file"] == "c.yaml"
    assert "->" in found[0]["message"]
    assert [one["state"] for one in daemon.json("list")] == ["broken"]


def test_a_fifo_in_the_folder_is_told_and_never_opened(daemon: Instance) -> None:
    os.mkfifo(daemon.root / "workflows" / "pipe.yaml")
    daemon.install("w.yaml", SIMPLE)
    assert daemon.wait_run(daemon.run("w"))["state"] == "succeeded"
    found = daemon.json("status")["problems"]
    assert [(one["file"], one["code"]) for one in found] == [("pipe.yaml", "not_read")]


def test_a_file_whose_name_is_not_text_is_told(daemon: Instance) -> None:
    Path(os.fsdecode(os.fsencode(daemon.root / "workflows") + b"/\xff.yaml")).write_text(SIMPLE)
    assert wait_until(lambda: daemon.json("status")["problems"], "the problem")[0]["code"] == "not_read"


def test_a_folder_of_the_name_of_a_definition_is_told(daemon: Instance) -> None:
    (daemon.root / "workflows" / "dir.yaml").mkdir()
    assert daemon.ctl("reload").returncode == 0
    assert daemon.json("status")["problems"][0]["file"] == "dir.yaml"


# ---- The daemon is not there


def test_without_a_daemon_there_is_one_line(instance: Instance) -> None:
    one_line(instance.ctl("status"), 4, "no daemon at", f"pyflowd --root {instance.root}")


def test_after_a_kill_nobody_listens(daemon: Instance) -> None:
    daemon.kill()
    one_line(daemon.ctl("status"), 4, "nobody listens")


def test_a_stopped_daemon_is_no_answer_in_time_and_goes_on_where_it_was(
    daemon: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.install("w.yaml", SIMPLE)
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGSTOP)
    monkeypatch.setenv("PYFLOW_TIMEOUT", "0.5")
    one_line(daemon.ctl("run", "w", "--key", "k"), 4, "said nothing for 0.5 s")
    daemon.process.send_signal(signal.SIGCONT)
    monkeypatch.delenv("PYFLOW_TIMEOUT")
    run = daemon.run("w", "--key", "k")
    assert daemon.wait_run(run)["state"] == "succeeded"
    assert len(daemon.json("history")) == 1


def test_a_second_daemon_on_one_root_is_refused_and_disturbs_nothing(daemon: Instance) -> None:
    assert daemon.process is not None
    one_line(pyflowd(daemon.root), 4, "another pyflowd", str(daemon.process.pid))
    assert daemon.ctl("status").returncode == 0


def test_a_root_two_hundred_characters_deep_works(tmp_path: Path) -> None:
    root = tmp_path / ("d" * 100) / ("e" * 100)
    deep = Instance(root)
    try:
        deep.start()
        deep.install("w.yaml", SIMPLE)
        run = deep.run("w")
        assert deep.wait_run(run)["state"] == "succeeded"
        assert deep.ctl("logs", run, "--raw").stdout == "said\n"
        assert deep.stop() == 0
    finally:
        deep.end()
    assert "Traceback" not in deep.log_text()


# ---- The daemon cannot start


def test_settings_that_are_wrong_are_told_with_their_place(instance: Instance) -> None:
    (instance.root / "pyflowd.yaml").write_text("max_taks: 3\n")
    one_line(pyflowd(instance.root), 6, "pyflowd.yaml:1:1", "max_tasks")


def test_a_root_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    one_line(pyflowd(tmp_path / "file"), 6, str(tmp_path / "file"), "Not a directory")


def test_a_socket_path_that_is_taken_by_something_else_is_told(instance: Instance) -> None:
    (instance.root / "run").mkdir(mode=0o700)
    (instance.root / "run" / "pyflowd.sock").touch()
    one_line(pyflowd(instance.root), 6, "no socket")


@pytest.mark.parametrize(
    "content", [b"nonsense " * 4000, b"SQLite format 3\0" + b"\xff" * 30_000], ids=["text", "head"]
)
def test_a_corrupt_database_is_told_and_left_as_it_is(instance: Instance, content: bytes) -> None:
    (instance.root / "state").mkdir()
    database = instance.root / "state" / "pyflow.db"
    database.write_bytes(content)
    one_line(pyflowd(instance.root), 4, str(database))
    assert database.read_bytes() == content


@needs_root
@pytest.mark.parametrize("folder", ["state", "run", "log", "."])
def test_a_folder_that_may_not_be_written_is_told(folder: str) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        os.chmod(temporary, 0o755)
        root = Path(temporary, "root")
        for name in ("workflows", "state", "run", "log"):
            (root / name).mkdir(parents=True)
            os.chown(root / name, 65534, 65534)
        if folder == ".":
            shutil.rmtree(root / "state")
        else:
            os.chown(root / folder, 0, 0)
            (root / folder).chmod(0o755)
        nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        if subprocess.run([*nobody, sys.executable, "-c", "import msgspec"], check=False, cwd="/").returncode:
            pytest.skip("the interpreter cannot be run by nobody")
        one_line(pyflowd(root, *nobody), 4, str(root))


# ---- Stopping, idling, leaking


def test_a_stop_while_tasks_run_ends_no_task(daemon: Instance) -> None:
    gate = daemon.root / "gate"
    os.mkfifo(gate)
    daemon.install("w.yaml", json.dumps({"tasks": {"t": {"run": f"cat {gate}; exit 5"}}}))
    run = daemon.run("w")
    daemon.wait_task(run, "t", "running")
    assert daemon.stop() == 0
    gate.write_text("x\n")
    daemon.start()
    assert daemon.wait_run(run)["tasks"]["t"]["exit_code"] == 5


def test_sighup_looks_at_the_folder_and_ends_nothing(daemon: Instance) -> None:
    assert daemon.process is not None
    for _ in range(5):
        daemon.process.send_signal(signal.SIGHUP)
    assert daemon.ctl("reload").returncode == 0
    daemon.install("w.yaml", SIMPLE)
    assert daemon.wait_run(daemon.run("w"))["state"] == "succeeded"


def switches(pid: int) -> int:
    """How often the process was woken."""
    return psutil.Process(pid).num_ctx_switches().voluntary


def test_an_idle_daemon_sleeps(daemon: Instance) -> None:
    daemon.settings(sample_interval="1h")
    daemon.install("w.yaml", SIMPLE)
    daemon.wait_run(daemon.run("w"))
    assert daemon.process is not None
    pid = daemon.process.pid

    def quiet() -> bool:
        before = switches(pid)
        with contextlib.suppress(subprocess.TimeoutExpired):
            assert daemon.process is not None
            daemon.process.wait(1.0)
        return switches(pid) - before <= 3

    wait_until(quiet, "a second in which it hardly wakes up")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root looks into a daemon, which may hold secrets")
def test_neither_runs_nor_connections_leave_descriptors_or_memory_behind(daemon: Instance) -> None:
    daemon.install("w.yaml", "overlap: allow\ntasks: {a: {argv: ['true']}}")
    assert daemon.process is not None
    process = psutil.Process(daemon.process.pid)

    def do(count: int) -> int:
        with daemon.client() as client:
            runs = [client.start("w").run for _ in range(count)]
            for run in runs:
                client.wait(run)
            list(client.workflows())
        for _ in range(20):
            with daemon.client() as client:
                client.host()
        return process.num_fds()

    def settled(most: int) -> bool:
        return process.num_fds() <= most

    before = do(50)
    memory = process.memory_info().rss
    do(200)
    wait_until(lambda: settled(before), f"at most {before} descriptors again")
    assert process.memory_info().rss - memory < 8 << 20
    keeper = psutil.Process(daemon.keeper().pid)
    wait_until(lambda: keeper.num_fds() < 40, "the keeper lets go of them, too")


# ---- A full disk


class Small(Instance):
    """An instance of which one folder, or all, is a file system of its own of a few MiB."""

    def __init__(self, root: Path, mount: Path, size_mib: int) -> None:
        mount.mkdir(parents=True)
        self.mount = mount
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=755", "tmpfs", str(mount)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"cannot mount here: {done.stderr.strip()}")
        super().__init__(root)

    def fill(self) -> None:
        """Take all space there is, now and until `free`."""
        with (self.mount / "filler").open("ab", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(b"\0" * 65_536)
        with (self.mount / "filler").open("ab", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(b"\0" * 512)

    def free(self) -> None:
        (self.mount / "filler").unlink()

    def end(self) -> None:
        super().end()
        wait_until(
            lambda: subprocess.run(["umount", str(self.mount)], capture_output=True, check=False).returncode == 0,
            "the file system can be taken away",
        )


@pytest.fixture
def small(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Small]:
    """`request.param`: what is small, the `root` or a folder of it."""
    root = tmp_path / "root"
    made = Small(root, root if request.param == "." else root / request.param, 48)
    try:
        yield made
    finally:
        made.end()


@needs_root
@pytest.mark.parametrize("small", ["."], indirect=True)
def test_a_full_disk_takes_nothing_new_records_the_ends_and_recovers_by_itself(small: Small) -> None:
    small.start()
    gate = small.root / "gate"
    os.mkfifo(gate)
    small.install("w.yaml", json.dumps({"tasks": {"t": {"run": f"cat {gate}; exit 6"}}}))
    small.install("v.yaml", SIMPLE)
    run = small.run("w")
    small.wait_task(run, "t", "running")
    small.fill()

    def refused() -> bool:
        done = small.ctl("run", "v")
        if done.returncode:
            one_line(done, 4, "no space left")
        return done.returncode != 0

    wait_until(refused, "the daemon notices")
    acknowledged = {one["run"] for one in small.json("history", "-n", "1000")}
    small.fill()  # whatever the ballast gave back is gone, too
    assert any("disk" in warning for warning in small.json("status")["warnings"])
    one_line(small.ctl("run", "v"), 4, "no space left")
    gate.write_text("x\n")
    wait_until(
        lambda: not any(name == "cat" for name in (p.name() for p in children(small))), "the task ends meanwhile"
    )
    assert small.ctl("status", run).returncode == 0, "questions are answered"
    small.free()
    assert small.wait_run(run)["tasks"]["t"]["exit_code"] == 6
    wait_until(lambda: small.ctl("run", "v").returncode == 0, "new work is taken again")
    assert acknowledged <= {one["run"] for one in small.json("history", "-n", "1000")}
    assert small.stop() == 0
    check_fold(small.root)


def children(instance: Instance) -> list[psutil.Process]:
    found = []
    for pid in instance.processes():
        with contextlib.suppress(psutil.Error):
            found.append(psutil.Process(pid))
    return found


@needs_root
@pytest.mark.parametrize("small", ["."], indirect=True)
def test_ends_are_recorded_by_means_of_the_ballast(small: Small) -> None:
    """The disk is full and stays so; what the daemon has set aside is room for the ends."""
    small.start()
    gate = small.root / "gate"
    os.mkfifo(gate)
    small.install("w.yaml", json.dumps({"tasks": {"t": {"run": f"cat {gate} >/dev/null; exit 6"}}}))
    run = small.run("w")
    small.wait_task(run, "t", "running")
    small.fill()
    gate.write_text("x\n")
    assert small.wait_run(run)["tasks"]["t"]["exit_code"] == 6


@needs_root
@pytest.mark.parametrize("small", ["."], indirect=True)
def test_a_daemon_on_a_full_disk_idles(small: Small) -> None:
    small.start()
    small.install("w.yaml", "schedule: '* * * * *'\ntasks: {a: {run: 'true'}}")
    small.fill()
    wait_until(lambda: small.ctl("run", "w").returncode != 0, "the daemon notices")
    small.fill()
    assert small.process is not None
    process = small.process

    def spent() -> float:
        times = psutil.Process(process.pid).cpu_times()
        return times.user + times.system

    before = spent()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(2)
    assert spent() - before < 1.0, "it spins"


class Parts(NamedTuple):
    """A dispatcher in memory, of which only the waiting is looked at."""

    dispatcher: Dispatcher
    health: Health
    busy: list[str]
    """What has work to do: `control`, `workflows`."""


@pytest.fixture
def parts() -> Iterator[Parts]:
    busy: list[str] = []
    clock = FakeClock()
    health = Health("test", clock.wall_us())
    control = SimpleNamespace(has_work=lambda: "control" in busy)
    workflows = SimpleNamespace(has_work=lambda: "workflows" in busy, next_due_us=lambda: 1)
    given: dict[str, Any] = dict.fromkeys(name for name in signature(Dispatcher).parameters)
    idle = SimpleNamespace(has_work=lambda: False, next_due_us=lambda: None)
    given |= dict.fromkeys(("backfills", "expectations", "events", "hooks"), idle)
    given["journal"] = SimpleNamespace(wait_us=lambda: None)
    given |= {"control": control, "workflows": workflows, "health": health, "clock": clock, "timers": Timers()}
    made = Parts(Dispatcher(**given), health, busy)
    yield made
    made.dispatcher._clock_watch.close()


def sleeps(parts: Parts) -> bool:
    """Whether the next turn would wait: for no deadline that is past, nor for a slot that is overdue."""
    timeout_s = parts.dispatcher._timeout_s()
    return timeout_s > 0 and not select.select([parts.dispatcher._clock_watch], [], [], 0.02)[0]


def test_a_full_disk_leaves_overdue_slots_and_slots_of_a_down_time_alone_without_spinning(parts: Parts) -> None:
    parts.busy.append("workflows")
    assert not sleeps(parts)
    parts.health.note("disk", "full")
    assert sleeps(parts)


def test_an_answer_that_is_not_finished_is_gone_on_with_at_once(parts: Parts) -> None:
    parts.health.note("disk", "full")
    assert sleeps(parts)
    parts.busy.append("control")
    assert not sleeps(parts)


@needs_root
@pytest.mark.parametrize("small", ["log"], indirect=True)
def test_a_full_disk_for_logs_breaks_no_task(small: Small) -> None:
    small.start()
    gate = small.root / "gate"
    os.mkfifo(gate)
    text = f"echo before; cat {gate}; head -c 300000 /dev/zero | tr '\\0' x; exit 5"
    small.install("w.yaml", json.dumps({"tasks": {"t": {"run": text}}}))
    small.install("v.yaml", SIMPLE)
    run = small.run("w")
    wait_until(lambda: "before" in small.ctl("logs", run, "--raw").stdout, "its first line")
    small.fill()
    gate.write_text("x\n")
    assert small.wait_run(run)["tasks"]["t"]["exit_code"] == 5
    told = small.wait_run(small.run("v"))["tasks"]["a"]
    assert told["state"] == "succeeded" or "No space left" in told["error"], told
    small.free()
    assert small.wait_run(small.run("v"))["state"] == "succeeded"
    assert small.ctl("logs", run, "--raw").stdout.startswith("before\n")
