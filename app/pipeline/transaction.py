"""Code that is not to have happened: a block's effects are undone when it turns out wrong.

A checkpoint is made when the block begins, while the model is still writing its first statement. At the end of the
block it is forgotten, or gone back to; so it is if the request ends in the middle of the block, which a serial
interpreter would never have run.
"""

from __future__ import annotations

import contextlib
from typing import Literal

from app.errors import EagerError
from app.events import Rollback
from app.pipeline.block import Block
from app.pipeline.emitter import Emitter
from app.sandbox.session import Session

RollbackPolicy = Literal["off", "on_error", "on_syntax_error"]


class Transaction:
    """At most one block at a time is in it. To be used as a context manager around all of them."""

    def __init__(self, emitter: Emitter, policy: Literal["on_error", "on_syntax_error"]) -> None:
        self._emitter = emitter
        self._policy = policy
        self._open: tuple[Block, Session] | None = None

    async def __aenter__(self) -> Transaction:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Nobody may be left to be told, and another cancellation may come: a bounded number of steps, no event."""
        opened, self._open = self._open, None
        if opened is None:
            return
        block, session = opened
        if kind is None:
            await session.commit()
            return
        with contextlib.suppress(EagerError):
            block.rolled_back = await session.rollback() is None

    async def begin(self, block: Block, session: Session) -> None:
        self._open = block, session  # at once: if we are cancelled the checkpoint may exist all the same
        reason = await session.checkpoint()
        if reason is not None:
            self._open = None
            await self._emitter.emit(Rollback(call_id=block.call_id, status="impossible", reason=reason))

    async def end(self, block: Block) -> None:
        """To be called when the status of the block is known."""
        if self._open is None or self._open[0] is not block:
            return
        session, self._open = self._open[1], None
        undo = self._why_undo(block)
        if undo is None:
            await session.commit()
            return
        reason = await session.rollback()
        if reason is None:
            block.rolled_back, block.state_lost = True, False
        status: Literal["done", "impossible"] = "done" if reason is None else "impossible"
        await self._emitter.emit(Rollback(call_id=block.call_id, status=status, reason=reason or undo))

    def _why_undo(self, block: Block) -> str | None:
        if block.compile_failed:
            return "syntax_error"
        if block.status == "incomplete" or (self._policy == "on_error" and block.status != "ok"):
            return block.status
        return None


class NoTransaction:
    """What happened stays."""

    async def __aenter__(self) -> NoTransaction:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def begin(self, block: Block, session: Session) -> None:
        pass

    async def end(self, block: Block) -> None:
        pass
