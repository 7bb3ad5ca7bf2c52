"""Metrics as Prometheus reads them, by its own client library. Pure: knows no daemon and no HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from pyflowd.protocol.figures import Counter, Histogram, MetricsView

S = TypeVar("S", Counter, Histogram)
UP = Counter(name="pyflow_up", value=1)
_UP_HELP = "1: pyflowd answers."


def exposition(view: MetricsView | None, accept: str) -> tuple[bytes, str]:
    """The text and its type. `view`: None tells only that the daemon answers. `accept`: the header of the request."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(list(_families(view))))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Collected(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(view: MetricsView | None) -> Iterator[Metric]:
    yield _of_counters([UP], GaugeMetricFamily(UP.name, _UP_HELP))
    if view is None:
        return
    for name, counters in _by_name(view.counters):
        yield _of_counters(counters, CounterMetricFamily(name, view.help.get(name, "")), "_total")
    for name, gauges in _by_name(view.gauges):
        yield _of_counters(gauges, GaugeMetricFamily(name, view.help.get(name, "")))
    for name, histograms in _by_name(view.histograms):
        yield _of_histograms(histograms, HistogramMetricFamily(name, view.help.get(name, "")))


def _by_name(samples: list[S]) -> Iterable[tuple[str, list[S]]]:
    """All of one name stand together in the exposition."""
    named: dict[str, list[S]] = {}
    for each in samples:
        named.setdefault(each.name, []).append(each)
    return named.items()


def _of_counters(samples: list[Counter], family: Metric, suffix: str = "") -> Metric:
    for each in samples:
        family.add_sample(f"{each.name}{suffix}", each.labels, each.value)
    return family


def _of_histograms(samples: list[Histogram], family: Metric) -> Metric:
    for each in samples:
        below = 0
        for bound, count in zip([*each.bounds, float("inf")], each.counts, strict=True):
            below += count
            family.add_sample(f"{each.name}_bucket", {**each.labels, "le": _bound(bound)}, below)
        family.add_sample(f"{each.name}_count", each.labels, below)
        family.add_sample(f"{each.name}_sum", each.labels, each.sum)
    return family


def _bound(bound: float) -> str:
    written: str = floatToGoString(bound)  # type: ignore[no-untyped-call]
    return written
