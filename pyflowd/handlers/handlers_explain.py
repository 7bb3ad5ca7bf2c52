"""The request for an explanation: finds what is asked about, has its facts gathered, answers with the chain of them.

As all handlers it changes nothing here: everything is looked up when the answer is pulled, after the turn's commit.
"""

from __future__ import annotations

from msgspec.structs import replace

from pyflowd.base.peer import Peer
from pyflowd.control.replies import Replies
from pyflowd.errors import Refused
from pyflowd.handlers.access import Sight
from pyflowd.handlers.explain import Code, on_a_screen
from pyflowd.handlers.explain_definitions import DefinitionSources
from pyflowd.handlers.explain_ledger import Ledger
from pyflowd.handlers.explain_run import explain_run
from pyflowd.handlers.explain_slot import SlotStanding, explain_slot
from pyflowd.handlers.explain_sources import ATTEMPTS_TOLD, Sources
from pyflowd.handlers.explain_task import explain_task
from pyflowd.handlers.explain_workflow import explain_workflow
from pyflowd.handlers.handlers_runs import RunHandlers
from pyflowd.protocol.requests import Explain
from pyflowd.protocol.views_runs import ExplanationView, FactView
from pyflowd.protocol.views_workflows import SlotView
from pyflowd.runtime.tasklogs import TaskLogs

ATTEMPTS_ALL = 100


class ExplainHandlers:
    """Part of `Handlers`."""

    def __init__(self, of_runs: RunHandlers, logs: TaskLogs) -> None:
        self.of_runs = of_runs
        self.workflows = of_runs.workflows
        self.health = of_runs.health
        self.logs = logs
        self.ledger = Ledger(of_runs)
        self.definitions = DefinitionSources(of_runs)

    def explain(self, request: Explain, peer: Peer) -> Replies:
        view = self._explanation(request, self.of_runs.access.sight(peer))
        yield view if request.all else on_a_screen(view)

    def _explanation(self, request: Explain, sight: Sight) -> ExplanationView:
        runs, host = Sources(self.of_runs, self.logs, sight), self._host(sight)
        of, attempts = request.of, ATTEMPTS_ALL if request.all else ATTEMPTS_TOLD
        is_run = of.isascii() and of.isdigit() and of not in self.workflows.entries
        if request.at_us is not None:
            if request.task is not None or is_run:
                raise Refused("a time names a slot of a workflow: leave out the task, and name a workflow, not a run")
            return self._slot(of, request.at_us, runs, host)
        if request.task is not None:
            run = self.of_runs.view(self.of_runs.find_run(of), sight)
            return explain_task(runs.task_standing(run, request.task, attempts=attempts), host)
        if is_run:
            return explain_run(runs.standing(self.of_runs.find_run(of), attempts=attempts), host)
        return self._workflow(of, runs, host)

    def _host(self, sight: Sight) -> list[FactView]:
        """What is wrong with the host and the daemon, as far as it is theirs to know."""
        held = self.of_runs.definitions.held if sight.sees_host("") else ""
        warnings = [
            *self.health.warnings(sight.sees_host),
            *self.workflows.warnings(sight.sees),
            *([f"workflows folder: {held}"] if held else []),
        ]
        return [FactView(code=Code.HOST, text=text) for text in warnings]

    def _workflow(self, name: str, runs: Sources, host: list[FactView]) -> ExplanationView:
        run = runs.run_of_workflow(name)
        standing = self.definitions.standing(name, has_run=run is not None)
        newest, skipped = self.ledger.newest(name)
        standing = replace(
            standing, newest=self._with_run(newest, runs), skipped=self._with_run(skipped, runs),
            last=None if run is None else runs.standing(run, attempts=1),
            live_runs=len(runs.runs.of_workflow.get(name, ())),
        )  # fmt: skip
        return explain_workflow(standing, host)

    def _slot(self, name: str, at_us: int, runs: Sources, host: list[FactView]) -> ExplanationView:
        question = self.ledger.question(name, at_us)
        slots = tuple(slot for each in question.slots if (slot := self._with_run(each.view, runs)))
        return explain_slot(replace(question, slots=slots), host)

    def _with_run(self, view: SlotView | None, runs: Sources) -> SlotStanding | None:
        if view is None:
            return None
        behind = None if view.run is None else runs.brief(view.run)
        return SlotStanding(view=view, behind=behind, around=tuple(self.ledger.around(view)))
