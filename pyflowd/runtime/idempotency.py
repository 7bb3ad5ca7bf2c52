"""A request that carries a key once more: its first answer, if it asks for the same (rule I2).

Changes nothing. It knows nothing of who asks, nor of the tasks that a request means: it is given those.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from pyflowd.errors import Refused
from pyflowd.events import RunCreated
from pyflowd.model.workflow import Workflow
from pyflowd.runtime.runs import Runs
from pyflowd.runtime.workflows import Workflows

KEY_MAX = 255
_created = msgspec.msgpack.Decoder(RunCreated)
Asked = Callable[[Workflow], RunCreated]
"""What a request would record of a definition: it is asked of the one that the first run has."""


def first_run(
    workflows: Workflows, workflow: str, key: str, values: dict[str, Any], asked: Asked, rerun_of: int | None = None
) -> int | None:
    """The run that this key has recorded; raises Refused where it was for something else."""
    if len(key) > KEY_MAX:
        raise Refused(f"the key has {len(key)} characters; {KEY_MAX} are taken: send a hash of it")
    known = workflows.runs.with_key(workflow, key)
    if known is None:
        return None
    run, params = known
    definition, began_as, created = _recorded(workflows, run)
    other = ""
    if any(params.get(name) != value for name, value in values.items()):
        other = "with other params"
    elif began_as != rerun_of:
        other = "which repeats no run" if began_as is None else f"which repeats run {began_as}"
    elif _tasks(created) != _tasks(asked(definition)):
        other = "with other tasks"
    if other:
        raise Refused(f'the key "{key}" was used for run {run}, {other}; use another key')
    return run


def _recorded(workflows: Workflows, run: int) -> tuple[Workflow, int | None, RunCreated]:
    """A run's definition, the run that it repeats, and what it took over. A new one is not in the store yet."""
    runs: Runs = workflows.runs
    live = runs.live.get(run)
    if live is not None:
        return live.workflow, live.meta.rerun_of, live.run.kept
    rerun_of, digest, body = runs.store.one("recorded", run)
    return workflows.compiled(digest), rerun_of, _created.decode(body)


def _tasks(created: RunCreated) -> tuple[set[str], set[str]]:
    """Which are taken over, and which left out."""
    return set(created.kept), set(created.not_asked)
