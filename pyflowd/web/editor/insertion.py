"""One more task, or one more need, put into the text of a definition: everything else in it stays as it is written.

The text is edited at the places that the parser gives, never written anew from its tree; then it is read again, and
only a text that says what was meant, and nothing else, is given back. Pure.
"""

from __future__ import annotations

import json
import re
from copy import deepcopy
from typing import Any

from msgspec.structs import replace

from pyflowd.base.filenames import split_name
from pyflowd.language.document import BOM, Document, DocumentError, Mapping, Sequence, quote
from pyflowd.language.document_json import parse_json
from pyflowd.language.document_yaml import parse_yaml
from pyflowd.model.states import is_name
from pyflowd.web.editor.jobs import STARTS, Text

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./-]+)*[?]?")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


class Left(Exception):
    """Why the text is left as it is."""


def add_task(text: Text, name: str, kind: str, needs: list[str]) -> str:
    """Raises Left."""
    if not is_name(name):
        raise Left(f"{quote(name)} cannot be a task's name: letters, digits, _ . - only, 63 at most, a letter first")
    if kind not in STARTS:
        raise Left(f"{quote(kind)} is no kind of task that can be added here")
    if not text.data.endswith(b"\n"):
        text = replace(text, data=text.data + b"\n")  # what follows stands on a line of its own
    document, root = _read(text)
    section = root.get("tasks")
    if section is not None and not isinstance(section, Mapping):
        raise Left("tasks: is no mapping")
    present = list(section or ())
    if name in present:
        raise Left(f"there is a task {name} already")
    for need in needs:
        if need not in present:
            raise Left(f"there is no task {quote(need)} that it could need")
    body: dict[str, Any] = {"needs": needs[0] if len(needs) == 1 else needs} if needs else {}
    body[kind] = STARTS[kind]
    meant = deepcopy(_plain(root))
    meant["tasks"] = {**(meant.get("tasks") or {}), name: body}
    return _sure(text, _with_task(document, root, section, name, body), meant)


def add_need(text: Text, task: str, need: str) -> str:
    """Raises Left."""
    document, root = _read(text)
    section = root.get("tasks")
    if not isinstance(section, Mapping) or not isinstance(section.get(task), Mapping):
        raise Left(f"there is no task {quote(task)}")
    if need not in section:
        raise Left(f"there is no task {quote(need)} that it could need")
    body = section[task]
    known = body.get("needs")
    listed = [known] if isinstance(known, str) else list(known or ())
    if need in listed:
        raise Left(f"{task} needs {need} already")
    if need == task or task in _before(section, need):
        raise Left(f"{need} needs {task}: this would go in a circle")
    meant = deepcopy(_plain(root))
    both = [*listed, need]
    meant["tasks"][task]["needs"] = both[0] if len(both) == 1 else both
    return _sure(text, _with_need(document, body, known, need), meant)


# ---- Reading, and looking again -------------------------------------------------------------------------------------


def _parse(text: Text, data: bytes) -> Document:
    return parse_json(data) if split_name(text.file)[1] else parse_yaml(data)


def _read(text: Text) -> tuple[Document, Mapping]:
    """Raises Left."""
    if not text.data.removeprefix(BOM).strip():
        empty = Mapping()
        empty.marks = []
        return Document(empty, 0, ""), empty
    try:
        document = _parse(text, text.data)
    except DocumentError as error:
        place = f"line {error.line}: " if error.line else ""
        raise Left(f"the text cannot be read, so nothing can be put into it: {place}{error.message}") from None
    if not isinstance(document.root, Mapping):
        raise Left("the text is no mapping, so there is no place for a task in it")
    return document, document.root


def _sure(text: Text, edited: str, meant: Any) -> str:
    data = (BOM if text.data.startswith(BOM) else b"") + edited.encode()
    try:
        found = _plain(_parse(text, data).root)
    except DocumentError:
        found = None
    if found != meant:
        raise Left("the text is written so that there is no sure place for it: edit it by hand")
    return edited


def _plain(value: Any) -> Any:
    """Without places, the needs of a task in one form."""
    if isinstance(value, Mapping):
        return {key: _needs(each) if key == "needs" else _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, Sequence) else value


def _needs(value: Any) -> Any:
    found = _plain(value)
    return found[0] if isinstance(found, list) and len(found) == 1 else found


def _before(section: Mapping, task: str) -> set[str]:
    """All that a task waits for."""
    found: set[str] = set()
    todo = [task]
    while todo:
        body = section.get(todo.pop())
        needs = body.get("needs") if isinstance(body, Mapping) else None
        for need in [needs] if isinstance(needs, str) else needs or ():
            if isinstance(need, str) and need not in found:
                found.add(need)
                todo.append(need)
    return found


# ---- A task ---------------------------------------------------------------------------------------------------------


