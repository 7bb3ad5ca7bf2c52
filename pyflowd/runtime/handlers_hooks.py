"""Deliveries to hooks, as requests: secrets are fetched by the thread pool, then all is decided in one turn.

The answer is given after the commit of the run that it names. Of a refused delivery only the number and the reason are
kept. Anybody may deliver; the proof is the signature. Whoever sees none of a hook's workflows cannot tell it from one
that there is not, neither by the answer nor by the work that it costs. A trigger that asks for no signature is as good
as a start by hand: only for those who may operate its workflow.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from pyflowd.base.peer import Peer
from pyflowd.base.pool import Cancel, Pool
from pyflowd.clock import US
from pyflowd.control.control import Wait
from pyflowd.control.replies import Replies, Spoken
from pyflowd.errors import Forbidden, NotFound, PyflowError, Refused, Unavailable, nearest
from pyflowd.expressions import template
from pyflowd.expressions.expression import ExpressionError
from pyflowd.model.states import Fate
from pyflowd.model.triggers import WebhookTrigger
from pyflowd.protocol.requests import DeliverHook, ListFirings
from pyflowd.protocol.views_workflows import FiringPage, FiringView, HookAnswer, HookView
from pyflowd.protocol.words import HIDDEN
from pyflowd.runtime import context
from pyflowd.runtime.audit import Audit, Deed
from pyflowd.runtime.event_starts import EventStarts
from pyflowd.runtime.health import Health
from pyflowd.secrets.secrets_model import Secret, SecretError
from pyflowd.secrets.secrets_resolver import Resolver
from pyflowd.triggers import event_webhook
from pyflowd.triggers.event_ledger import Firing
from pyflowd.triggers.event_values import OnlyEvent
from pyflowd.triggers.event_webhook import Delivery

TOKEN = "hooks/"  # noqa: S105  (of the pool)
UNDER_WAY_MAX = 64
"""Deliveries that wait for secrets at the same time: more are asked to come again."""
KEPT_US = 24 * 3600 * US
"""Rule I2."""
WARNED_US = 3600 * US
"""How long a refused delivery is told of."""
PAGE = 200
Judge = Callable[[str], bool]
"""Whether whoever delivers may see a workflow, or operate it."""
Found = Mapping[str, Secret | SecretError]


class _Asked(NamedTuple):
    """A delivery, and what whoever delivers may see and operate."""

    delivery: Delivery
    trusted: bool
    sees: Judge
    operates: Judge
    decoy: WebhookTrigger | None = None
    """Whose proof is looked at for nothing, as there is none to look at."""


class _Waiting(NamedTuple):
    asked: _Asked
    deed: Deed
    outcome: list[Spoken | PyflowError]
    topic: str


class HookHandlers:
    """As `Handlers`: acts when called, or when the pool has the secrets; answers when pulled."""

    def __init__(
        self, starts: EventStarts, resolver: Resolver, pool: Pool, health: Health, audit: Audit,
        sight: Callable[[Peer], tuple[Judge, Judge]],
    ) -> None:  # fmt: skip
        """`sight`: which workflows somebody sees, and operates."""
        self._audit = audit
        self._sight = sight
        self.starts = starts
        self.workflows = starts.workflows
        self._resolver = resolver
        self._pool = pool
        self._health = health
        self._waiting: dict[str, _Waiting] = {}
        self._number = 0
        self._refused: dict[str, int] = {}
        self.delivered: Callable[[str], None] = lambda _: None
        """Told what became of each delivery: `accepted`, `repeated`, `skipped`, `refused`, `unknown`."""

    def deliver(self, request: DeliverHook, peer: Peer) -> Replies:
        """Raises Refused, NotFound, Forbidden, Unavailable."""
        sees, operates = self._sight(peer)
        found = event_webhook.delivery(request.hook, request.method, request.headers, request.query, request.body)
        known = self._with(found.hook)
        triggers = [trigger for _, trigger in known]
        decoy = None
        if not any(sees(workflow) for workflow, _ in known) and not any(trigger.verify for trigger in triggers):
            decoy = self._decoy(found.hook)
            triggers += [decoy] if decoy else []
        names = {name for trigger in triggers if trigger.verify for name in trigger.verify.secrets}
        asked = _Asked(found, request.trusted, sees, operates, decoy)
        if request.trusted or not names:
            return iter([self._decided(asked, {})])
        if len(self._waiting) >= UNDER_WAY_MAX:
            raise Unavailable(f"{UNDER_WAY_MAX} deliveries are being looked at; send it again in a moment")
        self._number += 1
        waiting = _Waiting(asked, self._audit.put_off(), [], f"hook/{self._number}")
        self._waiting[str(self._number)] = waiting
        self._pool.submit(f"{TOKEN}{self._number}", _looking(self._resolver, sorted(names)))
        return _when_decided(waiting)

    def taken(self, token: str, result: Found | BaseException) -> None:
        """The pool has looked for secrets; `token` without `TOKEN`. Part of a turn: the run is in its commit."""
        waiting = self._waiting.pop(token)
        self.workflows.topics.add(waiting.topic)
        try:
            if isinstance(result, BaseException):
                raise Unavailable(f"{waiting.asked.delivery.hook}: the secrets could not be looked for: {result}")
            self._health.check_writable()
            values = result
            waiting.outcome.extend(
                self._audit.during(waiting.deed, lambda: iter([self._decided(waiting.asked, values)]))
            )
        except PyflowError as error:
            waiting.outcome.append(error)

    def _with(self, hook: str) -> list[tuple[str, WebhookTrigger]]:
        return [(name, trigger) for name, trigger in self.starts.triggers(WebhookTrigger) if trigger.hook == hook]

    def _decoy(self, hook: str) -> WebhookTrigger | None:
        """Another hook's, the same each time: a name that there is not costs what one costs that there is."""
        proven = [trigger for _, trigger in self.starts.triggers(WebhookTrigger) if trigger.verify]
        return proven[zlib.crc32(hook.encode("utf-8", "surrogatepass")) % len(proven)] if proven else None

    def _no_hook(self, hook: str, sees: Judge) -> NotFound:
        """Recorded as what may not be known would be."""
        known = self.starts.triggers(WebhookTrigger)
        guess = nearest(hook[:64], sorted({trigger.hook for name, trigger in known if sees(name)}))
        error = NotFound(f'no workflow has a hook "{hook[:64]}"{guess}')
        error.denied = True
        return error

    def _decided(self, asked: _Asked, values: Found) -> HookView:
        """The same as `_decide`, counted."""
        try:
            view = self._decide(asked, values)
        except (Forbidden, NotFound):
            self.delivered("refused" if self._with(asked.delivery.hook) else "unknown")
            raise
        fired = [answer.again for answer in view.answers if answer.fate is Fate.FIRED]
        self.delivered("skipped" if not fired else "repeated" if all(fired) else "accepted")
        return view

    def _decide(self, asked: _Asked, values: Found) -> HookView:
        """What each trigger of the hook makes of it. Raises Forbidden where it proves nothing to any of them, NotFound
        where there is none, or whoever delivers may know of none of them.
        """
        found, now_us = asked.delivery, self.workflows.clock.wall_us()
        triggers = self._with(found.hook)
        proven, why = [], ""
        if asked.decoy is not None:
            _why_refused(asked.decoy, found, values, now_us)
        for workflow, trigger in triggers:
            refused = self._why_not(asked, workflow, trigger, values, now_us)
            why = why or refused
            if not refused:
                proven.append((workflow, trigger))
        if not proven:
            if triggers:
                self._count(found.hook, why)
            if not any(asked.sees(workflow) for workflow, _ in triggers):
                raise self._no_hook(found.hook, asked.sees)
            raise Forbidden(f"{found.hook}: the delivery is refused: {why}")
        body = event_webhook.read_body(found)
        answers = [self._start(workflow, trigger, found, body, trusted=asked.trusted) for workflow, trigger in proven]
        if len(answers) == 1:
            self._audit.about(answers[0].workflow, answers[0].run)
        return HookView(hook=found.hook, answers=[_told(answer, asked.sees) for answer in answers])

    def _why_not(
        self, asked: _Asked, workflow: str, trigger: WebhookTrigger, values: Found, now_us: int
    ) -> str:  # fmt: skip
        """Why a delivery does not start a workflow; empty where it does."""
        if asked.trusted:
            return ""
        if trigger.verify is not None:
            return _why_refused(trigger, asked.delivery, values, now_us)
        return "" if asked.operates(workflow) else "without a signature only those who may operate its workflow may"

    def _start(
        self, workflow: str, trigger: WebhookTrigger, found: Delivery, body: object, *, trusted: bool
    ) -> HookAnswer:
        form = trigger.verify.form if trigger.verify else ""
        number = event_webhook.id_of(form, found, body)
        if not number:  # without a signature two that look alike are two
            signed = trigger.verify is not None and not trusted
            number = event_webhook.hash_of(found) if signed else secrets.token_hex(12)
        now_us = self.workflows.clock.wall_us()
        received_at = context.time_text(now_us, self.workflows.zone.info)
        event = event_webhook.event_of(trigger.verify, found, body, number, received_at)
        firing = self.starts.fire(
            workflow, trigger, event, _key(trigger, event) or number, summary=f"delivery {number[:80]} to {found.hook}",
            by=f"webhook {found.hook}", expires_us=now_us + KEPT_US, ask_again=True,
        )  # fmt: skip
        return _answer(workflow, trigger, firing)

    def _count(self, hook: str, why: str) -> None:
        """Told for an hour, without the body: whoever may reach the hook can send what he likes."""
        count = self._refused[hook] = self._refused.get(hook, 0) + 1
        told = f"{count} {'delivery' if count == 1 else 'deliveries'} refused, the last: {why}"
        owners = tuple(name for name, trigger in self.starts.triggers(WebhookTrigger) if trigger.hook == hook)
        self._health.note(f"hook {hook}", told, workflows=owners)

        def calm() -> None:
            if self._refused.get(hook) == count:
                del self._refused[hook]
                self._health.note(f"hook {hook}", "")

        runs = self.workflows.runs
        runs.timers.at(runs.clock.mono_us() + WARNED_US, calm)

    # ---- The ledger

    def list_firings(self, request: ListFirings, suffix: str, of: tuple[object, ...]) -> Replies:
        """Rows from `since` on; with a limit the newest so many of them. `suffix`, `of`: of which workflows, as
        statements have it.
        """
        store, since_us = self.workflows.store, request.since_us or 0
        count: int = store.one(f"firings_count{suffix}", *of, since_us)[0]
        if not count and request.workflow is not None:
            self.workflows.find(request.workflow)
        return self._pages(of, suffix, since_us, 0 if request.limit is None else max(0, count - request.limit))

    def _pages(self, of: tuple[object, ...], suffix: str, since_us: int, offset: int) -> Replies:
        last: tuple[object, ...] = (since_us, "", "", "")
        empty = True
        while rows := list(self.workflows.store.rows(f"firings{suffix}", *of, *last, PAGE, offset)):
            empty = False
            yield FiringPage(firings=[_view(*row) for row in rows])
            last, offset = (rows[-1][3], *rows[-1][:3]), 0
        if empty:
            yield FiringPage(firings=[])


