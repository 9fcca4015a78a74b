"""What tenants notice in a while."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Phase:
    """What three tenants noticed in a while: seconds of each request that was answered, and how many were not."""

    name: str
    seconds: list[float] = field(default_factory=list)
    refused: int = 0

    def quantile_ms(self, share: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1e3 if ordered else 0.0
