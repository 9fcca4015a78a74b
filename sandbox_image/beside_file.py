"""Program. What a script finds and leaves beside its own file, which for a script is the folder it works in.

The file of a program is in a folder of its own (block.py), so that the work folder holds the user's files alone. When a
program begins, that folder is given links to what is in the work folder; at its end, what was written there is moved to
the work folder, where the user looks, and a link stays in its place.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from itertools import islice
from typing import Final

#: Entries of the work folder that are linked: with more, a program would wait for it.
MAX_LINKS: Final = 256
#: Entries that are moved at the end of a program.
MAX_MOVED: Final = 4096
_OURS: Final = re.compile(r"main(?:_\d+)?\.py|__pycache__")


def link(folder: str, work_folder: str) -> None:
    """Make what is in ``work_folder`` seen in ``folder``."""
    with contextlib.suppress(OSError):
        there, wanted = _names(folder), _names(work_folder)
        if len(there) > MAX_LINKS or len(wanted) > MAX_LINKS:
            return
        for name in there - wanted:
            path = os.path.join(folder, name)
            if os.path.islink(path) and not os.path.exists(path):
                os.unlink(path)
        for name in wanted - there:
            os.symlink(os.path.join(work_folder, name), os.path.join(folder, name))


def _names(folder: str) -> set[str]:
    """What lies there. Of a folder that a program has filled, only so much that this is known: the list of a million
    names would take the memory that the program has."""
    with os.scandir(folder) as entries:
        names = (entry.name for entry in entries if not _OURS.fullmatch(entry.name))
        return set(islice(names, MAX_LINKS + 1))


def bring(folder: str, work_folder: str) -> None:
    """Move what was written into ``folder`` to ``work_folder``; what is open there is copied, and stays."""
    with contextlib.suppress(OSError):
        with os.scandir(folder) as entries:
            written = (entry.name for entry in entries if not entry.is_symlink() and not _OURS.fullmatch(entry.name))
            names = list(islice(written, MAX_MOVED))
        if not names or os.path.samefile(folder, work_folder):
            return
        still_open = _open_files()
        for name in names:
            path, target = os.path.join(folder, name), os.path.join(work_folder, name)
            with contextlib.suppress(OSError):
                if _bring(path, target, still_open):
                    os.symlink(target, path)


def _bring(path: str, target: str, still_open: set[str]) -> bool:
    """Whether all of it was moved."""
    import shutil

    status = os.lstat(path)
    if stat.S_ISDIR(status.st_mode):
        os.makedirs(target, exist_ok=True)
        moved = [_bring(os.path.join(path, name), os.path.join(target, name), still_open) for name in os.listdir(path)]
        if all(moved):
            os.rmdir(path)
        return all(moved)
    if stat.S_ISREG(status.st_mode) and path in still_open:
        if not os.path.exists(target) or os.stat(target).st_mtime_ns != status.st_mtime_ns:
            shutil.copy2(path, target)
        return False
    shutil.copy2(path, target, follow_symlinks=False)
    os.unlink(path)
    return True


def _open_files() -> set[str]:
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{fd}"))
    return found
