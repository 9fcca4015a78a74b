"""Both. Runs code with no frame of ours below it: stacks, ``stacklevel`` and the recursion limit are those of a script.

Theory. ``deque(steps(), maxlen=0)`` is a loop written in C: it resumes the generator ``steps`` and drops what that
yields. While it drops an object the generator is suspended, so no Python frame of ours is on the stack. Each yielded
object is a ``_CallOnDrop``: its finalizer is a C callable that runs the code and keeps the value. An exception that
leaves a finalizer goes to ``sys.unraisablehook``, where ``Runner`` picks it up with its traceback.

``descend`` runs that loop when all frames of the main thread have been left: the chunk's frame is then the bottom of
the stack. ``drive`` runs it where it is called; the frames of its callers stay visible to ``traceback.print_stack``.

What remains: Python 3.11 counts three C calls of ours against the recursion limit; ``sys.unraisablehook`` is not the
built-in function; code that replaces that hook is run by ``run_plainly``, with frames of ours below it.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from functools import partial
from types import CodeType
from typing import Any, NoReturn


class _CallOnDrop:
    """Calls its ``__del__`` when it is dropped. A slot, so that the C function is found without a frame."""

    __slots__ = ("__del__",)
    __del__: Callable[[], object]

    def __init__(self, function: Callable[[], object]) -> None:
        self.__del__ = function


class Runner:
    """Runs one call at a time and keeps how it ended.

    Attributes:
        value: what the last call returned.
        error: what it raised.
        lost: it raised, and what is not known: the hook was replaced, or cut short by a signal.
    """

    def __init__(self) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self.lost = False
        self._others: Callable[[sys.UnraisableHookArgs], object] = sys.unraisablehook
        self._call: Callable[[], object] | None = None
        self._code: CodeType | None = None
        self._kept: defaultdict[str, Any] = defaultdict(None)
        self._trace: defaultdict[str, Any] = defaultdict(None)

    def prepare(self, function: Callable[..., object], *arguments: object, code: CodeType) -> tuple[_CallOnDrop, ...]:
        """What makes the call when it is dropped. ``code`` runs in the first frame of the call.

        It also switches off a trace function that the code has set, before any frame of ours is resumed.
        """
        if sys.unraisablehook != self._catch:
            self._others, sys.unraisablehook = sys.unraisablehook, self._catch
        self.value = self.error = None
        self._kept = defaultdict(partial(function, *arguments))
        self._code = code
        self._trace = defaultdict(sys.gettrace)
        self._call = partial(self._kept.__getitem__, "value")
        # A tuple drops its items from the last to the first.
        return (
            _CallOnDrop(partial(sys.settrace, None)),
            _CallOnDrop(partial(self._trace.__getitem__, "trace")),
            _CallOnDrop(self._call),
        )

    def cancel(self, calls: tuple[_CallOnDrop, ...]) -> None:
        """Make it an object that may be dropped without effect."""
        for call in calls:
            call.__del__ = bool

    def finish(self) -> Any:
        """To be called after the call was made: sets ``value`` or ``error``; returns the trace function."""
        kept, self._kept, self._call, self._code = self._kept, defaultdict(None), None, None
        self.lost = "value" not in kept and self.error is None
        if "value" in kept:
            self.value = kept["value"]
        elif self.lost:
            self.error = RuntimeError("the program replaced sys.unraisablehook and then failed; its exception is lost")
        return self._trace.get("trace")

    def run_plainly(self, function: Callable[..., object], *arguments: object) -> None:
        """The same with our frames on the stack."""
        self.value = self.error = None
        self._kept, self._trace = defaultdict(None), defaultdict(None)
        try:
            self._kept["value"] = function(*arguments)
        except BaseException as error:
            self.error = error
        self._trace["trace"] = sys.gettrace()
        sys.settrace(None)

    def forget(self) -> None:
        self.value = self.error = None

    def _catch(self, unraisable: sys.UnraisableHookArgs, /) -> None:
        if self._is_ours(unraisable):
            self.error = unraisable.exc_value
        else:
            self._others(unraisable)

    def _is_ours(self, unraisable: sys.UnraisableHookArgs) -> bool:
        if self._call is None:
            return False
        if unraisable.object is self._call:
            return True
        # From 3.14 on the object is not told: recognised by the frame the exception left last. A group that ``except*``
        # has put together at the top level left none; then the object stands in the message.
        if unraisable.exc_traceback is None:
            return unraisable.err_msg is not None and repr(self._call) in unraisable.err_msg
        return unraisable.exc_traceback.tb_frame.f_code is self._code


def drive(steps: Iterator[object]) -> None:
    """Resume ``steps`` to its end, dropping what it yields from C."""
    deque(steps, maxlen=0)


class _Descent(BaseException):
    """Carries the call out of the last frame."""

    def __init__(self, call: _CallOnDrop) -> None:
        super().__init__()
        self.call = call


def descend(steps: Iterator[object]) -> NoReturn:
    """Leave every frame of the main thread, by an exception which nothing may catch; then drive ``steps``.

    The interpreter prints an exception that left the last frame, which is our hook's part, and drops it: with it the
    call, at the bottom of the stack. The process ends with ``steps``.
    """
    sys.excepthook = _forget
    raise _Descent(_CallOnDrop(partial(deque, _to_the_end(steps), 0)))


def _to_the_end(steps: Iterator[object]) -> Iterator[object]:
    yield from steps
    os._exit(0)


def _forget(*_: object) -> None:
    sys.excepthook = sys.__excepthook__
    for name in ("last_exc", "last_type", "last_value", "last_traceback"):
        sys.__dict__.pop(name, None)
