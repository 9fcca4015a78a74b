"""Who holds the event loop, and for how long.

A timer on the loop beats every ``BEAT_S``; how late each beat is, is the loop's lag. A thread looks at the last beat:
while one is overdue, it reads what the loop's thread is doing. A call that keeps the interpreter lock is seen as it
ends, since the thread is the next to get the lock.

Twenty beats a second cost the loop some 0.1 % of a core.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Final, Self

log = logging.getLogger(__name__)

BEAT_S: Final = 0.05
#: A loop that is held again and again is not told about more often.
TOLD_EVERY_S: Final = 1.0
#: Of a stack, the innermost calls.
MOST_CALLS: Final = 12


class LoopWatchdog:
    """A context, entered on the loop that it watches.

    ``slow_step_s``: a step that holds the loop for longer is logged, with its stack. ``observe`` gets the lag of each
    beat in seconds.
    """

    def __init__(self, slow_step_s: float, observe: Callable[[float], object]) -> None:
        self._slow_step_s = slow_step_s
        self._observe = observe
        self._due = 0.0
        self._told_at = -TOLD_EVERY_S
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loop-watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._clock = time.pthread_getcpuclockid(self._watched) if hasattr(time, "pthread_getcpuclockid") else None
        self._cpu = self._cpu_s()
        self._set_timer()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()
        self._thread.join()

    def _set_timer(self) -> None:
        self._due = time.monotonic() + BEAT_S
        self._timer = self._loop.call_later(BEAT_S, self._beat)

    def _beat(self) -> None:
        self._observe(max(time.monotonic() - self._due, 0.0))
        self._cpu = self._cpu_s()
        self._set_timer()

    def _cpu_s(self) -> float:
        """CPU time of the loop's thread: of a step that a busy machine delays it is little."""
        return time.clock_gettime(self._clock) if self._clock is not None else 0.0

    def _watch(self) -> None:
        told = 0.0
        while not self._stopped.wait(self._slow_step_s / 2):
            due, now = self._due, time.monotonic()
            if now - due < self._slow_step_s or due == told or now - self._told_at < TOLD_EVERY_S:
                continue
            frame = sys._current_frames().get(self._watched)
            if frame is None or self._due != due:
                continue  # the step was over while we looked
            told, self._told_at = due, now
            cpu_ms = (self._cpu_s() - self._cpu) * 1e3
            log.warning(
                "the event loop has been held for %.0f ms, %.0f ms of them computing, by %s",
                *((now - due) * 1e3, cpu_ms, calls(frame)),
            )


def calls(frame: FrameType) -> str:
    """The stack on one line, innermost call first."""
    summary = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=MOST_CALLS, lookup_lines=False)
    return " < ".join(f"{call.name} ({call.filename}:{call.lineno})" for call in summary)
