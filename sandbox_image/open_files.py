"""Program. Files that a program leaves open. At its end as a script they are written out; here it is the end of its
block."""

from __future__ import annotations

import fcntl
import gc
import io
import os
import stat
from typing import Final

_WRITERS: Final = frozenset({io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom})


def flush() -> None:
    """What was written to files and is still in memory. It may run code of the program."""
    if not any(map(_is_written, map(int, os.listdir("/proc/self/fd")))):
        return
    for file in [found for found in gc.get_objects() if type(found) in _WRITERS]:
        try:
            file.flush()
        except (OSError, ValueError):  # closed, or the disk is full
            continue


def _is_written(fd: int) -> bool:
    try:
        writes = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
        return writes and stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:  # the descriptor of the listing itself
        return False
