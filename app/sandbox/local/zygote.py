"""The gateway's side of a zygote (sandbox_image/zygote.py): one preloaded process, of which sandboxes are forks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from app.errors import SandboxStartError
from app.sandbox.worker.stderr_tail import StderrTail

log = logging.getLogger(__name__)

#: The uid of zygotes, as root: user 0 of their user namespaces. Sandboxes have those after it.
ZYGOTE_UID: Final = 199_999
#: How many uids a zygote has for its sandboxes, and one for itself.
ZYGOTE_UIDS: Final = 65_536
_MAX_PACKET_BYTES: Final = 4096
#: A fork takes some 10 ms.
_FORK_TIMEOUT_S: Final = 30.0
_DEATH_TIMEOUT_S: Final = 10.0
_FIRST_STEP: Final = "bubblewrap"


class Zygote:
    """A process that forks. It lives until ``close``, and its sandboxes no longer than it does.

    Attributes:
        tail: what it wrote to stderr.
        owner: whose sandboxes it forks; None: nobody has taken one yet.
        born: when it was first asked for a sandbox, in the event loop's time.
        used: when it was last asked.
        forked: sandboxes it was asked for.
        alive: of those, not buried.
    """

    def __init__(self, command: Sequence[str], *, control: socket.socket, pass_fds: Sequence[int]) -> None:
        """``command`` is started at once. ``control`` is ours from now on, unless this raises."""
        self.tail = StderrTail()
        self.owner: str | None = None
        self.born = self.used = 0.0
        self.forked = self.alive = 0
        self.closed = False
        self._control = control
        self._ids = 0
        self._turn = asyncio.Lock()
        self._answers: dict[int, asyncio.Future[int]] = {}
        self._heard = asyncio.Event()
        self._ready = False
        self._step = _FIRST_STEP
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
        """A new sandbox: a descriptor of its first process, which is the caller's. Not to be cancelled.

        Args:
            fds: stderr, the stream, the counter of memory kills, doors of cgroups.

        Raises:
            SandboxStartError: the zygote is gone, or cannot fork.
        """
        # One after the other: the kernel keeps few packets, and the zygote does one thing at a time.
        async with self._turn:
            if not self.is_usable:
                raise SandboxStartError("its zygote has ended")
            self._ids += 1
            answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._answers[self._ids] = answer
            try:
                socket.send_fds(self._control, [json.dumps({"id": self._ids, "user": user}).encode()], fds)
                async with asyncio.timeout(_FORK_TIMEOUT_S):
                    return await answer
            except TimeoutError:  # what it answers later is killed
                raise SandboxStartError(f"its zygote did not fork within {_FORK_TIMEOUT_S:g} s") from None
            except OSError as error:
                raise SandboxStartError(f"its zygote cannot be asked: {error.strerror or error}") from error
            finally:
                del self._answers[self._ids]

    async def close(self) -> None:
        """End it, with every sandbox that is left. Idempotent."""
        self._leave()
        await asyncio.to_thread(self._bury)
        await self.tail.wait_end(1.0)

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
        if answer is None or answer.done():  # it was waited for too long
            for pidfd in fds:
                _abandon(pidfd)
        elif fds:
            answer.set_result(fds[0])
        else:
            answer.set_exception(SandboxStartError(message["error"]))

    def _leave(self) -> None:
        """Its end begins: it reads no more requests, and at its next step or request finds that we are gone."""
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
        """Bubblewrap ends when what it has started, the first process of a pid namespace, is gone with all others.

        It is not killed while it starts that: its child would wait for it for ever. A zygote that is not that far
        finds our socket closed at its first step.
        """
        if self._step == _FIRST_STEP:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(_DEATH_TIMEOUT_S)
        if self._popen.poll() is None:
            for child in _children(self._popen.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(_DEATH_TIMEOUT_S)
        self._popen.kill()
        self._popen.wait(_DEATH_TIMEOUT_S)


def _children(pid: int) -> list[int]:
    """Of a child of ours, which has not been waited for: the number is still its own."""
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _abandon(pidfd: int) -> None:
    """Nobody waits for it: kill it, close the descriptor."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)
