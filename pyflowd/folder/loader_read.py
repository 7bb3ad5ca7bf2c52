"""Reads the files of a definition: beneath its folder, following no link out of it, whole or not at all (rule D4).

A file counts only if it is the same before and after the read, and if nobody but its owner could have written it or put
it there (`base.trust`). Part of the child that loads definitions; it knows nothing of what the files say.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from pyflowd.base import trust
from pyflowd.base.filenames import split_name
from pyflowd.folder.listing import UNSAFE, Listing, list_templates, look_at, look_for_template
from pyflowd.folder.loader_frames import Folders, Seen, Signature, signature_of
from pyflowd.folder.sources import Sources, folder_of
from pyflowd.language.assembly import Missing
from pyflowd.language.definition_text import Part, Role
from pyflowd.language.document import MAX_BYTES, one_line, quote
from pyflowd.language.fields import suggest

_TICK_NS = 20_000_000
"""The coarsest clock by which file systems stamp changes, 10 ms, twice."""
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_FOLDER_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Outside(Exception):
    """A file that is not to be read, or cannot be, and why."""

    def __init__(self, label: str, message: str, fix: str = "", code: str = "not_read") -> None:
        super().__init__(message)
        self.label = label
        self.message = message
        self.fix = fix
        self.code = code


class Changed(Exception):
    """A file changed while it was read."""


class Gone(Exception):
    """There is no such file any more."""


class Reader:
    """Reads the parts of one definition, and remembers what they were like."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._seen: dict[str, Signature] = {}
        self._bytes = 0
        self.has_main = False
        self.owner: int | None = None
        """Uid of the account that the definition's own file belongs to, once it has been read or is given."""

    def seen(self, template: str) -> Seen:
        """All that was there to be read so far."""
        return Seen(parts=dict(self._seen), template=template)

    def alone(self, file: str) -> Part:
        """A definition's own file, which is the host's and has no drop-ins. Raises Gone, Changed, Outside."""
        return self._part(file, Role.WORKFLOW)

    def file(self, file: str) -> list[Part]:
        """A definition's own file, then its drop-ins in their order. Raises Gone, Changed, Outside."""
        listing = look_at(self._folders, file)
        if file in listing.problems and file not in listing.entries:
            raise _refused(listing, file)
        sources = Sources(listing.entries, self._folders)
        if file not in sources.files:
            raise Gone
        self._seen.update(sources.parts(file, ""))
        self.has_main = True
        for key in listing.problems:
            if key not in listing.entries:
                raise _refused(listing, key)
        main = self._part(sources.files[file], Role.WORKFLOW)
        return [main, *(self._part(key, Role.DROP_IN) for key in sources.drop_ins(file))]

    def drop_ins(self, file: str) -> list[Part]:
        """Those of a file that need not be there, in their order. Raises Changed, Outside."""
        listing = look_at(self._folders, file)
        for key in listing.problems:
            if key != file and key not in listing.entries:
                raise _refused(listing, key)
        return [self._part(key, Role.DROP_IN) for key in Sources(listing.entries, self._folders).drop_ins(file)]

    def template(self, name: str) -> Part | Missing:
        """The template of that name. Raises Changed, Outside."""
        listing = look_for_template(self._folders, name)
        sources = Sources(listing.entries, self._folders)
        key = sources.template(name)
        if key is not None:
            self._seen[key] = listing.entries[key]
            return self._part(key, Role.TEMPLATE)
        for problem in listing.problems.values():
            return Missing(f"{problem.file}: {problem.message}", problem.fix)
        known = list_templates(self._folders)
        guess = suggest(name, tuple(Sources(known.entries, self._folders).template_names))
        return Missing(f"there is no template {quote(name)}{guess}", f"put it into {self._folders.templates}")

    def _part(self, key: str, role: Role) -> Part:
        label = one_line(key)
        try:
            data, signature, owner = read_settled(*folder_of(self._folders, key), self._owners())
            if self.owner is None:
                self.owner = owner
        except FileNotFoundError:
            raise Changed from None
        except Outside as outside:
            raise Outside(label, outside.message, outside.fix, outside.code) from None
        except OSError as error:
            fix = "let the daemon's user read it" if error.errno == errno.EACCES else ""
            raise Outside(label, f"it cannot be read: {error.strerror}", fix) from None
        if data is None:
            raise Changed
        self._seen[key] = signature
        self._bytes += len(data)
        if self._bytes > MAX_BYTES:
            raise Outside(label, f"with what it belongs to it has {self._bytes} bytes; at most {MAX_BYTES} are read")
        return Part(label=label, data=data, is_json=split_name(key)[1], role=role)

    def _owners(self) -> frozenset[int] | None:
        """Who may own the next part; None: anybody."""
        if not self._folders.by_owner:
            return frozenset({0, os.geteuid()})
        return None if self.owner is None else frozenset({0, self.owner})


