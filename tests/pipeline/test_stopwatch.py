from hypothesis import given
from hypothesis import strategies as st

from app import latency
from app.pipeline.stopwatch import Stopwatch

times = st.floats(0.0, 10.0)


def test_a_request_without_code_takes_as_long_as_its_generation() -> None:
    stopwatch = Stopwatch()
    clock = stopwatch.turn(0.5)
    clock.first_token_s, clock.generated_s = 0.7, 2.5
    timing = stopwatch.timing()
    assert (timing.ttft_ms, timing.gen_ms, timing.exec_ms, timing.nel_ms) == (700.0, 2000.0, 0.0, 0.0)
    assert timing.e2el_ms == timing.serial_e2el_ms == timing.bound_ms == 2500.0


def test_execution_behind_generation_is_hidden_and_the_rest_is_nel() -> None:
    stopwatch = Stopwatch()
    clock = stopwatch.turn(0.0)
    clock.chunk_generated_s = [1.0, 4.0]
    clock.execution(3.0, 2.0, [1_900_000_000])
    clock.generated_s = 4.0
    clock.execution(5.0, 1.0, [900_000_000])
    timing = stopwatch.timing()
    assert (timing.gen_ms, timing.exec_ms, timing.nel_ms, timing.e2el_ms) == (4000.0, 2800.0, 1000.0, 5000.0)
    assert timing.serial_e2el_ms == 6900.0  # one invocation's overhead, 0.1 s, is left
    assert timing.saved_ms == 1900.0
    assert timing.bound_ms == 4900.0
    assert (timing.chunks, timing.batches) == (2, 2)


def test_first_output_is_told_beside_that_of_a_serial_run() -> None:
    stopwatch = Stopwatch()
    first = stopwatch.turn(0.0)
    first.chunk_generated_s, first.generated_s = [0.3], 1.0
    first.execution(0.8, 0.5, [500_000_000])  # says nothing
    second = stopwatch.turn(1.0)
    second.chunk_generated_s = [1.5]
    second.execution(2.0, 0.5, [500_000_000])
    second.output(2.5, 2.2)
    second.output(3.0, 2.2)
    second.generated_s = 4.0
    timing = stopwatch.timing()
    assert timing.first_output_ms == 2500.0
    # Its turn begins 0.5 s later serially, generates for 3 s, and then runs for 0.5 + 0.3 s up to there.
    assert timing.serial_first_output_ms == 1000 + 500 + 3000 + 800


def test_code_that_says_nothing_has_no_first_output() -> None:
    stopwatch = Stopwatch()
    clock = stopwatch.turn(0.0)
    clock.chunk_generated_s = [0.0]
    clock.execution(1.0, 1.0, [1_000_000_000])
    assert stopwatch.timing().first_output_ms is None
    assert stopwatch.timing().serial_first_output_ms is None


@given(st.lists(st.tuples(times, times), min_size=1, max_size=8), times)
def test_the_bound_is_never_above_what_the_model_gives(chunks: list[tuple[float, float]], tail: float) -> None:
    generated = sorted(at for at, _ in chunks)
    run = [seconds for _, seconds in chunks]
    clock = Stopwatch().turn(0.0)
    clock.chunk_generated_s = generated
    clock.generated_s = generated[-1] + tail
    clock.chunk_run_s = run
    ideal = max(clock.generated_s, latency.parallel_s(generated, run))
    assert clock.bound_s <= ideal + 1e-9
