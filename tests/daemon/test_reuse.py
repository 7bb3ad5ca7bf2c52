"""Templates, drop-ins and the vendor's folder with a real daemon: what is in force, and from which parts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.instance import Instance
from tests.waiting import wait_until

TEMPLATE = """\
params:
  greeting: {type: string, required: true}
tasks:
  say: {run: 'echo "$TEMPLATE_GREETING"', timeout: 5m}
"""


def put(path: Path, text: str) -> None:
    """As a careful user does: beside, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    beside.rename(path)


def shown(instance: Instance, name: str) -> Any:
    done = instance.ctl("-o", "json", "show", name, "--origin")
    return instance.json("show", name, "--origin") if done.returncode == 0 else None


def value(instance: Instance, name: str, *path: str) -> Any:
    found = shown(instance, name)
    return next((each["value"] for each in found["origin"] if each["path"] == list(path)), None) if found else None


def origin(instance: Instance, name: str, *path: str) -> str:
    found = next(each for each in shown(instance, name)["origin"] if each["path"] == list(path))
    return f"{found['file']}:{found['line']}"


def state(instance: Instance, name: str) -> str | None:
    return next((each["state"] for each in instance.json("list") if each["workflow"] == name), None)


@pytest.fixture
def greeting(daemon: Instance) -> Instance:
    """A workflow that is built from a template, in force."""
    put(daemon.root / "templates" / "say.yaml", TEMPLATE)
    daemon.install("hello.yaml", "template: say\nwith: {greeting: hello}\n")
    return daemon


def test_a_workflow_that_is_built_from_a_template_runs(greeting: Instance) -> None:
    run = greeting.run("hello")
    assert greeting.wait_run(run)["state"] == "succeeded"
    assert greeting.ctl("logs", run, "--raw").stdout == "hello\n"


def test_a_changed_template_is_in_force_in_all_that_are_built_from_it(greeting: Instance) -> None:
    greeting.install("bye.yaml", "template: say\nwith: {greeting: bye}\n")
    put(greeting.root / "templates" / "say.yaml", TEMPLATE.replace("5m", "9m"))
    for name in ("hello", "bye"):
        wait_until(lambda name=name: value(greeting, name, "tasks", "say", "timeout") == "9m", f"{name} has changed")  # type: ignore[misc]


def test_a_bad_template_leaves_what_was_in_force_and_names_its_own_line(greeting: Instance) -> None:
    put(greeting.root / "templates" / "say.yaml", TEMPLATE.replace("timeout", "tiemout"))
    wait_until(lambda: state(greeting, "hello") == "stale", "it is stale")
    (problem,) = next(each for each in greeting.json("list") if each["workflow"] == "hello")["problems"]
    assert (problem["file"], problem["line"]) == ("templates/say.yaml", 4)
    run = greeting.run("hello")
    assert greeting.wait_run(run)["state"] == "succeeded"
    put(greeting.root / "templates" / "say.yaml", TEMPLATE)
    wait_until(lambda: state(greeting, "hello") == "active", "it is as it was")


def test_a_drop_in_that_is_added_changed_and_removed_is_in_force(greeting: Instance) -> None:
    drop_in = greeting.root / "workflows" / "hello.yaml.d" / "50-mine.yaml"
    put(drop_in, "tasks: {say: {timeout: 1m}}\n")
    wait_until(lambda: value(greeting, "hello", "tasks", "say", "timeout") == "1m", "the drop-in counts")
    put(drop_in, "tasks: {say: {timeout: 2m}}\n")
    wait_until(lambda: value(greeting, "hello", "tasks", "say", "timeout") == "2m", "its change counts")
    assert origin(greeting, "hello", "tasks", "say", "timeout") == "hello.yaml.d/50-mine.yaml:1"
    assert origin(greeting, "hello", "tasks", "say", "run") == "templates/say.yaml:4"
    assert origin(greeting, "hello", "env", "TEMPLATE_GREETING") == "hello.yaml:2"
    drop_in.unlink()
    wait_until(lambda: value(greeting, "hello", "tasks", "say", "timeout") == "5m", "it is gone")


