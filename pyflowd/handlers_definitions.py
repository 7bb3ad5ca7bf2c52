"""Requests about definitions: what is in force, and where each value of it comes from.

As all handlers it acts when it is called, and its replies are pulled after the turn's commit.
"""

from __future__ import annotations

from pyflowd import views
from pyflowd.control import Wait
from pyflowd.errors import Refused, Unavailable
from pyflowd.handlers_runs import RunHandlers
from pyflowd.loader_frames import Leaf
from pyflowd.peer import Peer
from pyflowd.protocol import DefinitionView, OriginView, ShowWorkflow
from pyflowd.replies import Replies
from pyflowd.workflows import Entry


class DefinitionHandlers:
    """Part of `Handlers`."""

    def __init__(self, of_runs: RunHandlers) -> None:
        self.store = of_runs.store
        self.workflows = of_runs.workflows
        self.definitions = of_runs.definitions

    def show(self, request: ShowWorkflow, _: Peer) -> Replies:
        return self._shown(self.workflows.find(request.workflow), request)

    def _shown(self, entry: Entry, request: ShowWorkflow) -> Replies:
        """Read when it is pulled: a text that came into force in this turn is in the store after its commit."""
        row = self.store.one_or_none("definition", entry.digest)
        if row is None:
            raise Unavailable(f"{entry.name} is being recorded; ask again")
        if request.origin:
            yield from self._with_origin(entry, row[0])
        else:
            yield self._view(entry, row[0], None)

    def _view(self, entry: Entry, text: bytes, origin: list[OriginView] | None) -> DefinitionView:
        definition = entry.definition
        return DefinitionView(
            workflow=entry.name,
            file=entry.file,
            digest=entry.digest,
            loaded_us=entry.loaded_us,
            text=text,
            view=self.definitions.view(entry.name, None),
            params=[param.name for param in definition.params],
            declared=[views.param_view(param) for param in definition.params],
            outputs=list(definition.outputs),
            handlers=views.handler_names(definition),
            origin=origin,
        )

    def _with_origin(self, entry: Entry, text: bytes) -> Replies:
        """The text is read by the child that reads all definitions: the daemon parses none."""
        found: list[tuple[tuple[Leaf, ...], str]] = []
        topic = f"trace/{id(found)}"

        def take(leaves: tuple[Leaf, ...], problem: str) -> None:
            found.append((leaves, problem))
            self.workflows.topics.add(topic)

        self.definitions.trace(entry.file, text, take)
        while not found:
            yield Wait(frozenset({topic}))
        leaves, problem = found[0]
        if problem:
            raise Refused(f"{entry.name}: {problem}")
        yield self._view(entry, text, [_origin(leaf) for leaf in leaves])


def _origin(leaf: Leaf) -> OriginView:
    return OriginView(path=list(leaf.path), value=leaf.value, file=leaf.file, line=leaf.line, column=leaf.column)
