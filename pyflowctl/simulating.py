"""`pyflowctl simulate`: what the host will do, and what a changed file changes of that.

The daemon gives the basis; the simulation runs here, where it delays nobody.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from pyflowctl import link
from pyflowctl.client import Client, connect
from pyflowctl.exporting import definition_of
from pyflowd.clock import US
from pyflowd.errors import NotFound, Refused, Unavailable, UsageError, nearest
from pyflowd.protocol.requests import GetSimulationBasis
from pyflowd.protocol.views_workflows import BasisPage, SimulationBasis
from pyflowd.render import commandline, render_json
from pyflowd.render.commandline import Words
from pyflowd.render.layout import Style, page
from pyflowd.schedules.calendars import NOTHING, Entries
from pyflowd.simulation import render_simulation
from pyflowd.simulation.simulation import simulate, with_definition
from pyflowd.simulation.simulation_changes import compare
from pyflowd.simulation.simulation_model import Basis, Duration, Options, Simulation
from pyflowd.units import duration_s

SPAN_US = 86_400 * US
SPAN_MAX_US = 366 * 86_400 * US
_entries = msgspec.msgpack.Decoder(Entries)
_COLLECT_EVERY = 200_000
"""Objects between two collections: there is little garbage in circles, and looking for it costs a tenth."""


def run_simulation(words: Words, style: Style) -> int:
    """Ask for the basis, simulate, print; 0."""
    options = Options(default_s=_duration(words), slow=words.has("slow"))
    span_of(words, style, style.now_us)  # what is wrong with the command line is said before anybody is asked
    with connect(root=words.value("root"), socket=words.value("socket")) as client:
        basis = ask_basis(client)
    from_us, to_us = span_of(words, style, basis.now_us)
    changed = with_files(basis, words.values.get("file", ()))
    names = {row[0] for row in (changed or basis).rows["workflows"]}
    only = named(words.arguments, names)
    gc.set_threshold(_COLLECT_EVERY, 20, 100)
    present = simulate(basis, from_us, to_us, options)
    simulation, changes = _of(present, only), None
    if changed is not None:
        future = simulate(changed, from_us, to_us, options)
        changes = [each for each in compare(present, future) if not only or each.workflow in only]
        simulation = _of(future, only)
    if words.value("output") == "json":
        link.write(1, render_json.encode(render_simulation.value(simulation, changes, style)) + b"\n")
    else:
        link.write(1, page(render_simulation.lines(simulation, changes, style, everything=words.has("all"))))
    return 0


def ask_basis(client: Client) -> Basis:
    """What the daemon knows that decides what comes."""
    head: SimulationBasis | None = None
    rows: dict[str, list[list[object]]] = {"workflows": [], "triggers": [], "live_runs": [], "durations": []}
    for answer in client.ask(GetSimulationBasis()):
        if isinstance(answer, SimulationBasis):
            head = answer
        elif isinstance(answer, BasisPage):
            rows.setdefault(answer.read, []).extend(answer.rows)
    if head is None:
        raise Unavailable("the daemon's answer lacks what was asked for; are daemon and client of one version?")
    durations = rows.pop("durations")
    return Basis(
        now_us=head.now_us, mono_us=head.mono_us, host=head.host, timezone=head.timezone, max_tasks=head.max_tasks,
        pools=head.pools, next_run=head.next_run, rows=rows, durations=dict(map(_known, durations)),
        almanac=_entries.decode(head.almanac) if head.almanac else NOTHING,
    )  # fmt: skip


def _known(row: Sequence[object]) -> tuple[tuple[str, str], Duration]:
    """A row of `durations`."""
    match row:
        case [str(workflow), str(task), int(runs), int(median_us), int(p90_us), int(items), *_]:
            known = Duration(runs=runs, median_s=median_us / US, p90_s=p90_us / US, items=items)
            return (workflow, task), known
        case _:
            raise Unavailable("the answer cannot be read; are daemon and client of one version?")


def _of(simulation: Simulation, only: frozenset[str]) -> Simulation:
    return simulation.of(only) if only else simulation


def with_files(basis: Basis, files: Iterable[str]) -> Basis | None:
    """The basis with these files in force; None: there are none."""
    changed = None
    seen: dict[str, str] = {}
    for path in files:
        workflow, data = definition_of(path)
        if workflow.name in seen:
            raise Refused(f"{path}: {seen[workflow.name]} defines {workflow.name}, too; leave one of them out")
        seen[workflow.name] = path
        changed = with_definition(changed or basis, workflow, path, hashlib.sha256(data).hexdigest())
    return changed


def named(given: Sequence[str], known: set[str]) -> frozenset[str]:
    """The workflows that are to be told of; empty: all. Raises NotFound."""
    for name in given:
        if name not in known:
            raise NotFound(f'no workflow "{name}"{nearest(name, sorted(known))}; `pyflowctl list` names all')
    return frozenset(given)


def _duration(words: Words) -> float:
    text = words.value("duration")
    if text is None:
        return Options().default_s
    try:
        return duration_s(text)
    except ValueError as error:
        raise UsageError(f"--duration: {error}") from None


def span_of(words: Words, style: Style, now_us: int) -> tuple[int, int]:
    """From now, or a time, or so long from now; for a day, or until a time, or for so long."""
    from_us = _instant(words, "from", now_us, now_us, style)
    to_us = _instant(words, "to", from_us, from_us + SPAN_US, style)
    if not from_us < to_us <= from_us + SPAN_MAX_US:
        raise UsageError("--to: it must come after --from, by 366 days at most")
    return from_us, to_us


def _instant(words: Words, key: str, base_us: int, default_us: int, style: Style) -> int:
    text = words.value(key)
    if text is None:
        return default_us
    try:
        return base_us + round(duration_s(text) * US)
    except ValueError:
        return commandline.instant_us(text, f"--{key}", now_us=style.now_us, zone=style.zone)
