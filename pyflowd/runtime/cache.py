"""Earlier successes that are used again (`cache` of a task): what counts as the same, and whether there is one.

The engine asks once for each task or item, `decisions` evaluates the key, `Recall` looks in the store by one indexed
read, and what came of it is an event. Successes are written by the batch of the turn in which they happen; this module
writes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec import Struct, msgpack
from msgspec.structs import replace

from pyflowd.clock import US
from pyflowd.model.ends import KeptFile
from pyflowd.model.kinds import Call
from pyflowd.model.workflow import FanOut, Leftover, Retry, Task, TriggerRule, Workflow
from pyflowd.store.store import Store

KEY_MAX = 1000
"""Characters of a key; a longer one wants to be a hash."""

_encode = msgpack.Encoder().encode
_outputs = msgpack.Decoder(dict[str, Any])


class Sought(NamedTuple):
    """An eligible task, or item, whose key has been evaluated."""

    workflow: Workflow
    task: Task
    item: str
    """The item's own key; empty: it is none."""
    key: str
    at_us: int


class Recalled(Struct, frozen=True, kw_only=True):
    """What is known of it. `run` 0: nothing that may be used, and `why`."""

    recipe: str
    run: int = 0
    made_us: int = 0
    outputs: dict[str, Any] = {}
    artifacts: dict[str, KeptFile] = {}
    why: str = ""


class Recall:
    """Looks up earlier successes. Use from the store's thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.leaving: frozenset[int] = frozenset()
        """Runs whose removal is about to be committed."""
        self.digest_of: Callable[[str], str] = lambda _: ""
        """A workflow's name to the digest of its definition in force: a task that calls it runs that."""

    def __call__(self, sought: Sought, look: bool) -> Recalled:
        """`look` false: use nothing, but say what a success is to be kept under."""
        kind = sought.task.kind
        called = self.digest_of(kind.workflow) if isinstance(kind, Call) else ""
        recipe = recipe_of(sought.workflow, sought.task, called)
        if not look:
            return Recalled(recipe=recipe, why="the run was asked to use none")
        of = (sought.workflow.name, sought.task.name, sought.item, sought.key)
        row = self._store.one_or_none("cached", *of)
        if row is None or row[0] in self.leaving:
            return Recalled(recipe=recipe, why="none is kept")
        run, n, kept_recipe, made_us, expires_us, outputs = row
        if kept_recipe != recipe:
            return Recalled(recipe=recipe, why=f"run {run} ran something else")
        if not is_fresh(sought.task, made_us, expires_us, sought.at_us):
            return Recalled(recipe=recipe, why=f"that of run {run} is too old")
        artifacts = self._artifacts(run, n) if sought.task.artifacts else {}
        given = {} if outputs is None else _outputs.decode(outputs)
        return Recalled(recipe=recipe, run=run, made_us=made_us, outputs=given, artifacts=artifacts)

    def _artifacts(self, run: int, n: int) -> dict[str, KeptFile]:
        """As the new run finds them: in the folder of the run that made them."""
        return {
            name: KeptFile(size_bytes=size_bytes, sha256=sha256, run=origin, folder=folder)
            for name, size_bytes, sha256, origin, folder in self._store.rows("cached_artifacts", run, n)
        }


def recipe_of(workflow: Workflow, task: Task, called: str = "") -> str:
    """Hash of what a task runs: an edit of its script, its variables, its account, its outputs makes it another one.

    When it runs, how often it is tried, and what waits for it or comes after it, do not count. What is not named here
    does: a field that a later version adds is taken to matter. `called`: digest of the workflow that it calls.
    """
    runs = replace(
        task, name="", needs=(), trigger_rule=TriggerRule.ALL_OK, retry=Retry(), timeout_s=None, kill_grace_s=10.0,
        leftover=Leftover.KILL, continue_on_error=False, log_max_bytes=None, journal=None, condition="",
        fan_out=_names(task.fan_out), locks=(), pools={}, priority=0, cache=None, on_error=(), resources=None,
    )  # fmt: skip
    around: tuple[object, ...] = (workflow.env, workflow.env_files, workflow.cwd, workflow.user, called)
    if workflow.owner_uid is not None:
        around = (*around, workflow.owner_uid)
    return hashlib.sha256(_encode((runs, around))).hexdigest()


def _names(fan_out: FanOut | None) -> FanOut | None:
    """Of a fan-out only what its items are called: the task's texts speak of them so."""
    return None if fan_out is None else FanOut(items=None, variable=fan_out.variable)


def is_fresh(task: Task, made_us: int, expires_us: int, at_us: int) -> bool:
    """Whether a success may still be used: by the time to live of its own definition, and by that of `task`.

    One from a time that has not come was made while the clock was ahead: nobody knows how old it is.
    """
    assert task.cache is not None
    return made_us <= at_us < min(expires_us, made_us + round(task.cache.ttl_s * US))
