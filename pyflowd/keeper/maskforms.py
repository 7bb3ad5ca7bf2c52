"""How a secret may stand in what a task writes: as it is, and as common tools encode it. Bytes to bytes, nothing else.

Best effort, and said so in the manual: whoever has a secret can always write it in a way that nobody looks for.
"""

from __future__ import annotations

from binascii import b2a_base64, hexlify

LEAST_BYTES = 8
"""What is shorter is not masked: it would be found by chance, in words that are no secret."""
PIECE_BYTES = 64
"""A form of twice that or more is looked for in pieces: little is held back then, and a torn one is found too."""
LONGEST_BYTES = 2 * PIECE_BYTES - 1
ENCODED_MAX_BYTES = 16_384
"""A longer secret is looked for as it is and line by line, not encoded: it is a file, and its forms cost memory."""

_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~"
_SHELL_PLAIN = _UNRESERVED + b"/:,+@%="
_WRAPPED_AT = (64, 76)
"""Columns at which openssl, and base64 and mailers, break lines."""
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def _quoting(safe: bytes, digits: str, space: bytes) -> tuple[bytes, ...]:
    """What stands for each byte in a URL."""
    quoted = [bytes((n,)) if n in _UNRESERVED + safe else f"%{n:{digits}}".encode() for n in range(256)]
    quoted[32] = space
    return tuple(quoted)


_QUOTINGS = tuple(
    _quoting(safe, digits, space)
    for safe in (b"", b"/", b"!'()*")  # RFC 3986; a path in Python; encodeURIComponent
    for digits in ("02X", "02x")
    for space in (b"%20", b"+")
)

_JSON = {n: f"\\u{n:04x}" for n in range(32)} | {
    0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0C: "\\f", 0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\",
}  # fmt: skip
_JSON_IN_HTML = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&"}
"""As Go's encoder does by default."""


def forms(value: bytes) -> list[bytes]:
    """All that is looked for on behalf of one secret: each of 8 bytes or more, none longer than `LONGEST_BYTES`.

    A secret of fewer than 8 bytes has no forms: it is not masked. White space around it belongs to its file, not to it.
    """
    found: dict[bytes, None] = {}
    for text in _texts(value):
        for form in _written(text) if len(value) <= ENCODED_MAX_BYTES else [text]:
            for piece in _pieces(form):
                found[piece] = None
    return [form for form in found if len(form) >= LEAST_BYTES]


def _texts(value: bytes) -> list[bytes]:
    """The value and, of a value of several lines, each line; what is too short is left out."""
    stripped = value.strip()
    texts = [stripped if len(stripped) >= LEAST_BYTES else value]
    lines = stripped.splitlines()
    if len(lines) > 1:
        texts += [line.strip() for line in lines]
    return [text for text in texts if len(text) >= LEAST_BYTES]


def _written(text: bytes) -> list[bytes]:
    digits = hexlify(text)
    return [
        text,
        digits,
        digits.upper(),
        *_base64(text),
        *_url_quoted(text),
        *_json_escaped(text),
        *_shell_quoted(text),
    ]


def _pieces(form: bytes) -> list[bytes]:
    starts = range(0, max(len(form) - PIECE_BYTES, 0) + 1, PIECE_BYTES)
    ends = [*starts[1:], len(form)]
    return [form[start:end] for start, end in zip(starts, ends, strict=True)]


def _base64(text: bytes) -> list[bytes]:
    """In the three places that the text may have in a longer one, without what its neighbours have a part in; with its
    end as it is where the text comes last; broken into lines."""
    found = []
    for before in range(3):
        whole = b2a_base64(bytes(before) + text, newline=False)
        first = (8 * before + 5) // 6
        middle = whole[first : 8 * (before + len(text)) // 6]
        found += [middle, whole[first:]]
        if not before:
            found += [middle[at : at + width] for width in _WRAPPED_AT for at in range(0, len(middle), width)]
    return found + [form.translate(_URL_SAFE) for form in found]


def _url_quoted(text: bytes) -> list[bytes]:
    if not text.translate(None, _UNRESERVED):
        return []
    return [b"".join([quoting[n] for n in text]) for quoting in _QUOTINGS]


def _json_escaped(text: bytes) -> list[bytes]:
    try:
        escaped = text.decode().translate(_JSON)
    except UnicodeDecodeError:
        return []  # no JSON text can hold it
    written = (escaped, escaped.replace("/", "\\/"), escaped.translate(_JSON_IN_HTML))
    return [form.encode() for form in written] + [_ascii(form) for form in written if not form.isascii()]


def _ascii(escaped: str) -> bytes:
    """With what is not ASCII as JSON's \\uXXXX, in two parts where it must be."""
    units = escaped.encode("utf-16-be")
    numbers = [units[at] << 8 | units[at + 1] for at in range(0, len(units), 2)]
    return "".join([chr(n) if n < 128 else f"\\u{n:04x}" for n in numbers]).encode()


def _shell_quoted(text: bytes) -> list[bytes]:
    """What stands between the quotes: Python's, the shell's trace, printf %q, double quotes, $'...'."""
    if not text.translate(None, _SHELL_PLAIN):
        return []
    return [
        text.replace(b"'", b"'\"'\"'"),
        text.replace(b"'", b"'\\''"),
        b"".join([bytes((n,)) if n in _SHELL_PLAIN or n > 127 else b"\\%c" % n for n in text]),
        b"".join([b"\\%c" % n if n in b'"\\$`' else bytes((n,)) for n in text]),
        text.replace(b"\\", b"\\\\").replace(b"'", b"\\'").replace(b"\n", b"\\n").replace(b"\t", b"\\t"),
    ]
