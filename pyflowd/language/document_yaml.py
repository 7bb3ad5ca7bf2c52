"""YAML 1.2 (core schema) to the tree of `document`.

The tree is composed here from the parser's events, without recursion: so depth, nodes and expanded aliases are bounded
before anything is built (PyYAML's own composer overflows the C stack on 30 kB of brackets). It knows nothing of
workflows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from pyflowd.language.document import (
    BOM,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_NODES,
    Document,
    DocumentError,
    DuplicateKey,
    Invalid,
    Mapping,
    Sequence,
    check_string,
    decode,
    integer,
    one_line,
    place_in,
    quote,
    real,
    too_deep,
)

_RAW_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
"""What the reader of YAML refuses in the text itself."""


def parse_yaml(data: bytes) -> Document:
    """The one document in `data`, as YAML 1.2 reads it. Raises DocumentError with a place."""
    text = decode(data)
    parser = _Parser(data.removeprefix(BOM))
    try:
        root, mark = _compose(parser.get_event)
    except Invalid as error:
        raise error.at(text) from None
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text) from None
    except yaml.reader.ReaderError as error:
        raise _reader_error(error, text) from None
    finally:
        parser.dispose()
    return Document(root, mark, text)


# ---- Composer -------------------------------------------------------------------------------------------------------

_Parser: Any = getattr(yaml.cyaml, "CParser", None) if yaml.__with_libyaml__ else None
if _Parser is None:  # no libyaml: the same events, eight times slower

    class _PythonParser(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser):
        def __init__(self, data: bytes) -> None:
            yaml.reader.Reader.__init__(self, data)
            yaml.scanner.Scanner.__init__(self)
            yaml.parser.Parser.__init__(self)

    _Parser = _PythonParser


def _compose(next_event: Callable[[], Any]) -> tuple[Any, int]:
    """Root value and its mark. One loop and a stack of our own; long because a call per node would cost a third."""
    _begin(next_event)
    anchors: dict[str, tuple[Any, int, int]] = {}
    top = Sequence()
    top.marks = marks = []
    into: Any = top
    stack: list[tuple[Any, str | None, int, int]] = []
    """The collections that are being filled, each with its anchor, and the nodes and characters when it began."""
    in_mapping = False
    key: str | None = None
    nodes = characters = 0
    while True:
        event = next_event()
        kind = event.__class__
        if kind is ScalarEvent:
            mark = event.start_mark.index
            if event.tag is not None:
                raise _tag(event.tag, mark)
            value = event.value
            nodes += 1
            characters += len(value)
            style = event.style
            if not style:  # plain
                resolve = _RESOLVERS.get(value[:1])
                if resolve is not None:
                    value = resolve(value, mark)
            elif style == '"':
                check_string(value, mark)
            if event.anchor is not None:
                anchors[event.anchor] = (value, 1, len(event.value))
        elif kind is MappingStartEvent or kind is SequenceStartEvent:
            mark = event.start_mark.index
            if event.tag is not None:
                raise _tag(event.tag, mark)
            nodes += 1
            value = Mapping() if kind is MappingStartEvent else Sequence()
            value.marks = []
        elif kind is MappingEndEvent or kind is SequenceEndEvent:
            done, anchor, nodes_before, characters_before = stack.pop()
            if anchor is not None:
                anchors[anchor] = (done, nodes - nodes_before + 1, characters - characters_before)
            into = stack[-1][0] if stack else top
            in_mapping = into.__class__ is Mapping
            marks = into.marks
            continue
        elif kind is AliasEvent:
            mark = event.start_mark.index
            if event.anchor not in anchors:
                raise _unknown_alias(event.anchor, mark)
            value, more_nodes, more_characters = anchors[event.anchor]
            nodes += more_nodes
            characters += more_characters
        else:
            _end(next_event)
            return top[0], top.marks[0]

        if nodes > MAX_NODES or characters > MAX_BYTES:
            raise _too_many(nodes, mark)
        marks.append(mark)
        if not in_mapping:
            into.append(value)
        elif key is None:
            key = _key(value, into, mark)
            continue
        else:
            into[key] = value
            key = None
        if kind is MappingStartEvent or kind is SequenceStartEvent:
            if len(stack) >= MAX_DEPTH:
                raise too_deep(mark)
            stack.append((value, event.anchor, nodes, characters))
            into, marks, in_mapping = value, value.marks, kind is MappingStartEvent


def _begin(next_event: Callable[[], Any]) -> None:
    next_event()  # the start of the stream
    event = next_event()
    if event.__class__ is StreamEndEvent:
        raise Invalid(0, "empty", "the file is empty")
    mark = event.start_mark.index
    if event.tags:
        raise Invalid(mark, "tag", "a %TAG directive: tags are not used here", "take it out")
    if event.version not in (None, (1, 2)):
        raise Invalid(mark, "yaml_version", "a %YAML directive: files are read as YAML 1.2", "take it out")


def _end(next_event: Callable[[], Any]) -> None:
    event = next_event()
    if event.__class__ is not StreamEndEvent:
        mark = event.start_mark.index
        raise Invalid(mark, "several_documents", "a second document begins here", "one file, one workflow")


def _key(value: Any, mapping: Mapping, mark: int) -> str:
    if value.__class__ is not str:
        if isinstance(value, (Mapping, Sequence)):
            fix = "put it in quotes" if isinstance(value, Mapping) else "write text"
            raise Invalid(mark, "key", "a mapping or a list stands where a key must be", fix)
        shown = "null" if value is None else str(value).lower()
        raise Invalid(mark, "key", f"the key {shown} is not text", "put it in quotes")
    if value in mapping:
        raise DuplicateKey(value, mark, mapping.key_mark(value))
    key: str = value
    return key


def _too_many(nodes: int, mark: int) -> Invalid:
    if nodes > MAX_NODES:
        return Invalid(mark, "too_many_nodes", f"more than {MAX_NODES} values, aliases expanded")
    return Invalid(mark, "too_large", f"more than {MAX_BYTES} characters, aliases expanded")


def _tag(tag: str, mark: int) -> Invalid:
    fix = 'put a value that begins with "!" in quotes, and take other tags out'
    return Invalid(mark, "tag", f"the tag {quote(tag)}: tags are not used here", fix)


def _unknown_alias(anchor: str, mark: int) -> Invalid:
    fix = 'put a value that begins with "*", such as a cron expression, in quotes'
    return Invalid(mark, "alias", f"*{quote(anchor)[1:-1]} refers to nothing that ended above", fix)


# ---- Plain scalars --------------------------------------------------------------------------------------------------

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)", re.ASCII)
_BASED_INT = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", re.ASCII)
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def _number(text: str, mark: int) -> int | float | str:
    """A leading zero makes text (`0644`, `01234`), not the decimal number of the core schema: a mode or a postal
    code must not lose its zero in silence."""
    if _INT.fullmatch(text):
        return integer(text, mark)
    if _FLOAT.fullmatch(text):
        return real(text, mark)
    if _BASED_INT.fullmatch(text):
        return integer(text, mark, base=0)
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def _null(text: str, mark: int) -> str | None:
    return None if text in _NULLS else text


def _boolean(text: str, mark: int) -> bool | str:
    return _BOOLEANS.get(text, text)


_RESOLVERS: dict[str, Callable[[str, int], Any]] = {
    **dict.fromkeys("0123456789+-.", _number),
    **dict.fromkeys(("", "~", "n", "N"), _null),
    **dict.fromkeys("tTfF", _boolean),
}
"""By first character: most scalars are text, and pay one look-up for it."""


# ---- Errors of the parser -------------------------------------------------------------------------------------------

_FIXES = (
    ("mapping values are not allowed", 'put text that holds ": " in quotes, or check the indentation'),
    ("expected alphabetic or numeric character", 'put a value that begins with "*" or "&", such as cron, in quotes'),
    (
        "found character that cannot start any token",
        "indent with blanks; put text that begins with @, ` or % in quotes",
    ),
    ("found a tab character", "indent with blanks"),
    ("found unexpected end of stream", "a quote or a bracket is not closed"),
    ("could not find expected ':'", "check the indentation, and that a colon and a blank follow the key"),
    (
        "did not find expected ',' or '",
        'close the bracket; inside { } and [ ] put text that holds ": ", "," or "#" in quotes',
    ),
    ("found unknown escape character", "in double quotes a backslash begins an escape: use single quotes"),
    ("did not find expected key", "check the indentation and the quotes"),
)


def _syntax_error(error: yaml.MarkedYAMLError, text: str) -> DocumentError:
    problem = one_line(str(error.problem or error.context or "not YAML"))
    mark = error.problem_mark or error.context_mark
    line, column = place_in(text, mark.index) if mark is not None else (1, 1)
    fix = next((fix for start, fix in _FIXES if start in problem), "")
    if error.context and error.context_mark is not None and error.context_mark.line + 1 != line:
        problem = f"{problem} {one_line(str(error.context))} of line {error.context_mark.line + 1}"
    return DocumentError("syntax", f"not YAML: {problem}", fix, line=line, column=column)


def _reader_error(error: yaml.reader.ReaderError, text: str) -> DocumentError:
    found = _RAW_CONTROL.search(text)
    if found is None:
        return DocumentError("encoding", f"cannot be read: {one_line(str(error.reason))}", line=1, column=1)
    line, column = place_in(text, found.start())
    message = f"the character U+{ord(found[0]):04X} may not stand in YAML"
    return DocumentError("control_character", message, "take it out", line=line, column=column)
