"""What requests, views and frames have in common: versions, limits, levels, numbers."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from msgspec import Meta

VERSION = 1
FRAME_MAX = 1 << 20
"""Most bytes of one frame. A longer answer is several frames; a longer request is refused."""
Integer = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""What the store can hold; msgpack has greater ones."""
Limit = Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]


HIDDEN = "another workflow"
"""In the place of a name that whoever asks may not know."""


class Level(IntEnum):
    """What a peer may do; each includes those before it."""

    NONE = 0
    READ = 1
    OPERATE = 2
    ADMIN = 3
