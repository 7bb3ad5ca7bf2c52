"""What the reader of typed texts is asked, and what it answers. Types and words only."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from pyflowd.model.problem import Problem

STARTS: dict[str, Any] = {
    "run": "echo hello",
    "argv": ["echo", "hello"],
    "python": "module:function",
    "http": "https://example.com/",
    "workflow": "another-workflow",
    "approval": "Go on?",
    "wait": "10m",
}
"""What a new task of a kind begins with, to be written over."""


class Text(Struct, frozen=True, kw_only=True):
    """A definition as it is typed."""

    file: str
    """Its name in the folder: how messages name it."""
    data: bytes


class Check(Struct, frozen=True, kw_only=True, tag="check"):
    """-> Checked."""

    text: Text


class AddTask(Struct, frozen=True, kw_only=True, tag="add_task"):
    """-> Edited: one more task at the end of `tasks`."""

    text: Text
    name: str
    kind: str = "run"
    needs: list[str] = field(default_factory=list)


class AddNeed(Struct, frozen=True, kw_only=True, tag="add_need"):
    """-> Edited: `task` needs one more."""

    text: Text
    task: str
    need: str


class Explain(Struct, frozen=True, kw_only=True, tag="explain"):
    """-> Help for a key, by the keys from the top of the text to it: `tasks`, `upload`, `retry`."""

    path: list[str]


class TypedTask(Struct, frozen=True, kw_only=True):
    """As far as it can be read: the definition need not be right."""

    name: str
    line: int
    kind: str = ""
    needs: list[str] = field(default_factory=list)
    trigger_rule: str = ""
    fan_out: str = ""
    attempts: int = 1


class Checked(Struct, frozen=True, kw_only=True, tag="checked"):
    problems: list[Problem]
    tasks: list[TypedTask]
    readable: bool
    """False: it is no YAML or JSON, so that nothing is known of its tasks."""
    elsewhere: bool = False
    """It is built from a template, or uses a plugin: only the daemon knows all of it."""


class Edited(Struct, frozen=True, kw_only=True, tag="edited"):
    text: str
    """Empty: it was left as it is."""
    error: str = ""
    """Why."""


class Help(Struct, frozen=True, kw_only=True, tag="help"):
    title: str
    what: str
    """`task key`, `workflow key`, `key of retry`."""
    text: str
    keys: list[tuple[str, str]]
    """What may stand below it, each with its words."""


Job = Check | AddTask | AddNeed | Explain
Answer = Checked | Edited | Help
