"""Which zygote the next sandbox is a fork of.

All forks of one have its memory layout and its hash seed. Code that learned them from its own memory could use them
against another fork, should that have a flaw. Hence

- each zygote forks a bounded number of sandboxes, for a bounded time; then the next takes over, and the old one ends
  with its last sandbox;
- the sandboxes of one owner are forks of zygotes that fork for nobody else;
- a *spare* zygote is kept ready. It becomes that of whoever comes next: a new owner, one whose zygote is used up, and
  one whose zygote has died.
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
#: From the taking of a spare to the start of the next, which takes 2 s of CPU: whoever took it has work to do.
SPARE_AFTER_S: Final = 10.0
#: Zygotes without a sandbox that are kept for owners who may come back.
KEPT_IDLE: Final = 2


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

    def __init__(
        self,
        spawn: Callable[[], Zygote],
        *,
        silence_s: float,
        renew_after: int = RENEW_AFTER,
        renew_s: float = RENEW_S,
        spare_after_s: float = SPARE_AFTER_S,
    ) -> None:
        self._spawn = spawn
        self._silence_s = silence_s
        self._renew_after, self._renew_s, self._spare_after_s = renew_after, renew_s, spare_after_s
        self._of: dict[str, Zygote] = {}
        self._spare: Zygote | None = None
        self._starting: asyncio.Task[Zygote] | None = None
        self._later: asyncio.TimerHandle | None = None
        self._draining: set[Zygote] = set()
        self._burials: set[asyncio.Task[None]] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"<Zygotes of {len(self._of)} owners, spare {self._spare!r}, {len(self._draining)} draining>"

    async def find(self, owner: str | None) -> Zygote:
        """One that can fork. It waits for its start only if there is none, nor a spare.

        Args:
            owner: None: not known yet; the zygote becomes that of the owner it is given to (``give``).

        Raises:
            ZygoteFailed: it could not be started.
            SandboxStartError: the gateway is shutting down.
        """
        zygote = self._usable(owner)
        while zygote is None:
            if self._closed:
                raise SandboxStartError("the gateway is shutting down")
            await asyncio.shield(self._start())
            zygote = self._usable(owner)
        zygote.used = asyncio.get_running_loop().time()
        if not zygote.forked:
            zygote.born = zygote.used
        zygote.forked += 1
        return zygote

    def give(self, zygote: Zygote, owner: str) -> bool:
        """Whether sandboxes of this zygote may be the owner's. One that is nobody's becomes the first owner's, unless
        that one has another."""
        current = self._of.get(owner)
        if zygote.owner is None and (current is None or not current.is_usable):
            self._adopt(zygote, owner)
        return zygote.owner == owner

    def release(self) -> None:
        """A sandbox has been buried."""
        idle = [zygote for zygote in self._of.values() if not zygote.alive]
        for zygote in sorted(idle, key=lambda zygote: zygote.used)[:-KEPT_IDLE]:
            self._draining.add(zygote)
        self._of = {owner: zygote for owner, zygote in self._of.items() if zygote not in self._draining}
        for zygote in [zygote for zygote in self._draining if not zygote.alive]:
            self._draining.discard(zygote)
            burial = asyncio.get_running_loop().create_task(zygote.close())
            self._burials.add(burial)
            burial.add_done_callback(self._burials.discard)

    async def close(self) -> None:
        self._closed = True
        if self._later is not None:
            self._later.cancel()
        if self._starting is not None:
            self._starting.cancel()
            with contextlib.suppress(asyncio.CancelledError, SandboxStartError, OSError):
                await self._starting
        for zygote in {*self._of.values(), *self._draining, *filter(None, [self._spare])}:
            await zygote.close()
        self._spare = None
        self._of.clear()
        self._draining.clear()
        await asyncio.gather(*self._burials)

    def _usable(self, owner: str | None) -> Zygote | None:
        if self._spare is not None and not self._spare.is_usable:
            self._drain(self._spare)
            self._spare = None
        if owner is None:
            if self._spare is not None and self._is_used_up(self._spare):
                self._start()
            return self._spare
        current = self._of.get(owner)
        if current is not None and not current.is_usable:
            self._drain(self._of.pop(owner))
            current = None
        if current is not None and not self._is_used_up(current):
            return current
        if self._spare is not None:
            current = self._spare
            self._adopt(current, owner)
        elif current is not None:
            self._start()  # in the background: this one may go on until then
        return current

    def _is_used_up(self, zygote: Zygote) -> bool:
        if not zygote.forked:  # nobody has seen anything of it
            return False
        age = asyncio.get_running_loop().time() - zygote.born
        return zygote.forked >= self._renew_after or age > self._renew_s

    def _adopt(self, zygote: Zygote, owner: str) -> None:
        zygote.owner = owner
        if zygote is self._spare:
            self._spare = None
            if self._later is not None:
                self._later.cancel()
            self._later = asyncio.get_running_loop().call_later(self._spare_after_s, self._start_spare)
        if (old := self._of.pop(owner, None)) is not None:
            self._drain(old)
        self._of[owner] = zygote

    def _start_spare(self) -> None:
        if self._spare is None:
            self._start()

    def _drain(self, zygote: Zygote) -> None:
        self._draining.add(zygote)
        self.release()

    def _start(self) -> asyncio.Task[Zygote]:
        """A spare one."""
        if self._starting is None or self._starting.done():
            self._starting = asyncio.get_running_loop().create_task(self._start_one())
            self._starting.add_done_callback(_note_failure)
        return self._starting

    async def _start_one(self) -> Zygote:
        zygote = self._spawn()
        try:
            await zygote.wait_ready(self._silence_s)
        except BaseException as error:
            await zygote.close()
            if isinstance(error, SandboxStartError):
                raise ZygoteFailed(str(error), zygote.tail.text()) from error
            raise
        if self._spare is not None:
            self._drain(self._spare)
        self._spare = zygote
        return zygote


def _note_failure(task: asyncio.Task[Zygote]) -> None:
    """A start in the background has nobody who waits for it; the next sandbox tries again."""
    if not task.cancelled() and task.exception() is not None:
        log.debug("no zygote: %s", task.exception())
