"""Times of the machine that belong to one run alone.

Runs side by side would fit ten times as many evaluations into an hour: a program at 20 tokens/s leaves the machine idle
for half a minute. But what is measured, execution behind the last token, must not compete with another's. When a run
reaches that point is known before it begins, so its begin is chosen such that these *windows* never overlap.
"""

from __future__ import annotations

from bisect import insort


class Windows:
    """Reserved spans of time, in seconds of any one clock."""

    def __init__(self) -> None:
        self._taken: list[tuple[float, float]] = []

    def reserve(self, now: float, earliest: float, length: float) -> float:
        """Begin of a free span of that length, not before ``earliest``: from now on it is taken. What is over by
        ``now`` is forgotten."""
        self._taken = [span for span in self._taken if span[1] > now]
        begin = earliest
        for start, end in self._taken:
            if start >= begin + length:
                break
            begin = max(begin, end)
        insort(self._taken, (begin, begin + length))
        return begin

    def __repr__(self) -> str:
        return f"Windows({len(self._taken)} reserved)"
