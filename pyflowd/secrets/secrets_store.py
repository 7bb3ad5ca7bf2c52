"""The encrypted local store: one file in the state folder, which `pyflowctl secret` fills and rewrites as a whole.

A line with the format, a nonce and a tag over all that follows, then msgpack: the key's id, and for each name its
version, when and by whom it was changed, a nonce of its own and the value under AES-256-GCM with name and version as
associated data. So nothing can be put in, taken out or changed without the key, and names can be listed without it. An
older file in its place as a whole is not noticed. It knows nothing of providers and of who may change what.
"""

from __future__ import annotations

import os
import secrets
import threading
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pyflowd.errors import NotFound, Refused, Unavailable
from pyflowd.secrets import secrets_file
from pyflowd.secrets.secrets_file import Unfit
from pyflowd.secrets.secrets_key import Keyring, key_id, new_key
from pyflowd.secrets.secrets_model import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FILE = "secrets.store"
MOST_BYTES = 16 << 20
"""Of the file, which is rewritten with each change."""
_FORMAT = b"pyflow secrets 1\n"
_NONCE_BYTES = 12
_TAG_BYTES = 16
_HEAD_BYTES = len(_FORMAT) + _NONCE_BYTES + _TAG_BYTES
_WHOLE = b"pyflow secrets 1 whole\n"
_VALUE = b"pyflow secrets 1 value\n"


class Entry(Struct, frozen=True, array_like=True):
    """One secret as the file has it: fields are only added at the end, with a default."""

    version: int
    changed_us: int
    changed_by: str
    nonce: bytes
    sealed: bytes


class Rekeyed(Struct, frozen=True, kw_only=True):
    """What `rekey` has done."""

    count: int
    old_key_in: str
    """Where an old key is still, which is of no use any more; empty: nowhere."""


class Contents(Struct, frozen=True, array_like=True):
    key_id: bytes
    entries: dict[str, Entry]


_encode = msgspec.msgpack.Encoder().encode
_contents = msgspec.msgpack.Decoder(Contents)


