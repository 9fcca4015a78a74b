"""The gateway's side of a zygote (sandbox_image/zygote.py): one preloaded process, of which sandboxes are forks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import select
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

from app.errors import SandboxStartError
from app.sandbox.local.cgroups import Cgroup
from app.sandbox.local.process import kill_forsaken, told_child
from app.sandbox.worker.stderr_tail import StderrTail

log = logging.getLogger(__name__)

#: The uid of zygotes, as root: user 0 of their user namespaces. Sandboxes have those after it.
ZYGOTE_UID: Final = 199_999
#: How many uids a zygote has for its sandboxes, and one for itself.
_UIDS: Final = 65_536
_MAX_PACKET_BYTES: Final = 4096
_DEATH_TIMEOUT_S: Final = 10.0
_PARTING_TIME_S: Final = 1.0
#: A fork takes some 10 ms.
_FORK_TIMEOUT_S: Final = 30.0
#: In the place of a descriptor.
_NONE: Final = -1


class Zygote:
    """A process that forks. It lives until ``close``, and its sandboxes no longer than it does.

    Attributes:
        tail: what it wrote to stderr.
        forked: sandboxes it was asked for.
        alive: of those, not buried.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        control: socket.socket,
        pass_fds: Sequence[int],
        info_fd: int,
        block_fd: int,
        users: bool,
    ) -> None:
        """``command`` is started at once; with ``users`` it waits, until ``block_fd`` is closed, for them to be mapped.
        The descriptors are ours from now on, unless this raises."""
        self.tail = StderrTail()
        self.forked = self.alive = 0
        self.closed = False
        self._control = control
        self._info_fd, self._block_fd = info_fd, block_fd
        self._users = users
        self._child = _NONE
        self._ids = 0
        self._turn = asyncio.Lock()
        self._answers: dict[int, asyncio.Future[int]] = {}
        self._heard = asyncio.Event()
        self._ready = False
        self._step = "bubblewrap"
        self._popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=pass_fds,
            env={},
            cwd="/",
            start_new_session=True,
        )

    def __repr__(self) -> str:
        return f"<Zygote process {self._popen.pid}, {self.alive} of {self.forked} sandboxes alive>"

    @property
    def is_usable(self) -> bool:
        return self._ready and not self.closed

    async def wait_ready(self, silence_s: float) -> None:
        """
        Args:
            silence_s: longest time without a step of its start.

        Raises:
            SandboxStartError: it has ended, or was silent for too long.
        """
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: self.tail, self._popen.stderr)
        if self._users:
            await self._let_users_in(silence_s)
        self._control.setblocking(False)
        loop.add_reader(self._control, self._on_packet)
        while not self._ready:
            self._heard.clear()
            try:
                async with asyncio.timeout(silence_s):
                    await self._heard.wait()
            except TimeoutError:
                raise SandboxStartError(f"its zygote was silent for {silence_s:g} s at: {self._step}") from None
            if self.closed:
                raise SandboxStartError(f"its zygote has ended at: {self._step}")
        if note := self.tail.text():
            log.info("zygote: %s", note)

    async def fork(self, user: int | None, fds: Sequence[int]) -> int:
        """A new sandbox: a descriptor of its first process, which is the caller's. Cancelled, there is no sandbox.

        Args:
            fds: stderr, the stream, the counter of memory kills, doors of cgroups.

        Raises:
            SandboxStartError: the zygote is gone, or cannot fork.
        """
        self._ids += 1
        id = self._ids
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._answers[id] = answer
        self.forked += 1
        try:
            # One after the other: the kernel keeps few packets, and the zygote does one thing at a time.
            async with self._turn, asyncio.timeout(_FORK_TIMEOUT_S):
                if not self.is_usable:
                    raise SandboxStartError("its zygote has ended")
                socket.send_fds(self._control, [json.dumps({"id": id, "user": user}).encode()], fds)
                return await answer
        except BaseException as error:
            if answer.done() and not answer.cancelled() and answer.exception() is None:
                _abandon(answer.result())
            if isinstance(error, TimeoutError):
                raise SandboxStartError(f"its zygote did not fork within {_FORK_TIMEOUT_S:g} s") from error
            if isinstance(error, OSError):
                raise SandboxStartError(f"its zygote cannot be asked: {error.strerror or error}") from error
            raise
        finally:
            del self._answers[id]

    async def close(self) -> None:
        """End it, with every sandbox that is left."""
        self._leave()
        await asyncio.to_thread(self._bury)
        await self.tail.wait_end(1.0)

    async def _let_users_in(self, silence_s: float) -> None:
        try:
            info = json.loads(await _object_of(self._info_fd, silence_s))
            self._child = info["child-pid"]
            _map_users(self._child)
        except (OSError, ValueError, KeyError) as error:
            await self.tail.wait_end(_PARTING_TIME_S)
            raise SandboxStartError(f"its zygote got no users: {error!r}") from error
        finally:
            os.close(self._block_fd)
            self._block_fd = _NONE

    def _on_packet(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._control, _MAX_PACKET_BYTES, 1)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        if not data:
            self._leave()
            return
        message: dict[str, Any] = json.loads(data)
        match message["t"]:
            case "step":
                self._step = message["step"]
            case "ready":
                self._ready = True
            case "forked":
                self._on_forked(message, fds)
        self._heard.set()

    def _on_forked(self, message: dict[str, Any], fds: list[int]) -> None:
        answer = self._answers.get(message["id"])
        if answer is None or answer.done():  # who asked has left
            for pidfd in fds:
                _abandon(pidfd)
        elif fds:
            answer.set_result(fds[0])
        else:
            answer.set_exception(SandboxStartError(message["error"]))

    def _leave(self) -> None:
        if self.closed:
            return
        self.closed = True
        asyncio.get_running_loop().remove_reader(self._control)
        self._control.close()
        self._heard.set()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(SandboxStartError("its zygote has ended"))

    def _bury(self) -> None:
        if self._block_fd != _NONE:
            os.close(self._block_fd)
            self._block_fd = _NONE
        if self._ready:  # it ends by itself, and with it bubblewrap
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(_PARTING_TIME_S)
        self._popen.kill()
        self._popen.wait(_DEATH_TIMEOUT_S)
        if self._child != _NONE:
            kill_forsaken(self._child)
        if self._info_fd != _NONE:
            if not self._users:
                kill_forsaken(told_child(self._info_fd))
            os.close(self._info_fd)
            self._info_fd = _NONE


