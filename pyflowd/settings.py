"""`pyflowd.yaml`: the settings of one instance. Every key has a default; an empty or absent file is a working instance.

Read with the same tables as definitions, so a mistake is told in the same way: file, line, column, reason, remedy.
"""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from typing import Any

from msgspec import Struct

from pyflowd.language import fields, settings_file
from pyflowd.language.calendars_settings import read_blackouts, read_calendars
from pyflowd.language.definition_places import read_pools
from pyflowd.language.document import Mapping
from pyflowd.language.fields import Report, Table, read
from pyflowd.model.workflow import Journal, Retention
from pyflowd.notify.notify import HostRule
from pyflowd.notify.notify_channels import Channel, judge_rules, read_channels, read_host_rules
from pyflowd.paths import SYSTEM
from pyflowd.protocol.words import Level
from pyflowd.schedules.calendars import Blackout, Calendar
from pyflowd.secrets.secrets_model import Provider
from pyflowd.secrets.secrets_settings import read_providers


class UseJournal(StrEnum):
    """Whether this instance writes to the host's journal, or lines to standard error."""

    AUTO = "auto"
    """Where standard error is connected to it, as in a service of systemd."""
    ALWAYS = "always"
    NEVER = "never"


class Settings(Struct, frozen=True, kw_only=True):
    """What `pyflowd.yaml` says."""

    max_tasks: int = 256
    """Attempts at once on the host, over all runs."""
    timezone: str | None = None
    """Of schedules that name none; None: the host's."""
    log_max_bytes: int = 64 << 20
    """Kept of one attempt's output: head and tail; the middle is left out, and said so."""
    journal: UseJournal = UseJournal.AUTO
    """Whether events go to the host's journal."""
    journal_of_tasks: Journal = Journal.FAILED
    """Which output goes there, too, of tasks that say nothing of it."""
    run_log_max_bytes: int = 1 << 30
    """Kept of all output of one run."""
    artifact_max_bytes: int = 1 << 30
    """Of one file that a task keeps."""
    retention: Retention = Retention(runs=1000, age_s=90 * 86_400.0)
    """For workflows that say nothing of their own."""
    sample_interval_s: float = 5.0
    default_user: str = ""
    """As whom tasks of root's definitions run that name nobody; then tasks of others' run as their owners. Empty: in
    the system instance `pyflow`, elsewhere all run as the daemon's own account."""
    group_read: tuple[str, ...] = ("pyflow",)
    group_operate: tuple[str, ...] = ("pyflow-op",)
    group_admin: tuple[str, ...] = ()
    """Unix groups whose members have this level on the host; root and the daemon's own account are admin anyway."""
    edit: bool = False
    """Whether administrators may change definitions through the control socket, as the dashboard's editor does."""
    audit_age_s: float = 400 * 86_400.0
    """How long the record of who did what is kept."""
    web_proxy_level: Level = Level.NONE
    """The most that people may do for whom only the web front's proxy vouches; NONE: it vouches for nobody."""
    pools: dict[str, int] = {}
    """Slots of the pools that tasks share; in place of what definitions declare."""
    channels: dict[str, Channel] = {}
    """Where messages may go, by name."""
    notify: tuple[HostRule, ...] = ()
    """Who is told of runs, whatever their workflows say (rule H4)."""
    secrets: tuple[Provider, ...] | None = None
    """Where secrets are looked for, in this order; None: where they usually are."""
    secrets_key: str = ""
    """The file with the key of the encrypted store; empty: `secrets.key` beside the settings."""
    calendars: dict[str, Calendar] = {}
    """Days by name, beside those of the folder `calendars`."""
    blackouts: dict[str, Blackout] = {}
    """Times in which no schedule, or none that names them, starts anything."""


RETENTION = Table(
    "retention",
    {
        "runs": ("runs", fields.integer_from(1, 10**9)),
        "age": ("age_s", fields.positive_duration_s),
        "log_bytes": ("log_bytes", fields.file_size_bytes),
    },
)


def _read_retention(value: object, report: Report) -> Retention:
    return Retention(**read(RETENTION, fields.mapping(value, report), report))


LOG = Table("log", {"journal": ("journal", fields.one_of(Journal))})


def _read_log(value: object, report: Report) -> Journal:
    found: Journal = read(LOG, fields.mapping(value, report), report).get("journal", Journal.FAILED)
    return found


def _read_default_user(value: object, report: Report) -> str:
    name = fields.user(value, report)
    if name == "root":
        raise fields.Wrong("root must be written in the definition itself", "name another user, as pyflow")
    return name


SETTINGS = Table(
    "the settings file",
    {
        "max_tasks": ("max_tasks", fields.integer_from(1, 100_000)),
        "timezone": ("timezone", fields.timezone),
        "log_max_bytes": ("log_max_bytes", fields.file_size_bytes),
        "run_log_max_bytes": ("run_log_max_bytes", fields.file_size_bytes),
        "journal": ("journal", fields.one_of(UseJournal)),
        "log": ("journal_of_tasks", _read_log),
        "artifact_max_bytes": ("artifact_max_bytes", fields.file_size_bytes),
        "retention": ("retention", _read_retention),
        "sample_interval": ("sample_interval_s", fields.positive_duration_s),
        "default_user": ("default_user", _read_default_user),
        "group_read": ("group_read", fields.one_or_more(fields.group)),
        "group_operate": ("group_operate", fields.one_or_more(fields.group)),
        "group_admin": ("group_admin", fields.one_or_more(fields.group)),
        "edit": ("edit", fields.boolean),
        "audit_age": ("audit_age_s", fields.positive_duration_s),
        "web_proxy_level": ("web_proxy_level", partial(fields.choice, {each.name.lower(): each for each in Level})),
        "pools": ("pools", read_pools),
        "channels": ("channels", read_channels),
        "notify": ("notify", read_host_rules),
        "secrets": ("secrets", read_providers),
        "secrets_key": ("secrets_key", fields.absolute_path),
        "calendars": ("calendars", read_calendars),
        "blackouts": ("blackouts", read_blackouts),
    },
)


def load(path: str) -> Settings:
    """The settings of the file at `path`; all defaults where there is none. Raises Refused with every problem; those
    of the system instance also where others could have written them.
    """
    return parse(path, settings_file.load(path, strict=path == SYSTEM.settings))


def parse(path: str, data: bytes) -> Settings:
    """The settings in `data`; a file of nothing but comments has none. Raises Refused with every problem."""
    return Settings(**settings_file.parse(path, data, SETTINGS, _judge))


def _judge(root: Mapping, found: dict[str, Any], report: Report) -> None:
    judge_rules(root, found.get("channels", {}), found.get("notify", ()), report)
