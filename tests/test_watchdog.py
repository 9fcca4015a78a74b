import asyncio
import logging
import time

import pytest

from app.watchdog import BEAT_S, LoopWatchdog


def hold_the_loop(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


async def test_a_step_that_holds_the_loop_is_named(caplog: pytest.LogCaptureFixture) -> None:
    lags: list[float] = []
    beaten = asyncio.Event()

    def observe(lag: float) -> None:
        lags.append(lag)
        beaten.set()

    with caplog.at_level(logging.WARNING), LoopWatchdog(0.1, observe):
        await beaten.wait()
        beaten.clear()
        hold_the_loop(0.6)
        await beaten.wait()
    assert max(lags) > 0.3
    (told,) = {record.getMessage() for record in caplog.records if "hold_the_loop" in record.getMessage()}
    assert "test_watchdog.py" in told
    assert "\n" not in told


async def test_a_loop_that_waits_is_not_held(caplog: pytest.LogCaptureFixture) -> None:
    beats = 0
    enough = asyncio.Event()

    def observe(lag: float) -> None:
        nonlocal beats
        beats += 1
        if beats == 5:
            enough.set()

    with caplog.at_level(logging.WARNING), LoopWatchdog(30, observe):
        async with asyncio.timeout(100 * BEAT_S):
            await enough.wait()
    assert not caplog.records


async def test_it_ends_with_its_context() -> None:
    watchdog = LoopWatchdog(0.1, lambda lag: None)
    with watchdog:
        assert watchdog._thread.is_alive()
    assert not watchdog._thread.is_alive()
