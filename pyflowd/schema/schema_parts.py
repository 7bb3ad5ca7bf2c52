"""The forms of keys whose reader is their own module's: what a schema cannot see in the tables of the definition.

By the table and the key. A test walks tables and parts and fails where one of them says more than the other, so that
a key that is added to a table is added here, or is read by a reader that `schema_forms` knows.
"""

from __future__ import annotations

from pyflowd.language.calendars_settings import BLACKOUT, CALENDAR, DAILY, DATES
from pyflowd.language.definition import RETENTION, WORKFLOW
from pyflowd.language.definition_cache import CACHE
from pyflowd.language.definition_events import FILE_TRIGGER, FOLLOWED, FORMS, UNIT, VERIFY, WEBHOOK_TRIGGER
from pyflowd.language.definition_expect import EXPECT as RUN_EXPECT
from pyflowd.language.definition_expect import TIME_OF_DAY
from pyflowd.language.definition_fan_out import REPEAT
from pyflowd.language.definition_http import HTTP, UPLOAD
from pyflowd.language.definition_http_parts import AUTH, BASIC, EXPECT, PAGINATE, TEST, TLS
from pyflowd.language.definition_notify import NOTIFY, NOTIFY_RULE
from pyflowd.language.definition_outputs import ARTIFACT, OUTPUT
from pyflowd.language.definition_params import ITEMS, PARAM
from pyflowd.language.definition_places import CONCURRENCY, DISK_FREE, GATES, MAX_SLOTS
from pyflowd.language.definition_process import OPERATIONS, SSH
from pyflowd.language.definition_reboot import REBOOT
from pyflowd.language.definition_resources import RESOURCES
from pyflowd.language.definition_task import DEFAULTS, LOG, RETRY, TASK
from pyflowd.language.definition_triggers import CATCHUP, JITTER, MOST_TIMES, SCHEDULE, TRIGGER
from pyflowd.language.definition_waiting import APPROVAL, CALL, WAIT
from pyflowd.language.fields import Table
from pyflowd.model.states import RunState
from pyflowd.model.triggers import CatchupPolicy
from pyflowd.model.workflow import ParamType
from pyflowd.notify.notify_channels import CHANNEL, CHAT, HOST_RULE, MAIL, WEBHOOK
from pyflowd.schema.schema_forms import (
    ABSOLUTE,
    ACCOUNT,
    ANYTHING,
    DURATION,
    IDENTIFIER,
    NAME,
    OBJECT,
    PATH,
    SCALAR,
    SIZE,
    TEXT,
    TRUE,
    VALUE,
    WORD,
    Form,
    listed,
    mapped,
    one_or_more,
    short_or,
    words_or,
)
from pyflowd.secrets.secrets_settings import PROVIDER, VAULT
from pyflowd.settings import LOG as HOST_LOG
from pyflowd.settings import RETENTION as HOST_RETENTION
from pyflowd.settings import SETTINGS


def slug(table: Table) -> str:
    """What a table is called in the schema."""
    words = table.what.split()
    return "_".join(words[1:] if words[0] in ("a", "an") else words).replace("'", "")


def ref(table: Table) -> Form:
    """A mapping with the keys of `table`."""
    return {"type": "object", **_place(slug(table))}


def _place(name: str) -> Form:
    return {"$ref": f"#/$defs/{name}"}


def tasks(place: str) -> Form:
    """A mapping of tasks; `place`: which keys they may have."""
    return mapped({"type": "object", **_place(place)})


