"""A request to the supervisor that waits for its answer: a ping, or an operation on the work folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable

from app.sandbox.worker.mailbox import Mailbox
from app.sandbox.worker.messages import CheckpointReply, FileReply, Pong
from app.sandbox.worker.transport import Channel
from sandbox_image.protocol import FILE, MAX_DATA_BYTES, ProtocolError, encode_frame

SupervisorAnswer = Pong | FileReply | CheckpointReply


class Question:
    """At most one is open. ``room`` is how many bytes of a file it may be answered with."""

    def __init__(self, id: int, expected: type[SupervisorAnswer], *, room: int = 0) -> None:
        self.id = id
        self.answer: SupervisorAnswer | None = None
        self._expected = expected
        self._room = room
        self._pieces: Mailbox[bytes | None] = Mailbox()

    def __repr__(self) -> str:
        return f"<Question {self.id} for a {self._expected.__name__}>"

    @property
    def weight(self) -> int:
        """Bytes of the file that wait to be taken."""
        return self._pieces.weight

    def accept_data(self, payload: bytes) -> None:
        """
        Raises:
            ProtocolError: more than was asked for, or after the answer.
        """
        self._room -= len(payload)
        if self._room < 0 or self.answer is not None or not payload or len(payload) > MAX_DATA_BYTES:
            raise ProtocolError("more file data than asked for")
        self._pieces.put_nowait(payload, len(payload))

    def accept_answer(self, message: SupervisorAnswer) -> None:
        """
        Raises:
            ProtocolError: not the answer to this question.
        """
        if message.id != self.id or not isinstance(message, self._expected) or self.answer is not None:
            raise ProtocolError(f"{type(message).__name__} that nobody asked for")
        self.answer = message
        self.give_up()

    def give_up(self) -> None:
        """There will be no more pieces."""
        self._pieces.put_nowait(None)

    async def wait_piece(self, timeout_s: float) -> bytes | None:
        """Next piece of the file; None at the end.

        Raises:
            TimeoutError: nothing came in time.
        """
        async with asyncio.timeout(timeout_s):
            return await self._pieces.get()


async def send_file(channel: Channel, source: AsyncIterable[bytes], size: int) -> None:
    """
    Raises:
        ValueError: the source holds more or less than ``size`` bytes.
    """
    left = size
    async for data in source:
        left -= len(data)
        if left < 0:
            break
        for start in range(0, len(data), MAX_DATA_BYTES):
            channel.send(encode_frame(FILE, data[start : start + MAX_DATA_BYTES]))
            await channel.drain()
    if left:
        raise ValueError(f"the file does not have the {size} bytes announced")
