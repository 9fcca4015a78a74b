"""Top-level ``await``: one event loop per session, as in ``python -m asyncio``.

A program has that loop from its first ``await`` on, and all that follows runs inside it, also what does not await:
``asyncio.create_task(...)`` works, ``asyncio.run(...)`` is refused. Before that it is a script, which has none.
"""

from __future__ import annotations

import _thread
import contextlib
import contextvars
from types import CodeType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio


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
        task = self._loop.create_task(eval(code, namespace), context=context)  # noqa: S307
        try:
            return self._loop.run_until_complete(task)
        except BaseException as error:
            if not task.done():
                # Interrupted: else the rest of this code would run inside the next one.
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    self._loop.run_until_complete(task)
            stopped = _stopped(error)
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


def _stopped(error: BaseException) -> StopIteration | None:
    """A StopIteration that our coroutine has let out: it becomes a RuntimeError without a frame of the program's, in
    code that awaits alone. It is the same failure in all code."""
    entry = error.__traceback__
    depth = 0
    while entry is not None:
        entry = entry.tb_next
        depth += 1
    cause = error.__cause__
    return cause if depth == 2 and type(error) is RuntimeError and isinstance(cause, StopIteration) else None


_MISSING = object()