_TYPES = [kind.value for kind in ParamType]
_GIVEN_TYPES = [kind for kind in _TYPES if kind != ParamType.SECRET]
"""Of what is given on."""
_ENDS = [RunState.FAILED.value, RunState.CANCELLED.value, RunState.SUCCEEDED.value]
_ON = one_or_more({"type": "string", "enum": _ENDS}, least=1)
_PATTERN: Form = {"type": "string", "pattern": "^/", "examples": ["/srv/incoming/*.csv"]}
_UNIT: Form = {"type": "string", "pattern": "\\.[a-z]+$", "examples": ["postgresql.service"]}
_UNDOING: Form = {
    **tasks("handler"),
    "properties": {"undo": short_or({"type": "string", "pattern": "^all$"}, {"type": "object", **_place("handler")})},
}
_STATUS: Form = {
    "type": ["integer", "string"],
    "minimum": 100,
    "maximum": 599,
    "pattern": "^\\s*[1-5](?:xx|[0-9]{2}(?:\\s*-\\s*[1-5][0-9]{2})?)\\s*$",
}
_AT_LEAST: Form = {"type": "string", "pattern": "^\\s*[0-9.]+ ?(?:%|B|[KMGT]i?B)\\s*$", "examples": ["50GiB", "10%"]}
_SLOTS: Form = {"type": "integer", "minimum": 1, "maximum": MAX_SLOTS}
_ARGV = listed(SCALAR, least=1)
_VALUES: Form = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null", "array"]}}
"""Of a query or a form."""
_TEST_CONTAINS = _TEST_EQUALS = short_or(WORD, {**ref(TEST), "minProperties": 1})
_COMMON: dict[str, Form] = {
    "retry": short_or({"type": "integer", "minimum": 1, "maximum": 10_000}, ref(RETRY)),
    "log": ref(LOG),
    "resources": {**ref(RESOURCES), "minProperties": 1},
    "locks": one_or_more(NAME),
    "pool": {**one_or_more(NAME), "type": ["string", "array", "object"], "additionalProperties": _SLOTS},
    "credentials": {
        **one_or_more(NAME, least=1),
        "type": ["string", "array", "object"],
        "propertyNames": NAME,
        "additionalProperties": TEXT,
    },
}
"""Of a task and of `defaults`."""

_WORKFLOW: dict[str, Form] = {
    "version": {"type": "integer", "enum": [1]},
    "labels": mapped(VALUE),
    **dict.fromkeys(("visible_to", "operate_by"), one_or_more(ACCOUNT, least=1)),
    "params": mapped(ref(PARAM)),
    "env_file": one_or_more({"type": "string", "pattern": "^-?(?:/|~/|~$)"}),
    "schedule": {
        **short_or({"type": "string", "examples": ["30 2 * * *", "@daily"]}, ref(SCHEDULE)),
        "anyOf": [{"required": [key]} for key in ("cron", "every", "at")],
    },
    "triggers": mapped(ref(TRIGGER)),
    "catchup": words_or([policy.value for policy in CatchupPolicy], ref(CATCHUP)),
    "defaults": ref(DEFAULTS),
    "retention": ref(RETENTION),
    "tasks": {**tasks("task"), "minProperties": 1},
    "on_success": tasks("handler"),
    "on_failure": _UNDOING,
    "on_cancel": _UNDOING,
    "finally": tasks("handler"),
    "outputs": mapped(ANYTHING, IDENTIFIER),
    "notify": one_or_more(short_or(NAME, ref(NOTIFY_RULE))),
    "concurrency": short_or({"type": ["string", "integer"], "minimum": 1, "maximum": 10_000}, ref(CONCURRENCY)),
    "locks": one_or_more(NAME),
    "pools": mapped(_SLOTS),
    "gates": {**ref(GATES), "minProperties": 1},
    "expect": {**ref(RUN_EXPECT), "minProperties": 1},
    "with": OBJECT,
}
_AT: Form = {
    "type": "string",
    "pattern": "^\\s*[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}",
    "examples": ["2026-12-24 18:00"],
}
_DAY: Form = {
    "type": "string",
    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "examples": ["2026-12-24", "2026-12-24 18:00"],
}
_FIELD: Form = {"type": ["string", "integer"], "pattern": "\\S"}
_BY_TIME: dict[str, Form] = {
    "every": DURATION,
    "at": {**one_or_more(_AT, least=1), "maxItems": MOST_TIMES},
    "jitter": short_or(DURATION, {**ref(JITTER), "required": ["max"]}),
    "catchup": _WORKFLOW["catchup"],
}
_TASK: dict[str, Form] = {
    "run": WORD,
    "argv": _ARGV,
    "python": {"type": "string", "pattern": "^\\s*[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*\\s*$"},
    "file": {"type": "object", **_place("file")},
    "ssh": ref(SSH),
    "reboot": ref(REBOOT),
    "http": short_or(WORD, ref(HTTP)),
    "workflow": short_or(NAME, ref(CALL)),
    "approval": short_or(WORD, ref(APPROVAL)),
    "wait": short_or({"type": ["string", "boolean"], "pattern": DURATION["pattern"]}, ref(WAIT)),
    "notify": ref(NOTIFY),
    "uses": NAME,
    "stdin": TEXT,
    "with": OBJECT,
    "interpreter": ABSOLUTE,
    "repeat": ref(REPEAT),
    "cache": ref(CACHE),
    "for_each": {"type": ["string", "array", "object"], "pattern": "\\$\\{\\{"},
    "matrix": {
        "type": "object",
        "minProperties": 1,
        "properties": {"exclude": one_or_more(OBJECT), "include": one_or_more(OBJECT)},
        "additionalProperties": {"type": "array", "minItems": 1},
    },
    "as": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,62}$"},
    "max_failures": {
        "type": ["integer", "string"],
        "minimum": 0,
        "maximum": 10_000,
        "pattern": "^[0-9]{1,3}(?:\\.[0-9]{1,6})? ?%$",
    },
    "outputs": mapped(words_or(_GIVEN_TYPES, ref(OUTPUT)), IDENTIFIER),
    "artifacts": mapped(short_or(WORD, ref(ARTIFACT))),
    "undo": {"type": "object", **_place("undo")},
    "on_error": tasks("on_error"),
    **_COMMON,
}
_TYPED: dict[str, Form] = {"type": {"type": "string", "enum": _GIVEN_TYPES}, "pattern": TEXT}
_FILE: dict[str, Form] = {
    **dict.fromkeys(("copy", "move", "delete", "mkdir", "archive", "checksum", "list", "wait_for"),
                    one_or_more(WORD, least=1)),
    **dict.fromkeys(("write", "append", "template", "extract", "read", "to", "root", "expect"), WORD),
    "mode": {"type": "string", "pattern": "^[0-7]{3,4}$"},
    "text": SCALAR,
    "values": {"type": ["object", "string"]},
    "exclude": one_or_more(WORD, least=1),
}  # fmt: skip
"""Of all operations on files."""

