"""`expect` of a workflow: what is to be told when it did not happen in time. It knows nothing of who is told."""

from __future__ import annotations

import re
from typing import Any

from pyflowd.language import fields
from pyflowd.language.document import Mapping
from pyflowd.language.fields import Report, Table, Wrong, read
from pyflowd.model.triggers import Expectation
from pyflowd.model.workflow import Workflow

TIME_OF_DAY = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_TIME = re.compile(TIME_OF_DAY, re.ASCII)


def _read_time(value: Any, report: Report) -> str:
    if value.__class__ is not str or not _TIME.fullmatch(value):
        raise Wrong(f"expected a time of day, found {fields.shape(value)}", 'write it as in finish_by: "06:00"')
    return str(value)


EXPECT = Table(
    "expect of a workflow",
    {
        "start_within": ("start_within_s", fields.positive_duration_s),
        "finish_by": ("finish_by", _read_time),
        "max_duration": ("max_duration_s", fields.positive_duration_s),
    },
    meant={"within": "start_within", "start": "start_within", "by": "finish_by", "finish": "finish_by",
           "deadline": "finish_by", "duration": "max_duration", "timeout": "max_duration"},
)  # fmt: skip


def read_expect(value: Any, report: Report) -> Expectation:
    written = fields.mapping(value, report)
    if not written:
        raise Wrong("nothing is expected", "give it start_within, finish_by or max_duration")
    return Expectation(**read(EXPECT, written, report))


def judge_expect(workflow: Workflow, root: Mapping, report: Report) -> None:
    """Warn of what would never be told."""
    found, written = workflow.expect, root.get("expect")
    if found is None or written.__class__ is not Mapping:
        return
    if not any(trigger.enabled and trigger.cron != "@reboot" for trigger in workflow.triggers):
        for key in ("start_within", "finish_by"):
            if key in written:
                fix = "give the workflow a schedule, or expect max_duration only"
                message = f"{key}: it is counted from slots, and no schedule has any"
                report.add(written.key_mark(key), "no_effect", message, fix, warning=True)
    limit_s = workflow.timeout_s
    if found.max_duration_s is not None and limit_s is not None and found.max_duration_s >= limit_s:
        message = "max_duration: the run's timeout ends it before that"
        report.add(written.key_mark("max_duration"), "no_effect", message, "shorten it", warning=True)
