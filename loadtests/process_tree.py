"""Processes of this machine, as ``/proc`` tells of them: those below one, their CPU time, their memory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

#: Under it, a zygote is the only process; its own children are the first processes of sandboxes.
_WRAPPER: Final = "bwrap\n"


def below(pid: int) -> set[int]:
    """Everything that it has started, directly or not, and that is there still."""
    found: set[int] = set()
    ahead = [pid]
    while ahead:
        children = _children(ahead.pop())
        found.update(children)
        ahead += children
    return found


def cpu_s(pids: Iterable[int]) -> float:
    """Of all their threads so far. Of who has ended in the meantime nothing is counted."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                total += int(task.read_text().split()[0])
    return total / 1e9


def proportional_mb(pids: Iterable[int]) -> float:
    """Memory (PSS): a page that n processes share counts as an n-th for each of them."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total * 1024 / 1e6


def shared_by_sandboxes(pids: Iterable[int]) -> set[int]:
    """Of these, the zygotes and the bubblewraps around them."""
    wrappers = {pid for pid in pids if _said(pid, "comm") == _WRAPPER}
    zygotes = {child for pid in wrappers for child in _children(pid) if "zygote.py" in _said(child, "cmdline")}
    return zygotes | {pid for pid in wrappers if zygotes & set(_children(pid))}


def _children(pid: int) -> list[int]:
    """Those that any of its threads has started."""
    with contextlib.suppress(OSError):
        threads = os.listdir(f"/proc/{pid}/task")
        return [int(child) for thread in threads for child in _said(pid, f"task/{thread}/children").split()]
    return []


def _said(pid: int, name: str) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_text()
    return ""
