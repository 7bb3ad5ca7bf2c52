"""The msgpack that the thin client speaks: a command frame out, small arrays in. It knows nothing of sockets.

Written by hand because importing msgspec costs more than the whole client. `from __future__` is left out here, in
`thin` and in `logview` for the same reason: it imports a module.
"""

FRAME_MAX = 1 << 20
"""As in the protocol: most bytes of one frame."""

Value = None | bool | int | str | bytes | list["Value"] | dict[str, "Value"]


def pack(value: object) -> bytes:
    """`value` as msgpack: None, bool, int, str, bytes, list, dict. A str must be valid UTF-8 (else UnicodeError)."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return _pack_int(value)
    if isinstance(value, str):
        text = value.encode()
        return _head(len(text), 0xA0, 32, b"\xd9", b"\xda", b"\xdb") + text
    if isinstance(value, bytes):
        return _head(len(value), 0, 0, b"\xc4", b"\xc5", b"\xc6") + value
    if isinstance(value, list):
        return _head(len(value), 0x90, 16, b"", b"\xdc", b"\xdd") + b"".join(map(pack, value))
    if isinstance(value, dict):
        items = b"".join(pack(key) + pack(item) for key, item in value.items())
        return _head(len(value), 0x80, 16, b"", b"\xde", b"\xdf") + items
    raise TypeError(f"cannot pack a {type(value).__name__}")


def _pack_int(value: int) -> bytes:
    if 0 <= value < 128:
        return bytes((value,))
    if -32 <= value < 0:
        return bytes((256 + value,))
    return (b"\xcf" if value > 0 else b"\xd3") + value.to_bytes(8, "big", signed=value < 0)


def _head(size: int, fixed: int, fixed_below: int, one: bytes, two: bytes, four: bytes) -> bytes:
    """The bytes before a value of `size`; `one` is empty where msgpack has no form with a one-byte length."""
    if size < fixed_below:
        return bytes((fixed | size,))
    if one and size < 1 << 8:
        return one + size.to_bytes(1, "big")
    if size < 1 << 16:
        return two + size.to_bytes(2, "big")
    return four + size.to_bytes(4, "big")


# First byte of a value to (what it is, bytes of its length or of the number itself).
_FORMS = {
    0xC4: ("bin", 1), 0xC5: ("bin", 2), 0xC6: ("bin", 4),
    0xCC: ("uint", 1), 0xCD: ("uint", 2), 0xCE: ("uint", 4), 0xCF: ("uint", 8),
    0xD0: ("int", 1), 0xD1: ("int", 2), 0xD2: ("int", 4), 0xD3: ("int", 8),
    0xD9: ("str", 1), 0xDA: ("str", 2), 0xDB: ("str", 4),
    0xDC: ("array", 2), 0xDD: ("array", 4),
}  # fmt: skip


def unpack(data: bytes) -> Value:
    """The one value that `data` holds; no maps, no floats. Raises ValueError where it is anything else."""
    value, end = _unpack(data, 0)
    if end != len(data):
        raise ValueError("bytes are left over after the value")
    return value


def _unpack(data: bytes, at: int) -> tuple[Value, int]:
    if at >= len(data):
        raise ValueError("the value is cut short")
    first = data[at]
    at += 1
    if first < 0x80:
        return first, at
    if first >= 0xE0:
        return first - 256, at
    if 0xC0 <= first <= 0xC3 and first != 0xC1:
        return (None, None, False, True)[first - 0xC0], at
    if 0x90 <= first < 0xA0:
        return _unpack_array(data, at, first - 0x90)
    if 0xA0 <= first < 0xC0:
        return str(_take(data, at, first - 0xA0), "utf-8"), at + first - 0xA0
    form, width = _FORMS.get(first, ("", 0))
    number = int.from_bytes(_take(data, at, width), "big", signed=form == "int")
    at += width
    if form in ("uint", "int"):
        return number, at
    if form == "array":
        return _unpack_array(data, at, number)
    if form == "str":
        return str(_take(data, at, number), "utf-8"), at + number
    if form == "bin":
        return _take(data, at, number), at + number
    raise ValueError(f"0x{first:02x} starts no value that this client knows")


def _unpack_array(data: bytes, at: int, size: int) -> tuple[Value, int]:
    items: list[Value] = []
    for _ in range(size):
        item, at = _unpack(data, at)
        items.append(item)
    return items, at


def _take(data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise ValueError("the value is cut short")
    return data[at : at + size]
