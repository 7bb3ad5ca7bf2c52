"""A scenario: definitions in the words of a user, run by a daemon that the tests of a module share, in a folder of its
own. What its tasks did, they append to the file `trace`; all tasks begin in the folder.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from tests.daemon.instance import Instance
from tests.waiting import wait_until

AWAIT = """\
#!/bin/sh
# Wait until the files that are named are there: one task shows by them how far it is, others wait for it.
for file; do
    tries=0
    until [ -e "$file" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 2000 ] || { echo "$file did not come" >&2; exit 70; }
        sleep 0.01
    done
done
"""
ALONE = """\
#!/bin/sh
# Say the name that is given in the trace, and fail where another one is doing so: nobody else may be here.
mkdir busy || { echo "$1 is not alone" >> trace; exit 71; }
sleep 0.02
echo "$1" >> trace
rmdir busy
"""

Definition = str | dict[str, Any]
"""YAML, or what is written as JSON."""


def suffix(definition: Definition) -> str:
    return "json" if isinstance(definition, dict) else "yaml"


class Scenario:
    """A folder for one test, and the daemon."""

    def __init__(self, instance: Instance, folder: Path) -> None:
        self.instance = instance
        self.folder = folder
        for name, text in (("await", AWAIT), ("alone", ALONE)):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)

    def path(self, name: str) -> Path:
        return self.folder / name

    @property
    def trace(self) -> list[str]:
        """What the tasks have said, in order."""
        path = self.path("trace")
        return path.read_text().splitlines() if path.exists() else []

    def text(self, definition: Definition) -> str:
        """The definition, in whose folder all tasks begin."""
        if isinstance(definition, dict):
            return json.dumps({"cwd": str(self.folder), **definition})
        return f"cwd: {self.folder}\n{textwrap.dedent(definition)}"

    def file(self, definition: Definition) -> Path:
        path = self.path(f"flow.{suffix(definition)}")
        path.write_text(self.text(definition))
        return path

    def install(self, name: str, definition: Definition) -> None:
        """Put it into the workflows folder, for others to call; its name is the host's, so it must be this test's."""
        text = self.text(definition)
        path = self.instance.write(f"{name}.{suffix(definition)}", text)

        def in_force() -> bool:
            done = self.instance.ctl("-o", "json", "show", name)
            return done.returncode == 0 and json.loads(done.stdout)["text"] == text

        try:
            wait_until(in_force, f"{path.name} in force")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.instance.ctl('lint', path).stdout}") from None

    def run(self, definition: Definition, *arguments: object) -> Any:
        """Run it to its end; the ended run, as `run --wait -o json` tells it."""
        done = self.instance.ctl("-o", "json", "run", self.file(definition), "--wait", *arguments)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def start(self, definition: Definition, *arguments: object) -> int:
        """Start it; the run's number."""
        return self.instance.run(self.file(definition), *arguments)

    def refused(self, definition: Definition, *arguments: object) -> str:
        """The line with which it is refused before anything is recorded."""
        before = self.instance.json("history", "-n", 1)
        done = self.instance.ctl("run", self.file(definition), "--wait", *arguments)
        assert done.returncode == 6, (done.returncode, done.stdout, done.stderr)
        assert not done.stdout
        assert self.instance.json("history", "-n", 1) == before
        assert not self.trace
        return done.stderr


def states(run: Any) -> dict[str, str]:
    """Each task's state."""
    return {name: task["state"] for name, task in run["tasks"].items()}


def items(run: Any, task: str) -> dict[str, str]:
    """The state of each item of a fan-out, in order, by key."""
    return {item["key"]: item["state"] for item in run["tasks"][task]["items"]}


def in_order(trace: list[str], *wanted: str | set[str]) -> bool:
    """Whether the trace is `wanted`; the words of a set may stand in any order."""
    rest = list(trace)
    for each in wanted:
        words = {each} if isinstance(each, str) else each
        if len(rest) < len(words) or set(rest[: len(words)]) != words:
            return False
        rest = rest[len(words) :]
    return not rest
