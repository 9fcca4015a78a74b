"""A part of what ``tests/fuzzing.py`` does for as long as one likes; and that it finds what was found by hand."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests import fuzzing
from tests.fuzzing import Nonsense, fuzz

#: The first of them; others are played by hand.
ROUNDS = 240


async def test_no_nonsense_holds_the_loop_or_is_an_internal_error(tmp_path: Path) -> None:
    assert await fuzz(tmp_path, iter(range(ROUNDS))) == ROUNDS


async def test_a_step_that_takes_too_long_is_found_with_its_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(nonsense: Nonsense) -> None:
        ends = time.thread_time() + 0.01
        while time.thread_time() < ends:
            pass

    monkeypatch.setattr(fuzzing, "STEP_S", 0.005)
    monkeypatch.setitem(fuzzing.ENTRIES, "readers", fuzzing._alone(slow))
    with pytest.raises(ExceptionGroup) as found:
        await fuzz(tmp_path, iter([4]))
    assert found.group_contains(AssertionError, match=r"seed 4, readers: SlowStep\('0\.01 s")


def test_the_nonsense_holds_what_held_the_loop_before() -> None:
    """Bodies of ``finally`` in each other, and objects one behind the other in one piece."""
    texts = [Nonsense(seed).text() for seed in range(0, 4 * ROUNDS, 4)]
    assert any(text.count("finally:") >= 12 for text in texts)
    assert any(text.count("}{") > 3_000 or text.count("{}") > 3_000 for text in texts)
