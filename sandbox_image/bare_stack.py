"""Runs code with no frame of ours below it: stacks, ``stacklevel`` and the recursion limit are those of a script.

Theory. ``deque(steps(), maxlen=0)`` is a loop written in C: it resumes the generator ``steps`` and drops what that
yields. While it drops an object the generator is suspended, so no Python frame of ours is on the stack. Each yielded
object is a ``_Call``: its finalizer is a C callable that runs the code and keeps the value. An exception that leaves
a finalizer goes to ``sys.unraisablehook``, where ``Runner`` picks it up with its traceback.

Where that loop is the first thing a thread does (``Forker``) the stack is empty: the chunk's frame is its bottom.
Called from Python code (``interpreter.serve``) the frames of that code stay visible to ``traceback.print_stack``.

What remains: Python 3.11 counts three C calls of ours against the recursion limit; ``sys.unraisablehook`` is not the
built-in function; code that replaces that hook is run by ``run_plainly``, with frames of ours below it.
"""

from __future__ import annotations

import _thread
import os
import sys
import warnings
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from functools import partial
from types import CodeType
from typing import Any


class _Call:
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
    """

    def __init__(self) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self._others: Callable[[sys.UnraisableHookArgs], object] = sys.unraisablehook
        self._call: Callable[[], object] | None = None
        self._code: CodeType | None = None
        self._kept: defaultdict[str, Any] = defaultdict(None)
        self._trace: defaultdict[str, Any] = defaultdict(None)

    def prepare(self, function: Callable[..., object], *arguments: object, code: CodeType) -> tuple[_Call, ...]:
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
        return _Call(partial(sys.settrace, None)), _Call(partial(self._trace.__getitem__, "trace")), _Call(self._call)

    def cancel(self, calls: tuple[_Call, ...]) -> None:
        """Make it an object that may be dropped without effect."""
        for call in calls:
            call.__del__ = bool

    def finish(self) -> Any:
        """To be called after the call was made: sets ``value`` or ``error``; returns the trace function."""
        kept, self._kept, self._call, self._code = self._kept, defaultdict(None), None, None
        if "value" in kept:
            self.value = kept["value"]
        elif self.error is None:
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
        # From 3.14 on the object is not told: recognised by the frame the exception left last.
        return unraisable.exc_traceback is not None and unraisable.exc_traceback.tb_frame.f_code is self._code


def drive(steps: Iterator[object]) -> None:
    """Resume ``steps`` to its end, dropping what it yields from C."""
    deque(steps, maxlen=0)


class Forker:
    """Forks children whose stack is empty but for what they run: forks from a thread that never ran anything else.

    In the child that thread is the main thread and the only one. It must outlive its children (a parent death signal
    comes at the death of the *thread* that forked), so one Forker serves a process for life. While it forks the
    calling thread waits; no other thread may run.
    """

    def __init__(self) -> None:
        self._steps: Callable[[], Iterator[object]] | None = None
        self._forked: int | OSError = 0
        self._asked, self._answered = _thread.allocate_lock(), _thread.allocate_lock()
        self._asked.acquire()
        self._answered.acquire()
        _thread.start_new_thread(deque, (self._life(), 0))

    def fork(self, steps: Callable[[], Iterator[object]]) -> int:
        """Fork; the child drives ``steps()`` and must leave by ``os._exit``. Returns its pid.

        Raises:
            OSError: there is no child.
        """
        self._steps = steps
        self._asked.release()
        self._answered.acquire()
        if isinstance(self._forked, OSError):
            raise self._forked
        return self._forked

    def _life(self) -> Iterator[object]:
        while True:
            self._asked.acquire()
            try:
                self._forked = _fork()
            except OSError as error:
                self._forked = error
            if self._forked == 0:
                assert self._steps is not None
                yield from self._steps()
                os._exit(0)
            self._steps = None
            self._answered.release()


def _fork() -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns of forks in a process with threads; ours waits for the answer and holds no lock.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
