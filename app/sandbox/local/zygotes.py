"""Which zygote the next sandbox is a fork of.

All forks of one have its memory layout and its hash seed, and one that learned them from its own memory could use them
against another: so each forks a bounded number of sandboxes, for a bounded time. The next one is started before that
is over, in the background, and the old one ends with its last sandbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from app.errors import SandboxStartError
from app.sandbox.local.zygote import Zygote

log = logging.getLogger(__name__)

#: After so many sandboxes, or seconds, another one takes over.
RENEW_AFTER: Final = 200
RENEW_S: Final = 3600.0


class ZygoteFailed(SandboxStartError):
    """There is no zygote, hence no sandbox. ``said``: what it wrote to stderr."""

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


class Zygotes:
    """Starts them, hands them out, ends them.

    Args:
        spawn: starts the process of one.
        silence_s: longest time that one may be silent during its start.
    """

    def __init__(self, spawn: Callable[[], Zygote], *, silence_s: float) -> None:
        self._spawn = spawn
        self._silence_s = silence_s
        self._current: Zygote | None = None
        self._born = 0.0
        self._starting: asyncio.Task[Zygote] | None = None
        self._old: set[Zygote] = set()
        self._burials: set[asyncio.Task[None]] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"<Zygotes {self._current!r}, {len(self._old)} old>"

    async def find(self) -> Zygote:
        """One that can fork. The first call waits until there is one.

        Raises:
            SandboxStartError: it could not be started.
        """
        if self._closed:
            raise SandboxStartError("the gateway is shutting down")
        current = self._current
        if current is not None and not current.is_usable:
            self._retire(current)
            current = None
        if current is None:
            return await asyncio.shield(self._start())
        if current.forked >= RENEW_AFTER or asyncio.get_running_loop().time() - self._born > RENEW_S:
            self._start()
        return current

    def release(self) -> None:
        """A sandbox has been buried."""
        for zygote in [zygote for zygote in self._old if not zygote.alive]:
            self._old.discard(zygote)
            burial = asyncio.get_running_loop().create_task(zygote.close())
            self._burials.add(burial)
            burial.add_done_callback(self._burials.discard)

    async def close(self) -> None:
        self._closed = True
        if self._starting is not None:
            self._starting.cancel()
            with contextlib.suppress(asyncio.CancelledError, SandboxStartError, OSError):
                await self._starting
        for zygote in filter(None, (self._current, *self._old)):
            await zygote.close()
        self._current = None
        self._old.clear()
        await asyncio.gather(*self._burials)

    def _start(self) -> asyncio.Task[Zygote]:
        if self._starting is None or self._starting.done():
            self._starting = asyncio.get_running_loop().create_task(self._renew())
            self._starting.add_done_callback(_note_failure)
        return self._starting

    async def _renew(self) -> Zygote:
        zygote = self._spawn()
        try:
            await zygote.wait_ready(self._silence_s)
        except BaseException as error:
            await zygote.close()
            if isinstance(error, SandboxStartError):
                raise ZygoteFailed(str(error), zygote.tail.text()) from error
            raise
        if self._current is not None:
            self._retire(self._current)
        self._current, self._born = zygote, asyncio.get_running_loop().time()
        return zygote

    def _retire(self, zygote: Zygote) -> None:
        self._old.add(zygote)
        self._current = None
        self.release()


def _note_failure(task: asyncio.Task[Zygote]) -> None:
    """A renewal has nobody who waits for it; the next sandbox tries again."""
    if not task.cancelled() and task.exception() is not None:
        log.debug("no zygote: %s", task.exception())
