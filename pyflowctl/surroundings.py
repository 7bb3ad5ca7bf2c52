"""What is around a workflow file on this host: users, other workflows, channels of the settings, pools with a size.

Read as the user who asks, and only when it is asked for. What cannot be read is not known.
"""

from __future__ import annotations

import glob
import grp
import os
import pwd
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from functools import lru_cache

from pyflowctl import link
from pyflowd import paths
from pyflowd.base import zones
from pyflowd.base.filenames import is_definition_name, split_name
from pyflowd.errors import Refused
from pyflowd.language.assembly import parse
from pyflowd.language.definition_text import Part
from pyflowd.language.document import DocumentError, Mapping
from pyflowd.lint.lint_host import Surroundings
from pyflowd.paths import Paths
from pyflowd.schedules.calendars import Almanac

_MAX_FILES = 2000
"""Of a folder, that are looked into for names of their own."""
_OWN_NAME = re.compile(rb"^[ \t{]*\"?name\"?[ \t]*:[ \t]*[\"']?([A-Za-z0-9_.-]+)", re.MULTILINE)


@lru_cache(maxsize=256)
def instance_of(folder: str) -> Paths | None:
    """The instance that has a folder of workflows, of its own or of the vendor; None: no instance has."""
    for instance in (paths.SYSTEM, paths.of_user(dict(os.environ), os.getuid())):
        if folder in (instance.workflows, instance.vendor):
            return instance
    above = paths.below(os.path.dirname(os.path.dirname(folder)))
    if folder == above.vendor:
        return above
    below = paths.below(os.path.dirname(folder))
    return below if folder == below.workflows else None


@lru_cache(maxsize=16)
def surroundings_of(folder: str) -> Surroundings:
    """Of the files of one folder, an absolute path."""
    instance = instance_of(folder)
    folders = (folder,) if instance is None else (instance.workflows, instance.vendor)
    found = _settings(instance)
    timezone, channels = found or (None, None)
    return Surroundings(
        now_s=int(time.time()),
        timezone=timezone or zones.host_zone().name,
        is_user=_is_user,
        is_group=_is_group,
        workflows=lambda: _workflows(folders),
        channels=channels,
        pools=None if instance is None else lambda: _pools(instance),
        almanac=lambda: _almanac(instance),
    )


def _settings(instance: Paths | None) -> tuple[str | None, frozenset[str]] | None:
    """Time zone and channels of an instance that has settings; without them nobody can say what there will be."""
    if instance is None or not os.path.exists(instance.settings):
        return None
    from pyflowd import settings  # a sixth of what lint takes to start, and most files stand in no instance

    try:
        found = settings.load(instance.settings)
    except Refused:
        return None
    return found.timezone, frozenset(found.channels)


def _almanac(instance: Paths | None) -> Almanac | None:
    """Calendars and blackouts of an instance whose settings can be read."""
    if instance is None:
        return None
    from pyflowd import settings
    from pyflowd.runtime import calendars_files  # as above

    try:
        found = settings.load(instance.settings)
    except Refused:
        return None
    host = zones.zone(found.timezone) if found.timezone else zones.host_zone()
    return calendars_files.read_almanac(instance.settings, found, host, datetime.now(host.info).date())


@lru_cache(maxsize=16)
def _pools(instance: Paths) -> frozenset[str]:
    """Names of all pools that have a size: in the settings, in workflows, their drop-ins and templates."""
    from pyflowd import settings  # as above

    names: set[str] = set()
    with suppress(Refused):
        names.update(settings.load(instance.settings).pools)
    for folder in (instance.workflows, instance.vendor):
        for pattern in ("*", "*.d/*", "../templates/*"):
            files = sorted(glob.iglob(os.path.join(glob.escape(folder), pattern)))
            names.update(name for file in files[:_MAX_FILES] for name in _declared_pools(file))
    return frozenset(names)


def _declared_pools(path: str) -> Iterable[str]:
    name = path.rpartition("/")[2]
    if not (is_definition_name(name) and os.path.isfile(path)):
        return ()
    try:
        data = link.read_file(path)
        root = parse(Part(label=path, data=data, is_json=split_name(name)[1])).root if b"pools" in data else None
    except (link.ClientError, DocumentError):
        return ()
    pools = root.get("pools") if isinstance(root, Mapping) else None
    return tuple(pools) if isinstance(pools, Mapping) else ()


@lru_cache(maxsize=1024)
def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


@lru_cache(maxsize=1024)
def _is_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


@lru_cache(maxsize=16)
def _workflows(folders: tuple[str, ...]) -> frozenset[str]:
    """Names of all workflows of some folders: of their files, and those that files give themselves."""
    names: set[str] = set()
    for folder in folders:
        try:
            files = sorted(file for file in os.listdir(folder) if is_definition_name(file))
        except OSError:
            continue
        names.update(split_name(file)[0] for file in files)
        for file in files[:_MAX_FILES]:
            path = os.path.join(folder, file)
            if not os.path.isfile(path):
                continue  # a FIFO would be waited for
            try:
                names.update(match.decode() for match in _OWN_NAME.findall(link.read_file(path)))
            except link.ClientError:
                continue
    return frozenset(names)
