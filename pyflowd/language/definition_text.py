"""The texts that a definition is made of, as one: what its digest is of, and what the store keeps (rule D1).

A definition of one file is that file's text as it is. One of several parts, such as a template, the file that fills it
and its drop-ins, is framed: each part with its role, its label and its length. The frame begins with a NUL, which no
text of a definition can hold. Where it matters whose the files are, their owner is a part without text: the same text
of somebody else is another definition. Pure; it knows nothing of what the texts mean.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from enum import StrEnum

from msgspec import Struct

_MAGIC = b"\0pyflow parts 1\n"


class Role(StrEnum):
    """What a part is to the definition; in the order in which parts lie above each other."""

    TEMPLATE = "template"
    WORKFLOW = "workflow"
    DROP_IN = "drop-in"
    OWNER = "owner"
    """Labelled with a uid: the account that its tasks run as."""


class Part(Struct, frozen=True, kw_only=True):
    """One text of a definition; `label` is how messages name it."""

    label: str
    data: bytes
    is_json: bool = False
    role: Role = Role.WORKFLOW


def pack(parts: Sequence[Part]) -> bytes:
    """The definition as one text; `parts` in the order in which they apply."""
    if len(parts) == 1:
        return parts[0].data
    framed = [_MAGIC]
    for part in parts:
        form = "json" if part.is_json else "yaml"
        framed.append(f"{part.role} {form} {json.dumps(part.label)} {len(part.data)}\n".encode())
        framed.append(part.data + b"\n")
    return b"".join(framed)


def unpack(text: bytes, label: str = "", *, is_json: bool = False) -> list[Part]:
    """The parts of a text that `pack` made; `label` and `is_json` are those of a definition of one file."""
    if not text.startswith(_MAGIC):
        return [Part(label=label, data=text, is_json=is_json)]
    parts = []
    at = len(_MAGIC)
    while at < len(text):
        end = text.index(b"\n", at)
        role, form, rest = text[at:end].decode().split(" ", 2)
        quoted, _, length = rest.rpartition(" ")
        data = text[end + 1 : end + 1 + int(length)]
        parts.append(Part(label=json.loads(quoted), data=data, is_json=form == "json", role=Role(role)))
        at = end + 1 + len(data) + 1
    return parts


def by_place(text: bytes) -> dict[tuple[Role, str], bytes]:
    """The text of each part by its role and label; of the workflow's own file by the role alone, whatever its name."""
    return {(part.role, "" if part.role is Role.WORKFLOW else part.label): part.data for part in unpack(text)}


def owned_by(parts: Sequence[Part], uid: int) -> list[Part]:
    """The parts of a definition that is the word of an account."""
    return [*parts, Part(label=str(uid), data=b"", role=Role.OWNER)]


def texts_of(text: bytes, label: str = "", *, is_json: bool = False) -> list[Part]:
    """The parts of a text that are texts themselves."""
    return [part for part in unpack(text, label, is_json=is_json) if part.role is not Role.OWNER]


def readable(text: bytes) -> str:
    """What a person reads: the text; of several parts each below a comment with its role and label."""
    parts = texts_of(text)
    return decoded(parts[0].data) if len(parts) == 1 else "".join(_headed(parts))


def _headed(parts: Iterable[Part]) -> Iterable[str]:
    for n, part in enumerate(parts):
        shown = decoded(part.data)
        gap = "\n" if n else ""
        yield f"{gap}# ---- {part.role} {part.label}\n{shown}" + ("" if shown.endswith("\n") else "\n")


def decoded(data: bytes) -> str:
    """A text as far as it is one."""
    return data.decode("utf-8", "backslashreplace")
