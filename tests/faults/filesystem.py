"""File systems of a test's own: one of a few MiB in memory, one on an image that can lose its power."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import wait_until

IMAGE_BYTES = 48 << 20
_SHUT_DOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN."""
_WITHOUT_FLUSH = (2).to_bytes(4, "little")
"""Not even the journal: from now on nothing reaches the disk."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")


def mount(target: Path, *arguments: str) -> None:
    """Skips the test where the machine does not let it."""
    target.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *arguments, str(target)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")


def unmount(target: Path) -> None:
    wait_until(
        lambda: subprocess.run(["umount", str(target)], capture_output=True, check=False).returncode == 0,
        f"{target} can be taken away",
    )


@contextlib.contextmanager
def in_memory(target: Path, options: str) -> Iterator[Path]:
    mount(target, "-t", "tmpfs", "-o", options, "tmpfs")
    try:
        yield target
    finally:
        unmount(target)


class Disk:
    """An ext4 file system on an image, mounted at `target`."""

    def __init__(self, image: Path, target: Path) -> None:
        self.image, self.target = image, target
        if shutil.which("mkfs.ext4") is None:
            pytest.skip("there is no mkfs.ext4")
        with image.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, capture_output=True)
        self.plug_in()

    def plug_in(self) -> None:
        """Mounted anew. Who has a mount name space of its own from before may hold the old one for a moment: then that
        would come back, still shut down.
        """
        wait_until(self._is_plugged_in, "the disk works")

    def _is_plugged_in(self) -> bool:
        mount(self.target, "-o", "loop", str(self.image))
        try:
            os.close(os.open(self.target / "works", os.O_WRONLY | os.O_CREAT))
        except OSError:
            self.pull_out()
            return False
        (self.target / "works").unlink()
        return True

    def pull_out(self) -> None:
        unmount(self.target)

    def cut_power(self) -> None:
        """What is not on the disk is gone; every call for it fails from now on."""
        handle = os.open(self.target, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, _SHUT_DOWN, _WITHOUT_FLUSH)
        finally:
            os.close(handle)


@contextlib.contextmanager
def disk(folder: Path, target: Path) -> Iterator[Disk]:
    made = Disk(folder / f"{target.name}.img", target)
    try:
        yield made
    finally:
        made.pull_out()
