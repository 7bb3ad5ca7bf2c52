"""Metrics as Prometheus reads them, and what is made of them in etc/: names that there are, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_text

from pyflowd.handlers.handlers_metrics import HELP
from pyflowd.protocol.figures import Counter, Histogram, MetricsView
from pyflowd.web.exposition import exposition

ETC = Path(__file__).resolve().parent.parent.parent / "etc"
NASTY = 'a"b\\c\nd'
VIEW = MetricsView(
    counters=[
        Counter(name="pyflow_runs", labels={"workflow": "a", "outcome": "failed"}, value=2),
        Counter(name="pyflow_events", value=7),
        Counter(name="pyflow_runs", labels={"workflow": NASTY, "outcome": "failed"}, value=3),
    ],
    gauges=[Counter(name="pyflow_live_runs", labels={"state": "running"}, value=1)],
    histograms=[
        Histogram(
            name="pyflow_run_duration_seconds", labels={"workflow": "a"}, bounds=[0.1, 5.0], counts=[1, 2, 4], sum=60.5
        )
    ],
    help={"pyflow_runs": "Runs."},
)
OPEN = "application/openmetrics-text; version=1.0.0"


@pytest.mark.parametrize("accept", ["", OPEN])
def test_the_client_library_reads_back_what_was_told(accept: str) -> None:
    text, content_type = exposition(VIEW, accept)
    parse = parse_open if accept else parse_text
    assert content_type.startswith("application/openmetrics-text" if accept else "text/plain")
    found = {family.name: family for family in parse(text.decode())}
    assert set(found) == {
        "pyflow_up",
        "pyflow_runs",
        "pyflow_events",
        "pyflow_live_runs",
        "pyflow_run_duration_seconds",
    }
    runs = [(sample.name, sample.labels["workflow"], sample.value) for sample in found["pyflow_runs"].samples]
    assert runs == [("pyflow_runs_total", "a", 2), ("pyflow_runs_total", NASTY, 3)]
    buckets = {
        (sample.name.removeprefix("pyflow_run_duration_seconds"), sample.labels.get("le")): sample.value
        for sample in found["pyflow_run_duration_seconds"].samples
    }
    assert buckets == {
        ("_bucket", "0.1"): 1, ("_bucket", "5.0"): 3, ("_bucket", "+Inf"): 7, ("_count", None): 7, ("_sum", None): 60.5,
    }  # fmt: skip


def test_without_rights_it_tells_only_that_the_daemon_answers() -> None:
    text, _ = exposition(None, "")
    assert [family.name for family in parse_text(text.decode())] == ["pyflow_up"]


# ---- etc/grafana, etc/prometheus

_NAME = re.compile(r"\bpyflow_[a-z_]+")
_SUFFIXES = ("_total", "_bucket", "_count", "_sum")
LABELS = {"workflow", "outcome", "state", "fate", "result", "folder", "instance", "job", "le", "version"}


def names_in(expression: str) -> set[str]:
    return set(_NAME.findall(expression))


def is_known(name: str) -> bool:
    bare = next((name.removesuffix(each) for each in _SUFFIXES if name.endswith(each)), name)
    return name == "pyflow_up" or name in HELP or bare in HELP


def dashboard() -> Any:
    return json.loads((ETC / "grafana" / "pyflow.json").read_text())


def expressions() -> list[str]:
    panels = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    rules = [rule["expr"] for group in alerts()["groups"] for rule in group["rules"]]
    return panels + rules


def alerts() -> Any:
    return yaml.safe_load((ETC / "prometheus" / "alerts.yaml").read_text())


def test_every_query_names_metrics_and_labels_that_there_are() -> None:
    for expression in expressions():
        assert not [name for name in names_in(expression) if not is_known(name)], expression
        matched = re.findall(r"[{,]([a-z]+)=", expression)
        grouped = re.findall(r"(?:by|on) \(([a-z, ]+)\)", expression)
        labels = {*matched, *(label.strip() for group in grouped for label in group.split(","))}
        assert labels <= LABELS, expression
        assert expression.count("(") == expression.count(")")
    assert is_known("pyflow_runs_total")
    assert not is_known("pyflow_runz_total")


def test_counters_are_asked_for_with_their_suffix_and_gauges_without() -> None:
    text, _ = exposition(VIEW, "")
    counters = {family.name for family in parse_text(text.decode()) if family.type == "counter"}
    asked = {name for each in expressions() for name in names_in(each)}
    assert not counters & asked
    assert "pyflow_runs_total" in asked


def test_the_dashboard_is_one_that_grafana_loads() -> None:
    found = dashboard()
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= set(found)
    ids = [panel["id"] for panel in found["panels"]]
    assert len(ids) == len(set(ids)) >= 10
    taken: set[tuple[int, int]] = set()
    for panel in found["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] in ("stat", "timeseries")
        assert [target["refId"] for target in panel["targets"]] == list("ABC"[: len(panel["targets"])])


def test_every_alert_says_what_is_wrong_and_how_bad_it_is() -> None:
    rules = [rule for group in alerts()["groups"] for rule in group["rules"]]
    wanted = {"RunFailed", "SlotsMissed", "DefinitionStale", "KeeperDown", "DiskFull", "NoSuccess"}
    assert {f"PyFlow{name}" for name in wanted} <= {rule["alert"] for rule in rules}
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"]
