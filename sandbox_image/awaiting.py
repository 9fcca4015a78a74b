"""Top-level ``await``: one event loop per session, as in ``python -m asyncio``."""

from __future__ import annotations

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

    def run(self, code: CodeType, namespace: dict[str, Any]) -> Any:
        import asyncio  # costs every interpreter 40 ms, and few programs need it

        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
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
