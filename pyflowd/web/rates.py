"""How often somebody may do something: a bucket of tokens for each key, in bounded memory. Safe for threads."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict

from pyflowd.clock import US, Clock

KEYS_MAX = 4096
"""Beyond it the key that was used longest ago begins anew, as it would soon by itself."""


class Rates:
    """Of the process."""

    def __init__(self, clock: Clock, keys_max: int = KEYS_MAX) -> None:
        self._clock = clock
        self._keys_max = keys_max
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, int]] = OrderedDict()
        """Key to what was left in its bucket, and when that was; the longest unused first."""

    def take(self, key: str, burst: int, per_s: float) -> int:
        """One from the bucket of `key`, which holds `burst` and gets `per_s` more each second.

        0: it was there; else the whole seconds after which there will be one.
        """
        now_us = self._clock.mono_us()
        with self._lock:
            left, then_us = self._left.pop(key, (float(burst), now_us))
            left = min(float(burst), left + (now_us - then_us) / US * per_s)
            taken = left >= 1.0
            self._left[key] = (left - 1.0 if taken else left, now_us)
            if len(self._left) > self._keys_max:
                self._left.popitem(last=False)
        return 0 if taken else max(1, math.ceil((1.0 - left) / per_s))
