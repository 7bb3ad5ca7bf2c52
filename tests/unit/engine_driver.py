"""Plays dispatcher, keeper and expressions for one run of the engine, and keeps what it has fed."""

from __future__ import annotations

from typing import Any

from pyflowd.engine import engine
from pyflowd.engine.state import Decide, Effect, Question, Step
from pyflowd.events import (
    AttemptEnded,
    AttemptStarting,
    CacheDecided,
    CancelRequested,
    ConditionDecided,
    Event,
    Expanded,
    OutputsDecided,
    RepeatDecided,
    RunCreated,
    RunStarted,
)
from pyflowd.model.ends import Exit, Given, Stop
from pyflowd.model.kinds import Argv
from pyflowd.model.states import TaskState
from pyflowd.model.workflow import FanOut, Task, Workflow

TRUE = Argv(argv=("true",))


def task(name: str, *needs: str, **more: object) -> Task:
    return Task(**{"name": name, "kind": TRUE, "needs": needs, **more})  # type: ignore[arg-type]


def fan(name: str, *needs: str, fan_out: dict[str, Any] | None = None, **more: object) -> Task:
    """A task with `for_each`; its items are what the driver is told."""
    return task(name, *needs, fan_out=FanOut(**{"items": "${{ x }}", **(fan_out or {})}), **more)


def workflow(*tasks: Task, **more: object) -> Workflow:
    return Workflow(name="w", tasks=tasks, **more)  # type: ignore[arg-type]


def ended(code: int | None = 0, *, signal: int | None = None, stop: Stop = Stop.NONE) -> Exit:
    return Exit(exit_code=None if signal else code, signal=signal, started_us=1, ended_us=2, stop=stop)


class Driver:
    def __init__(self, definition: Workflow, created: RunCreated | None = None) -> None:
        self.created = created or RunCreated(0)
        self.run = engine.begin(1, definition, self.created)
        self.fed: list[Event] = []
        self.now_us = 0
        self.items: dict[str, list[str]] = {}
        """What the list of a fan-out is."""
        self.holds: dict[str, bool | str] = {}
        """What a condition comes to; a text is an error. By the node's name, else by its task's."""
        self.kept: dict[str, CacheDecided] = {}
        """What there is of earlier successes; by the node's name."""
        self.again: dict[str, list[bool]] = {}
        """Whether a `repeat` has a further pass, one answer after the other."""
        self.asked: list[Decide] = []

    def feed(self, event: Event) -> Step:
        """One event, and the answers to what the engine asks about it."""
        first = self._step(event)
        effects: list[Effect] = []
        changed = list(first.changed)
        todo = list(first.effects)
        while todo:
            effect = todo.pop(0)
            if isinstance(effect, Decide):
                if not engine.is_asked(self.run, effect):
                    continue
                self.asked.append(effect)
                answer = self._step(self._answer(effect))
                todo += answer.effects
                changed += answer.changed
            else:
                effects.append(effect)
        return Step(changed, effects, first.run_changed)

    def _step(self, event: Event) -> Step:
        result = engine.step(self.run, event)
        self.fed.append(event)
        return result

    def _answer(self, asked: Decide) -> Event:
        name = asked.task
        plain = self.run.tasks[name].definition.name if name else ""
        match asked.question:
            case Question.CONDITION:
                value = self.holds.get(name, self.holds.get(plain, True))
                error = value if isinstance(value, str) else ""
                return ConditionDecided(name, self.now_us, value is True, {"x": 1}, error)
            case Question.ITEMS:
                return Expanded(name, self.now_us, [(key, key) for key in self.items.get(name, ["a", "b"])])
            case Question.CACHE:
                return self.kept.get(name, CacheDecided(name, self.now_us, "k", "recipe", why="none is kept"))
            case Question.REPEAT:
                answers = self.again.get(plain, [])
                return RepeatDecided(name, self.now_us, answers.pop(0) if answers else False)
            case Question.OUTPUTS:
                return OutputsDecided(self.now_us, {"result": 1})

    def start(self) -> Step:
        return self.feed(RunStarted(self.now_us, self.now_us))

    def begin(self, name: str) -> None:
        attempts = self.run.tasks[name].attempts
        self.feed(AttemptStarting(name, attempts + 1, self.now_us, self.now_us, "k"))

    def end(self, name: str, end: object, random: float = 0.5, given: Given | None = None) -> Step:
        attempts = self.run.tasks[name].attempts
        return self.feed(AttemptEnded(name, attempts, self.now_us, self.now_us, end, random, given))  # type: ignore[arg-type]

    def finish(self, name: str, code: int = 0, given: Given | None = None) -> Step:
        self.begin(name)
        return self.end(name, ended(code), given=given)

    def cancel(self) -> Step:
        return self.feed(CancelRequested(self.now_us, "me"))

    def state(self, name: str) -> TaskState:
        return self.run.tasks[name].state

    def ready(self) -> list[str]:
        """Names of what may be started now, in order, as far as places go."""
        return list(dict.fromkeys(node.name for _, _, node in sorted(self.run.ready) if node.state is TaskState.QUEUED))

    def next(self) -> str | None:
        node = self.run.next_ready(host_has_place=True)
        return node.name if node else None


def running(definition: Workflow, **answers: Any) -> Driver:
    driver = Driver(definition)
    for name, value in answers.items():
        setattr(driver, name, value)
    driver.start()
    return driver
