"""Program. Who gets SIGINT: user code while it runs (KeyboardInterrupt, as in a script), nobody between executions.

Our code runs between ``leave`` and ``enter``. SIGINT is only noted there, by a C function, so that no exception can
come up in the middle of the loop. Other signals are blocked there, because their handlers are user code as well. If the
program has a handler they are also noted: a signal that another thread takes is handled in the main one all the same.
The next ``enter`` raises what was noted.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # what signal wraps; its enums cost 10 us a chunk
import _thread
import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any

#: Signals a program may handle in Python. The synchronous ones (SIGSEGV ...) cannot wait.
_WAITING = tuple(map(int, (
    signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGCHLD, signal.SIGHUP, signal.SIGIO, signal.SIGWINCH,
)))  # fmt: skip

_SIGINT = int(signal.SIGINT)
_BLOCK, _SETMASK = int(signal.SIG_BLOCK), int(signal.SIG_SETMASK)


class Interrupts:
    """Starts in our code. A handler that the program sets is kept for the rest of its block.

    Attributes:
        inside: code of the program is running.
    """

    def __init__(self) -> None:
        self._noted: dict[int, Any] = {}
        self._note = self._noted.__setitem__
        self._handler: Any = signal.default_int_handler
        self._waiting: dict[int, Any] = {}  # the same of other signals
        self._let_wait = self._waiting.__setitem__
        self._handlers: dict[int, Any] = {}  # of the program, for those
        self._pipe: tuple[int, int] | None = None
        self._mask: set[int] = _signal.pthread_sigmask(_BLOCK, ())
        self.inside = True
        self._raised_note = False
        self._thread = _thread.get_ident()
        self.leave()

    def descriptors(self) -> tuple[int, ...]:
        """Those that are not the program's."""
        return self._pipe or ()

    def begin(self, *, new_block: bool) -> None:
        """An execution begins: forget what came before it."""
        if new_block:
            self._handler = signal.default_int_handler
        self._noted.clear()
        self._raised_note = False
        self._arrived()
        self._watch()

    def enter(self) -> None:
        """User code follows.

        Raises:
            KeyboardInterrupt: one arrived before.
        """
        self.inside = True
        for number, own in self._handlers.items():
            _signal.signal(number, own)
        self._handlers.clear()
        _signal.signal(_SIGINT, self._handler)
        _signal.pthread_sigmask(_SETMASK, self._mask)
        while self._waiting:
            _signal.raise_signal(self._waiting.popitem()[0])
        if self._noted:
            self._noted.clear()
            self._raised_note = True
            if callable(self._handler):
                self._handler(signal.SIGINT, None)

    def leave(self) -> None:
        """User code is over. Harmless when called twice."""
        handler = _signal.signal(_SIGINT, self._note)
        if not self.inside:
            return
        if handler is not self._note:  # else a handler of the program has cut this short before
            self._handler = handler if handler is not None else signal.default_int_handler
        for number in _WAITING:
            own = _signal.getsignal(number)
            if callable(own) and own is not self._let_wait:
                _signal.signal(number, self._let_wait)
                self._handlers[number] = own
        self._mask = _signal.pthread_sigmask(_BLOCK, _WAITING)
        self.inside = False

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Something of ours that must not be cut short, inside user code."""
        if not self.inside or _thread.get_ident() != self._thread:
            yield
            return
        self.leave()
        try:
            yield
        finally:
            self.enter()

    def occurred(self) -> bool:
        """Was this execution interrupted? Tells our SIGINT from a KeyboardInterrupt that user code raised."""
        return bool(self._noted) or self._raised_note or self._arrived()

    def _watch(self) -> None:
        """Have the C handler of every signal write its number to our pipe, whatever handler Python has."""
        try:
            if self._pipe is None:
                self._pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        except (OSError, ValueError):  # the program closed the pipe
            self._pipe = None

    def _arrived(self) -> bool:
        if self._pipe is None:
            return False
        try:
            return _SIGINT in os.read(self._pipe[0], 65536)
        except OSError:
            return False