def _view(
    workflow: str, trigger: str, key: str, at_us: int, fate: str, reason: str | None, run: int | None, summary: str,
    error: str,
) -> FiringView:  # fmt: skip
    return FiringView(
        workflow=workflow, trigger=trigger, key=key, at_us=at_us, fate=Fate(fate), reason=reason, run=run,
        summary=summary, error=error,
    )  # fmt: skip


def _looking(resolver: Resolver, names: list[str]) -> Callable[[Cancel], Found]:
    """Each for itself: one that is missing must not keep the other, which is about to replace it, from being used."""

    def look(cancel: Cancel) -> Found:
        found: dict[str, Secret | SecretError] = {}
        for name in names:
            try:
                found |= resolver.resolve([name], cancel)
            except SecretError as error:
                found[name] = error
        return found

    return look


def _why_refused(trigger: WebhookTrigger, found: Delivery, values: Found, now_us: int) -> str:
    assert trigger.verify is not None
    wanted = [values.get(name) for name in trigger.verify.secrets]
    known = [value for value in wanted if isinstance(value, Secret)]
    if not known:
        missing = [str(value) for value in wanted if isinstance(value, SecretError)]
        return missing[0] if missing else "its secrets have just been changed; send it again"
    return event_webhook.why_refused(trigger.verify, found, known, now_us)


def _key(trigger: WebhookTrigger, event: dict[str, object]) -> str:
    """As `dedupe` makes it; empty: it does not. Raises Refused."""
    if not trigger.dedupe:
        return ""
    try:
        return event_webhook.key_text(template.render_text(trigger.dedupe, OnlyEvent(event)))
    except ExpressionError as error:
        raise Refused(f"{trigger.hook}: dedupe: {error}") from error


def _answer(workflow: str, trigger: WebhookTrigger, firing: Firing) -> HookAnswer:
    return HookAnswer(
        workflow=workflow, trigger=trigger.name, fate=firing.fate, reason=firing.reason, run=firing.run,
        error=firing.error, again=not firing.is_new,
    )  # fmt: skip


def _told(answer: HookAnswer, sees: Judge) -> HookAnswer:
    """Without what whoever delivers may not know; the number of the run is his, to ask for it by."""
    return answer if sees(answer.workflow) else replace(answer, workflow=HIDDEN, trigger="", error="")


def _when_decided(waiting: _Waiting) -> Replies:
    while not waiting.outcome:
        yield Wait(frozenset({waiting.topic}))
    if isinstance(waiting.outcome[0], PyflowError):
        raise waiting.outcome[0]
    yield waiting.outcome[0]
