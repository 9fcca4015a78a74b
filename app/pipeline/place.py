"""Where the code of a request runs.

Most answers of a model hold no code. Such a request must not take a sandbox from one that has some, and must not wait
for one: a place is only promised, and its sandbox is had at the first sign of code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
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
    """Something that is opened when it is first wanted, in the background, and closed with this context.

    One task opens and closes it: whoever is cancelled while that goes on, and however often, nothing stays open.
    """

    def __init__(self, open: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self._open = open
        self._opened: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._left = asyncio.Event()
        self._holding: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Late {'wanted' if self._holding else 'not wanted yet'}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._left.set()
        if self._holding is not None:
            if not self._opened.done():
                self._holding.cancel()
            await asyncio.wait([self._holding])
            if not self._holding.cancelled():
                self._holding.result()

    async def _hold(self) -> None:
        try:
            async with self._open() as value:
                self._opened.set_result(value)
                await self._left.wait()
        except asyncio.CancelledError:
            self._opened.cancel()
            raise
        except Exception as error:
            if self._opened.done():  # it failed to close
                raise
            self._opened.set_exception(error)
            self._opened.exception()  # told to those who ask; it may be that nobody does

    @property
    def value(self) -> T | None:
        """What was opened; None while it is not."""
        opened = self._opened
        return opened.result() if opened.done() and not opened.cancelled() and opened.exception() is None else None

    def want(self) -> None:
        """Begin to open it, unless that was done."""
        if self._holding is None:
            self._holding = asyncio.create_task(self._hold())

    async def get(self) -> T:
        """Raises what opening it raises."""
        self.want()
        return await asyncio.shield(self._opened)


@dataclass(frozen=True, slots=True)
class NewPlace:
    """A sandbox that is kept and has no name before: ``start`` tells it, so by then it must be there. Not sooner, since
    what fails before ``start`` would leave behind what nobody has heard of."""

    _late: Late[Session]
    name: str
    python_version: tuple[int, int]

    @property
    def container_id(self) -> str:
        session = self._late.value
        return "" if session is None else session.id

    def prepare(self) -> None:
        self._late.want()

    async def session(self) -> Session:
        return await self._late.get()


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