class ForkedSandbox:
    """The processes of one sandbox, and what has to be removed after it. Takes ``theirs``, the far end of ``sock``."""

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
        self._theirs = theirs
        self._user = user
        self._cgroup = cgroup
        self._zygote: Zygote | None = None
        self._pidfd = _NONE

    def __repr__(self) -> str:
        return f"<ForkedSandbox of {self._zygote!r}>"

    async def begin(self) -> None:
        """Have it forked.

        Raises:
            SandboxStartError: it could not be forked.
            OSError: no descriptor is left.
        """
        zygote = await self._find_zygote()
        with contextlib.ExitStack() as temporary:
            reader, writer = os.pipe2(os.O_CLOEXEC)
            temporary.callback(os.close, writer)
            stderr = os.fdopen(reader, "rb", buffering=0)
            await asyncio.get_running_loop().connect_read_pipe(lambda: self.tail, stderr)
            fds = [writer, self._theirs.fileno()]
            counter = os.devnull if self._cgroup is None else self._cgroup.oom_counter
            fds.append(_opened(counter, os.O_RDONLY, temporary))
            fds += [_opened(door, os.O_WRONLY, temporary) for door in (self._cgroup.doors if self._cgroup else ())]
            self._zygote = zygote
            zygote.alive += 1
            self._pidfd = await zygote.fork(self._user, fds)
        self._theirs.close()

    def find_first(self) -> None:
        """It is known."""

    async def kill(self) -> None:
        """Idempotent. Cancelled, it goes on to its end in its thread."""
        self.sock.close()
        self._theirs.close()
        await asyncio.to_thread(self._bury)
        await self.tail.wait_end(1.0)

    def _bury(self) -> None:
        """When the first process of a pid namespace has ended, so have all others in it."""
        if self._pidfd != _NONE:
            pidfd, self._pidfd = self._pidfd, _NONE
            _end(pidfd)
        zygote, self._zygote = self._zygote, None
        if zygote is not None:
            zygote.alive -= 1
        if self._cgroup is not None:
            self._cgroup.remove()


def _map_users(pid: int) -> None:
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{pid}/{name}").write_text(f"0 {ZYGOTE_UID} {_UIDS}")


def _opened(path: str, flags: int, temporary: contextlib.ExitStack) -> int:
    fd = os.open(path, flags | os.O_CLOEXEC)
    temporary.callback(os.close, fd)
    return fd


def _abandon(pidfd: int) -> None:
    """Nobody waits for it: kill it, close the descriptor."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)


def _end(pidfd: int) -> None:
    """Kill it, wait until it is dead, close the descriptor."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll(_DEATH_TIMEOUT_S * 1000)
    os.close(pidfd)


async def _object_of(fd: int, timeout_s: float) -> bytes:
    """The JSON object that bubblewrap writes to a pipe, in pieces; less of it, where it ends or falls silent."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    text = b""
    loop.add_reader(fd, readable.set)
    try:
        while b"}" not in text:
            async with asyncio.timeout(timeout_s):
                await readable.wait()
            readable.clear()
            piece = os.read(fd, _MAX_PACKET_BYTES)
            if not piece:
                break
            text += piece
    except TimeoutError:
        pass
    finally:
        loop.remove_reader(fd)
    return text
