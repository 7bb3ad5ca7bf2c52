"""Takes a folder away with all that is in it, however deep: what tasks leave behind may be deeper than a recursion
goes, or than a path can say. It knows nothing of whose folder it is.
"""

from __future__ import annotations

import contextlib
import os
import secrets

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: str) -> None:
    """What cannot be removed stays; links are removed, not followed."""
    try:
        top = os.open(path, _FOLDER)
    except OSError:
        return
    try:
        while sum(_remove(top, name) for name in os.listdir(top)):
            pass  # what was in folders is in the topmost one now
    except OSError:
        pass
    finally:
        os.close(top)
    with contextlib.suppress(OSError):
        os.rmdir(path)


def _remove(top: int, name: str) -> bool:
    """Remove a file, or empty a folder by one level and remove it; whether anything has changed."""
    try:
        os.unlink(name, dir_fd=top)
    except (IsADirectoryError, PermissionError):
        return _empty(top, name)
    except OSError:
        return False
    return True


def _empty(top: int, name: str) -> bool:
    """Files in the folder are removed, folders in it put beside it."""
    changed = False
    try:
        folder = os.open(name, _FOLDER, dir_fd=top)
    except OSError:
        return False
    try:
        with contextlib.suppress(OSError):
            os.fchmod(folder, 0o700)  # one that its owner may only read, as tools make some
        for each in os.listdir(folder):
            with contextlib.suppress(OSError):
                try:
                    os.unlink(each, dir_fd=folder)
                except (IsADirectoryError, PermissionError):
                    os.rename(each, secrets.token_hex(16), src_dir_fd=folder, dst_dir_fd=top)
                changed = True
    finally:
        os.close(folder)
    with contextlib.suppress(OSError):
        os.rmdir(name, dir_fd=top)
        changed = True
    return changed
