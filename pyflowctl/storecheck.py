"""`fsck`: the store checked by the daemon from a snapshot, or without a daemon by this process from the files."""

from __future__ import annotations

import os

from pyflowctl import link
from pyflowctl.client import connect
from pyflowctl.restoring import place
from pyflowd.errors import Refused, Unavailable
from pyflowd.protocol.views_host import StoreCheckView
from pyflowd.render.commandline import Words
from pyflowd.render.layout import Style, page
from pyflowd.render.render_json import encode
from pyflowd.render.render_upkeep import store_check, store_check_object
from pyflowd.store.snapshot import Snapshot
from pyflowd.store.store import lock
from pyflowd.upkeep.check import check
from pyflowd.upkeep.owner import as_owner_of


def run_check(words: Words, style: Style) -> int:
    """0: nothing found; 1: something. Raises PyflowError where it cannot be looked at."""
    root, socket = words.value("root"), words.value("socket")
    try:
        with connect(root=root, socket=socket) as client:
            found = client.check_store()
    except Unavailable:
        if socket:
            raise
        found = _of_files(root)
    if words.value("output") == "json":
        link.write(1, encode(store_check_object(found)) + b"\n")
    else:
        link.write(1, page(store_check(found, style)))
    return 1 if found.findings else 0


def _of_files(root: str | None) -> StoreCheckView:
    """While nobody else uses them."""
    where = place(root)
    if not os.path.isdir(where.state):
        raise Refused(f"{where.state}: there is no store; name its place with --root DIR")
    with as_owner_of(where.state):
        try:
            holder = lock(where.state)
        except OSError as error:
            raise Refused(f"{error.filename}: {error.strerror}; check as the user of pyflowd, or as root") from error
        try:
            with Snapshot(where.state) as snapshot:
                return check(snapshot, where)
        finally:
            os.close(holder)