def test_a_bad_drop_in_is_named_with_its_line(greeting: Instance) -> None:
    put(greeting.root / "workflows" / "hello.yaml.d" / "50.yaml", "\ntasks: {say: {tiemout: 1m}}\n")
    wait_until(lambda: state(greeting, "hello") == "stale", "it is stale")
    assert "hello.yaml.d/50.yaml:2:" in greeting.ctl("list").stdout


def test_a_template_that_comes_later_brings_its_workflow(daemon: Instance) -> None:
    put(daemon.root / "workflows" / "hello.yaml", "template: say\nwith: {greeting: hello}\n")
    wait_until(lambda: state(daemon, "hello") == "broken", "it is refused")
    assert 'there is no template "say"' in daemon.ctl("list").stdout
    put(daemon.root / "templates" / "say.yaml", TEMPLATE)
    wait_until(lambda: state(daemon, "hello") == "active", "it is in force")


def test_a_run_keeps_the_parts_with_which_it_began(greeting: Instance) -> None:
    put(greeting.root / "workflows" / "hello.yaml.d" / "1.yaml", "tasks: {say: {run: 'echo one; exit 1'}}\n")
    wait_until(lambda: value(greeting, "hello", "tasks", "say", "run") == "echo one; exit 1", "in force")
    run = greeting.run("hello")
    greeting.wait_run(run)
    put(greeting.root / "workflows" / "hello.yaml.d" / "1.yaml", "tasks: {say: {run: 'echo two; exit 1'}}\n")
    wait_until(lambda: value(greeting, "hello", "tasks", "say", "run") == "echo two; exit 1", "in force")
    again = greeting.ctl("-o", "json", "rerun", run)
    assert again.returncode == 0, again.stderr
    greeting.wait_run(run + 1)
    assert greeting.ctl("logs", run + 1, "--raw").stdout == "one\n"


def test_a_restart_reads_nothing_anew_and_shows_the_same(greeting: Instance) -> None:
    put(greeting.root / "workflows" / "hello.yaml.d" / "1.yaml", "description: mine\n")
    wait_until(lambda: value(greeting, "hello", "description") == "mine", "in force")
    before = shown(greeting, "hello")
    wait_until(lambda: greeting.ctl("reload").returncode == 0, "all is settled")
    greeting.stop()
    (greeting.root.parent / f"{greeting.root.name}.log").write_text("")
    greeting.start()
    assert shown(greeting, "hello") == before
    assert greeting.ctl("reload").returncode == 0
    assert "is in force" not in greeting.log_text()


def test_a_part_that_changed_while_the_daemon_was_down_is_noticed(greeting: Instance) -> None:
    greeting.stop()
    put(greeting.root / "templates" / "say.yaml", TEMPLATE.replace("5m", "9m"))
    greeting.start()
    wait_until(lambda: value(greeting, "hello", "tasks", "say", "timeout") == "9m", "it has changed")


