"""The key of the encrypted store: in a systemd credential, or in a private file that is made when it is first needed.

Each holds one key a line, the current one first: 32 bytes in base64. Those after it are older ones, which open a store
that is not yet written anew. It knows nothing of the store.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets

from pyflowd.errors import Refused
from pyflowd.secrets import secrets_file
from pyflowd.secrets.secrets_file import Unfit
from pyflowd.secrets.secrets_model import KEY_CREDENTIAL

KEY_BYTES = 32
ID_BYTES = 8
_MOST_BYTES = 4096


def key_id(key: bytes) -> bytes:
    """What tells keys apart, and tells nothing of the key."""
    return hashlib.sha256(b"pyflow secrets key\n" + key).digest()[:ID_BYTES]


def new_key() -> bytes:
    return secrets.token_bytes(KEY_BYTES)


class Keyring:
    """The keys of one instance. Nothing is kept: each call reads."""

    def __init__(self, path: str, credentials_folder: str = "") -> None:
        self.path = path
        self._credentials_folder = credentials_folder

    @property
    def where(self) -> str:
        """For messages."""
        return f"the systemd credential {KEY_CREDENTIAL}" if self.of_systemd() else self.path

    def of_systemd(self) -> list[bytes]:
        """The keys of the credential; none where it is not there. Raises Refused."""
        if not self._credentials_folder:
            return []
        path = os.path.join(self._credentials_folder, KEY_CREDENTIAL)
        return _keys(path, secrets_file.NOT_OTHERS)

    def of_file(self) -> list[bytes]:
        """The keys of the file; none where it is not there. Raises Refused."""
        return _keys(self.path, secrets_file.OWN_ONLY)

    def all(self) -> list[bytes]:
        """The current key first. Raises Refused."""
        return [*self.of_systemd(), *self.of_file()]

    def write(self, keys: list[bytes]) -> None:
        """Into the file, in this order. Raises OSError."""
        secrets_file.write(self.path, b"".join(base64.b64encode(key) + b"\n" for key in keys))


def _keys(path: str, forbidden: int) -> list[bytes]:
    try:
        text = secrets_file.read(path, _MOST_BYTES, forbidden)
    except FileNotFoundError:
        return []
    except Unfit as error:
        raise Refused(str(error)) from None
    keys = []
    for line in text.split():
        try:
            key = base64.b64decode(line, validate=True)
        except binascii.Error:
            key = b""
        if len(key) != KEY_BYTES:
            raise Refused(f"{path}: it holds no key: each line must be 32 bytes in base64; put the right file back")
        keys.append(key)
    if not keys:
        raise Refused(f"{path}: it is empty; put the right key back")
    return keys