PARTS: dict[str, dict[str, Form]] = {
    WORKFLOW.what: _WORKFLOW,
    TASK.what: _TASK,
    DEFAULTS.what: _COMMON,
    RETRY.what: {"respect_retry_after": TRUE},
    RESOURCES.what: {
        "memory_max": SIZE,
        "cpu_max": {"type": "string", "pattern": "^\\s*[0-9]{1,7} ?%\\s*$", "examples": ["50%", "200%"]},
    },
    SCHEDULE.what: _BY_TIME,
    TRIGGER.what: {
        "schedule": _WORKFLOW["schedule"],
        **_BY_TIME,
        "boot": TRUE,
        "file": short_or(_PATTERN, ref(FILE_TRIGGER)),
        "workflow": short_or(NAME, ref(FOLLOWED)),
        "unit": short_or(_UNIT, ref(UNIT)),
        "webhook": short_or(NAME, ref(WEBHOOK_TRIGGER)),
    },
    FILE_TRIGGER.what: {
        "path": _PATTERN,
        "on": one_or_more({"type": "string", "enum": ["arrives", "changes"]}, least=1),
        "stable_for": DURATION,
        "claim": {"type": ["boolean", "string"], "pattern": "^move$"},
    },
    FOLLOWED.what: {"outcome": _ON},
    UNIT.what: {
        "name": _UNIT,
        "state": one_or_more({"type": "string", "enum": ["active", "inactive", "failed"]}, least=1),
    },
    WEBHOOK_TRIGGER.what: {"verify": ref(VERIFY), "dedupe": TEXT},
    VERIFY.what: {
        **{form: {**one_or_more(NAME, least=1), "maxItems": 2} for form in FORMS},
        "header": {"type": "string", "pattern": "^[A-Za-z0-9-]{1,100}$"},
    },
    PARAM.what: {**_TYPED, "type": {"type": "string", "enum": _TYPES}, "enum": listed(ANYTHING, least=1),
                 "items": words_or(_GIVEN_TYPES, ref(ITEMS))},
    ITEMS.what: _TYPED,
    OUTPUT.what: _TYPED,
    REPEAT.what: {key: {"type": ["string", "boolean"], "pattern": "\\S"} for key in ("until", "while")},
    CALL.what: {"with": OBJECT},
    APPROVAL.what: {
        "message": WORD,
        "allow": one_or_more({"type": "string", "pattern": "^(?:user|group):[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\\$?$"}),
        "choices": {**listed({**WORD, "maxLength": 200}, least=1), "maxItems": 100, "uniqueItems": True},
    },
    WAIT.what: {"until": WORD, "condition": {"type": ["string", "boolean"], "pattern": "\\S"}},
    NOTIFY.what: {"text": WORD},
    NOTIFY_RULE.what: {"on": _ON},
    SSH.what: {
        **dict.fromkeys(("host", "user", "identity", "run"), WORD),
        "options": {"type": "object", "propertyNames": {"pattern": "^[A-Za-z][A-Za-z0-9]{1,63}$"},
                    "additionalProperties": {"type": ["string", "integer", "boolean"]}},
    },
    REBOOT.what: {"command": listed(WORD, least=1)},
    HTTP.what: {
        **dict.fromkeys(("url", "save_to", "idempotency_key", "proxy"), WORD),
        "method": {"type": "string", "pattern": "^[A-Z][A-Z-]{0,19}$",
                   "examples": ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]},
        "headers": {"type": "object", "additionalProperties": SCALAR},
        "query": _VALUES,
        "form": _VALUES,
        "files": {"type": "object", "minProperties": 1, "additionalProperties": short_or(WORD, ref(UPLOAD))},
        "auth": {**ref(AUTH), "minProperties": 1, "maxProperties": 1},
        "tls": ref(TLS),
        "expect": ref(EXPECT),
        "paginate": ref(PAGINATE),
        "allow_addresses": one_or_more(WORD),
    },
    UPLOAD.what: dict.fromkeys(("path", "filename", "content_type"), WORD),
    AUTH.what: {"basic": ref(BASIC), "bearer": WORD},
    TLS.what: {**dict.fromkeys(("ca_file", "cert_file", "key_file"), ABSOLUTE),
               "min_version": {"enum": ["1.2", "1.3", 1.2, 1.3]}},
    EXPECT.what: {
        "status": one_or_more(_STATUS, least=1),
        "headers": {"type": "object", "additionalProperties": _TEST_EQUALS},
        "body": _TEST_CONTAINS,
        "json": {"type": ["string", "boolean"], "pattern": "\\S"},
    },
    TEST.what: {"matches": TEXT},
    PAGINATE.what: {"next": WORD, "items": WORD},
    DISK_FREE.what: {"at_least": _AT_LEAST},
    RUN_EXPECT.what: {"finish_by": {"type": "string", "pattern": f"^{TIME_OF_DAY}$", "examples": ["06:00"]}},
    GATES.what: {
        "disk_free": {
            "type": ["object", "array"],
            "items": ref(DISK_FREE),
            "if": {"anyOf": [{"required": [key]} for key in DISK_FREE.keys]},
            "then": {"$ref": f"#/$defs/{slug(DISK_FREE)}"},
            "else": {"propertyNames": PATH, "additionalProperties": _AT_LEAST},
        },
        "command": _ARGV,
    },
    SETTINGS.what: {
        "log": ref(HOST_LOG),
        "retention": ref(HOST_RETENTION),
        "pools": mapped(_SLOTS),
        "channels": mapped({**ref(CHANNEL), "minProperties": 1, "maxProperties": 1}),
        "notify": one_or_more(short_or(NAME, ref(HOST_RULE))),
        "secrets": {**listed(ref(PROVIDER)), "maxItems": 20},
        "secrets_key": ABSOLUTE,
        "default_user": ACCOUNT,
        "calendars": mapped({**ref(CALENDAR), "minProperties": 1}),
        "blackouts": mapped({**ref(BLACKOUT), "minProperties": 1}),
    },
    CALENDAR.what: {
        **dict.fromkeys(("days", "month_days", "months"), one_or_more(_FIELD)),
        "dates": one_or_more({"type": "string", "pattern": DATES}),
        "ics": WORD,
    },
    BLACKOUT.what: {**dict.fromkeys(("from", "to"), _DAY), "daily": {"type": "string", "pattern": DAILY}},
    CHANNEL.what: {"mail": ref(MAIL), "slack": ref(CHAT), "teams": ref(CHAT), "webhook": ref(WEBHOOK)},
    MAIL.what: {
        "to": one_or_more({"type": "string", "pattern": "@"}, least=1),
        "from": {"type": "string", "pattern": "@"},
        "smtp": WORD,
        **dict.fromkeys(("password_file", "ca_file"), ABSOLUTE),
    },
    CHAT.what: {"url": WORD, **dict.fromkeys(("url_file", "ca_file"), ABSOLUTE)},
    WEBHOOK.what: {
        "url": WORD,
        **dict.fromkeys(("url_file", "ca_file"), ABSOLUTE),
        "headers": {"type": "object", "additionalProperties": TEXT},
        "method": {"type": "string", "enum": ["POST", "PUT", "PATCH"]},
    },
    HOST_RULE.what: {"on": _ON, "workflows": one_or_more(WORD), "labels": {"type": "object",
                                                                          "additionalProperties": VALUE}},
    PROVIDER.what: {
        "file": ABSOLUTE,
        "systemd": TRUE,
        "store": TRUE,
        "environment": {"type": "string", "pattern": "^[A-Z_][A-Z0-9_]{0,62}$"},
        "command": listed(WORD, least=1),
        "vault": ref(VAULT),
        "only": one_or_more(WORD),
    },
    VAULT.what: {
        **dict.fromkeys(("address", "mount", "path", "field", "namespace"), WORD),
        **dict.fromkeys(("token_file", "ca_file"), ABSOLUTE),
    },
    **{table.what: {key: _FILE[key] for key in table.keys if key in _FILE} for table in OPERATIONS.values()},
}  # fmt: skip
"""By what a table is of."""

