"""The processes of one embedded sandbox, from their start to the moment when nothing of them is left."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from app.sandbox.local.cgroups import Cgroup
from app.sandbox.worker.stderr_tail import StderrTail

_DEATH_TIMEOUT_S: Final = 10.0
_PARTING_TIME_S: Final = 1.0


class SandboxProcess:
    """A started program, our end of its socket, and what has to be removed after it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        pass_fds: Sequence[int],
        environment: dict[str, str],
        sock: socket.socket,
        info_fd: int | None = None,
        cgroup: Cgroup | None = None,
        folder: Path | None = None,
    ) -> None:
        self.sock = sock
        self.tail = StderrTail()
        self._info_fd = info_fd
        self._first: int | None = None  # pidfd of the first process of the pid namespace
        self._cgroup = cgroup
        self._folder = folder
        self._popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=pass_fds,
            env=environment,
            cwd=folder or "/",
            start_new_session=True,
        )

    def __repr__(self) -> str:
        return f"<SandboxProcess {self._popen.pid}>"

    async def begin(self) -> None:
        """Read what it writes to stderr."""
        await asyncio.get_running_loop().connect_read_pipe(lambda: self.tail, self._popen.stderr)

    def find_first(self) -> None:
        """Learn which process is the first one inside, from what bubblewrap has written. After ``ready`` it is there.

        Raises:
            OSError: it is gone again.
        """
        if self._info_fd is not None:
            first = json.loads(os.read(self._info_fd, 4096))["child-pid"]
            self._first = os.pidfd_open(first)

    async def kill(self) -> None:
        """Idempotent. Cancelled, it goes on to its end in its thread."""
        self.sock.close()
        await asyncio.to_thread(self._bury)
        await self.tail.wait_end(1.0)

    def _bury(self) -> None:
        """When the first process of a pid namespace has ended, so have all others in it."""
        if self._first is not None:
            first, self._first = self._first, None
            end(first)
        else:  # no namespace ends what the supervisor started: it does, at the end of its stream
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(_PARTING_TIME_S)
        self._popen.kill()
        self._popen.wait(_DEATH_TIMEOUT_S)
        if self._info_fd is not None:
            _kill_forsaken(_told_child(self._info_fd))
            os.close(self._info_fd)
            self._info_fd = None
        if self._cgroup is not None:
            self._cgroup.remove()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def end(pidfd: int) -> None:
    """Kill a process, wait until it is dead, close the descriptor."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll(_DEATH_TIMEOUT_S * 1000)
    os.close(pidfd)


def _told_child(info_fd: int) -> int | None:
    """The process that bubblewrap has told of; None if it was killed before."""
    os.set_blocking(info_fd, False)
    with contextlib.suppress(OSError, ValueError, KeyError):
        return int(json.loads(os.read(info_fd, 4096))["child-pid"])
    return None


def _kill_forsaken(child: int | None) -> None:
    """Bubblewrap that is killed when it has just forked leaves a child that waits for it for ever."""
    with contextlib.suppress(OSError):  # nothing is left
        if child is not None and Path(f"/proc/{child}/comm").read_text() == "bwrap\n":
            os.kill(child, signal.SIGKILL)
