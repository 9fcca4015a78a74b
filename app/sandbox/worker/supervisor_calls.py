"""What a worker asks its supervisor, one question each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterable
from typing import Any, TypeVar

from app.sandbox.worker.inquiry import PieceSink
from app.sandbox.worker.messages import CheckpointReply, FileReply, Pong

Asked = TypeVar("Asked", Pong, FileReply, CheckpointReply)


class SupervisorCalls(ABC):
    """Each call waits for its answer.

    Raises:
        SandboxGone: the sandbox is dead.
        SessionBusy: code runs, or a file is being moved.
    """

    @abstractmethod
    async def _ask(self, message: dict[str, Any], expected: type[Asked], **pieces: Any) -> Asked:
        """See ``Inquiry.ask``."""

    async def ping(self) -> None:
        """Ask the supervisor, not the interpreter, whether it is there."""
        await self._ask({"op": "ping"}, Pong)

    async def cpu_s(self) -> float | None:
        """See ``Session.cpu_s``."""
        spent_ms = (await self._ask({"op": "ping"}, Pong)).cpu_ms
        return None if spent_ms is None else spent_ms / 1e3

    async def checkpoint(self) -> str | None:
        """See ``Session.checkpoint``."""
        return (await self._ask({"op": "checkpoint"}, CheckpointReply)).reason

    async def commit(self) -> None:
        """See ``Session.commit``."""
        await self._ask({"op": "commit"}, CheckpointReply)

    async def rollback(self) -> str | None:
        """See ``Session.rollback``."""
        return (await self._ask({"op": "rollback"}, CheckpointReply)).reason

    async def list_files(self, limit: int) -> FileReply:
        """Files of the work folder, at most ``limit`` of them."""
        return await self._ask({"op": "list", "limit": limit}, FileReply)

    async def remove_file(self, path: str) -> FileReply:
        return await self._ask({"op": "remove", "path": path}, FileReply)

    async def get_file(self, path: str, *, limit_bytes: int, sink: PieceSink) -> FileReply:
        """Read a file of the work folder into ``sink``, as fast as the sink takes it."""
        message = {"op": "get", "path": path, "limit": limit_bytes}
        return await self._ask(message, FileReply, sink=sink, room=limit_bytes)

    async def put_file(self, path: str, size: int, source: AsyncIterable[bytes]) -> FileReply:
        """Write a file into the work folder. A source that fails or is not of ``size`` bytes ends the sandbox: it has
        been promised the rest.

        Raises:
            ValueError: the source holds more or less than ``size`` bytes.
        """
        message = {"op": "put", "path": path, "size": size}
        return await self._ask(message, FileReply, source=source, size=size)
