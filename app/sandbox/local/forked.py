"""One embedded sandbox that is a fork of a zygote, from its start to the moment when nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from app.errors import SandboxStartError
from app.sandbox.local.cgroups import Cgroup
from app.sandbox.local.process import end
from app.sandbox.local.zygote import Zygote
from app.sandbox.worker.stderr_tail import StderrTail

#: In the place of a descriptor.
_NONE: Final = -1


class ForkedSandbox:
    """The processes of one sandbox, and what has to be removed after it. Takes ``theirs``, the far end of ``sock``.

    Theory of operation: the zygote is asked in a task of its own, which nobody cancels. Whoever gives up a start waits
    for the answer, some 10 ms, and then kills what was forked: nothing is on its way when ``kill`` is over.
    """

    def __init__(
        self,
        find_zygote: Callable[[], Awaitable[Zygote]],
        *,
        sock: socket.socket,
        theirs: socket.socket,
        user: int | None,
        cgroup: Cgroup | None,
    ) -> None:
        self._find_zygote = find_zygote
        self.sock = sock
        self.tail = StderrTail()
        #: Of which it is a fork; None before.
        self.zygote: Zygote | None = None
        self._theirs = theirs
        self._user = user
        self._cgroup = cgroup
        self._forking: asyncio.Task[int] | None = None

    def __repr__(self) -> str:
        return f"<ForkedSandbox of {self.zygote!r}>"

    async def begin(self) -> None:
        """Have it forked.

        Raises:
            SandboxStartError: it could not be forked.
            OSError: no descriptor is left.
        """
        self.zygote = await self._find_zygote()
        self.zygote.alive += 1
        self._forking = asyncio.create_task(self._fork(self.zygote))
        await asyncio.shield(self._forking)

    def find_first(self) -> None:
        """It is known."""

    async def kill(self) -> None:
        """Idempotent. Not to be cancelled."""
        forking, self._forking = self._forking, None
        pidfd = _NONE
        if forking is not None:
            with contextlib.suppress(SandboxStartError, OSError):  # told where it was begun
                pidfd = await forking
        self.sock.close()
        self._theirs.close()
        try:
            await asyncio.to_thread(self._bury, pidfd)
        finally:
            if forking is not None and self.zygote is not None:
                self.zygote.alive -= 1
        await self.tail.wait_end(1.0)

    async def _fork(self, zygote: Zygote) -> int:
        with contextlib.ExitStack() as temporary:
            reader, writer = os.pipe2(os.O_CLOEXEC)
            temporary.callback(os.close, writer)
            stderr = os.fdopen(reader, "rb", buffering=0)
            await asyncio.get_running_loop().connect_read_pipe(lambda: self.tail, stderr)
            fds = [writer, self._theirs.fileno()]
            counter = os.devnull if self._cgroup is None else self._cgroup.oom_counter
            fds.append(_opened(counter, os.O_RDONLY, temporary))
            fds += [_opened(door, os.O_WRONLY, temporary) for door in (self._cgroup.doors if self._cgroup else ())]
            pidfd = await zygote.fork(self._user, fds)
        self._theirs.close()
        return pidfd

    def _bury(self, pidfd: int) -> None:
        """When the first process of a pid namespace has ended, so have all others in it."""
        if pidfd != _NONE:
            end(pidfd)
        if self._cgroup is not None:
            self._cgroup.remove()


def _opened(path: str, flags: int, temporary: contextlib.ExitStack) -> int:
    fd = os.open(path, flags | os.O_CLOEXEC)
    temporary.callback(os.close, fd)
    return fd
