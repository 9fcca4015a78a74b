"""Questions to the supervisor on their way: asked one at a time, while no code runs."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any

from app.sandbox.worker.question import Question, SupervisorAnswer, send_file
from app.sandbox.worker.transport import Channel
from sandbox_image.protocol import CONTROL, ProtocolError, encode_message

PieceSink = Callable[[bytes], Awaitable[None]]


class Inquiry:
    """
    Args:
        answer_s: the supervisor, which runs no code of the user, says something within this time.
        leave_s: the same when nobody waits for the answer any more.
        on_change: a question was opened or closed, or a piece of its answer was taken.
        fail: ends the sandbox, with the reason.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        answer_s: float,
        leave_s: float,
        on_change: Callable[[], None],
        fail: Callable[[str], None],
    ) -> None:
        #: None: nothing is asked.
        self.open: Question | None = None
        self._channel = channel
        self._answer_s, self._leave_s = answer_s, leave_s
        self._on_change = on_change
        self._fail = fail
        self._failed = False

    def __repr__(self) -> str:
        return f"<Inquiry {self.open!r}>"

    async def ask(
        self,
        id: int,
        message: dict[str, Any],
        expected: type[SupervisorAnswer],
        *,
        sink: PieceSink | None = None,
        room: int = 0,
        source: AsyncIterable[bytes] | None = None,
        size: int = 0,
    ) -> SupervisorAnswer | None:
        """The answer; None if the sandbox has died of it. Up to ``room`` bytes of a file go to ``sink``; ``size`` bytes
        of one are sent from ``source``.

        Raises:
            ValueError: the source holds more or less than that.
        """
        question = self.open = Question(id, expected, room=room)
        self._on_change()
        try:
            self._channel.send(encode_message(CONTROL, {**message, "id": id}))
            if source is not None:
                await send_file(self._channel, source, size)
            while (piece := await question.wait_piece(self._answer_s)) is not None:
                self._on_change()
                if sink is not None:
                    await sink(piece)
        except TimeoutError:
            self._fail(f"the supervisor did not answer within {self._answer_s:g} s")
        finally:
            if question.answer is None and not self._failed:
                await self._leave(question, discardable=source is None)
            self.open = None
            self._on_change()
        return question.answer

    async def _leave(self, question: Question, *, discardable: bool) -> None:
        """The asker is gone. The rest of an answer is thrown away, within a bounded time; half a file that was
        promised cannot be taken back."""
        try:
            while discardable and await question.wait_piece(self._leave_s) is not None:
                pass
        finally:
            if question.answer is None:
                self._fail("a request to the supervisor was abandoned")

    def accept_answer(self, message: SupervisorAnswer) -> None:
        """
        Raises:
            ProtocolError: nobody asked for it.
        """
        if self.open is None:
            raise ProtocolError(f"{type(message).__name__} that nobody asked for")
        self.open.accept_answer(message)

    def accept_data(self, payload: bytes) -> None:
        """
        Raises:
            ProtocolError: nobody asked for it.
        """
        if self.open is None:
            raise ProtocolError("file data that nobody asked for")
        self.open.accept_data(payload)
        self._on_change()

    def give_up(self) -> None:
        """The sandbox is dead: there will be no answer."""
        self._failed = True
        if self.open is not None:
            self.open.give_up()
