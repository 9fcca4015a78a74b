from __future__ import annotations

import pytest

from loadtests.first_output import first_outputs
from loadtests.paper import corpus_limit, figure, is_reached, target
from loadtests.summaries import at_rate, closeness, remainders, savings, with_serial_at_all_rates
from tests.loadtests.runs import measurement, run


def test_savings_are_ratios_of_sums_of_medians() -> None:
    found = [
        *(measurement(run("cold", repeat=n), nel_ms=ms, e2el_ms=1000 + ms) for n, ms in enumerate((190, 200, 900))),
        *(measurement(run("eager", repeat=n), nel_ms=ms, e2el_ms=1000 + ms) for n, ms in enumerate((1, 10, 11))),
        measurement(run("cold", program="q"), nel_ms=800, e2el_ms=1800),
        measurement(run("eager", program="q"), nel_ms=90, e2el_ms=1090, bound_ms=1052),
    ]
    (row,) = savings(found, "cold")
    assert row.programs == 2
    assert row.nel_saved == pytest.approx(90)
    assert row.e2el_saved == pytest.approx((3000 - 2100) / 3000 * 100)
    assert row.limit_nel_saved == pytest.approx((1000 - 8 - 50) / 1000 * 100)
    assert row.nel_ms == (500, 50)
    assert savings(found, "warm") == []


def test_a_program_without_its_other_half_does_not_count() -> None:
    found = [measurement(run("cold")), measurement(run("eager")), measurement(run("eager", program="q"), nel_ms=1e6)]
    (row,) = savings(found, "cold")
    assert (row.programs, row.nel_saved) == (1, pytest.approx(0))


def test_cells_come_in_the_order_of_the_paper() -> None:
    names = ["Other", "GitChameleon", "DSBench", "DABench"]
    found = [measurement(run(mode, benchmark=name)) for name in names for mode in ("cold", "eager")]
    assert [row.benchmark for row in savings(found, "cold")] == ["DABench", "DSBench", "GitChameleon", "Other"]


def test_closeness_is_over_programs_that_end_well() -> None:
    found = [
        measurement(run("eager"), gateway_e2el_ms=1010, e2el_ms=1020, bound_ms=1000),
        measurement(run("eager", repeat=1), gateway_e2el_ms=1030, e2el_ms=1040, bound_ms=1000),
        measurement(run("eager", program="q"), gateway_e2el_ms=1100, e2el_ms=1110, bound_ms=1000),
        measurement(run("eager", program="r"), status="error", gateway_e2el_ms=9000),
        measurement(run("warm"), gateway_e2el_ms=9000),
    ]
    (row,) = closeness(found)
    assert row.programs == 2
    assert (row.median, row.p95) == (pytest.approx(1.06), pytest.approx(1.1))
    assert (row.client_median, row.client_p95) == (pytest.approx(1.07), pytest.approx(1.11))


def test_the_rest_of_the_time_is_told_by_its_place() -> None:
    (row,) = remainders([measurement(run("eager"), dispatch_ms=[]), measurement(run("warm"), detection_ms=50)])
    assert row.generation == pytest.approx(2)
    assert row.tail == pytest.approx(8)
    assert row.beyond_bound == pytest.approx(95)
    assert row.detection == pytest.approx(1)
    assert row.dispatch_p99 == 0
    assert row.invocation == pytest.approx(1)
    assert row.transport == pytest.approx(5)


def test_the_figures_of_the_paper() -> None:
    assert figure("docker", 100, "PandasPlotBench") == (88.0, 23.4)
    assert figure("jupyter", 200, "GitChameleon") == (86.8, 49.1)
    assert figure("docker", 80, "DABench") is None
    assert figure("docker", 100, "Other") is None


def test_what_is_to_be_reached_is_the_paper_or_the_corpus_limit() -> None:
    assert corpus_limit(100, "PandasPlotBench") == 80.4
    assert corpus_limit(70, "PandasPlotBench") is None
    assert target("docker", 100, "DABench") == 94.4
    assert target("docker", 100, "PandasPlotBench") == pytest.approx(80.4 - 1.5)
    assert target("docker", 20, "GitChameleon") == pytest.approx(99.5 - 1.5)
    assert target("docker", 20, "Other") is None


def test_near_the_limit_no_more_is_asked_than_the_paper_has() -> None:
    assert target("docker", 20, "DSBench") == pytest.approx(95.4 - 1.5)
    assert target("local", 20, "DSBench") == pytest.approx(min(96.2, 95.4 - 1.5))


@pytest.mark.parametrize(
    ("benchmark", "eager_nel", "reached"),
    [
        ("DABench", 5.5, True),
        ("DABench", 5.7, False),
        ("PandasPlotBench", 21.0, True),
        ("PandasPlotBench", 21.2, False),
    ],
    ids=["the paper's", "below the paper's", "within 1.5 points of the limit", "below that"],
)
def test_a_cell_reaches_the_paper_or_the_limit_of_the_corpus(benchmark: str, eager_nel: float, reached: bool) -> None:
    found = [
        measurement(run("cold", benchmark=benchmark), nel_ms=100),
        measurement(run("eager", benchmark=benchmark), nel_ms=eager_nel),
    ]
    (row,) = savings(found, "cold")
    assert is_reached(row) is reached


def test_a_serial_run_at_another_rate_ends_later_and_executes_as_long() -> None:
    fast = measurement(
        run("cold", tps=200.0), tokens_sent=100, scheduled_ms=500, gen_ms=501, e2el_ms=601, gateway_e2el_ms=600
    )
    slow = at_rate(fast, 50)
    assert slow.run == run("cold", tps=50)
    assert (slow.scheduled_ms, slow.gen_ms, slow.e2el_ms, slow.gateway_e2el_ms) == (2000, 2001, 2101, 2100)
    assert slow.nel_ms == fast.nel_ms
    later_ms = slow.gen_ms - fast.gen_ms
    assert later_ms > 0
    assert slow.batches == [(start + later_ms, end + later_ms) for start, end in fast.batches] != []


def test_serial_runs_are_made_only_for_rates_that_lack_them() -> None:
    found = [measurement(run(mode, tps=tps)) for mode, tps in (("warm", 200.0), ("eager", 200.0), ("eager", 50.0))]
    made = with_serial_at_all_rates(found)
    assert [m.run for m in made[3:]] == [run("warm", tps=50.0)]
    assert with_serial_at_all_rates(made) == made


def test_first_outputs_are_medians_over_programs_that_say_something() -> None:
    said = {"first_output_ms": 500.0, "earliest_output_ms": 400.0}
    (row,) = first_outputs(
        [
            measurement(run(program="p"), **said),
            measurement(run("warm", program="p"), first_output_ms=1100.0, earliest_output_ms=1090.0),
            measurement(run(program="silent")),
            measurement(run(program="failing"), status="error", **said),
        ]
    )
    assert (row.programs, row.eager_ms, row.warm_ms, row.cold_ms) == (1, 500.0, 1100.0, None)
    assert (row.ratio, round(row.share)) == (1.25, 50)
