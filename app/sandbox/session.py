"""The face of a sandbox: what the pipeline may ask of one checked-out worker.

``worker.py`` implements it over the protocol of our supervisor, which every backend speaks (``kernel_channel.py`` for a
Jupyter kernel).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from app.detection.chunk import Chunk
from app.sandbox.messages import Display, Failure, FileReply, Output, Result

#: Receives what running code says, in order, while it runs. Slow sinks slow the code down (back-pressure).
Sink = Callable[[Output | Display | Result], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Execution:
    """How one batch ended.

    Attributes:
        status: ``exit`` is a call of sys.exit(); ``timeout`` and ``interrupted`` were imposed from here;
            ``lost`` means that the interpreter died: the session lives on with a fresh one, its state is gone.
        ran: chunks that finished without an error.
        durations_ns: run time of each chunk that was started, as the interpreter measured it.
        failure: the error, for status ``error``; also set for ``lost`` and output limits, in the same form.
        exit_code: for ``exit``.
        state_lost: the interpreter is a fresh one: always with ``lost``; with ``timeout`` and output limits if the
            code did not stop when interrupted.
    """

    status: Literal["ok", "error", "exit", "interrupted", "timeout", "lost"]
    ran: int
    durations_ns: list[int] = field(default_factory=list)
    failure: Failure | None = None
    exit_code: int | None = None
    state_lost: bool = False


class Session(Protocol):
    """One worker checked out: its namespace lives as long as the session."""

    @property
    def id(self) -> str: ...

    @property
    def python_version(self) -> tuple[int, int]:
        """Grammar to detect with."""
        ...

    async def execute(
        self,
        chunks: Sequence[Chunk],
        *,
        block: str,
        final: bool,
        sink: Sink,
        timeout_s: float | None,
        language: str = "python",
        cut: bool = False,
    ) -> Execution:
        """Run chunks of one block, one after the other, up to the first that fails. No other piece of code of the
        session has the name ``block``. ``final``: the block ends with them, and is ``cut`` if that is not its end.

        Cancelling the call interrupts the code, waits a bounded time for it to stop, then kills the interpreter.

        Raises:
            SandboxGone: the sandbox is dead. The session cannot be used again.
        """
        ...

    async def list_files(self, limit: int) -> FileReply:
        """Files of the work folder, at most ``limit`` of them.

        Raises:
            SandboxGone: the sandbox is dead.
        """
        ...

    async def checkpoint(self) -> str | None:
        """Keep the state as it is now, files of the work folder included, so that ``rollback`` can go back to it. One
        at most is kept. Returns why that is not possible, or None.

        Raises:
            SandboxGone: the sandbox is dead.
        """
        ...

    async def commit(self) -> None:
        """Forget the checkpoint: what ran since is to stay.

        Raises:
            SandboxGone: the sandbox is dead.
        """
        ...

    async def rollback(self) -> str | None:
        """Go back to the checkpoint, also when the interpreter has died since. Returns why that is not possible.

        Raises:
            SandboxGone: the sandbox is dead.
        """
        ...

    async def interrupt(self) -> None:
        """Stop the running execution, if any: SIGINT, a bounded wait, SIGKILL of the interpreter. The execution then
        ends with ``interrupted`` or ``lost``. Never raises."""
        ...
