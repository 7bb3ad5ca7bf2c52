"""From a timer of systemd and the service that it starts to a draft of a workflow that does the same. Pure.

What cannot be said is an error where it changes what runs or when, and a remark where it only bounds or decorates it.
"""

from __future__ import annotations

import re
import shlex

from msgspec.structs import replace

from pyflowd.conversion import on_calendar, unit_file
from pyflowd.conversion.crontab_draft import escaped
from pyflowd.conversion.draft import Draft, DraftTask, Trigger
from pyflowd.conversion.unit_file import Command, Unit
from pyflowd.model.states import is_name
from pyflowd.units import duration_written

_MONOTONIC = ("OnActiveSec", "OnStartupSec", "OnUnitActiveSec", "OnUnitInactiveSec")
_SHELL = ("/bin/sh", "-c")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}", re.ASCII)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\$?", re.ASCII)

_TAKEN = frozenset(
    {"Type", "ExecStart", "ExecStartPre", "ExecStartPost", "User", "WorkingDirectory", "Environment", "EnvironmentFile",
     "TimeoutStartSec", "TimeoutSec", "TimeoutStopSec", "RuntimeMaxSec", "SuccessExitStatus", "KillMode", "Restart",
     "RestartSec"}
)  # fmt: skip
_WITHOUT_EFFECT = frozenset(
    {
        "RemainAfterExit",
        "SyslogIdentifier",
        "StandardInput",
        "GuessMainPID",
        "NotifyAccess",
        "KillSignal",
        "SendSIGKILL",
    }
)
_NEEDED = ("ExecCondition", "RootDirectory", "RootImage", "LoadCredential", "SetCredential", "StandardInputText")
"""Keys without which the service does something else."""
_STANDARD_PATHS = {"StandardOutput": ("journal", "inherit"), "StandardError": ("journal", "inherit")}
_UNIT_KEYS = ("OnFailure", "OnSuccess", "Requires", "Wants", "After", "Before", "BindsTo", "RequiresMountsFor")


def draft(timer: Unit, service: Unit, name: str, *, system: bool, user: str = "") -> Draft:
    """The workflow of a timer; `system`: it belongs to the system's manager, not to a user's.

    Raises ValueError, one line for each thing that cannot be said.
    """
    wrong: list[str] = []
    triggers = _triggers(timer, wrong)
    tasks = _tasks(service, name, wrong)
    env = _environment(service, wrong)
    env_files = _environment_files(service, wrong)
    wait_s = _boot_delay_s(timer, wrong)
    wrong += [f"{key}= of the service, without which it is another" for key in _NEEDED if service.all("Service", key)]
    if wrong:
        raise ValueError("\n".join(dict.fromkeys(wrong)))
    if wait_s:
        tasks = [DraftTask(name="wait", wait=duration_written(wait_s)), replace(tasks[0], needs="wait"), *tasks[1:]]
    return Draft(
        name=name,
        source=(f"From {timer.name} and {service.name}, by pyflowctl import timers",),
        description=" ".join((service.last("Unit", "Description") or timer.last("Unit", "Description")).split()),
        triggers=tuple(triggers),
        user=user or _user(service, system=system),
        shell=_SHELL if any(task.run for task in tasks) else (),
        cwd=_folder(service, system=system),
        env=env,
        env_files=env_files,
        leftover="allow" if service.last("Service", "KillMode") in ("process", "none") else "",
        tasks=tuple(tasks),
        remarks=(*_timer_remarks(timer, len(triggers)), *_service_remarks(service), *_unit_remarks(service)),
    )


# ---- When -----------------------------------------------------------------------------------------------------------


def _triggers(timer: Unit, wrong: list[str]) -> list[Trigger]:
    found = []
    jitter_s = _span_s(timer, "Timer", "RandomizedDelaySec", wrong) or 0
    for text in timer.all("Timer", "OnCalendar"):
        try:
            calendar = on_calendar.to_cron(text)
            found.append(Trigger(cron=calendar.cron, timezone=calendar.timezone, jitter_s=round(jitter_s)))
        except ValueError as error:
            wrong.append(str(error))
    if timer.all("Timer", "OnBootSec"):
        found.append(Trigger(cron="@reboot"))
    for key in _MONOTONIC:
        wrong.extend(
            f"{key}={text}: counted from the last run, which needs `every`; write OnCalendar= instead"
            for text in timer.all("Timer", key)
        )
    if not found and not wrong:
        wrong.append("the timer has neither OnCalendar= nor OnBootSec=")
    return found


