from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import latency

seconds = st.floats(0, 100, allow_subnormal=False)
some_seconds = st.floats(0.001, 100)


@dataclass(frozen=True)
class Program:
    ttft: float
    rate: float
    tokens: list[float]
    delays: list[float]
    executions: list[float]
    setup: float
    setup_full: float

    @property
    def generation(self) -> float:
        return latency.generation_s(self.ttft, sum(self.tokens), self.rate)

    @property
    def detected(self) -> list[float]:
        return latency.detected_s(latency.generated_s(self.ttft, self.tokens, self.rate), self.delays)

    @property
    def parallel(self) -> float:
        return latency.parallel_s(self.detected, self.executions, self.setup)

    @property
    def serial(self) -> float:
        return latency.serial_s(self.generation, self.setup_full, latency.execution_full_s(self.executions))


@st.composite
def programs(draw: st.DrawFn) -> Program:
    n = draw(st.integers(1, 30))
    return Program(
        ttft=draw(some_seconds),
        rate=draw(st.floats(1, 1000)),
        tokens=draw(st.lists(st.floats(1, 500), min_size=n, max_size=n)),
        delays=draw(st.lists(seconds, min_size=n, max_size=n)),
        executions=draw(st.lists(seconds, min_size=n, max_size=n)),
        setup=draw(seconds),
        setup_full=draw(seconds),
    )


def at_most(value: float, limit: float) -> bool:
    """Up to rounding."""
    return value <= limit or math.isclose(value, limit, rel_tol=1e-9, abs_tol=1e-9)


def test_a_program_worked_out_by_hand() -> None:
    # Two chunks of 10 tokens at 10 tokens/s: detected at 1.5 and 2.5 s; the first runs until 4.5, the second until 5.5.
    detected = latency.detected_s(latency.generated_s(0.25, [10, 10], 10), [0.25, 0.25])
    assert detected == [1.5, 2.5]
    assert latency.executed_s(detected, [2.5, 0.5], setup=0.5) == [4.5, 5.5]
    assert latency.parallel_s(detected, [2.5, 0.5], setup=0.5) == 5.5
    generation = latency.generation_s(0.25, 20, 10)
    assert latency.serial_s(generation, 0.5, latency.execution_full_s([2.5, 0.5])) == 5.75
    assert latency.generation_bound_s(generation, 0.25, 0.5, setup=0.5) == 3.5
    assert latency.execution_bound_s(1.5, [2.5, 0.5], setup=0.5) == 5.5
    assert latency.lower_bound_s(generation, 1.5, [2.5, 0.5], last_delay=0.25, setup=0.5) == 5.5
    assert latency.lower_bound_s(generation, 1.25, [0.25, 0.5]) == 2.75
    assert latency.upper_bound_s(generation, [0.25, 0.25], [2.5, 0.5], setup=0.5) == 6.5
    assert latency.regression_bound_s([0.25, 0.25], setup=0.5, setup_full=0.5) == 0.75
    assert latency.speedup(5.75, 5.5) == pytest.approx(1.04545, rel=1e-5)
    assert latency.speedup_bound(5.75, 3.5) == pytest.approx(1.64286, rel=1e-5)
    assert latency.non_overlapped_s(generation, 5.5) == 3.25


@given(programs())
def test_the_closed_form_is_the_recurrence(program: Program) -> None:
    closed = latency.parallel_closed_form_s(program.detected, program.executions, program.setup)
    assert closed == pytest.approx(program.parallel)


@given(programs())
def test_the_recurrence_stays_within_its_bounds(program: Program) -> None:
    generation_bound = latency.generation_bound_s(
        program.generation, program.delays[-1], program.executions[-1], program.setup
    )
    execution_bound = latency.execution_bound_s(program.detected[0], program.executions, program.setup)
    lower = latency.lower_bound_s(
        program.generation, program.detected[0], program.executions, program.delays[-1], program.setup
    )
    upper = latency.upper_bound_s(program.generation, program.delays, program.executions, program.setup)
    assert lower == max(generation_bound, execution_bound)
    assert at_most(lower, program.parallel)
    assert at_most(program.parallel, upper)


