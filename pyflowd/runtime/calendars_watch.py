"""Calendars and blackouts of a running daemon: read when it starts, and again when somebody says `reload`.

The reading may wait for a process, so it is done in the thread pool; what was read before is in force until then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from pyflowd import settings
from pyflowd.base.pool import Pool
from pyflowd.base.zones import Zone
from pyflowd.clock import Clock, from_us
from pyflowd.errors import Refused
from pyflowd.runtime.calendars_files import read_almanac
from pyflowd.schedules.calendars import Almanac
from pyflowd.settings import Settings

TOKEN = "calendars"  # noqa: S105  (of the pool, no secret)

log = logging.getLogger("pyflowd.runtime.calendars_watch")


class CalendarWatch:
    """Gives the almanac to `put` whenever it has been read. `note`: tells the administrator what is wrong with it, or
    with an empty text that nothing is.
    """

    def __init__(
        self,
        path: str,
        zone: Zone,
        clock: Clock,
        pool: Pool,
        *,
        put: Callable[[Almanac], None],
        note: Callable[[str, str], None],
    ) -> None:
        self._path = path
        self._zone = zone
        self._clock = clock
        self._pool = pool
        self._put = put
        self._note = note
        self.busy = False
        self._again = False
        self._settings = Settings()

    def begin(self, found: Settings) -> None:
        """At the start, before anything is due."""
        self._settings = found
        self._take(self._read(found))

    def reload(self) -> None:
        """Read again; `busy` until that is in force."""
        self._again = self.busy
        if self.busy:
            return
        self.busy = True
        self._pool.submit(TOKEN, lambda _: self._reread())

    def taken(self, result: object) -> None:
        """The pool has read them, or could not."""
        self.busy = False
        if self._again:
            self.reload()
            return
        if isinstance(result, BaseException):
            self._note("calendars", f"not read again: {result}")
            return
        assert isinstance(result, tuple)
        self._settings, almanac = result
        self._take(almanac)

    def _reread(self) -> tuple[Settings, Almanac]:
        """Raises Refused: the settings are wrong, and what was in force stays."""
        try:
            found = settings.load(self._path)
        except Refused as error:
            raise Refused(f"the settings are refused: {str(error).splitlines()[0]}") from error
        return found, self._read(found)

    def _read(self, found: Settings) -> Almanac:
        return read_almanac(self._path, found, self._zone, from_us(self._clock.wall_us()).date())

    def _take(self, almanac: Almanac) -> None:
        self._put(almanac)
        problems = almanac.problems()
        for problem in problems:
            log.error("%s", problem, extra={"action": "calendar_broken"})
        more = f"; and {len(problems) - 1} more" if len(problems) > 1 else ""
        self._note("calendars", f"{problems[0]}{more}; schedules that need it are held" if problems else "")
