"""Warm workers, started ahead of need.

Theory of operation
-------------------
As many *starters* run as workers are to be kept warm. Each is a loop: start a worker, let it run a line of code, put it
on the shelf, wait until it has been taken (or has died there), start the next. A failed start backs off. Where a start
is a fork (``Forking``), a caller for whom nothing is on the shelf gets a fork of its own at once: the shelf only saves
it some 30 ms. Forks have owners, and those of one are given to no other; the starters follow whoever came last.

``_match`` decides which waiting caller gets which worker. Nothing is awaited while that is half done, and a worker is
busy from the hand-over on, not from when its caller wakes.

Rules.
1. One worker serves one session, then it is closed. What ran in it cannot be trusted back.
2. ``limit`` counts every worker there is: starting, warm, busy and closing. The last of these, because their memory is
   still in use.
3. Each owner (an API key) has a share of the limit, and who uses least of theirs is served first (``app/shares.py``).
   Callers of one owner are served in the order in which they came. One whose deadline passes gets
   ``SandboxUnavailable``.
4. A caller whose owner may have one never waits for a start while a warm worker exists that may be its.
5. Leaving the pool closes every worker, those in use included.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from app.errors import SandboxError, SandboxStartError, SandboxUnavailable
from app.sandbox.backend import Backend, Forking
from app.sandbox.starts import Starts
from app.sandbox.trial import tried
from app.sandbox.worker.worker import Worker
from app.shares import Fraction, Shares, WaitingLine, undivided

log = logging.getLogger(__name__)

_CHECK_TIMEOUT_S: Final = 10.0
_BACK_OFF_S: Final = (0.1, 30.0)
#: Forks for callers at one time; the rest wait for these.
_MOST_FORKS: Final = 8


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """``checkout_s`` is the sum of the time that callers have waited, served or not; the counts never go down."""

    warm: int
    starting: int
    busy: int
    closing: int
    waiting: int
    started: int
    failed_starts: int
    died_warm: int
    checked_out: int
    timed_out: int
    discarded: int
    checkout_s: float


class Pool:
    """``async with Pool(backend, warm=2, limit=16) as pool``, then ``pool.checkout()``.

    Args:
        warm: workers kept ready.
        limit: workers that may exist at once.
        forking: the backend, where its starts are forks.
        has_room: whether the backend has a place for one more now; when that changes, ``look_again`` is to be called.
        fraction: of each owner.
        on_handover: told which worker is whose, before code of its owner runs.
        starts: how many begin at once.
        patience_s: for the first line of code of a worker.
        sleep, jitter: for tests.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        warm: int,
        limit: int,
        forking: Forking | None = None,
        has_room: Callable[[], bool] = lambda: True,
        fraction: Fraction = undivided,
        on_handover: Callable[[str, str], None] = lambda sandbox, owner: None,
        starts: Starts | None = None,
        patience_s: float = _CHECK_TIMEOUT_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = lambda: random.uniform(0.5, 1.5),  # noqa: S311 - not a secret
    ) -> None:
        #: Grammar of the sandboxes: the latest one's; ours while there was none.
        self.python_version = sys.version_info[:2]
        #: Called when somebody has to wait (``shortage``): it may discard a worker that can be spared.
        self.on_shortage: Callable[[], None] | None = None
        if not 0 < warm <= limit:
            raise ValueError(f"cannot keep {warm} of at most {limit} sandboxes warm")
        self._backend = backend
        self._forking = forking
        self._starters = warm
        self._limit = limit
        self._backend_has_room = has_room
        self._on_handover = on_handover
        self._starts = starts or Starts()
        self._patience_s = patience_s
        self._sleep, self._jitter = sleep, jitter
        self._tasks = asyncio.TaskGroup()
        self._closed = False
        self._shelf: deque[Worker] = deque()
        self._shares = Shares(limit, fraction=fraction)  # of what is busy, and of what is closing after that
        self._busy: dict[Worker, str] = {}  # and whose it is
        self._closing: set[Worker] = set()
        self._waiting: WaitingLine[Worker] = WaitingLine()
        self._starting: list[str | None] = []  # for whom
        self._last_owner: str | None = None
        self._room = asyncio.Event()  # set when some may have come
        self._starter_tasks: list[asyncio.Task[None]] = []
        self._forks: set[asyncio.Task[None]] = set()
        self._taken: dict[Worker, asyncio.Event] = {}
        self._started = self._failed_starts = self._died_warm = 0
        self._checked_out = self._timed_out = self._discarded = 0
        self._checkout_s = 0.0
        self._last_error: SandboxError | None = None

    def __repr__(self) -> str:
        return (
            f"<Pool of {self._backend.name}: {len(self._shelf)} warm, {len(self._starting)} starting, "
            f"{len(self._busy)} busy, {len(self._closing)} closing | {len(self._waiting)} waiting>"
        )

    @property
    def last_error(self) -> str | None:
        """Why the latest start failed; None after one that did not."""
        return self._last_error.message if self._last_error else None

    def statistics(self) -> PoolStatistics:
        return PoolStatistics(
            warm=len(self._shelf),
            starting=len(self._starting),
            busy=len(self._busy),
            closing=len(self._closing),
            waiting=len(self._waiting),
            started=self._started,
            failed_starts=self._failed_starts,
            died_warm=self._died_warm,
            checked_out=self._checked_out,
            timed_out=self._timed_out,
            discarded=self._discarded,
            checkout_s=self._checkout_s,
        )

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._starter_tasks = [self._tasks.create_task(self._keep_one_warm()) for _ in range(self._starters)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed = True
        for task in (*self._starter_tasks, *self._forks):
            task.cancel()
        for future in self._waiting.all():
            if not future.done():
                future.set_exception(SandboxUnavailable("the gateway is shutting down"))
        for worker in (*self._shelf, *self._busy):
            self._retire(worker)
        await self._tasks.__aexit__(None, None, None)
        await self._backend.close()

    @asynccontextmanager
    async def checkout(self, deadline_s: float, *, owner: str = "") -> AsyncIterator[Worker]:
        """A worker for one session of this owner; closed at the end, whatever happened.

        Raises:
            SandboxUnavailable: none came free before the deadline.
            SandboxStartError: nor could one be started.
        """
        worker = await self.acquire(deadline_s, owner=owner)
        try:
            yield worker
        finally:
            self.discard(worker)

    async def acquire(self, deadline_s: float, *, owner: str = "") -> Worker:
        """A worker that the caller gives back with ``discard``. Raises as ``checkout`` does."""
        if self._closed:
            raise SandboxUnavailable("the gateway is shutting down")
        loop = asyncio.get_running_loop()
        asked = loop.time()
        future = self._waiting.join(owner)
        self._match()
        self._start_for_callers()
        if self.on_shortage is not None and self.shortage():
            self.on_shortage()
        try:
            async with asyncio.timeout(deadline_s):
                await future
        except TimeoutError:
            if not _has_worker(future):
                self._timed_out += 1
                raise self._unavailable(deadline_s) from None
        except asyncio.CancelledError:
            if _has_worker(future):
                self.discard(future.result())
            raise
        finally:
            self._waiting.leave(owner, future)
            self._checkout_s += loop.time() - asked
        self._checked_out += 1
        return future.result()

    def look_again(self) -> None:
        """There may be room for a worker that there was not for."""
        self._room.set()
        self._start_for_callers()

    def discard(self, worker: Worker) -> None:
        """The session is over. The worker is closed in the background. Twice does no harm."""
        if worker in self._busy:
            self._discarded += 1
            self._retire(worker)

    # -------------------------------------------------- decisions: nothing here waits

    def shortage(self) -> list[str]:
        """Owners of callers that wait while nothing is on its way for them."""
        owners = list(self._waiting.keys())
        if len(self._waiting) > len(self._starting) + len(self._closing) and not self._has_room():
            return owners
        return [] if self._closing else [owner for owner in owners if not self._shares.may_take(owner)]

    def is_below_share(self, owner: str) -> bool:
        return self._shares.used(owner) < self._shares.share(owner)

    def exceeds_share(self, owner: str) -> bool:
        """Whether it uses what is others', who have left it idle."""
        return self._shares.exceeds(owner)

    def _match(self) -> None:
        """Give warm workers to those who wait and may have one."""
        owners = list(self._waiting.keys())
        while self._shelf and (owner := self._shares.next(owners)) is not None:
            worker = self._warm_for(owner)
            future = None if worker is None else self._waiting.pop(owner)
            if worker is None or not self._waiting.length(owner):
                owners.remove(owner)
            if worker is None or future is None:  # nothing for it; cancelled, and its caller has not run yet
                continue
            self._shelf.remove(worker)
            self._taken.pop(worker).set()
            self._busy[worker] = self._last_owner = owner
            self._shares.take(owner)
            self._on_handover(worker.id, owner)
            future.set_result(worker)

    def _warm_for(self, owner: str) -> Worker | None:
        if self._forking is None:
            return self._shelf[0]
        return next((worker for worker in self._shelf if self._forking.may_serve(worker, owner)), None)

    def _start_for_callers(self) -> None:
        """A fork for each of those who wait, may have one, and for whom none is on its way."""
        if self._forking is None or not self._forking.is_quick or self._closed:
            return
        coming = Counter(self._starting)
        for owner in list(self._waiting.keys()):
            while self._waiting.length(owner) > coming[owner] and self._shares.may_take(owner, coming[owner] + 1):
                if not self._has_room() or len(self._forks) == _MOST_FORKS:
                    if self._shelf and not self._closing:  # it is for others
                        self._retire(self._shelf[0])
                    return
                coming[owner] += 1
                self._starting.append(owner)
                self._forks.add(task := self._tasks.create_task(self._fork_for(owner)))
                task.add_done_callback(self._forks.discard)

    def _offer(self, worker: Worker) -> asyncio.Event:
        """Put a worker on the shelf. The event is set when it is gone from there."""
        taken = self._taken[worker] = asyncio.Event()
        self._shelf.append(worker)
        worker.on_death = self._on_death
        if worker.death is not None:
            self._on_death(worker)
        self._match()
        return taken

    def _on_death(self, worker: Worker) -> None:
        if worker in self._taken:
            self._died_warm += 1
            log.warning("sandbox %s died while it was warm: %s", worker.id, worker.death)
        self._retire(worker)

    def _retire(self, worker: Worker) -> None:
        """Take a worker out of service, and have it closed."""
        owner = None
        if worker in self._taken:
            self._shelf.remove(worker)
            self._taken.pop(worker).set()
        elif worker in self._busy:
            owner = self._busy.pop(worker)
        else:
            return
        self._closing.add(worker)
        self._tasks.create_task(self._close(worker, owner))

    def _has_room(self) -> bool:
        alive = len(self._starting) + len(self._shelf) + len(self._busy) + len(self._closing)
        return alive < self._limit and self._backend_has_room()

    def _unavailable(self, waited_s: float) -> SandboxError:
        if self._last_error is not None:
            return SandboxStartError(f"no sandbox could be started: {self._last_error.message}")
        message = f"no sandbox came free within {waited_s:g} s; {len(self._busy)} are in use"
        if self._starting:
            message += f", {len(self._starting)} being started ({self._starts.describe()})"
        return SandboxUnavailable(message)

    # ------------------------------------------------------------------- tasks

    async def _keep_one_warm(self) -> None:
        delay, longest = _BACK_OFF_S
        while True:
            while not self._has_room():
                self._room.clear()
                await self._room.wait()
            next = self._shares.next(self._waiting.keys())
            owner = self._last_owner if next is None else next
            self._starting.append(owner)
            if (worker := await self._attempt(owner, delay)) is None:
                await self._sleep(delay * self._jitter())
                delay = min(delay * 2, longest)
            else:
                delay = _BACK_OFF_S[0]
                await self._offer(worker).wait()

    async def _fork_for(self, owner: str) -> None:
        """Until there is one, or nobody of this owner waits any more."""
        delay, longest = _BACK_OFF_S
        while (worker := await self._attempt(owner, delay)) is None:
            await self._sleep(delay * self._jitter())
            delay = min(delay * 2, longest)
            if not self._has_room() or not self._waiting.length(owner):
                return
            self._starting.append(owner)
        self._offer(worker)
        if worker in self._taken and len(self._shelf) > self._starters:  # its caller has left
            self._retire(worker)
        self._start_for_callers()

    async def _attempt(self, owner: str | None, delay: float) -> Worker | None:
        """One that ``_starting`` knows of already. ``delay``: when the next attempt is, if this one fails."""
        try:
            worker = await self._start(owner)
        except Exception as error:
            self._failed_starts += 1
            self._last_error = error if isinstance(error, SandboxError) else SandboxStartError(repr(error))
            message = "a sandbox could not be started, next attempt in about %g s: %s"
            log.error(message, delay, self._last_error.message, exc_info=self._last_error is not error)
            return None
        finally:
            self._starting.remove(owner)
        self._last_error = None
        self._started += 1
        return worker

    async def _start(self, owner: str | None) -> Worker:
        """A worker that has run a line of code. A fork costs no CPU that it would have to wait for."""
        if self._forking is not None and self._forking.is_quick:
            worker = await tried(self._forking.start(owner), self._patience_s)
        else:
            async with self._starts.turn():
                start = self._forking.start(owner) if self._forking is not None else self._backend.start()
                worker = await tried(start, self._patience_s)
        self.python_version = worker.python_version
        return worker

    async def _close(self, worker: Worker, owner: str | None) -> None:
        try:
            await worker.close()
        except Exception:  # one sandbox that resists must not end the pool
            log.exception("sandbox %s could not be closed", worker.id)
        finally:
            self._closing.discard(worker)
            if owner is not None:
                self._shares.give_back(owner)
                self._match()  # somebody may have one now who could not before
            self.look_again()


def _has_worker(future: asyncio.Future[Worker]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None
