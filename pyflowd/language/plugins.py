"""Plugins as the daemon and the client know them: what each says of itself (the `uses` of a task names one).

What a plugin says is had by running `pyflowd.task.plugin`, never by importing it here (`plugin_survey`). Types only; it
knows nothing of files and processes.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

Schema = dict[str, Any]
"""A small part of JSON Schema, as `pyflowd.task.plugin_types` makes it; `title` says the type in words."""


class PluginField(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One input or output."""

    name: str
    schema: Schema
    required: bool = False
    default: Any = None
    description: str = ""
    secret: bool = False
    """Its value is never written in a definition, and never shown."""

    @property
    def type(self) -> str:
        return str(self.schema.get("title", "any"))


class Plugin(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One plugin; where `error` says why it cannot be used, the rest is not known."""

    name: str
    origin: str = ""
    """Where it comes from, for people: its file, or its package and version."""
    summary: str = ""
    text: str = ""
    """Its whole description."""
    example: str = ""
    inputs: tuple[PluginField, ...] = ()
    outputs: tuple[PluginField, ...] | None = None
    """None: it does not say."""
    error: str = ""


Known = dict[str, Plugin]
"""All plugins of an instance, by name."""
