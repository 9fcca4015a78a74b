"""The paper's latency model (EAGER, section 3). Pure arithmetic; every time is in seconds.

Symbols. ``L`` tokens at ``v`` tokens/s after a first-token time ``T_FT``; ``N`` chunks; chunk i has ``l_i`` tokens, a
residual detection delay ``d_i`` and an execution time ``e_i``; one invocation of the executor costs ``s``.
``generation`` is ``T_FT + L/v``, the moment of the last token. Functions that need no more take it as one number. So
they also hold for measured times, where tokens do not come at an even pace.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

Regime = Literal["generation", "execution", "balanced"]


def generation_s(ttft: float, tokens: float, rate: float) -> float:
    """When the last token is there: ``T_FT + L/v``, the first two terms of Eq. 1. Seconds."""
    return ttft + tokens / rate


def serial_s(generation: float, setup_full: float, execution_full: float) -> float:
    """Eq. 1: ``T_serial = T_FT + L/v + s_full + e_full``. Seconds."""
    return generation + setup_full + execution_full


def execution_full_s(executions: Sequence[float]) -> float:
    """Eq. 2: ``e_full ~ sum e_i``, the program run as one. Seconds."""
    return math.fsum(executions)


def generated_s(ttft: float, tokens: Sequence[float], rate: float) -> list[float]:
    """Eq. 3: ``t_g,i = T_FT + sum_{j<=i} l_j / v``, when each chunk is generated. Seconds."""
    return [ttft + total / rate for total in accumulate(tokens)]


def detected_s(generated: Sequence[float], delays: Sequence[float]) -> list[float]:
    """Eq. 4: ``t_d,i = t_g,i + d_i``, when each chunk is known to be complete. Seconds."""
    return [at + delay for at, delay in zip(generated, delays, strict=True)]


def executed_s(detected: Sequence[float], executions: Sequence[float], setup: float = 0.0) -> list[float]:
    """Eq. 5: ``t_e,i = max(t_d,i, t_e,i-1) + s + e_i``, when each chunk has run. Seconds."""
    ends: list[float] = []
    free = 0.0
    for ready, execution in zip(detected, executions, strict=True):
        free = max(ready, free) + setup + execution
        ends.append(free)
    return ends


def parallel_s(detected: Sequence[float], executions: Sequence[float], setup: float = 0.0) -> float:
    """Eq. 6: ``T_par = t_e,N``, by the recurrence of Eq. 5. Seconds."""
    return executed_s(detected, executions, setup)[-1]


def parallel_closed_form_s(detected: Sequence[float], executions: Sequence[float], setup: float = 0.0) -> float:
    """Eq. 7: ``T_par = max_i [t_g,i + d_i + sum_{j>=i} (s + e_j)]``. Seconds."""
    longest = -math.inf
    remaining = 0.0
    for ready, execution in zip(reversed(detected), reversed(executions), strict=True):
        remaining += setup + execution
        longest = max(longest, ready + remaining)
    return longest


def upper_bound_s(generation: float, delays: Sequence[float], executions: Sequence[float], setup: float) -> float:
    """Eq. 8: ``T_par <= T_FT + L/v + max d + N s + sum e_j``. Seconds."""
    return generation + max(delays) + len(executions) * setup + math.fsum(executions)


def regression_bound_s(delays: Sequence[float], setup: float, setup_full: float) -> float:
    """Eq. 9: ``T_par - T_serial <= max d + N s - s_full``, the most that can be lost. Seconds."""
    return max(delays) + len(delays) * setup - setup_full


def generation_bound_s(generation: float, last_delay: float, last_execution: float, setup: float) -> float:
    """Eq. 10: ``T_par >= T_FT + L/v + d_N + s + e_N``. Seconds."""
    return generation + last_delay + setup + last_execution


def execution_bound_s(first_detected: float, executions: Sequence[float], setup: float) -> float:
    """Eq. 11: ``T_par >= T_FT + l_1/v + d_1 + N s + sum e_j``; the first three terms are ``t_d,1``. Seconds."""
    return first_detected + len(executions) * setup + math.fsum(executions)


def lower_bound_s(
    generation: float,
    first_detected: float,
    executions: Sequence[float],
    last_delay: float = 0.0,
    setup: float = 0.0,
) -> float:
    """Eq. 12: the larger of Eq. 10 and Eq. 11, below which no order of work can end. Seconds.

    Without ``last_delay`` and ``setup``, the limit of an executor that costs nothing.
    """
    return max(
        generation_bound_s(generation, last_delay, executions[-1], setup),
        execution_bound_s(first_detected, executions, setup),
    )


def speedup(serial: float, parallel: float) -> float:
    """Eq. 13, left: ``S = T_serial / T_par``."""
    return serial / parallel


def speedup_bound(serial: float, generation_bound: float) -> float:
    """Eq. 13, right: ``S <= (T_FT + L/v + s_full + e_full) / (T_FT + L/v + d_N + s + e_N)`` (Eq. 1 over Eq. 10)."""
    return serial / generation_bound


@dataclass(frozen=True, slots=True)
class Uniform:
    """N equal chunks (Eq. 14 to 17): ``tokens`` L at ``rate`` v after ``ttft`` T_FT, each chunk with detection delay
    ``delay`` d, set-up ``setup`` s and execution time ``execution`` e. Seconds."""

    ttft: float
    tokens: float
    rate: float
    chunks: int
    delay: float
    setup: float
    execution: float

    @property
    def generation_of_one_s(self) -> float:
        """``a = L/(N v)`` of Eq. 14: seconds to generate a chunk."""
        return self.tokens / self.rate / self.chunks

    @property
    def execution_of_one_s(self) -> float:
        """``b = s + e`` of Eq. 14: seconds to run a chunk."""
        return self.setup + self.execution

    def path_s(self, i: int) -> float:
        """Eq. 14: ``f(i) = T_FT + d + (N+1) b + i (a - b)``, the path that waits for chunk i (from 1). Seconds."""
        a, b = self.generation_of_one_s, self.execution_of_one_s
        return self.ttft + self.delay + (self.chunks + 1) * b + i * (a - b)

    @property
    def regime(self) -> Regime:
        """R1, R2 or R3: what the total is made of."""
        a, b = self.generation_of_one_s, self.execution_of_one_s
        return "balanced" if a == b else "generation" if a > b else "execution"

    def generation_dominated_s(self) -> float:
        """Eq. 15 (R1, a > b): ``T_par = T_FT + L/v + d + b``. Seconds."""
        return generation_s(self.ttft, self.tokens, self.rate) + self.delay + self.execution_of_one_s

    def execution_dominated_s(self) -> float:
        """Eq. 16 (R2, a < b): ``T_par = T_FT + a + d + N b``. Seconds."""
        return self.ttft + self.generation_of_one_s + self.delay + self.chunks * self.execution_of_one_s

    def parallel_s(self) -> float:
        """``T_par`` of the regime: Eq. 15 or Eq. 16, which agree when balanced. Seconds."""
        return self.execution_dominated_s() if self.regime == "execution" else self.generation_dominated_s()


def critical_chunks(generation_time: float, execution_full: float, setup: float) -> float:
    """Eq. 17 (R3, a = b): ``N* = (L/v - e_full) / s``. With fewer chunks generation dominates, with more execution.

    ``generation_time`` is ``L/v``, without the first-token time. Below zero where execution dominates at any N,
    infinite (of either sign) where an invocation is free; if then both are equal every N is balanced: nan.
    """
    spare = generation_time - execution_full
    if setup == 0:
        return math.copysign(math.inf, spare) if spare else math.nan
    return spare / setup


def non_overlapped_s(generation: float, execution_end: float) -> float:
    """NEL (EAGER 4.4): execution that falls after the end of generation. Seconds."""
    return max(0.0, execution_end - generation)
