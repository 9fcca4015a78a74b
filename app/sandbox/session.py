"""The face of a sandbox: what the pipeline may ask of one checked-out worker.

``worker/worker.py`` implements it over the protocol of our supervisor, which every backend speaks
(``jupyter/channel.py`` for a Jupyter kernel).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from app.detection.chunk import Chunk
from app.sandbox.worker.execution import Execution, Sink
from app.sandbox.worker.inquiry import PieceSink
from app.sandbox.worker.messages import FileReply


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

    async def get_file(self, path: str, *, limit_bytes: int, sink: PieceSink) -> FileReply:
        """Read a file of the work folder into ``sink``, as fast as the sink takes it.

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

    async def cpu_s(self) -> float | None:
        """CPU time that its code has used so far; None where the sandbox does not know.

        Raises:
            SandboxGone: the sandbox is dead.
        """
        ...

    async def interrupt(self) -> None:
        """Stop the running execution, if any: SIGINT, a bounded wait, SIGKILL of the interpreter. The execution then
        ends with ``interrupted`` or ``lost``. Never raises."""
        ...
