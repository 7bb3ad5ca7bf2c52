"""What a task does: one struct for each kind. Compiled: units are numbers. Fields are only added, with a default."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct, field


class Shell(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="run", tag_field="kind"):
    """`run`: shell text, given to `shell` (argv before the text; empty: bash in strict mode, else sh)."""

    text: str
    shell: tuple[str, ...] = ()


class Argv(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="argv", tag_field="kind"):
    """`argv`: a program and its arguments, no shell."""

    argv: tuple[str, ...]


class Python(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="python", tag_field="kind"):
    """`python`: a function by name, called with keyword arguments in a process of its own."""

    function: str
    """`module:function`; the function may be `Class.method`."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """`with`: values; texts in them may hold expressions."""
    interpreter: str | None = None
    """Absolute path; None: the daemon's own."""


class File(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="file", tag_field="kind"):
    """`file`: one operation on files, in a process of the task's user."""

    operation: str
    """One of `FILE_OPERATIONS` of definition_process."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """As checked by the operation's table; texts may hold expressions."""


class Ssh(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="ssh", tag_field="kind"):
    """`ssh`: a script on another host, through OpenSSH. `host`, `user`, `identity` may hold expressions."""

    host: str
    script: str
    user: str | None = None
    port: int | None = None
    identity: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    """Of ssh_config(5)."""
    shell: tuple[str, ...] = ()
    """Argv before the script, on the other host; empty: bash in strict mode where it is, else sh."""


class Uses(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="uses", tag_field="kind"):
    """`uses`: what a plugin does, in a process of the task's user."""

    plugin: str
    arguments: dict[str, Any] = field(default_factory=dict)
    """`with`: its inputs; texts in them may hold expressions."""


class Reboot(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="reboot", tag_field="kind"):
    """`reboot`: restarts the host and ends, as a success, when the host is up again. In a process of root."""

    command: tuple[str, ...] = ()
    """Program and arguments; empty: `systemctl reboot` where there is systemctl, else `shutdown -r now`."""
    within_s: float = 600.0
    """A host that is still up after so long was not restarted: the attempt has failed."""


class JsonBody(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="json", tag_field="sort"):
    value: Any


class FormBody(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="form", tag_field="sort"):
    """URL-encoded; a list gives a name several times, null leaves it out."""

    values: dict[str, Any]


class FilePart(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file of a multipart body."""

    name: str
    path: str
    """Below the run's scratch folder."""
    filename: str = ""
    """As the server is told; empty: the last part of the path."""
    content_type: str = "application/octet-stream"


class MultipartBody(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="multipart", tag_field="sort"):
    files: tuple[FilePart, ...]
    values: dict[str, Any] = field(default_factory=dict)


class TextBody(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="text", tag_field="sort"):
    text: str


HttpBody = JsonBody | FormBody | MultipartBody | TextBody


class BasicAuth(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="basic", tag_field="sort"):
    user: str
    password: str


class BearerAuth(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="bearer", tag_field="sort"):
    token: str


class Tls(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Paths are absolute, and read by the daemon's user."""

    verify: bool = True
    ca_file: str = ""
    """In place of the host's certificate authorities."""
    cert_file: str = ""
    """The client's certificate, with its chain; with its key where `key_file` is empty."""
    key_file: str = ""
    min_version: str = "1.2"


class TextTest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that is given must hold."""

    equals: str | None = None
    contains: str | None = None
    matches: str | None = None
    """Of the dialect of `pattern`: a whole line of the text matches."""


class Expect(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What makes an answer a good one."""

    status: tuple[tuple[int, int], ...] = ((200, 299),)
    """Ranges, both ends included."""
    headers: dict[str, TextTest] = field(default_factory=dict)
    """By lower-cased name."""
    body: TextTest | None = None
    json: str = ""
    """Expression text over `body`, `status`, `headers`, `links` and all that a task sees; must be true."""


class Paginate(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Both are expression text, as `Expect.json`, asked of each page."""

    next: str
    """Gives the URL of the next page; null or empty: there is none."""
    items: str
    """Gives the list of a page."""
    max_pages: int = 100


class Http(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="http", tag_field="kind"):
    """`http`: a request, in the daemon's thread pool. Texts may hold expressions."""

    url: str
    method: str = "GET"
    headers: dict[str, Any] = field(default_factory=dict)
    query: dict[str, Any] = field(default_factory=dict)
    """Added to what the URL has; as `FormBody.values`."""
    body: HttpBody | None = None
    auth: BasicAuth | BearerAuth | None = None
    tls: Tls = Tls()
    expect: Expect = Expect()
    paginate: Paginate | None = None
    save_to: str = ""
    """A file below the run's scratch folder; empty: the body is an output."""
    max_bytes: int | None = None
    """Of a body, decoded; None: 1 MiB, and 1 GiB into a file."""
    redirects: int = 5
    idempotency_key: str = ""
    """`auto`: made of run, task and item, the same for all attempts."""
    allow_addresses: tuple[str, ...] = ()
    """Networks that are reached although they are link-local, of a cloud's metadata, or the like."""
    proxy: str = ""
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    """Longest silence of the server."""

    @property
    def safe_to_repeat(self) -> bool:
        """Rule I4: whether it may be sent again when nobody knows whether it arrived."""
        keyed = self.idempotency_key or any(name.lower() == "idempotency-key" for name in self.headers)
        return bool(keyed) or self.method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS")


class Call(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="workflow", tag_field="kind"):
    """`workflow`: a run of another workflow."""

    workflow: str
    arguments: dict[str, Any] = field(default_factory=dict)
    """`with`: its params; texts may hold expressions."""
    wait: bool = True
    key: str = ""
    """`idempotency_key`, a template (rule I2)."""


class OnTimeout(StrEnum):
    """What it means that nothing came in time."""

    REJECT = "reject"
    APPROVE = "approve"
    FAIL = "fail"
    SKIP = "skip"


class Approval(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="approval", tag_field="kind"):
    """`approval`: waits for a person, holding nothing (rule R7)."""

    message: str
    """A template."""
    allow: tuple[str, ...] = ()
    """`user:NAME` or `group:NAME`; empty: whoever may operate."""
    forbid_requester: bool = False
    timeout_s: float | None = None
    on_timeout: OnTimeout = OnTimeout.REJECT
    choices: tuple[str, ...] = ()
    """One of them is the output `choice`."""
    default: str | None = None
    """The choice of an approval that names none."""


class Wait(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="wait", tag_field="kind"):
    """`wait`: for a duration, until a time, or until a condition over the run holds; holds nothing. One of three."""

    for_s: float | None = None
    until: str = ""
    """An RFC 3339 time, `HH:MM` (the next such moment in the zone of the host), or a template of either."""
    condition: str = ""
    """Expression text, asked again whenever something happens in the run."""
    on_timeout: OnTimeout = OnTimeout.FAIL
    """What the task's `timeout` means: fail, or skip."""


class Notify(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="notify", tag_field="kind"):
    """`notify`: a message to a channel of the settings; spooled, so the task ends at once."""

    channel: str
    text: str
    """A template."""
    subject: str = ""


Kind = Shell | Argv | Python | File | Ssh | Uses | Reboot | Http | Call | Approval | Wait | Notify
"""Exactly one kind per task; a new kind is a struct here, a validator in `definition`, a runner."""
ProcessKind = Shell | Argv | Python | File | Ssh | Uses | Reboot
"""Kinds that the keeper runs as a process."""
PoolKind = Http
"""Kinds that the daemon's thread pool runs (rule I4)."""