def _boot_delay_s(timer: Unit, wrong: list[str]) -> float:
    """Seconds to wait after a start of the host, where that is the only trigger."""
    delay_s = _span_s(timer, "Timer", "OnBootSec", wrong) or 0.0
    if delay_s and timer.all("Timer", "OnCalendar"):
        wrong.append("OnBootSec= beside OnCalendar=: the delay would hold for both; keep one of them")
    return delay_s


def _span_s(unit: Unit, section: str, key: str, wrong: list[str]) -> float | None:
    """Seconds; None where the key is not there, or is `infinity`."""
    text = unit.last(section, key)
    if not text:
        return None
    try:
        return unit_file.span_s(text)
    except ValueError as error:
        wrong.append(f"{key}=: {error}")
        return None


def _timer_remarks(timer: Unit, triggers: int) -> list[str]:
    found = []
    if unit_file.is_true(timer.last("Timer", "Persistent")):
        found.append("Persistent=: what was missed while the host was down is not made up for in this version")
    if accuracy := timer.last("Timer", "AccuracySec"):
        found.append(f"AccuracySec={accuracy}: PyFlow fires at the second")
    if timer.last("Timer", "RandomizedDelaySec"):
        found.append("RandomizedDelaySec=: here it is the same delay each time, as with FixedRandomDelay=true")
    if unit_file.is_true(timer.last("Timer", "WakeSystem")):
        found.append("WakeSystem=: PyFlow wakes no host that sleeps")
    if triggers > 1:
        found.append("several OnCalendar=: where two fire at once, systemd starts it once, PyFlow skips the second")
    return found


# ---- What -----------------------------------------------------------------------------------------------------------


def _tasks(service: Unit, name: str, wrong: list[str]) -> list[DraftTask]:
    """The commands, one after the other."""
    timeout_s = _span_s(service, "Service", "TimeoutStartSec", wrong) or _span_s(
        service, "Service", "TimeoutSec", wrong
    )
    timeout_s = _span_s(service, "Service", "RuntimeMaxSec", wrong) or timeout_s
    grace_s = _span_s(service, "Service", "TimeoutStopSec", wrong)
    codes = _success_codes(service)
    tasks: list[DraftTask] = []
    taken: set[str] = set()
    for key in ("ExecStartPre", "ExecStart", "ExecStartPost"):
        for text in service.all("Service", key):
            try:
                for command in unit_file.commands(unit_file.specifiers(text, service.name)):
                    made = _task(command, _task_name(command, taken, name if key == "ExecStart" else ""))
                    tasks.append(
                        replace(
                            made,
                            needs=tasks[-1].name if tasks else "",
                            timeout=duration_written(timeout_s) if timeout_s else "",
                            kill_grace=duration_written(grace_s) if grace_s else "",
                            success_codes=codes if key == "ExecStart" else (),
                        )
                    )
            except ValueError as error:
                wrong.append(f"{key}=: {error}")
    if not tasks and not wrong:
        wrong.append(f"{service.name} has no ExecStart=")
    return tasks


def _task_name(command: Command, taken: set[str], wanted: str) -> str:
    base = re.sub(r"[^A-Za-z0-9_-]+", "-", command.words[0].rpartition("/")[2]).strip("-_")[:58]
    base = wanted if wanted and wanted not in taken else base if is_name(base) else "step"
    name, count = base, 1
    while name in taken:
        count += 1
        name = f"{base}-{count}"
    taken.add(name)
    return name


def _task(command: Command, name: str) -> DraftTask:
    """Variables in words are filled in by a shell, as there is no other that knows them all."""
    words = list(command.words)
    if "@" in command.prefixes:
        if len(words) < 2:
            raise ValueError("@ before a program without the name that it is to be called by")
        del words[1]
    user = "root" if "+" in command.prefixes else ""
    ignored = "-" in command.prefixes
    if ":" in command.prefixes or not any("$" in word for word in words):
        argv = (words[0], *(escaped(word) for word in words[1:]))
        return DraftTask(name=name, argv=argv, user=user, continue_on_error=ignored)
    alone = any(found[2] for word in words if (found := _VARIABLE.fullmatch(word)))
    run = ("set -f; " if alone else "") + "exec " + " ".join(_shell_word(word) for word in words)
    return DraftTask(name=name, run=run, user=user, continue_on_error=ignored)