def _with_task(document: Document, root: Mapping, section: Mapping | None, name: str, body: dict[str, Any]) -> str:
    text = document.text
    newline = _newline(text)
    if section is None:
        if "tasks" in root:
            raise Left("tasks: is written, and empty: write the first task by hand")
        if text.lstrip()[:1] == "{":
            raise Left("there are no tasks yet: write the first one by hand")
        head = text if not text or text.endswith("\n") else text + newline
        return head + f"tasks:{newline}" + _block(name, body, "  ", "  ", newline)
    mark = root.value_mark("tasks")
    if text[mark] == "{":
        is_json = split_is_json(text)
        return _insert(text, mark + 1, _flow_item(text, section, name, body, is_json))
    first = section.marks[0]
    start = _line_start(text, first)
    indent = text[start:first]
    if indent.strip():
        raise Left("the tasks do not stand on lines of their own: edit it by hand")
    step = " " * max(1, len(indent) - _column(text, root.key_mark("tasks")))
    at = _end_of_block(text, root, "tasks")
    lead = "" if text[:at].endswith("\n") else newline
    return _insert(text, at, lead + _block(name, body, indent, step, newline))


def _end_of_block(text: str, root: Mapping, key: str) -> int:
    """Behind the last line that belongs to a section, before blank lines and comments that lead to the next one."""
    own = root.key_mark(key)
    after = min((mark for mark in root.marks[::2] if mark > own), default=len(text))
    end = _line_start(text, after) if after < len(text) else len(text)
    lines = text[own:end].splitlines(keepends=True)
    column = _column(text, own)
    while len(lines) > 1 and _is_outside(lines[-1], column):
        end -= len(lines.pop())
    return end


def _is_outside(line: str, column: int) -> bool:
    stripped = line.strip()
    return not stripped or (len(line) - len(line.lstrip()) <= column and (stripped[0] == "#" or stripped == "..."))


def _block(name: str, body: dict[str, Any], indent: str, step: str, newline: str) -> str:
    lines = [f"{indent}{name}:"]
    lines += [f"{indent}{step}{key}: {_scalar(value)}" for key, value in body.items()]
    return newline.join(lines) + newline


def _flow_item(text: str, section: Mapping, name: str, body: dict[str, Any], is_json: bool) -> str:
    if is_json:
        written = f"{json.dumps(name)}: {json.dumps(body, ensure_ascii=False)}"
    else:
        written = f"{name}: " + "{" + ", ".join(f"{key}: {_scalar(value)}" for key, value in body.items()) + "}"
    if not section:
        return written
    first = section.marks[0]
    between = text[text.rfind("{", 0, first) + 1 : first]
    return f"{between}{written}," if "\n" in between else f"{written}, "


# ---- A need ---------------------------------------------------------------------------------------------------------


def _with_need(document: Document, body: Mapping, known: Any, need: str) -> str:
    text = document.text
    written = json.dumps(need) if split_is_json(text) else need
    if known is None and "needs" not in body:
        first = body.marks[0]
        start = _line_start(text, first)
        if text[start:first].strip():  # within braces
            key = '"needs"' if split_is_json(text) else "needs"
            return _insert(text, first, f"{key}: {written}, ")
        if text[:first].rstrip().endswith("{"):
            key = '"needs"' if split_is_json(text) else "needs"
            return _insert(text, first, f"{key}: {written},{_newline(text)}{text[start:first]}")
        return _insert(text, first, f"needs: {written}{_newline(text)}{text[start:first]}")
    mark = body.value_mark("needs")
    if isinstance(known, str):
        end = mark + len(known) + (2 if text[mark] in "\"'" else 0)
        return text[:mark] + f"[{text[mark:end]}, {written}]" + text[end:]
    if not isinstance(known, Sequence):
        raise Left("its needs are no list: edit it by hand")
    if text[mark] == "[":
        if not known:
            return _insert(text, mark + 1, written)
        last = known.marks[-1]
        end = last + len(str(known[-1])) + (2 if text[last] in "\"'" else 0)
        return _insert(text, end, f", {written}")
    dash = text.rfind("-", 0, known.marks[-1])
    indent = text[_line_start(text, dash) : dash]
    line_end = text.find("\n", known.marks[-1])
    at = len(text) if line_end < 0 else line_end + 1
    lead = _newline(text) if line_end < 0 else ""
    return _insert(text, at, f"{lead}{indent}- {written}{_newline(text)}")


# ---- Text -----------------------------------------------------------------------------------------------------------


def split_is_json(text: str) -> bool:
    """Whether names must be quoted: a document in braces may be JSON, and YAML takes quotes as well."""
    return text.lstrip()[:1] == "{"


def _insert(text: str, at: int, piece: str) -> str:
    return text[:at] + piece + text[at:]


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _column(text: str, at: int) -> int:
    return at - _line_start(text, at)


def _scalar(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_scalar, value)) + "]"
    text = str(value)
    return text if _PLAIN.fullmatch(text) and text.lower() not in _WORDS else json.dumps(text, ensure_ascii=False)
