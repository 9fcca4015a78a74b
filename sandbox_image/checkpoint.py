"""Program. How an interpreter copies itself: the copy is the checkpoint, and goes on from there if the supervisor says
so.

Fork copies memory. What lies outside it must not matter, or the copy is refused: other threads (a fork has only one,
and would wait for ever for their locks), child processes, sockets, pipes, shared memory, timers. Positions in open
files are put back when the copy goes on; their contents are the supervisor's business (snapshot.py).

The copy is no child of the interpreter, so that ``os.wait()`` of the program does not see it: it is forked twice and
becomes the supervisor's. It is forked by the C library, not by ``os.fork``: hooks of ``os.register_at_fork`` would run
code of the program, and that of ``random`` would draw a new seed.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import signal
import stat
import struct
from collections.abc import Iterable
from pathlib import Path

_PID = struct.Struct("<i")
_KINDS = {stat.S_IFSOCK: "a socket is open", stat.S_IFIFO: "a pipe is open"}
_HARMLESS = {stat.S_IFDIR, stat.S_IFCHR}
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
#: Keeps the interpreter lock while it calls: no other thread of Python may run.
_libc = ctypes.PyDLL(None, use_errno=True)


class CopyRefused(Exception):
    """The copy would not be what the interpreter is; the message says why."""


class Positions:
    """In the regular files that are open: the interpreter and its copy share them."""

    def __init__(self, ours: Iterable[int]) -> None:
        """``ours`` are descriptors that are not the program's.

        Raises:
            CopyRefused: something is open whose state a fork does not copy.
        """
        known = set(filter(None, map(_identity, ours)))
        self._positions: list[tuple[int, int]] = []
        for fd in map(int, os.listdir("/proc/self/fd")):
            try:
                status = os.fstat(fd)
            except OSError:  # the one of the listing itself
                continue
            if stat.S_ISREG(status.st_mode):
                if not status.st_nlink:
                    raise CopyRefused("a file without a name is open")
                self._positions.append((fd, os.lseek(fd, 0, os.SEEK_CUR)))
                continue
            kind = stat.S_IFMT(status.st_mode)
            if kind not in _HARMLESS and (status.st_dev, status.st_ino) not in known:
                raise CopyRefused(_KINDS.get(kind, "an event descriptor is open"))

    def put_back(self) -> None:
        for fd, position in self._positions:
            os.lseek(fd, position, os.SEEK_SET)


def require_copyable(progress: mmap.mmap) -> None:
    """
    Args:
        progress: the one piece of shared memory that is ours.

    Raises:
        CopyRefused: a fork would not copy the state of the program.
    """
    if len(os.listdir("/proc/self/task")) > 1:
        raise CopyRefused("other threads are running")
    if _has_children():
        raise CopyRefused("child processes are running")
    if signal.getsignal(signal.SIGCHLD) is not signal.SIG_DFL:
        raise CopyRefused("the program handles SIGCHLD")
    if any(signal.getitimer(timer)[0] for timer in _TIMERS):
        raise CopyRefused("a timer is running")
    if _shares_memory(progress):
        raise CopyRefused("memory is shared (mmap, multiprocessing)")


def fork_copy() -> int:
    """Fork a copy that is the child of the subreaper above us. Returns its pid, which is its child by then; 0 in it.

    Raises:
        OSError: there is no copy.
    """
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    with open(read_fd, "rb", buffering=0) as told:
        with open(write_fd, "wb", buffering=0) as teller:
            middle = _fork()
            if middle == 0:
                try:
                    copy = _fork()
                except OSError as error:
                    copy = -(error.errno or 1)
                if copy == 0:
                    return 0
                teller.write(_PID.pack(copy))
                os._exit(0)
        os.waitpid(middle, 0)
        answer = told.read(_PID.size)
    if not answer:
        raise OSError("the process in the middle was killed")
    pid: int = _PID.unpack(answer)[0]
    if pid < 0:
        raise OSError(-pid, os.strerror(-pid))
    return pid


def _fork() -> int:
    pid: int = _libc.fork()
    if pid < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return pid


def _identity(fd: int) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        status = os.fstat(fd)
        return status.st_dev, status.st_ino
    return None


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _shares_memory(ours: mmap.mmap) -> bool:
    own = ctypes.addressof(ctypes.c_char.from_buffer(ours))
    for line in Path("/proc/self/maps").read_bytes().splitlines():
        span, permissions, _ = line.split(b" ", 2)
        if permissions[1:2] == b"w" and permissions[3:4] == b"s" and int(span.split(b"-")[0], 16) != own:
            return True
    return False
