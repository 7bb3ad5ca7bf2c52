"""A multipart body (RFC 7578), read from its files while it is sent. Knows nothing of connections."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack

from pyflowd.http import http_files
from pyflowd.http.http_errors import CallError
from pyflowd.http.http_request import Multipart, Upload

_CHUNK_BYTES = 65_536


class MultipartStream:
    """Iterated once, within the `with` block; its length is known before."""

    def __init__(self, body: Multipart, scratch: str) -> None:
        self._body = body
        self._scratch = scratch
        self._boundary = secrets.token_hex(16)
        self._files: list[tuple[Upload, int, int]] = []
        self._open = ExitStack()

    @property
    def content_type(self) -> str:
        return f"multipart/form-data; boundary={self._boundary}"

    @property
    def size_bytes(self) -> int:
        heads = sum(len(self._value(name, value)) for name, value in self._body.values)
        files = sum(len(self._head(upload)) + size + 2 for upload, _, size in self._files)
        return heads + files + len(self._end)

    def __enter__(self) -> MultipartStream:
        """Raises CallError."""
        with ExitStack() as stack:
            for upload in self._body.uploads:
                descriptor = stack.enter_context(http_files.reading(self._scratch, upload.path))
                self._files.append((upload, descriptor, os.fstat(descriptor).st_size))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def __iter__(self) -> Iterator[bytes]:
        for name, value in self._body.values:
            yield self._value(name, value)
        for upload, descriptor, size_bytes in self._files:
            yield self._head(upload)
            yield from _exactly(descriptor, size_bytes, upload)
            yield b"\r\n"
        yield self._end

    @property
    def _end(self) -> bytes:
        return f"--{self._boundary}--\r\n".encode()

    def _value(self, name: str, value: str) -> bytes:
        return (
            f'--{self._boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n{value}\r\n'.encode()
        )

    def _head(self, upload: Upload) -> bytes:
        disposition = f'form-data; name="{_quoted(upload.name)}"; filename="{_quoted(upload.filename)}"'
        return (
            f"--{self._boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: {upload.content_type}\r\n\r\n"
        ).encode()


def _quoted(text: str) -> str:
    """As browsers write names in a part's head: nothing in it can end the quote or the line."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _exactly(descriptor: int, size_bytes: int, upload: Upload) -> Iterator[bytes]:
    """So many bytes as were announced, whatever becomes of the file meanwhile."""
    at = 0
    while at < size_bytes:
        data = os.pread(descriptor, min(_CHUNK_BYTES, size_bytes - at), at)
        if not data:
            raise CallError(f"{'/'.join(upload.path)} became shorter while it was sent")
        at += len(data)
        yield data
