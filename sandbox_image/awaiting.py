"""Program. Top-level ``await``: one event loop per session, as in ``python -m asyncio``.

A program has that loop from its first ``await`` on, and all that follows runs inside it, also what does not await:
``asyncio.create_task(...)`` works, ``asyncio.run(...)`` is refused. Before that it is a script, which has none.
"""

from __future__ import annotations

import _thread
import contextlib
import contextvars
import sys
from collections.abc import Callable, Coroutine
from types import CodeType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

#: The compiler leaves a StopIteration of top-level code as it is.
_LETS_OUT = sys.version_info >= (3, 12)


class Awaiter:
    """Runs code compiled to a coroutine. Tasks the program started go on whenever later code awaits."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._awaits = False  # the program has done so
        self._inside = False

    def begin_program(self) -> None:
        self._awaits = False

    def enter(self) -> None:
        """Code that does not await follows."""
        if self._awaits:
            self._set_running(True)

    def leave(self) -> None:
        """It is over."""
        if self._inside:
            self._set_running(False)

    def run(self, code: CodeType, namespace: dict[str, Any]) -> Any:
        import asyncio  # costs every interpreter 40 ms, and few programs need it

        self._awaits = True
        if self._loop is None or self._loop.is_closed():
            self._loop = _current_loop(asyncio) or asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        context = contextvars.copy_context()
        coroutine = _Guarded(eval(code, namespace))  # noqa: S307
        task = self._loop.create_task(coroutine if _LETS_OUT else coroutine.guarded, context=context)
        try:
            return self._loop.run_until_complete(task)
        except BaseException as error:
            if not task.done():
                # Interrupted: else the rest of this code would run inside the next one.
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    self._loop.run_until_complete(task)
            stopped = coroutine.stopped or _stopped(error)
            if stopped is None:
                raise
        finally:
            for variable, value in context.items():
                if variable.get(_MISSING) is not value:
                    variable.set(value)
        raise stopped

    def _set_running(self, inside: bool) -> None:
        """What the loop itself sets, and what ``get_running_loop()`` and ``loop.is_running()`` look at."""
        import asyncio

        self._inside = inside
        asyncio._set_running_loop(self._loop if inside else None)
        if isinstance(self._loop, asyncio.BaseEventLoop):
            self._loop._thread_id = _thread.get_ident() if inside else None  # type: ignore[attr-defined]


def _current_loop(asyncio: Any) -> asyncio.AbstractEventLoop | None:
    """The one that the program has made current and put tasks into; a kernel's own is running. To ask for it in public
    may make one, or warn."""
    policy = asyncio.events._event_loop_policy
    loop: asyncio.AbstractEventLoop | None = getattr(getattr(policy, "_local", None), "_loop", None)
    return None if loop is None or loop.is_closed() or loop.is_running() else loop


class _Guarded:
    """The coroutine of code that awaits at its top level, for a task.

    Up to 3.11 a coroutine turns a StopIteration that leaves it into a RuntimeError. From 3.12 on that is the compiler's
    part, which does it in functions only: then it reaches the task, which fails in another way or waits for ever.

    Attributes:
        stopped: that exception.
    """

    def __init__(self, guarded: Coroutine[Any, Any, Any]) -> None:
        self.guarded = guarded
        self.stopped: StopIteration | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.guarded, name)

    def __await__(self) -> Any:
        return self.guarded.__await__()

    def send(self, value: Any) -> Any:
        return self._step(self.guarded.send, value)

    def throw(self, *error: Any) -> Any:
        return self._step(self.guarded.throw, *error)

    def close(self) -> None:
        self.guarded.close()

    def _step(self, step: Callable[..., Any], *values: Any) -> Any:
        try:
            return step(*values)
        except StopIteration as stop:
            entry = stop.__traceback__
            if entry is None or entry.tb_next is None:  # it has no frame of the program's: the end
                raise
            self.stopped = stop
        raise _Stopped


class _Stopped(Exception):
    """In the place of a StopIteration."""


def _stopped(error: BaseException) -> StopIteration | None:
    """A StopIteration that our coroutine has let out before 3.12: it becomes a RuntimeError without a frame of the
    program's, in code that awaits alone. It is the same failure in all code."""
    entry = error.__traceback__
    depth = 0
    while entry is not None:
        entry = entry.tb_next
        depth += 1
    cause = error.__cause__
    return cause if depth == 2 and type(error) is RuntimeError and isinstance(cause, StopIteration) else None


_MISSING = object()
