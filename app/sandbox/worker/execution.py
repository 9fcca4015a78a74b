"""How a batch ends in a sandbox, and who hears what it says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from app.sandbox.worker.messages import Display, Failure, Output, Result

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