def _refused(listing: Listing, key: str) -> Outside:
    problem = listing.problems[key]
    return Outside(problem.file, problem.message, problem.fix)


# ---- One file -------------------------------------------------------------------------------------------------------


def read_settled(folder: str, file: str, owners: frozenset[int] | None) -> tuple[bytes | None, Signature, int]:
    """The whole of a file, None if it changed meanwhile, its signature, its owner. Raises Outside and OSError.

    Read in the tick of its last change, it may change once more and look the same: such a signature fits no scan.
    """
    descriptor = open_beneath(folder, file)
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise Outside(file, "it is no regular file")
        _check_trust(folder, file, descriptor, before, owners)
        if before.st_size > MAX_BYTES:
            raise Outside(file, f"it has {before.st_size} bytes; at most {MAX_BYTES} are read")
        data = _read_all(descriptor, before.st_size)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    signature = signature_of(after)
    if signature_of(before) != signature or before.st_uid != after.st_uid or len(data) != after.st_size:
        return None, signature, after.st_uid
    if time.time_ns() - after.st_ctime_ns < _TICK_NS:
        signature = Signature(signature.mtime_ns, 0, signature.size_bytes, signature.inode)
    return data, signature, after.st_uid


def _check_trust(
    folder: str, file: str, descriptor: int, status: os.stat_result, owners: frozenset[int] | None
) -> None:
    """Raises Outside if somebody else could have written the file that is open, or put it where it is."""
    path = os.path.join(folder, file)
    fault = trust.of_file(path, status, owners) or trust.of_folder(os.path.dirname(path), os.geteuid())
    if fault is None and os.path.islink(path):
        target = os.readlink(f"/proc/self/fd/{descriptor}")
        fault = trust.of_folder(os.path.dirname(target), os.geteuid())
    if fault is not None:
        raise Outside(file, fault.message, fault.fix, UNSAFE)


def _read_all(descriptor: int, size_bytes: int) -> bytes:
    """To the end, but never much over the limit: the size may lie, as in /proc."""
    data = os.read(descriptor, size_bytes + 1)
    while len(data) <= MAX_BYTES and (part := os.read(descriptor, 64 * 1024)):
        data += part
    return data


def open_beneath(folder: str, file: str) -> int:
    """A descriptor of `file` in `folder`. A link is followed only to a target that stays in the folder."""
    folder_fd = os.open(folder, _FOLDER_FLAGS)
    try:
        return _open_steps(folder_fd, file)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        return _open_target(folder, folder_fd, file)
    finally:
        os.close(folder_fd)


def _open_steps(folder_fd: int, path: str) -> int:
    """Opens what a path leads to, one component at a time and following none, so that nothing can be swapped in."""
    *folders, last = path.split("/")
    here = os.dup(folder_fd)
    try:
        for name in folders:
            inner = os.open(name, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = inner
        return os.open(last, _READ_FLAGS, dir_fd=here)
    finally:
        os.close(here)


def _open_target(folder: str, folder_fd: int, file: str) -> int:
    """Opens what a link leads to."""
    real_folder = os.path.realpath(folder)
    target = os.path.realpath(os.path.join(real_folder, file))
    if not target.startswith(real_folder.rstrip("/") + "/"):
        raise Outside(file, "it is a link that leads out of the folder")
    try:
        return _open_steps(folder_fd, os.path.relpath(target, real_folder))
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise Outside(file, "it is a link that changed while it was followed") from None
        raise
