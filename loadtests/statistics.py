"""The few statistics that the reports quote."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

__all__ = ["median", "percentile", "saved_percent"]


def percentile(values: Sequence[float], percent: float) -> float:
    """By nearest rank: always one of the values."""
    if not values:
        raise ValueError("no values")
    rank = max(1, math.ceil(percent / 100 * len(values)))
    return sorted(values)[rank - 1]


def saved_percent(before: float, after: float) -> float | None:
    """How much less ``after`` is, in percent of ``before``; None where there was nothing to save."""
    return (before - after) / before * 100 if before > 0 else None
