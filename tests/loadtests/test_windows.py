from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from loadtests.windows import Windows


def test_a_free_span_is_had_at_once() -> None:
    assert Windows().reserve(0, 5, 1) == 5


def test_what_is_taken_is_waited_for() -> None:
    windows = Windows()
    assert windows.reserve(0, 5, 2) == 5
    assert windows.reserve(0, 6, 2) == 7
    assert windows.reserve(0, 4, 2) == 9


def test_a_gap_that_is_long_enough_is_used() -> None:
    windows = Windows()
    windows.reserve(0, 0, 1)
    windows.reserve(0, 3, 1)
    assert windows.reserve(0, 0, 2) == 1


def test_what_is_over_is_forgotten() -> None:
    windows = Windows()
    windows.reserve(0, 0, 1)
    windows.reserve(2, 5, 1)
    assert repr(windows) == "Windows(1 reserved)"


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 10)), max_size=30))
def test_windows_never_overlap(wanted: list[tuple[int, int]]) -> None:
    windows = Windows()
    spans = []
    for earliest, length in wanted:
        begin = windows.reserve(0, earliest, length)
        assert begin >= earliest
        spans.append((begin, begin + length))
    spans.sort()
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))
