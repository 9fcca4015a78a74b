"""Where the code of a response runs: its container, or nowhere."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import NoReturn

from app.api.responses.tools import ContainerChoice
from app.containers.host import ContainerHost, new_container_id
from app.containers.open_container import OpenContainer
from app.errors import RequestError, SessionBusy
from app.pipeline.place import Late
from app.sandbox.session import Session

#: Name of containers that the gateway makes by itself.
AUTO = "auto"

#: Puts the files that were asked for into a container.
Fill = Callable[[OpenContainer], Awaitable[None]]


class ContainerPlace:
    """A ``Place``: a container in use, or one that is made when code comes and has its id already."""

    def __init__(self, id: str, late: Late[OpenContainer], *, python_version: tuple[int, int]) -> None:
        self.name = self.container_id = id
        self.python_version = python_version
        self._late = late

    def __repr__(self) -> str:
        return f"<ContainerPlace {self.name}: {self._late!r}>"

    @property
    def opened(self) -> OpenContainer | None:
        """The container, if it is there."""
        return self._late.value

    def prepare(self) -> None:
        self._late.want()

    async def session(self) -> Session:
        return (await self._late.get()).worker


@asynccontextmanager
async def container_place(
    choice: ContainerChoice,
    containers: ContainerHost,
    *,
    owner: str,
    used_before: str | None,
    keep_as: str | None,
    fill: Fill,
) -> AsyncIterator[ContainerPlace]:
    """The container that was named; or, for ``auto``, that of the client's session ``keep_as``, or that of the
    conversation; or a new one, when code comes. Nobody named that of the conversation: while another answer that goes
    on from there uses it, this one gets a new one, as if it had expired.

    Raises:
        RequestError: 404, the named one is not there; 400, it has expired.
        SandboxError: the named one, or the session's, is busy or has died; or that of any of them lives elsewhere.
    """
    if choice.id is not None and not containers.is_usable(await containers.find(choice.id, owner=owner)):
        raise RequestError(f"Container with id '{choice.id}' has expired.", param="tools", code="container_expired")
    name = AUTO if keep_as is None else _session_name(keep_as)
    id = choice.id
    if id is None and keep_as is not None:
        id = await containers.find_alive(name, owner=owner)
    elif id is None and used_before is not None and await containers.find_usable(used_before, owner=owner):
        id = used_before
    async with AsyncExitStack() as stack:
        if id is not None:
            late = await stack.enter_async_context(Late(partial(_filled, containers.use(id, owner=owner), fill)))
            try:
                await late.get()
            except SessionBusy:
                if choice.id is not None or keep_as is not None:
                    raise
                id = None
        if id is None:
            id = new_container_id()
            opening = containers.create(id, owner=owner, name=name, memory_limit=choice.memory_limit, spare=True)
            late = await stack.enter_async_context(Late(partial(_filled, opening, fill)))
        yield ContainerPlace(id, late, python_version=containers.python_version)


@asynccontextmanager
async def _filled(opening: AbstractAsyncContextManager[OpenContainer], fill: Fill) -> AsyncIterator[OpenContainer]:
    async with opening as container:
        await fill(container)
        yield container


def _session_name(keep_as: str) -> str:
    """Of a container, whose name may not be as long as the client's word for its session."""
    return f"session {hashlib.sha256(keep_as.encode('utf-8', 'surrogatepass')).hexdigest()}"


class NoPlace:
    """A ``Place`` for requests without a tool that runs code."""

    name = container_id = ""
    python_version = sys.version_info[:2]

    def prepare(self) -> None:
        """There is nothing to come."""

    async def session(self) -> NoReturn:
        raise AssertionError("nothing is read as code in this request")
