"""Who gets what of a limit, in every order of taking and giving back."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from app.shares import Shares, WaitingLine

WEIGHTS = {"a": 1.0, "b": 1.0, "c": 2.0}


def fraction(key: str) -> float:
    return WEIGHTS[key] / sum(WEIGHTS.values())


def fill(shares: Shares, key: str) -> int:
    while shares.may_take(key):
        shares.take(key)
    return shares.used(key)


def test_one_key_alone_has_everything() -> None:
    assert fill(Shares(16), "any") == 16


def test_what_others_leave_idle_may_be_used_but_for_a_reserve_which_is_theirs_at_once() -> None:
    shares = Shares(16, fraction=fraction)
    assert fill(shares, "a") == 12
    assert fill(shares, "b") == 4
    assert fill(shares, "c") == 0
    for _ in range(8):  # what comes free goes to whom it belongs
        shares.give_back("a")
        assert shares.next(["a", "b", "c"]) == "c"
        shares.take("c")
    assert [shares.used(key) for key in "abc"] == [4, 4, 8]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=200), st.integers(1, 40))
def test_no_more_than_the_limit_is_taken_and_whoever_is_below_its_share_is_served_first(
    steps: list[tuple[str, bool]], limit: int
) -> None:
    shares = Shares(limit, fraction=fraction)
    for key, taking in steps:
        if not taking:
            if shares.used(key):
                shares.give_back(key)
            continue
        following = shares.next("abc")
        if following is not None:
            assert all(
                shares.used(following) / WEIGHTS[following] <= shares.used(other) / WEIGHTS[other]
                for other in "abc"
                if shares.may_take(other)
            )
        if shares.may_take(key):
            shares.take(key)
        else:
            assert shares.total == limit or shares.used(key) >= shares.share(key)
        assert shares.total == sum(map(shares.used, "abc")) <= limit


@given(st.lists(st.sampled_from("abc"), min_size=30, max_size=200))
def test_keys_that_always_want_more_are_served_by_weight(flood: list[str]) -> None:
    """Whatever was there before: one place, which is always in use."""
    shares = Shares(2, fraction=fraction)
    shares.take("a")  # stays
    served = dict.fromkeys("bc", 0)
    for _ in flood:
        key = shares.next("bc")
        assert key is not None
        shares.take(key)
        served[key] += 1
        shares.give_back(key)
    assert abs(served["c"] - 2 * served["b"]) <= 2


def test_turns_are_remembered_also_where_everything_is_given_back_between_them() -> None:
    """As in a pool whose sandboxes are used for a moment, and wanted faster than they start."""
    shares = Shares(16, fraction=fraction)
    served = []
    for _ in range(8):
        key = shares.next(["a", "b"])  # the first has waited for longer
        assert key is not None
        shares.take(key)
        shares.give_back(key)
        served.append(key)
    assert served == ["a", "b"] * 4


def test_the_turns_of_however_many_keys_take_bounded_memory() -> None:
    shares = Shares(4, fraction=lambda key: 0.1)
    for number in range(5_000):
        shares.take(f"key {number}")
        shares.give_back(f"key {number}")
    assert len(shares._tags) <= 1_000


async def test_a_line_is_kept_by_key() -> None:
    line: WaitingLine[int] = WaitingLine()
    first, second, other = line.join("a"), line.join("a"), line.join("b")
    assert (len(line), line.length("a"), list(line.keys())) == (3, 2, ["a", "b"])
    first.cancel()
    await asyncio.sleep(0)
    assert line.pop("a") is second
    assert list(line.keys()) == ["b"]
    assert line.leave("b", other)
    assert not line.leave("b", other)
    assert len(line) == 0
