"""What is read costs the same however much was read before: each reader x what it is amid x what comes again and again.

Two things are held. A piece four times as long takes at most twice its part. And small pieces after a long text take no
longer than after a short one: were the cost of all of it quadratic, the last ones would have to be the dear ones. Both
are in CPU time of this thread, and tried again before they are believed, so that other processes do not matter.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.extraction.readers import PREFIXES, READERS, REFUSALS, UNITS, Feed

PIECE = 5_000
#: Read before small pieces are timed: so much text, or what takes so long.
LONG, LONG_S = 1_000_000, 0.006
STEPS = (1, 17)
FEEDS, BATCHES, TRIES = 20, 3, 6
#: Quadratic would be 4, for pieces, and far more for what was read before.
GROWTH = 2.3
SLOWER = 5.0
#: Too short to be measured, and to matter.
NOTHING_S = 0.002
NOTHING_PER_FEED_S = 25e-6


@contextmanager
def no_collections() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def seconds(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began


def begun(reader: str, prefix: str) -> Feed:
    feed = READERS[reader]()
    feed(prefix)
    return feed


def repeated(unit: str, length: int) -> str:
    return unit * max(length // len(unit), 1)


def per_feed(feed: Feed, unit: str, step: int) -> float:
    text = repeated(unit, (FEEDS + 1) * step)
    pieces = [text[at : at + step] for at in range(0, FEEDS * step, step)]
    return min(seconds(lambda: [feed(piece) for piece in pieces]) for _ in range(BATCHES)) / FEEDS


def read_long(feed: Feed, unit: str) -> None:
    text = repeated(unit, 20_000)
    spent, length = 0.0, 0
    while spent < LONG_S and length < LONG:
        spent += seconds(lambda: feed(text))
        length += len(text)


def grows(reader: str, prefix: str, unit: str) -> str | None:
    """What is wrong; None if nothing is."""
    short, long = repeated(unit, PIECE), repeated(unit, 4 * PIECE)
    feed, again = begun(reader, prefix), begun(reader, prefix)
    once, four_times = seconds(lambda: feed(short)), seconds(lambda: again(long))
    if four_times > NOTHING_S and four_times > 4 * GROWTH * once:
        return f"a piece of {len(long)} characters takes {four_times * 1e3:.1f} ms, of {len(short)} {once * 1e3:.1f}"
    read_long(feed, unit)
    for step in STEPS:
        behind_little = per_feed(begun(reader, prefix), unit, step)
        behind_much = per_feed(feed, unit, step)
        if behind_much > NOTHING_PER_FEED_S and behind_much > SLOWER * behind_little:
            return f"pieces of {step}: {behind_much * 1e6:.0f} us behind much, {behind_little * 1e6:.1f} behind little"
    return None


@pytest.mark.parametrize(("reader", "prefix"), [(reader, prefix) for reader in READERS for prefix in PREFIXES[reader]])
def test_what_was_read_before_does_not_make_reading_slower(reader: str, prefix: str) -> None:
    with no_collections():
        for unit in UNITS:
            for _ in range(TRIES):
                try:
                    problem = grows(reader, prefix, unit)
                except REFUSALS:
                    problem = None
                if problem is None:
                    break
            assert problem is None, f"{unit!r}: {problem}"
        gc.collect()


def test_the_measure_finds_what_is_quadratic(monkeypatch: pytest.MonkeyPatch) -> None:
    def joining() -> Feed:
        kept = ""

        def feed(text: str) -> None:
            nonlocal kept
            kept += text
            kept.count("x")

        return feed

    def comparing() -> Feed:
        return lambda text: [text[at:].count("}") for at in range(0, len(text), 16)]

    for slow in (joining, comparing):
        monkeypatch.setitem(READERS, "slow", slow)
        assert any(grows("slow", "", "{1}") for _ in range(TRIES))
