"""How pieces of output look: with time and task, as JSON lines, or verbatim; safe for a terminal where it is one.

Pure, but for the local time zone, which is the C library's. Works on whole pieces, never line by line where it can be
helped: a log may have millions of lines.
"""

import time

_RESET = "\x1b[0m"
_DIM = "\x1b[2m"
_NAME_COLOURS = ("36", "33", "35", "32", "34", "96", "93", "95", "92", "94")
# Printable ASCII, tab and newline need no second look.
_HARMLESS = bytes(range(0x20, 0x7F)) + b"\t\n"
_ESCAPES = {
    **{code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F, *range(0x80, 0xA0)) if chr(code) not in "\t\n"},
    # Marks that turn the direction of writing can make a line read as what it does not say.
    **{code: f"\\u{code:04x}" for code in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))},
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


def stamp(time_us: int, today: str) -> str:
    """Local time of day with milliseconds; with the date where it is not `today` (YYYY-MM-DD)."""
    second = _second(time_us // 1_000_000)
    text = second[1] if second[0] == today else f"{second[0]} {second[1]}"
    return f"{text}.{time_us % 1_000_000 // 1000:03}"


def iso_stamp(time_us: int) -> str:
    """RFC 3339 with microseconds and the local offset."""
    date, clock, offset = _second(time_us // 1_000_000)
    return f"{date}T{clock}.{time_us % 1_000_000:06}{offset}"


_seconds: dict[int, tuple[str, str, str]] = {}


def _second(at_s: int) -> tuple[str, str, str]:
    """Date, time of day and offset of a second; records come in order, so the newest answers are kept."""
    known = _seconds.get(at_s)
    if known is None:
        local = time.localtime(at_s)
        minutes = local.tm_gmtoff // 60
        offset = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
        date = f"{local.tm_year:04}-{local.tm_mon:02}-{local.tm_mday:02}"
        known = (date, f"{local.tm_hour:02}:{local.tm_min:02}:{local.tm_sec:02}", offset)
        if len(_seconds) > 64:
            _seconds.clear()
        _seconds[at_s] = known
    return known


def today(now_us: int) -> str:
    return _second(now_us // 1_000_000)[0]


def name_colour(task: str) -> str:
    """A stable colour of a task's name: the same in each run."""
    number = 0
    for byte in task.encode():
        number = (number * 31 + byte) & 0xFFFF
    return _NAME_COLOURS[number % len(_NAME_COLOURS)]


def label(time_us: int, today_is: str, name: str, width: int, task: str, colour: bool) -> bytes:
    """What stands before each line: time, and the name where more than one task is shown (`width` above 0)."""
    at = stamp(time_us, today_is)
    name = _printable(name)
    shown = f"{name:<{width}}  " if width else ""
    if not colour:
        return f"{at}  {shown}".encode()
    if shown:
        shown = f"\x1b[{name_colour(task)}m{shown}{_RESET}"
    return f"{_DIM}{at}{_RESET}  {shown}".encode()


def _printable(name: str) -> str:
    """The key of an item may be any text."""
    return name if name.isprintable() else "".join(char if char.isprintable() else "?" for char in name)


def labelled(data: bytes, prefix: bytes) -> bytes:
    """Whole lines, each with the prefix."""
    lines = data[:-1] if data.endswith(b"\n") else data
    return prefix + lines.replace(b"\n", b"\n" + prefix) + b"\n"


def json_lines(data: bytes, head: bytes) -> bytes:
    """One JSON object a line; `head` is the begin of the object, up to `"text": `. Not UTF-8: as `\\xNN`."""
    from _json import encode_basestring_ascii  # the C half of json, without the rest

    lines = (data[:-1] if data.endswith(b"\n") else data).split(b"\n")
    return b"".join(
        head + encode_basestring_ascii(line.decode("utf-8", "backslashreplace")).encode() + b"}\n" for line in lines
    )


def json_head(run: int, task: str, attempt: int, time_us: int) -> bytes:
    from _json import encode_basestring_ascii

    at = iso_stamp(time_us)
    name = encode_basestring_ascii(task)
    return f'{{"run": {run}, "task": {name}, "attempt": {attempt}, "time": "{at}", "text": '.encode()


def for_terminal(data: bytes, colour: bool) -> bytes:
    """`data` with control characters written out, so that output cannot move the cursor, retitle, or hide.

    Colours that end with the line are left in (taken out without `colour`); a carriage return begins a new line, as
    progress bars then show each of their states.
    """
    if not data.translate(None, _HARMLESS):
        return data
    text = data.decode("utf-8", "backslashreplace").replace("\r\n", "\n").replace("\r", "\n")
    if "\x1b[" not in text:
        return text.translate(_ESCAPES).encode()
    return "\n".join(_coloured(line, colour) for line in text.split("\n")).encode()


def _coloured(line: str, colour: bool) -> str:
    first, *others = line.split("\x1b[")
    shown = first.translate(_ESCAPES)
    coloured = False
    for other in others:
        after = other.lstrip("0123456789;")
        codes = other[: len(other) - len(after)]
        if after.startswith("m") and _is_colour(codes):
            coloured = colour
            shown += (f"\x1b[{codes}m" if colour else "") + after[1:].translate(_ESCAPES)
        else:
            shown += "\\x1b[" + other.translate(_ESCAPES)
    return shown + _RESET if coloured else shown


def _is_colour(codes: str) -> bool:
    """Whether it only colours or weighs text; blinking and hidden text do not pass."""
    parts = codes.split(";")
    while parts:
        code = parts.pop(0)
        if code in ("38", "48"):
            parts = parts[2:] if parts[:1] == ["5"] else parts[4:]
        elif len(code) > 3 or code in ("5", "6", "8"):
            return False
    return True
