import asyncio

from app.deadline import Deadline


class Expiries:
    """Notes when a deadline was over, and lets one wait for it."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.came = asyncio.Event()

    def __call__(self) -> None:
        self.times.append(asyncio.get_running_loop().time())
        self.came.set()


async def _over(*, after_s: float) -> None:
    """Another deadline, set later than the one under test: a timer that is not due yet fires behind it."""
    expiries = Expiries()
    Deadline(expiries).set(after_s)
    await expiries.came.wait()


async def test_it_expires_once_and_not_before_its_time() -> None:
    expiries = Expiries()
    deadline = Deadline(expiries)
    began = asyncio.get_running_loop().time()
    deadline.set(0.02)
    await expiries.came.wait()
    await _over(after_s=0.03)
    assert len(expiries.times) == 1
    assert expiries.times[0] >= began + 0.02


async def test_a_lifted_one_does_not_expire() -> None:
    expiries = Expiries()
    deadline = Deadline(expiries)
    deadline.set(0.01)
    deadline.lift()
    await _over(after_s=0.03)
    assert expiries.times == []


async def test_the_next_limit_counts_though_the_timer_of_the_last_one_fires() -> None:
    expiries = Expiries()
    deadline = Deadline(expiries)
    deadline.set(0.01)
    deadline.lift()
    began = asyncio.get_running_loop().time()
    deadline.set(0.05)
    await expiries.came.wait()
    assert expiries.times[0] >= began + 0.05


async def test_a_shorter_limit_does_not_wait_for_the_timer_of_a_longer_one() -> None:
    expiries = Expiries()
    deadline = Deadline(expiries)
    deadline.set(3600)
    deadline.lift()
    deadline.set(0.01)
    async with asyncio.timeout(10):
        await expiries.came.wait()


async def test_it_can_be_set_again_when_it_has_expired() -> None:
    expiries = Expiries()
    deadline = Deadline(expiries)
    for expected in (1, 2):
        deadline.set(0.01)
        await expiries.came.wait()
        expiries.came.clear()
        assert len(expiries.times) == expected


async def test_a_closed_one_leaves_no_timer() -> None:
    expiries = Expiries()
    deadline = Deadline(expiries)
    deadline.set(0.01)
    deadline.close()
    assert "timer None" in repr(deadline)
    await _over(after_s=0.03)
    assert expiries.times == []