REQUIRED: dict[str, list[str]] = {
    JITTER.what: ["max"],
    FILE_TRIGGER.what: ["path"],
    FOLLOWED.what: ["name"],
    UNIT.what: ["name"],
    WEBHOOK_TRIGGER.what: ["hook"],
    CALL.what: ["name"],
    APPROVAL.what: ["message"],
    NOTIFY.what: ["channel", "text"],
    NOTIFY_RULE.what: ["channel"],
    REPEAT.what: ["max"],
    CACHE.what: ["key", "ttl"],
    SSH.what: ["host", "run"],
    HTTP.what: ["url"],
    UPLOAD.what: ["path"],
    BASIC.what: ["user", "password"],
    PAGINATE.what: ["next", "items"],
    ARTIFACT.what: ["path"],
    DISK_FREE.what: ["path", "at_least"],
    MAIL.what: ["to"],
    VAULT.what: ["address", "token_file"],
}
"""Keys that a mapping must have."""

WORKFLOW_TABLES = (
    RETENTION, DEFAULTS, RETRY, LOG, RESOURCES, SCHEDULE, JITTER, CATCHUP, TRIGGER, FILE_TRIGGER, FOLLOWED,
    UNIT, WEBHOOK_TRIGGER, VERIFY, PARAM, ITEMS, OUTPUT, ARTIFACT, REPEAT, CACHE, CALL, APPROVAL,
    WAIT, NOTIFY, NOTIFY_RULE, SSH, REBOOT, HTTP, UPLOAD, AUTH, BASIC, TLS, EXPECT, TEST, PAGINATE, CONCURRENCY,
    DISK_FREE, GATES, RUN_EXPECT, *OPERATIONS.values(),
)  # fmt: skip
"""Of the mappings below a workflow; a task's depends on where it stands."""
SETTINGS_TABLES = (
    HOST_LOG,
    HOST_RETENTION,
    CALENDAR,
    BLACKOUT,
    CHANNEL,
    MAIL,
    CHAT,
    WEBHOOK,
    HOST_RULE,
    PROVIDER,
    VAULT,
)
