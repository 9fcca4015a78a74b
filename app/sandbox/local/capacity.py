"""How many embedded sandboxes the memory of this machine, or of the container we are in, holds."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/sys/fs/cgroup")
#: Of the memory; the rest is for what their code uses, for the gateway and for others.
_SHARE: Final = 0.5
_FEWEST: Final = 4
_MOST: Final = 256


def rooms_in(memory_bytes: int, *, each: int) -> int:
    return max(_FEWEST, min(_MOST, int(memory_bytes * _SHARE) // each))


def machine_memory(*, root: Path = _ROOT, own: Path = Path("/proc/self/cgroup")) -> int:
    """Bytes that processes like this one may use: of the machine, or less where a cgroup that it is in allows less."""
    known = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with contextlib.suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("", "memory"):
                known += _limits(
                    root / controllers, path.lstrip("/"), "memory.limit_in_bytes" if controllers else "memory.max"
                )
    return min(known)


def _limits(mount: Path, path: str, name: str) -> list[int]:
    """Of a group and those it lies in. In a container the path is the host's, and the mount already is our group."""
    found = []
    folder = mount / path
    while folder.is_relative_to(mount):
        with contextlib.suppress(OSError, ValueError):  # "max" is no limit
            found.append(int((folder / name).read_text()))
        folder = folder.parent
    return found