@given(programs())
def test_overlap_never_loses_more_than_the_regression_bound(program: Program) -> None:
    loss = program.parallel - program.serial
    assert at_most(loss, latency.regression_bound_s(program.delays, program.setup, program.setup_full))


@given(programs())
def test_the_speedup_stays_below_its_bound(program: Program) -> None:
    bound = latency.generation_bound_s(program.generation, program.delays[-1], program.executions[-1], program.setup)
    assert at_most(latency.speedup(program.serial, program.parallel), latency.speedup_bound(program.serial, bound))


@given(programs())
def test_chunks_run_in_order_and_none_before_it_is_detected(program: Program) -> None:
    ends = latency.executed_s(program.detected, program.executions, program.setup)
    assert ends == sorted(ends)
    assert all(end >= ready for end, ready in zip(ends, program.detected, strict=True))


@given(programs())
def test_nothing_overlaps_in_the_latency_that_is_left(program: Program) -> None:
    left = latency.non_overlapped_s(program.generation, program.parallel)
    assert at_most(latency.generation_bound_s(0, program.delays[-1], program.executions[-1], program.setup), left)
    assert latency.non_overlapped_s(program.generation, program.generation / 2) == 0


uniform_programs = st.builds(
    latency.Uniform,
    ttft=seconds,
    tokens=st.floats(1, 10_000),
    rate=st.floats(1, 1000),
    chunks=st.integers(1, 40),
    delay=seconds,
    setup=seconds,
    execution=seconds,
)


def recurrence_of(uniform: latency.Uniform) -> float:
    n = uniform.chunks
    generated = latency.generated_s(uniform.ttft, [uniform.tokens / n] * n, uniform.rate)
    return latency.parallel_s(
        latency.detected_s(generated, [uniform.delay] * n), [uniform.execution] * n, uniform.setup
    )


@given(uniform_programs)
def test_uniform_chunks_take_their_longest_path_which_is_the_recurrence(uniform: latency.Uniform) -> None:
    longest = max(uniform.path_s(i) for i in range(1, uniform.chunks + 1))
    assert longest == pytest.approx(recurrence_of(uniform))
    assert uniform.parallel_s() == pytest.approx(longest)


@pytest.mark.parametrize(
    ("execution", "regime", "last_path"), [(0.5, "generation", 4), (2.0, "execution", 1), (1.0, "balanced", 4)]
)
def test_each_regime_has_its_longest_path_at_one_end(execution: float, regime: str, last_path: int) -> None:
    uniform = latency.Uniform(ttft=0.5, tokens=40, rate=10, chunks=4, delay=0.25, setup=0, execution=execution)
    assert uniform.regime == regime
    assert uniform.parallel_s() == uniform.path_s(last_path)


def test_balanced_chunks_agree_in_both_regimes() -> None:
    uniform = latency.Uniform(ttft=0.5, tokens=40, rate=10, chunks=4, delay=0.25, setup=0.25, execution=0.75)
    assert uniform.generation_dominated_s() == uniform.execution_dominated_s() == recurrence_of(uniform)


@given(st.floats(1, 100), st.floats(0.001, 1), some_seconds)
def test_the_critical_chunk_count_separates_the_regimes(spare: float, setup: float, execution_full: float) -> None:
    critical = latency.critical_chunks(execution_full + spare, execution_full, setup)

    def regime(chunks: int) -> str:
        return latency.Uniform(
            ttft=0,
            tokens=execution_full + spare,
            rate=1,
            chunks=chunks,
            delay=0,
            setup=setup,
            execution=execution_full / chunks,
        ).regime

    assert regime(math.ceil(critical * 1.01) + 1) == "execution"
    if critical * 0.99 > 1:
        assert regime(math.floor(critical * 0.99)) == "generation"


def test_a_free_invocation_has_no_critical_chunk_count() -> None:
    assert latency.critical_chunks(3, 1, 0) == math.inf
    assert latency.critical_chunks(1, 3, 0) == -math.inf
    assert math.isnan(latency.critical_chunks(1, 1, 0))
