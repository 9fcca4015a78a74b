"""Where the code of a response runs: its container, or nowhere."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NoReturn

from app.api.containers.host import Containers
from app.api.containers.open_container import OpenContainer
from app.api.responses.tools import ContainerChoice
from app.detection.chunk import Chunk
from app.errors import RequestError
from app.sandbox.session import Sink

#: Name of containers that the gateway makes by itself.
AUTO = "auto"


@asynccontextmanager
async def open_container(
    choice: ContainerChoice, containers: Containers, *, owner: str, used_before: str | None
) -> AsyncIterator[OpenContainer]:
    """The container that was named; or, for ``auto``, that of the conversation, or a new one if it has expired.

    Raises:
        RequestError: 404, the named one is not there; 400, it has expired.
        SandboxError: it is busy, or no sandbox came free.
    """
    if choice.id is not None:
        await containers.find(choice.id, owner=owner)
        if not containers.is_alive(choice.id, owner=owner):
            raise RequestError(f"Container with id '{choice.id}' has expired.", param="tools", code="container_expired")
        opened = containers.use(choice.id, owner=owner)
    elif used_before is not None and containers.is_alive(used_before, owner=owner):
        opened = containers.use(used_before, owner=owner)
    else:
        opened = containers.create(owner=owner, name=AUTO, memory_limit=choice.memory_limit, spare=True)
    async with opened as container:
        yield container


class NoSandbox:
    """Stands in for a session where a request has no tool that runs code."""

    id = ""
    python_version = sys.version_info[:2]

    async def execute(
        self,
        chunks: Sequence[Chunk],
        *,
        block: str,
        final: bool,
        sink: Sink,
        timeout_s: float | None,
        language: str = "python",
    ) -> NoReturn:
        raise AssertionError("nothing is read as code in this request")

    async def checkpoint(self) -> None:
        raise AssertionError("nothing is read as code in this request")

    async def commit(self) -> None:
        raise AssertionError("nothing is read as code in this request")

    async def rollback(self) -> None:
        raise AssertionError("nothing is read as code in this request")

    async def interrupt(self) -> None:
        """Nothing runs."""
