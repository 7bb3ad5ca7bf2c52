"""What an event trigger makes of an event: whether its `if` holds, and the params of the run. Pure.

It knows nothing of where events come from and of what becomes of the run.
"""

from __future__ import annotations

from typing import Any, assert_never

from msgspec import Struct

from pyflowd.errors import Refused, nearest
from pyflowd.expressions import template
from pyflowd.expressions.expression import ExpressionError
from pyflowd.language import params
from pyflowd.model.states import SlotReason
from pyflowd.model.triggers import EventTrigger, FileTrigger, UnitTrigger, WebhookTrigger, WorkflowTrigger
from pyflowd.model.workflow import Param
from pyflowd.triggers import trigger_condition


class Outcome(Struct, frozen=True, kw_only=True):
    """`reason` None: a run is to start with `values`."""

    reason: SlotReason | None = None
    error: str = ""
    values: dict[str, Any] = {}


class EventNames:
    """`event`, and `params` as the trigger gives them: those are made when they are asked for, so that an `if` may
    leave out an event that they cannot be made of."""

    def __init__(self, event: dict[str, Any], trigger: EventTrigger, declared: tuple[Param, ...]) -> None:
        self._event = event
        self._trigger = trigger
        self._declared = declared
        self._values: dict[str, Any] | None = None

    def lookup(self, name: str) -> Any:
        match name:
            case "event":
                return self._event
            case "params":
                return self.values()
        raise ExpressionError(f'there is no name "{name}"{nearest(name, ["event", "params"])}: use event and params')

    def values(self) -> dict[str, Any]:
        """Raises ExpressionError."""
        if self._values is None:
            given = template.render_tree(self._trigger.params, OnlyEvent(self._event))
            assert isinstance(given, dict)
            try:
                self._values = params.bind(self._declared, given, from_text=False)
            except Refused as error:
                raise ExpressionError(str(error)) from error
        return self._values


class OnlyEvent:
    """The names of what params are made of."""

    def __init__(self, event: dict[str, Any]) -> None:
        self._event = event

    def lookup(self, name: str) -> Any:
        if name == "event":
            return self._event
        raise ExpressionError(f'there is no name "{name}" here: use event')


def evaluate(trigger: EventTrigger, declared: tuple[Param, ...], event: dict[str, Any]) -> Outcome:
    """The `if` first: an event that it leaves out need not have what the params want."""
    names = EventNames(event, trigger, declared)
    verdict = trigger_condition.judge(trigger.condition, names)
    if not verdict.holds:
        reason = SlotReason.EXPRESSION_ERROR if verdict.error else SlotReason.CONDITION_FALSE
        return Outcome(reason=reason, error=verdict.detail)
    try:
        return Outcome(values=names.values())
    except ExpressionError as error:
        return Outcome(reason=SlotReason.BAD_PARAMS, error=str(error))


def trigger_text(trigger: EventTrigger) -> str:
    """What it waits for, for people."""
    match trigger:
        case FileTrigger():
            text = f"{trigger.path} {' or '.join(trigger.on)}"
        case WorkflowTrigger():
            text = f"a run of {trigger.workflow} {' or '.join(trigger.outcomes)}"
        case UnitTrigger():
            text = f"{trigger.unit} {' or '.join(trigger.states)}"
        case WebhookTrigger():
            signed = f"signed as {trigger.verify.form}" if trigger.verify else "unsigned"
            text = f"a delivery to the hook {trigger.hook}, {signed}"
        case _:
            assert_never(trigger)
    return f"{trigger.name}: {text}" + ("" if trigger.enabled else " (disabled)")
