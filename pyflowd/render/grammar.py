"""The command line as data: commands, options, arguments, their help and examples.

One table from which the parser, the help, the completion and the tests of the manual page work. It knows nothing of
requests.
"""

from __future__ import annotations

from msgspec import Struct

OUTPUTS = ("table", "json")
COLOURS = ("auto", "always", "never")
SHELLS = ("bash", "zsh", "fish")
IMPORTS = ("cron", "timers")
EXPORTS = ("systemd",)
SECRET_ACTIONS = ("set", "list", "rm", "rekey")
TOKEN_ACTIONS = ("create", "list", "revoke")
LEVELS = ("read", "operate", "admin")
RUN_STATES = ("queued", "running", "succeeded", "failed", "cancelled")
FATES = ("fired", "skipped")
DST_RULES = ("debian", "skip", "both")


class Option(Struct, frozen=True, kw_only=True):
    """`names`: all spellings, the first long one names the value; `value`: its placeholder, empty for a switch."""

    names: tuple[str, ...]
    help: str
    value: str = ""
    choices: tuple[str, ...] = ()
    repeat: bool = False
    kind: str = ""
    """What completion offers for the value: `workflow`, `paused` (a workflow), `run`, `live-run`, `waiting-run` (with
    an approval), `task` (of the run named before), `task-of` (of the workflow named before), `item` (bad or running
    ones), `approval`, `artifact`, `param`, `version` (a workflow, after its @ one of its texts), `file`, `import`,
    `export`, `code` (of a problem)."""

    @property
    def key(self) -> str:
        return next(name for name in self.names if name.startswith("--")).removeprefix("--")

    @property
    def usage(self) -> str:
        return ", ".join(self.names) + (f" {self.value}" if self.value else "")


class Argument(Struct, frozen=True, kw_only=True):
    name: str
    """Its placeholder, such as `WORKFLOW`, `RUN|WORKFLOW`."""
    required: bool = True
    many: bool = False
    kind: str = ""
    """What completion offers: the kinds of `Option.kind`, `command`, `shell`, `clear` (that word),
    `secret-action`, `secret`, `token-action`, `token`; several joined by `|`."""

    @property
    def usage(self) -> str:
        shown = self.name + ("..." if self.many else "")
        return shown if self.required else f"[{shown}]"


class CommandSpec(Struct, frozen=True, kw_only=True):
    name: str
    summary: str
    arguments: tuple[Argument, ...] = ()
    options: tuple[Option, ...] = ()
    exclusive: tuple[tuple[str, ...], ...] = ()
    """Sets of option keys of which at most one may be given."""
    example: str
    note: str = ""

    @property
    def usage(self) -> str:
        options = [f"[{option.usage}]" for option in self.options]
        return " ".join(["pyflowctl", self.name, *(argument.usage for argument in self.arguments), *options])


GLOBAL_OPTIONS = (
    Option(names=("--root",), value="DIR", help="the daemon that keeps everything below DIR", kind="file"),
    Option(names=("--socket",), value="PATH", help="the daemon that listens at PATH", kind="file"),
    Option(names=("-o", "--output"), value="FORMAT", choices=OUTPUTS, help="table (for people) or json"),
    Option(names=("--colour", "--color"), value="WHEN", choices=COLOURS, help="auto, always or never"),
    Option(names=("-h", "--help"), help="help about the command"),
)
_RUN_OR_WORKFLOW = Argument(name="RUN|WORKFLOW", kind="run|workflow")
_WORKFLOW = Argument(name="WORKFLOW", kind="workflow")
_VERSION = Argument(name="WORKFLOW[@VERSION]", kind="version")
_ANY_WORKFLOW = Argument(name="WORKFLOW", kind="workflow", required=False)
_WAIT = Option(names=("--wait",), help="wait for the end; the run's outcome is the exit status")
_FOLLOW_RUN = Option(names=("--follow",), help="show output as it comes, and wait for the end")
_NO_CACHE = Option(names=("--no-cache",), help="use no earlier success again; keep what this run gives")
_SINCE = Option(names=("--since",), value="T", help="from T on: a duration ago (2h), a date, or a time")
_LEVEL = Option(names=("--level",), value="LEVEL", choices=LEVELS, help="at most this: read, operate or admin")
_LIMIT = Option(names=("-n", "--limit"), value="N", help="at most N of them")