def test_a_text_that_a_client_sends_may_name_a_template(greeting: Instance, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("template: say\nwith: {greeting: from a text}\n")
    run = greeting.run(tmp_path / "mine.yaml")
    greeting.wait_run(run)
    assert greeting.ctl("logs", run, "--raw").stdout == "from a text\n"


# ---- The vendor's ---------------------------------------------------------------------------------------------------


@pytest.fixture
def packaged(daemon: Instance) -> Instance:
    """A workflow that a package has brought, in force."""
    put(daemon.root / "vendor" / "workflows" / "sweep.yaml", "tasks: {sweep: {run: echo vendor}}\n")
    assert daemon.ctl("reload").returncode == 0
    wait_until(lambda: state(daemon, "sweep") == "active", "the vendor's is in force")
    return daemon


def test_a_workflow_of_the_vendor_is_shown_with_its_path(packaged: Instance) -> None:
    path = f"{packaged.root}/vendor/workflows/sweep.yaml"
    assert packaged.json("show", "sweep")["file"] == path
    assert origin(packaged, "sweep", "tasks", "sweep", "run") == f"{path}:1"


def test_drop_ins_of_the_host_lie_over_the_vendors_file(packaged: Instance) -> None:
    put(packaged.root / "workflows" / "sweep.yaml.d" / "1.yaml", "tasks: {sweep: {timeout: 1m}}\n")
    wait_until(lambda: value(packaged, "sweep", "tasks", "sweep", "timeout") == "1m", "the drop-in counts")
    assert value(packaged, "sweep", "tasks", "sweep", "run") == "echo vendor"


def test_a_file_of_the_host_replaces_the_vendors_and_gives_it_back(packaged: Instance) -> None:
    mine = packaged.write("sweep.yaml", "tasks: {sweep: {run: echo mine}}\n")
    wait_until(lambda: value(packaged, "sweep", "tasks", "sweep", "run") == "echo mine", "the host's is in force")
    mine.unlink()
    wait_until(lambda: value(packaged, "sweep", "tasks", "sweep", "run") == "echo vendor", "the vendor's is back")


def test_a_bad_file_of_the_host_leaves_the_vendors_in_force(packaged: Instance) -> None:
    packaged.write("sweep.yaml", "")
    wait_until(lambda: state(packaged, "sweep") == "stale", "it is stale")
    assert value(packaged, "sweep", "tasks", "sweep", "run") == "echo vendor"


def test_what_is_in_force_has_its_place_though_a_newer_text_is_bad(packaged: Instance) -> None:
    packaged.write("sweep.yaml", "")
    wait_until(lambda: state(packaged, "sweep") == "stale", "it is stale")
    packaged.stop()
    packaged.start()
    packaged.write("sweep.yaml", "[]")
    wait_until(lambda: "expected a mapping" in packaged.ctl("list").stdout, "the newer one is refused")
    assert packaged.json("show", "sweep")["file"] == f"{packaged.root}/vendor/workflows/sweep.yaml"


def test_a_link_to_the_null_device_masks_the_vendors_file(packaged: Instance) -> None:
    mask = packaged.root / "workflows" / "sweep.yaml"
    os.symlink(os.devnull, mask)
    wait_until(lambda: state(packaged, "sweep") is None, "it is masked")
    assert "sweep.yaml: it is a link to /dev/null: masked" in packaged.ctl("list").stdout
    mask.unlink()
    wait_until(lambda: state(packaged, "sweep") == "active", "it is back")


def test_a_link_out_of_the_folder_over_the_vendors_file_changes_nothing(packaged: Instance) -> None:
    digest = packaged.json("show", "sweep")["digest"]
    os.symlink("/etc/hostname", packaged.root / "workflows" / "sweep.yaml")
    wait_until(lambda: "leads out of the folder" in packaged.ctl("list").stdout, "it is told")
    assert packaged.json("show", "sweep")["digest"] == digest


def test_drop_ins_without_a_file_are_told(daemon: Instance) -> None:
    put(daemon.root / "workflows" / "nobody.yaml.d" / "1.yaml", "description: x\n")
    wait_until(lambda: "nobody.yaml.d/1.yaml: there is no file" in daemon.ctl("list").stdout, "it is told")


def test_half_a_template_is_never_in_force(greeting: Instance) -> None:
    """A writer without manners: whatever comes into force is one of the texts that he meant."""
    path = greeting.root / "templates" / "say.yaml"
    wanted = {"5m"}
    for minutes in range(10, 30):
        text = TEMPLATE.replace("5m", f"{minutes}m")
        wanted.add(f"{minutes}m")
        with path.open("w") as file:
            file.write(text[:-10])
            file.flush()
            file.write(text[-10:])
    wait_until(lambda: value(greeting, "hello", "tasks", "say", "timeout") == "29m", "the last one is in force")
    history = {problem["message"] for each in greeting.json("list") for problem in each["problems"]}
    assert not history
    assert "refused" not in greeting.log_text()
