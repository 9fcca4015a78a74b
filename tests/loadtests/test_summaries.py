from __future__ import annotations

import pytest

from loadtests.paper import figure, is_reached
from loadtests.summaries import closeness, remainders, savings
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


@pytest.mark.parametrize(
    ("eager_nel", "bound", "reached"),
    [(1, 1002, True), (20, 1002, False), (20, 1012, False), (20, 1021, True)],
    ids=["above", "below", "more than the corpus' limit allows", "within 1.5 points of the limit"],
)
def test_a_cell_reaches_the_paper_or_the_limit_of_the_corpus(eager_nel: float, bound: float, reached: bool) -> None:
    found = [measurement(run("cold"), nel_ms=100), measurement(run("eager"), nel_ms=eager_nel, bound_ms=bound)]
    (row,) = savings(found, "cold")
    assert is_reached(row) is reached