class SecretStore:
    """The store of one instance; any thread may call. Nothing is kept in memory between calls."""

    def __init__(self, folder: str, keyring: Keyring) -> None:
        self.path = os.path.join(folder, FILE)
        self.keyring = keyring
        self._lock = threading.Lock()
        """Between a change of the key and a look at the store under it."""

    def exists(self) -> bool:
        return os.path.lexists(self.path)

    def entries(self) -> dict[str, Entry]:
        """What it says of its secrets; no key is needed. Raises Refused."""
        read = self._read()
        return {} if read is None else read[1].entries

    def fetch(self, names: list[str]) -> dict[str, Secret]:
        """The values of those names that it has. Raises Refused."""
        with self._lock:
            if (opened := self._open()) is None:
                return {}
            contents, cipher, _ = opened
            found = [name for name in names if name in contents.entries]
            return {name: _unseal(cipher, name, contents.entries[name]) for name in found}

    def set(self, name: str, value: bytes, by: str, now_us: int) -> tuple[int, bool]:
        """The version that is now stored, and whether a key was made for it. Raises Refused, Unavailable."""
        with self._lock:
            opened = self._open()
            keys = [] if opened else self.keyring.all()
            makes_key = not opened and not keys
            if makes_key:
                keys = [self._make_key()]
            contents, cipher, _ = opened or (Contents(key_id(keys[0]), {}), _cipher(keys[0]), keys[0])
            known = contents.entries.get(name)
            version = known.version + 1 if known else 1
            entry = _seal(cipher, name, value, Entry(version, now_us, by, b"", b""))
            self._write(replace(contents, entries={**contents.entries, name: entry}), cipher)
        return version, makes_key

    def remove(self, name: str) -> None:
        """Raises NotFound, Refused, Unavailable."""
        with self._lock:
            opened = self._open()
            if opened is None or name not in opened[0].entries:
                raise NotFound(f'there is no secret "{name}" in the store; pyflowctl secret list names all')
            contents, cipher, _ = opened
            left = {other: entry for other, entry in contents.entries.items() if other != name}
            self._write(replace(contents, entries=left), cipher)

    def rekey(self) -> Rekeyed:
        """Seal all anew under another key: the current one where the store is under an older, else a new one, which
        goes into the file. Whenever it is interrupted, all can still be read, and it can be called again. Raises
        NotFound, Refused, Unavailable."""
        with self._lock:
            opened = self._open()
            if opened is None:
                raise NotFound("there is no store yet; pyflowctl secret set NAME makes it")
            contents, cipher, old = opened
            key = self._next_key(old)
            fresh = _cipher(key)
            entries = {
                name: _seal(fresh, name, _unseal(cipher, name, entry), entry)
                for name, entry in contents.entries.items()
            }
            self._write(Contents(key_id(key), entries), fresh)
            return Rekeyed(count=len(entries), old_key_in=self._forget_old_keys(key))

    def _next_key(self, old: bytes) -> bytes:
        current = self.keyring.all()[0]
        if current != old:
            return current
        if self.keyring.of_systemd():
            raise Refused(
                f"{self.keyring.where} is the key already; put a new one on its first line, above the old one, "
                "restart pyflowd, and rekey then"
            )
        key = new_key()
        try:
            self.keyring.write([key, old])
        except OSError as error:
            raise Unavailable(
                f"{self.keyring.path}: a new key cannot be written: {error.strerror}; as root, put one on its first "
                "line, above the old one (head -c 32 /dev/urandom | base64), and rekey again"
            ) from error
        return key

    def _make_key(self) -> bytes:
        """The first one."""
        key = new_key()
        try:
            self.keyring.write([key])
        except OSError as error:
            path = self.keyring.path
            raise Unavailable(
                f"{path}: the key of the store cannot be written: {error.strerror}; as root, make it: "
                f"head -c 32 /dev/urandom | base64 > {path}; chmod 600 {path}; chown it to pyflowd's account"
            ) from error
        return key

    def _forget_old_keys(self, key: bytes) -> str:
        """Where an old key is left that somebody else has to take away; empty: nowhere."""
        if self.keyring.of_systemd():
            return self.keyring.path if self.keyring.of_file() else self.keyring.where
        try:
            self.keyring.write([key])
        except OSError:
            return self.keyring.path
        return ""

    # ---- The file

    def _read(self) -> tuple[bytes, Contents] | None:
        """Its bytes, and what they say, unproven. None: there is no store. Raises Refused."""
        try:
            data = secrets_file.read(self.path, MOST_BYTES)
        except FileNotFoundError:
            return None
        except Unfit as error:
            raise Refused(str(error)) from None
        if not data.startswith(_FORMAT):
            raise Refused(f"{self.path}: no store of secrets, or one of a later version; put a backup in its place")
        try:
            return data, _contents.decode(data[_HEAD_BYTES:])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Refused(f"{self.path}: it is damaged; put a backup in its place") from None

    def _open(self) -> tuple[Contents, AESGCM, bytes] | None:
        """The contents, proven to be as they were written, with their key. None: there is no store. Raises Refused."""
        from cryptography.exceptions import InvalidTag  # as in `_cipher`

        read = self._read()
        if read is None:
            return None
        data, contents = read
        key = self._key_of(contents)
        cipher = _cipher(key)
        nonce = data[len(_FORMAT) : len(_FORMAT) + _NONCE_BYTES]
        tag = data[len(_FORMAT) + _NONCE_BYTES : _HEAD_BYTES]
        try:
            cipher.decrypt(nonce, tag, _WHOLE + data[_HEAD_BYTES:])
        except InvalidTag:
            raise Refused(
                f"{self.path}: it was changed by something else than pyflowd, or is damaged; put a backup in its "
                "place; it is left as it is"
            ) from None
        return contents, cipher, key

    def _key_of(self, contents: Contents) -> bytes:
        keys = self.keyring.all()
        for key in keys:
            if key_id(key) == contents.key_id:
                return key
        why = "was locked with another key than" if keys else "is locked, and its key is gone:"
        raise Refused(f"{self.path}: it {why} {self.keyring.where}; put the right key back; the store is left as it is")

    def _write(self, contents: Contents, cipher: AESGCM) -> None:
        """Raises Refused, Unavailable."""
        body = _encode(contents)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        data = _FORMAT + nonce + cipher.encrypt(nonce, b"", _WHOLE + body) + body
        if len(data) > MOST_BYTES:
            raise Refused(f"the store would be larger than {MOST_BYTES >> 20} MiB; remove secrets that nobody uses")
        try:
            secrets_file.write(self.path, data)
        except OSError as error:
            raise Unavailable(f"{self.path}: cannot be written: {error.strerror}; nothing was changed") from error


def _cipher(key: bytes) -> AESGCM:
    """Imported when a store is used: it takes 10 MiB that an instance without one need not have."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def _seal(cipher: AESGCM, name: str, value: bytes, entry: Entry) -> Entry:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = replace(entry, nonce=nonce, sealed=cipher.encrypt(nonce, bytes(value), _bound_to(name, entry)))
    if _unseal(cipher, name, sealed) != value or (len(value) > _NONCE_BYTES and value in sealed.sealed):
        raise RuntimeError("what was sealed cannot be opened, or was not sealed")  # rather than a store of nothing
    return sealed


def _unseal(cipher: AESGCM, name: str, entry: Entry) -> Secret:
    return Secret(cipher.decrypt(entry.nonce, entry.sealed, _bound_to(name, entry)))


def _bound_to(name: str, entry: Entry) -> bytes:
    """Associated data: a value cannot stand under another name or version."""
    return _VALUE + f"{name}\0{entry.version}".encode()
