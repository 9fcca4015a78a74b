"""How those who call share what there is a limited number of: requests, sandboxes, bytes.

Theory of operation
-------------------
Each key has a *share* of the limit, by its weight among all keys; one at least. What it leaves idle others may use, but
for a reserve of a quarter, which is for keys that are below their shares: whoever comes while others use more than is
theirs is served at once, and does not wait until they have ended. Nothing is taken away from who has it.

Where all that may be had is in use, those who want more stand in line. What comes free goes to the key that uses least
in proportion to its weight; among equals to the one that was served least in the past, counted as start-time fair
queueing does (Goyal, Vin, Cheng 1996). So a thousand callers of one key stand in nobody's way but each other's. Callers
of one key are served in the order in which they came.

One key alone, or none, has all of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

Grant = TypeVar("Grant")

#: key -> its part of everything, above 0; 1 is all of it.
Fraction = Callable[[str], float]

#: One part in so many of each limit is for keys below their shares.
_RESERVED: Final = 4
#: Whose turns are remembered; beyond so many, all are forgotten.
_MOST_KEYS: Final = 1000


def undivided(key: str) -> float:
    """The fraction of whoever is alone."""
    return 1.0


class Shares:
    """Who uses how much of a limit. State changes in plain functions, so no two callers are promised the same."""

    def __init__(self, limit: int, *, fraction: Fraction = undivided) -> None:
        self.limit = limit
        self._fraction = fraction
        self._used: dict[str, int] = {}
        self._total = 0
        self._tags: dict[str, float] = {}  # of each key: when its next turn is
        self._now = 0.0

    def __repr__(self) -> str:
        return f"<Shares {self._total} of {self.limit}, {len(self._used)} keys>"

    @property
    def total(self) -> int:
        """In use, of all keys."""
        return self._total

    def used(self, key: str) -> int:
        return self._used.get(key, 0)

    def share(self, key: str) -> int:
        """What nobody else can have for long."""
        return max(1, int(self.limit * self._fraction(key)))

    def exceeds(self, key: str) -> bool:
        """Whether it uses more than its share."""
        return self.used(key) > self.share(key)

    def may_take(self, key: str, amount: int = 1, *, total: int | None = None, used: int | None = None) -> bool:
        """``total`` and ``used`` are for who counts elsewhere what is in use, and what of it by this key."""
        total = self._total if total is None else total
        used = self.used(key) if used is None else used
        free = self.limit - total - amount
        share = self.share(key)
        if free < 0 or used + amount <= share:
            return free >= 0
        return free >= min(self.limit // _RESERVED, self.limit - share)

    def take(self, key: str, amount: int = 1) -> None:
        self._used[key] = self.used(key) + amount
        self._total += amount
        self._now = max(self._now, self._turn(key))
        self._tags[key] = self._turn(key) + amount / self._fraction(key)
        if len(self._tags) > _MOST_KEYS:
            self._tags.clear()

    def give_back(self, key: str, amount: int = 1) -> None:
        self._total -= amount
        self._used[key] -= amount
        if not self._used[key]:
            del self._used[key]

    def next(self, keys: Iterable[str]) -> str | None:
        """Whose turn it is, of ``keys``: None if none of them may take anything."""
        return min((key for key in keys if self.may_take(key)), key=self._precedence, default=None)

    def _precedence(self, key: str) -> tuple[float, float]:
        return self.used(key) / self._fraction(key), self._turn(key)

    def _turn(self, key: str) -> float:
        """Who was idle has saved nothing up."""
        return max(self._tags.get(key, 0.0), self._now)


class WaitingLine(Generic[Grant]):
    """Those who wait, each for a ``Grant``."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[Grant]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def __repr__(self) -> str:
        return f"<WaitingLine of {len(self)}, {len(self._waiting)} keys>"

    def keys(self) -> Iterable[str]:
        """Who waits, longest first of those that came once."""
        return self._waiting.keys()

    def length(self, key: str) -> int:
        """How many of one key wait."""
        return len(self._waiting.get(key, ()))

    def join(self, key: str) -> asyncio.Future[Grant]:
        future: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(future)
        return future

    def leave(self, key: str, future: asyncio.Future[Grant]) -> bool:
        """Whether it was still in line."""
        waiting = self._waiting.get(key, deque())
        if future not in waiting:
            return False
        waiting.remove(future)
        self._drop_if_empty(key)
        return True

    def pop(self, key: str) -> asyncio.Future[Grant] | None:
        """The first of a key that still waits; None if all have been cancelled and have not woken up to leave."""
        waiting = self._waiting[key]
        try:
            while waiting:
                future = waiting.popleft()
                if not future.done():
                    return future
            return None
        finally:
            self._drop_if_empty(key)

    def all(self) -> list[asyncio.Future[Grant]]:
        return [future for waiting in self._waiting.values() for future in waiting]

    def _drop_if_empty(self, key: str) -> None:
        if key in self._waiting and not self._waiting[key]:
            del self._waiting[key]