def _shell_word(word: str) -> str:
    """A word with variables: `${X}` stays one word, `$X` alone is split, `$$` is a dollar."""
    alone = _VARIABLE.fullmatch(word)
    if alone and alone[2]:
        return f"${{{alone[2]}}}"
    parts, at = [], 0
    for found in re.finditer(r"\$\$|" + _VARIABLE.pattern, word):
        parts.append(shlex.quote(word[at : found.start()]) if found.start() > at else "")
        name = found[1] or found[2]
        parts.append(f'"${{{name}}}"' if name else "'$'")
        at = found.end()
    parts.append(shlex.quote(word[at:]) if at < len(word) or not word else "")
    return "".join(parts)


def _success_codes(service: Unit) -> tuple[int, ...]:
    found = " ".join(service.all("Service", "SuccessExitStatus")).split()
    return tuple(int(word) for word in found if word.isdigit() and 0 < int(word) < 256)


# ---- As whom, where, with what --------------------------------------------------------------------------------------


def _user(service: Unit, *, system: bool) -> str:
    user = unit_file.specifiers(service.last("Service", "User"), service.name)
    if user and not _USER.fullmatch(user):
        raise ValueError(f"User={user[:40]} is no name of a user")
    return user or ("root" if system else "")


def _folder(service: Unit, *, system: bool) -> str:
    folder = unit_file.specifiers(service.last("Service", "WorkingDirectory"), service.name).removeprefix("-")
    if folder == "~":
        return ""
    return escaped(folder) or ("/" if system else "")


def _environment(service: Unit, wrong: list[str]) -> dict[str, str]:
    env: dict[str, str] = {}
    for text in service.all("Service", "Environment"):
        try:
            for word in unit_file.words(unit_file.specifiers(text, service.name)):
                name, equals, value = word.partition("=")
                if not equals or not _ENV_NAME.fullmatch(name) or name.startswith(("PYFLOW_", "PARAM_")):
                    raise ValueError(f"{word[:60]} is no variable that a task may have")
                env[name] = escaped(value)
        except ValueError as error:
            wrong.append(f"Environment=: {error}")
    return env


def _environment_files(service: Unit, wrong: list[str]) -> tuple[str, ...]:
    found = []
    for text in service.all("Service", "EnvironmentFile"):
        try:
            path = unit_file.specifiers(text, service.name)
            if not path.removeprefix("-").startswith("/") or re.search(r"[*?\[]", path):
                raise ValueError(f"{path[:80]}: name one file, by its absolute path")
            found.append(path)
        except ValueError as error:
            wrong.append(f"EnvironmentFile=: {error}")
    return tuple(found)


def _service_remarks(service: Unit) -> list[str]:
    keys = [key for key in service.sections.get("Service", {}) if service.all("Service", key)]
    found = []
    if (kind := service.last("Service", "Type")) not in ("", "oneshot", "simple", "exec"):
        found.append(f"Type={kind}: the task ends when its first process does")
    if service.last("Service", "WorkingDirectory").startswith("-"):
        found.append("WorkingDirectory=-: here the task fails where the folder is missing")
    for key, usual in _STANDARD_PATHS.items():
        value = service.last("Service", key)
        if value and value.partition("+")[0] not in usual:
            found.append(f"{key}={value}: PyFlow keeps what it prints (pyflowctl logs)")
    if restart := service.last("Service", "Restart"):
        found.append(f"Restart={restart}: not taken over; retry: says how often a task is tried, and how long it waits")
    marks = {mark for key in ("ExecStart", "ExecStartPre", "ExecStartPost") for text in service.all("Service", key)
             for mark in text[: len(text) - len(text.lstrip("@-:+!"))]}  # fmt: skip
    if "!" in marks:
        found.append("! before a program: it runs as the user, with nothing of what systemd would leave it")
    if "@" in marks:
        found.append("@ before a program: it is called by its own name")
    known = _TAKEN | _WITHOUT_EFFECT | _STANDARD_PATHS.keys() | set(_NEEDED)
    if left := [key for key in keys if key not in known and not key.startswith("X-")]:
        found.append(f"not taken over: {', '.join(sorted(left))}; what they forbid or limit is no longer forbidden")
    return found


def _unit_remarks(service: Unit) -> list[str]:
    keys = [key for key in service.sections.get("Unit", {}) if service.all("Unit", key)]
    conditions = [key for key in keys if key.startswith(("Condition", "Assert"))]
    found = [f"{key}={service.last('Unit', key)}: it runs without looking" for key in conditions]
    if left := [key for key in keys if key in _UNIT_KEYS]:
        found.append(f"not taken over: {', '.join(sorted(left))}; PyFlow starts it whatever other units do")
    return found
