"""The processes below one of ours, as ``/proc`` tells them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
from pathlib import Path


def said_of(pid: int, name: str) -> bytes:
    with contextlib.suppress(OSError):  # it has ended
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""


def children(pid: int) -> set[int]:
    """Those that any of its threads has started."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:  # it has ended
        return set()
    return {int(child) for thread in threads for child in said_of(pid, f"task/{thread}/children").split()}


def descendants(pid: int) -> set[int]:
    found = children(pid)
    return found.union(*map(descendants, found))


def has_ended(pid: int, timeout_s: float = 20) -> bool:
    """Whether it is so within this time."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return select.select([pidfd], [], [], timeout_s)[0] == [pidfd]
    finally:
        os.close(pidfd)


async def all_end(pids: set[int]) -> bool:
    return all([await asyncio.to_thread(has_ended, pid) for pid in pids])