COMMANDS = (
    CommandSpec(
        name="status",
        summary="the host at a glance; of a run or workflow: its tasks",
        arguments=(Argument(name="RUN|WORKFLOW", kind="run|workflow", required=False),),
        options=(Option(names=("--items",), help="all items of fan-outs, not only those that run or failed"),),
        example="pyflowctl status nightly-backup",
        note="A workflow's name means its newest run.",
    ),
    CommandSpec(
        name="list",
        summary="workflows: state, next slot, last outcome",
        example="pyflowctl list -o json",
    ),
    CommandSpec(
        name="run",
        summary="record a run of a workflow, or of a file",
        arguments=(Argument(name="WORKFLOW|FILE", kind="workflow|file"),),
        options=(
            Option(
                names=("-p", "--param"), value="NAME=VALUE", help="a param of the workflow", repeat=True, kind="param"
            ),
            Option(names=("--key",), value="KEY", help="the same key again gives the first run, not a second"),
            _WAIT,
            _FOLLOW_RUN,
            Option(names=("--dry-run",), help="show what would run, record nothing"),
            Option(names=("--only",), value="TASK", help="only TASK and what it needs", repeat=True, kind="task-of"),
            _NO_CACHE,
            Option(names=("--for",), value="FROM..TO", help="a backfill: one run for each slot of that time"),
            Option(names=("--trigger",), value="NAME", help="with --for: the schedule whose slots are meant"),
            Option(names=("--only-missing",), help="with --for: leave out slots with a run that has succeeded"),
            Option(names=("--parallel",), value="N", help="with --for: at most N runs at once (1)"),
            Option(names=("--newest-first",), help="with --for: begin with the newest slot"),
        ),
        exclusive=(
            ("dry-run", "wait"),
            ("dry-run", "follow"),
            ("dry-run", "key"),
            ("for", "wait"),
            ("for", "follow"),
            ("for", "key"),
            ("for", "only"),
            ("for", "no-cache"),
        ),
        example="pyflowctl run deploy -p version=1.4.2 --wait",
        note="A name with a slash, or that ends in .yaml, .yml or .json, is a file; the client reads it.",
    ),
    CommandSpec(
        name="logs",
        summary="what tasks said",
        arguments=(_RUN_OR_WORKFLOW, Argument(name="TASK", kind="task|item", required=False)),
        options=(
            Option(names=("-f", "--follow"), help="go on as output comes, until the run has ended"),
            Option(names=("-n", "--lines"), value="N", help="only the last N lines"),
            _SINCE,
            Option(names=("--raw",), help="the bytes as the tasks wrote them: no time, no task names"),
            Option(names=("--all-attempts",), help="every attempt of a task, not the newest only"),
        ),
        example="pyflowctl logs 42 dump --since 10m",
        note="A workflow's name means its newest run. A fan-out is all its items, 'fetch[web1]' is one of them.",
    ),
    CommandSpec(
        name="history",
        summary="runs, the newest first; or how a definition changed",
        arguments=(_ANY_WORKFLOW,),
        options=(
            Option(names=("--definition",), help="the versions of WORKFLOW: when each came into force, and why"),
            Option(names=("--state",), value="STATE", choices=RUN_STATES, help="only runs in this state"),
            _SINCE,
            Option(names=("--before",), value="RUN", help="only older runs: the page after one that ended with RUN"),
            _LIMIT,
        ),
        exclusive=(("definition", "state"), ("definition", "since"), ("definition", "before")),
        example="pyflowctl history nightly-backup --state failed --since 7d",
    ),
    CommandSpec(
        name="cancel",
        summary="stop a run; a second time kills at once",
        arguments=(
            Argument(name="RUN|WORKFLOW", kind="live-run", required=False),
            Argument(name="TASK", kind="task|item", required=False),
        ),
        options=(Option(names=("--backfill",), value="N", help="all of backfill N: no further runs, none left live"),),
        example="pyflowctl cancel 42",
        note="A workflow's name means its newest run that has not ended.\n"
        "With TASK only that task is stopped, or one item of it: 'fetch[web1]'.",
    ),
    CommandSpec(
        name="approvals",
        summary="what waits for an answer",
        example="pyflowctl approvals",
    ),
    CommandSpec(
        name="approve",
        summary="say yes to an approval",
        arguments=(Argument(name="RUN|WORKFLOW", kind="waiting-run"), Argument(name="TASK", kind="approval")),
        options=(
            Option(names=("--comment",), value="TEXT", help="why; it is kept with the run"),
            Option(names=("--choose",), value="VALUE", help="one of the choices that the approval offers"),
        ),
        example='pyflowctl approve 42 approve --comment "canary is green"',
        note="A workflow's name means its newest run in which TASK waits.",
    ),
    CommandSpec(
        name="reject",
        summary="say no to an approval: its task fails",
        arguments=(Argument(name="RUN|WORKFLOW", kind="waiting-run"), Argument(name="TASK", kind="approval")),
        options=(Option(names=("--comment",), value="TEXT", help="why; it is kept with the run"),),
        example='pyflowctl reject 42 approve --comment "not on a Friday"',
        note="A workflow's name means its newest run in which TASK waits.",
    ),
    CommandSpec(
        name="artifacts",
        summary="files kept with a run: list them, or fetch one",
        arguments=(
            _RUN_OR_WORKFLOW,
            Argument(name="TASK", kind="task|item", required=False),
            Argument(name="NAME", kind="artifact", required=False),
        ),
        options=(
            Option(names=("--to",), value="FILE", help="where the file goes (NAME); - is standard output", kind="file"),
            Option(names=("--force",), help="replace FILE if it is there"),
        ),
        example="pyflowctl artifacts 42 build dist --to dist.tar.zst",
        note="A workflow's name means its newest run. Without NAME they are listed.",
    ),
    CommandSpec(
        name="cache",
        summary="successes that are kept to be used again: list, or clear",
        arguments=(
            Argument(name="WORKFLOW|clear", required=False, kind="workflow|clear"),
            Argument(name="WORKFLOW", required=False, kind="workflow"),
            Argument(name="TASK", required=False, kind="task-of"),
        ),
        example="pyflowctl cache clear nightly-report extract",
        note="Without clear they are listed, of WORKFLOW or of all. A task says with cache: that it may be kept.",
    ),
    CommandSpec(
        name="backfills",
        summary="runs for slots of the past: how far they are",
        options=(_LIMIT,),
        example="pyflowctl backfills",
        note="`pyflowctl run WORKFLOW --for FROM..TO` asks for one, `pyflowctl cancel --backfill N` ends it.",
    ),
    CommandSpec(
        name="rerun",
        summary="do a run again",
        arguments=(_RUN_OR_WORKFLOW,),
        options=(
            Option(names=("--failed",), help="keep the tasks that succeeded"),
            Option(names=("--from",), value="TASK", help="only TASK and what comes after it", kind="task"),
            Option(names=("--latest",), help="with the definition in force, not the one the run began with"),
            _NO_CACHE,
            _WAIT,
            _FOLLOW_RUN,
        ),
        exclusive=(("failed", "from"),),
        example="pyflowctl rerun 42 --failed --wait",
        note="A workflow's name means its newest run.",
    ),
    CommandSpec(
        name="wait",
        summary="wait for the end of a run",
        arguments=(_RUN_OR_WORKFLOW,),
        options=(_FOLLOW_RUN,),
        example="pyflowctl wait 42",
        note="A workflow's name means its newest run. The run's outcome is the exit status.",
    ),
    CommandSpec(
        name="seen",
        summary="take note of a run that failed, for everybody to see",
        arguments=(Argument(name="RUN", kind="run"),),
        options=(Option(names=("--undo",), help="it is to be looked at again"),),
        example="pyflowctl seen 42",
        note="Nothing of the run changes; who took note, and when, stands in status and on the dashboard.",
    ),
    CommandSpec(
        name="pause",
        summary="switch the schedules of a workflow off",
        arguments=(_WORKFLOW,),
        example="pyflowctl pause nightly-backup",
    ),
    CommandSpec(
        name="resume",
        summary="switch the schedules of a workflow on again",
        arguments=(Argument(name="WORKFLOW", kind="paused"),),
        example="pyflowctl resume nightly-backup",
        note="Slots that passed while it was paused are not made up for.",
    ),
    CommandSpec(
        name="show",
        summary="the definition in force, or one that was",
        arguments=(_VERSION,),
        options=(Option(names=("--origin",), help="every value, and the file and line it comes from"),),
        example="pyflowctl show nightly-backup",
    ),
    CommandSpec(
        name="diff",
        summary="what differs between two versions of a definition, or two runs",
        arguments=(
            Argument(name="WORKFLOW[@VERSION]|RUN", kind="version|run"),
            Argument(name="WORKFLOW[@VERSION]|RUN", kind="version|run", required=False),
        ),
        example="pyflowctl diff nightly-backup",
        note="One WORKFLOW: the version before against the one in force.\nExit status 0 also where something differs.",
    ),
    CommandSpec(
        name="lint",
        summary="check workflow files, without a daemon",
        arguments=(Argument(name="FILE", kind="file", required=False, many=True),),
        options=(
            Option(names=("--strict",), help="a warning counts as an error"),
            Option(names=("--explain",), value="CODE", help="what a code means, with an example", kind="code"),
            Option(names=("--codes",), help="all codes, with a line about each"),
        ),
        exclusive=(("explain", "codes"), ("explain", "strict"), ("codes", "strict")),
        example="pyflowctl lint workflows/*.yaml",
        note="Exit status 0: no errors; 1: at least one.",
    ),
    CommandSpec(
        name="fix",
        summary="move expressions out of shell text, without a daemon",
        arguments=(Argument(name="FILE", kind="file", many=True),),
        options=(Option(names=("--dry-run",), help="show the change, write nothing"),),
        example="pyflowctl fix --dry-run workflows/deploy.yaml",
        note="Exit status 0: nothing is left to do; 1: something is.",
    ),
    CommandSpec(
        name="import",
        summary="crontabs or systemd timers to workflow files, with proof of equal firings",
        arguments=(
            Argument(name="cron|timers", kind="import"),
            Argument(name="FILE", kind="file", many=True, required=False),
        ),
        options=(
            Option(names=("--system",), help="cron: with a user column, as /etc/crontab and files of cron.d"),
            Option(names=("--user",), value="NAME", help="whose crontab it is: its jobs run as NAME"),
            Option(names=("--to",), value="DIR", help="where the files go (the workflows folder)", kind="file"),
            Option(names=("--dry-run",), help="show the files and the proof, write nothing"),
            Option(names=("--force",), help="replace files that are there"),
        ),
        exclusive=(("system", "user"),),
        example="pyflowctl import cron --system --dry-run /etc/crontab /etc/cron.d/*",
        note="No daemon is asked. FILE may be - for standard input: crontab -l | pyflowctl import cron -\n"
        "Timers may be named by their units; without FILE those of /etc/systemd/system are meant.\n"
        "Exit status 0: all was imported; 1: something was not.",
    ),
    CommandSpec(
        name="export",
        summary="a workflow as systemd units, to leave again",
        arguments=(Argument(name="systemd", kind="export"), Argument(name="WORKFLOW|FILE", kind="file")),
        options=(
            Option(names=("--to",), value="DIR", help="where the units go (the current folder)", kind="file"),
            Option(names=("--dry-run",), help="show the files, write nothing"),
            Option(names=("--force",), help="replace files that are there"),
        ),
        example="pyflowctl export systemd nightly-backup --to /etc/systemd/system",
        note="No daemon is asked. What systemd cannot do is refused, or remarked on, one by one.\n"
        "Exit status 0: written; 6: refused.",
    ),
    CommandSpec(
        name="kinds",
        summary="kinds of task: those that are built in, and plugins",
        arguments=(Argument(name="NAME", kind="kind", required=False),),
        example="pyflowctl kinds sql",
        note="With NAME: its inputs with types and defaults, its outputs, an example. It needs no daemon.",
    ),
    CommandSpec(
        name="schema",
        summary="the JSON Schema of workflow files, for editors, without a daemon",
        options=(Option(names=("--settings",), help="that of pyflowd.yaml instead"),),
        example="pyflowctl schema > workflow.schema.json",
    ),
    CommandSpec(
        name="graph",
        summary="the tasks and what they wait for, drawn",
        arguments=(Argument(name="WORKFLOW|RUN", kind="workflow|run"),),
        example="pyflowctl graph 42",
    ),
    CommandSpec(
        name="next",
        summary="coming slots; of a bare cron expression, without a daemon",
        arguments=(_ANY_WORKFLOW,),
        options=(
            _LIMIT,
            Option(names=("--cron",), value="EXPR", help="slots of this expression"),
            Option(names=("--timezone",), value="TZ", help="with --cron: its time zone"),
            Option(names=("--from",), value="T", help="with --cron: slots after T, not after now"),
            Option(names=("--dst",), value="RULE", choices=DST_RULES, help="with --cron: rule for clock changes"),
        ),
        example='pyflowctl next --cron "30 2 * * 1-5" --timezone Europe/Berlin -n 3',
    ),
    CommandSpec(
        name="simulate",
        summary="what the host will do: what starts, waits, is skipped; what a changed file changes",
        arguments=(Argument(name="WORKFLOW", kind="workflow", required=False, many=True),),
        options=(
            Option(names=("--from",), value="T", help="from T on (now): a time, or a duration from now"),
            Option(names=("--to",), value="T", help="until T (a day): a time, or a duration after --from"),
            Option(
                names=("--file",),
                value="FILE",
                repeat=True,
                kind="file",
                help="as if FILE were in force, with what that changes",
            ),
            Option(names=("--duration",), value="D", help="what a task without history takes (60s)"),
            Option(names=("--slow",), help="tasks take as long as nine of ten of their runs do, not as every other"),
            Option(names=("--all",), help="every slot, also where there are many"),
        ),
        example="pyflowctl simulate --to 7d --file new/nightly-backup.yaml",
        note="Nothing is run, recorded or changed.\nAll of the host are simulated; WORKFLOW says of which to tell.",
    ),
    CommandSpec(
        name="slots",
        summary="the ledger of slots: what fired, what was skipped and why",
        arguments=(_ANY_WORKFLOW,),
        options=(
            Option(names=("--events",), help="what reached event triggers, instead of slots"),
            _SINCE,
            Option(names=("--until",), value="T", help="before T, written as for --since"),
            Option(names=("--fate",), value="FATE", choices=FATES, help="only slots of this fate"),
            _LIMIT,
        ),
        example="pyflowctl slots nightly-backup --since 7d",
    ),
    CommandSpec(
        name="explain",
        summary="why something has not run, waits, was skipped, or failed",
        arguments=(_RUN_OR_WORKFLOW, Argument(name="TASK", kind="task|item", required=False)),
        options=(
            Option(
                names=("--at", "--slot"), value="T", help="the slot of the workflow at T: what became of it, and why"
            ),
            Option(names=("--all",), help="every fact, not only as many as fit a screen"),
        ),
        example="pyflowctl explain nightly-backup --at 02:30",
        note="With TASK a workflow's name means its newest run. `explain RUN` also says why a run ended as it did.",
    ),
    CommandSpec(
        name="hook",
        summary="deliver to a hook, as a web server would, to try it",
        arguments=(Argument(name="send"), Argument(name="HOOK")),
        options=(
            Option(names=("--body",), value="FILE", help="what is delivered; - is standard input", kind="file"),
            Option(names=("--header",), value="NAME:VALUE", help="a header, such as that of a signature", repeat=True),
            Option(names=("--unsigned",), help="take it without a signature; administrators may"),
        ),
        example="pyflowctl hook send deploy --body push.json --header X-GitHub-Event:push --unsigned",
        note="A body that begins as JSON is delivered as such, another one as text, unless a header says.",
    ),
    CommandSpec(
        name="events",
        summary="what happened, in order",
        options=(
            Option(names=("-f", "--follow"), help="go on as events come"),
            _LIMIT,
            Option(names=("--run",), value="RUN", help="only those of one run", kind="run"),
            Option(names=("--after",), value="EVENT", help="all after this one; -o json has their numbers"),
        ),
        example="pyflowctl events -f --run 42",
    ),
    CommandSpec(
        name="notify",
        summary="send a message to a channel, to try it",
        arguments=(Argument(name="CHANNEL"), Argument(name="TEXT")),
        example='pyflowctl notify oncall "can you read this?"',
        note="It is recorded and sent at once; `pyflowctl notifications` shows whether it got through.",
    ),
    CommandSpec(
        name="notifications",
        summary="messages: what was sent, what waits and why",
        options=(_LIMIT,),
        example="pyflowctl notifications -n 50",
    ),
    CommandSpec(
        name="audit",
        summary="who changed what, and who was refused; for administrators",
        options=(
            _LIMIT,
            _SINCE,
            Option(names=("--user",), value="NAME", help="only what this account did"),
            Option(names=("--workflow",), value="NAME", help="only what was done to this workflow", kind="workflow"),
        ),
        example="pyflowctl audit --user alice --since 7d",
        note="Newest first. Who it was tells the kernel; a record is never changed, and kept for audit_age.",
    ),
    CommandSpec(
        name="places",
        summary="locks, pools and groups: who holds them, who waits",
        example="pyflowctl places",
    ),
    CommandSpec(
        name="secret",
        summary="the encrypted store of secrets: set, list, rm, rekey",
        arguments=(
            Argument(name="set|list|rm|rekey", kind="secret-action"),
            Argument(name="NAME", kind="secret", required=False),
        ),
        options=(
            Option(names=("--file",), value="FILE", help="with set: read the value from FILE; - is stdin", kind="file"),
        ),
        example="pyflowctl secret set db-password",
        note="The value is typed unseen, or piped, or read from FILE; one newline at its end is dropped.\n"
        "No command prints a value.",
    ),
    CommandSpec(
        name="token",
        summary="tokens of programs that speak for you: create, list, revoke",
        arguments=(
            Argument(name="create|list|revoke", kind="token-action"),
            Argument(name="TOKEN", kind="token", required=False),
        ),
        options=(
            Option(names=("--label",), value="TEXT", help="with create: what it is for"),
            _LEVEL,
            Option(names=("--expires",), value="D", help="with create: after so long (90d), or never"),
        ),
        example="pyflowctl token create --label prometheus --level read",
        note="A token may never do more than its account may at that moment. Its text is shown once.",
    ),
    CommandSpec(
        name="dashboard",
        summary="a link that logs you in to the dashboard, once; it lasts a minute",
        options=(
            _LEVEL,
            Option(names=("--no-login",), help="only name and serve the dashboard"),
            Option(names=("--port",), value="N", help="of an instance of your own: serve it at this port"),
        ),
        example="pyflowctl dashboard",
        note="The service pyflow-web serves that of the system's instance.\n"
        "That of one of your own this command serves, until Ctrl-C.",
    ),
    CommandSpec(
        name="reload",
        summary="look at the workflows folder and the settings now",
        example="pyflowctl reload",
        note="Settings with a mistake change nothing, and what needs a restart is named.",
    ),
    CommandSpec(
        name="drain",
        summary="start no task from now on; what runs goes on, what comes waits",
        options=(Option(names=("--wait",), help="return when no task runs any more"),),
        example="pyflowctl drain --wait",
        note="It holds over restarts, until: pyflowctl undrain",
    ),
    CommandSpec(
        name="undrain",
        summary="let tasks start again",
        example="pyflowctl undrain",
    ),
    CommandSpec(
        name="backup",
        summary="a copy of the instance as it is now, proven by restoring it",
        arguments=(Argument(name="FILE", kind="file"),),
        options=(
            Option(names=("--with-logs",), help="logs and artifacts, too"),
            Option(names=("--force",), help="replace FILE if it is there"),
        ),
        example="pyflowctl backup /srv/backup/pyflow.tar.gz",
        note="The key of the encrypted secrets is not in it: keep a copy of that elsewhere.\n"
        "Exit status 0: the copy is whole; 1: it is there, and something is wrong with it.",
    ),
    CommandSpec(
        name="restore",
        summary="put a backup in the place of the store, while no daemon runs",
        arguments=(Argument(name="FILE", kind="file"),),
        options=(
            Option(names=("--into",), value="DIR", help="below DIR, as with --root", kind="file"),
            Option(names=("--force",), help="also where there is a store with runs: it is set aside"),
        ),
        exclusive=(("into", "root"), ("into", "socket")),
        example="pyflowctl restore pyflow.tar.gz --into /tmp/look",
        note="Nothing is removed. Runs that were live in the backup are ended.\nSlots since then are not made up for.",
    ),
    CommandSpec(
        name="fsck",
        summary="check all of the store: its file, and every run against its events",
        example="pyflowctl fsck",
        note="With a daemon from a snapshot, without one from the files.\nExit status 0: nothing found; 1: something.",
    ),
    CommandSpec(
        name="doctor",
        summary="check the installation, with what to do about each finding",
        example="pyflowctl doctor",
        note="Exit status 0: no errors.",
    ),
    CommandSpec(
        name="version",
        summary="versions of the client and the daemon",
        example="pyflowctl version",
    ),
    CommandSpec(
        name="help",
        summary="help, in whole or about one command",
        arguments=(Argument(name="COMMAND", kind="command", required=False),),
        example="pyflowctl help run",
    ),
    CommandSpec(
        name="completion",
        summary="the completion script of a shell",
        arguments=(Argument(name="SHELL", kind="shell"),),
        example="pyflowctl completion bash > /etc/bash_completion.d/pyflowctl",
    ),
)
BY_NAME = {spec.name: spec for spec in COMMANDS}
LATER = ("top", "trigger")
"""Commands that the design names and this version does not have."""
NEWCOMER = ("status", "list", "run", "logs", "history")


