from __future__ import annotations

import pytest

from loadtests.statistics import percentile, saved_percent


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (20, 1), (21, 2), (50, 3), (99, 5), (100, 5)])
def test_a_percentile_is_one_of_the_values(percent: float, value: float) -> None:
    assert percentile([5, 1, 4, 2, 3], percent) == value


def test_nothing_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_what_was_saved_is_a_part_of_the_baseline() -> None:
    assert saved_percent(1440, 903) == pytest.approx(37.3, abs=0.01)
    assert saved_percent(10, 12) == pytest.approx(-20)
    assert saved_percent(0, 0) is None
