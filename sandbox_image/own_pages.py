"""Both. Memory that programs usually write to, made an interpreter's own while it waits for its first code.

A forked interpreter shares its memory with the zygote. The first write to a page copies it in a fault of some 3 us, and
a reference count is a write: the first use of pandas or matplotlib takes 2,500 faults, a quarter of its time. Which
pages they are is learned in a child of the zygote that uses the libraries. An interpreter then has them copied ahead,
without faults, a few at a time, as long as it has nothing else to do.

In a process of its own all of them are copied. In a fork of a zygote (zygote.py) they would be most of what a session
takes: it has those of the most usual uses.

Needs ``/proc/self/pagemap`` and MADV_POPULATE_WRITE (Linux 5.14). Elsewhere (gVisor) all is as without it.
"""

from __future__ import annotations

import array
import ctypes
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Final

#: (address, bytes) of neighbouring pages.
PageRanges = Sequence[tuple[int, int]]
#: 24 MB. The uses of today write to 5,300.
MAX_PAGES: Final = 6000
#: In a fork of a zygote, 11 MB: of a description of a table all, of a plot more than half.
MAX_PAGES_OF_FORK: Final = 2750

_PAGE: Final = mmap.PAGESIZE
#: Bits of an entry of pagemap: it is in memory; it is of a file or shared; no other process has it.
_PRESENT, _FILE, _EXCLUSIVE = 1 << 63, 1 << 61, 1 << 56
_POPULATE_WRITE: Final = 23
#: Ranges copied before somebody else gets a turn: about 0.1 ms.
_AT_ONCE: Final = 16
_madvise = ctypes.CDLL(None).madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def learn(uses: Sequence[Callable[[], object]], most: int = MAX_PAGES) -> PageRanges:
    """The pages of this process that these write to, each called in a child of its own, the most important first. None
    where that cannot be known.

    Args:
        most: pages; those of the last uses are left out.
    """
    known: set[int] = set()
    ranges: list[tuple[int, int]] = []
    for use in uses:
        pages = sorted(_written_by(use) - known)[: most - len(known)]
        known.update(pages)
        ranges += _neighbours(pages)
    return ranges


def _written_by(use: Callable[[], object]) -> set[int]:
    """Addresses of pages."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            use()
            with os.fdopen(writer, "wb") as file:
                array.array("Q", _exclusive()).tofile(file)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        data = file.read()
    os.waitpid(pid, 0)
    return set(array.array("Q", data[: len(data) // 8 * 8]))


def take(pages: PageRanges) -> Iterator[None]:
    """Copy them, a few with every step. Before any code of the program has run: it may use the addresses otherwise."""
    for start in range(0, len(pages), _AT_ONCE):
        for address, size in pages[start : start + _AT_ONCE]:
            _madvise(address, size, _POPULATE_WRITE)  # in vain where memory has been given back since
        yield


def _exclusive() -> Iterator[int]:
    """Addresses of pages of anonymous memory that this process shares with no other."""
    with open("/proc/self/maps") as maps, open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        for line in maps:
            addresses, permissions, *_ = line.split()
            if permissions != "rw-p" or "[stack]" in line:
                continue
            begin, end = (int(address, 16) for address in addresses.split("-"))
            pagemap.seek(begin // _PAGE * 8)
            for number, entry in enumerate(array.array("Q", pagemap.read((end - begin) // _PAGE * 8))):
                if entry & _EXCLUSIVE and entry & _PRESENT and not entry & _FILE:
                    yield begin + number * _PAGE


def _neighbours(pages: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(address, bytes) of those that lie side by side, from addresses in order."""
    begin = end = 0
    for page in pages:
        if page != end:
            if end:
                yield begin, end - begin
            begin = page
        end = page + _PAGE
    if end:
        yield begin, end - begin