def global_usage() -> str:
    return "pyflowctl [--root DIR | --socket PATH] [-o table|json] COMMAND"


def short_help() -> str:
    """What a bare `pyflowctl` prints: the commands that a newcomer needs."""
    lines = [f"usage: {global_usage()}", ""]
    lines += [f"  {name:<9}{BY_NAME[name].summary}" for name in NEWCOMER]
    lines += ["", "`pyflowctl help` names all commands, `pyflowctl help COMMAND` explains one."]
    return "\n".join(lines) + "\n"


def full_help() -> str:
    lines = [f"usage: {global_usage()}", "", "Commands:"]
    lines += [f"  {spec.name:<15}{spec.summary}" for spec in COMMANDS]
    lines += ["", "Options of every command:", *_option_lines(GLOBAL_OPTIONS)]
    lines += ["", "Exit status: 0 done, 1 the run failed, 2 usage, 3 not found, 4 no daemon or no answer in time,"]
    lines += ["5 not allowed, 6 refused, 7 cancelled. More: man pyflowctl"]
    return "\n".join(lines) + "\n"


def command_help(spec: CommandSpec) -> str:
    lines = [f"usage: {spec.usage}", "", spec.summary[0].upper() + spec.summary[1:] + "."]
    if spec.note:
        lines.append(spec.note)
    if spec.options:
        lines += ["", "Options:", *_option_lines(spec.options)]
    lines += ["", "Options of every command:", *_option_lines(GLOBAL_OPTIONS), "", "Example:", f"  {spec.example}"]
    return "\n".join(lines) + "\n"


def _option_lines(options: tuple[Option, ...]) -> list[str]:
    return [f"  {option.usage:<24}{option.help}" for option in options]
