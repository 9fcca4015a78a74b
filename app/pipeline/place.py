"""Where the code of a request runs.

Most answers of a model hold no code. Such a request must not take a sandbox from one that has some, and must not wait
for one: a place is only promised, and its sandbox is had at the first sign of code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from app.sandbox.session import Session

T = TypeVar("T")


class Place(Protocol):
    """A sandbox that is there, or that will be when code comes.

    ``name`` is what the client can ask for it by again, empty if it is thrown away afterwards; ``container_id`` the
    sandbox's own id, empty while there is none; ``python_version`` the grammar to detect with.
    """

    @property
    def name(self) -> str: ...

    @property
    def container_id(self) -> str: ...

    @property
    def python_version(self) -> tuple[int, int]: ...

    def prepare(self) -> None:
        """Code is coming: have a sandbox ready. To be called as often as one likes; waits for nothing."""
        ...

    async def session(self) -> Session:
        """The sandbox.

        Raises:
            EagerError: there is none to be had.
        """
        ...


@dataclass(frozen=True, slots=True)
class AtHand:
    """A session that is in use by this request already."""

    _session: Session
    name: str

    @property
    def container_id(self) -> str:
        return self._session.id

    @property
    def python_version(self) -> tuple[int, int]:
        return self._session.python_version

    def prepare(self) -> None:
        """It is there."""

    async def session(self) -> Session:
        return self._session


class Late(Generic[T]):
    """Something that is opened when it is first wanted, in the background, and closed with this context."""

    def __init__(self, open: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self._open = open
        self._stack = AsyncExitStack()
        self._opening: asyncio.Task[T] | None = None

    def __repr__(self) -> str:
        return f"<Late {'wanted' if self._opening else 'not wanted yet'}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])  # what failed was told to those who asked
            _ = self._opening.cancelled() or self._opening.exception()
        await self._stack.aclose()

    @property
    def value(self) -> T | None:
        """What was opened; None while it is not."""
        task = self._opening
        opened = task is not None and task.done() and not task.cancelled() and task.exception() is None
        return task.result() if opened and task is not None else None

    def want(self) -> None:
        """Begin to open it, unless that was done."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._stack.enter_async_context(self._open()))

    async def get(self) -> T:
        """Raises what opening it raises."""
        self.want()
        assert self._opening is not None
        return await asyncio.shield(self._opening)


@dataclass(frozen=True, slots=True)
class LatePlace:
    """A sandbox that is had when code comes."""

    _late: Late[Session]
    name: str
    python_version: tuple[int, int]
    container_id: str = ""

    def prepare(self) -> None:
        self._late.want()

    async def session(self) -> Session:
        return await self._late.get()
