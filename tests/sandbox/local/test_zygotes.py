"""Which zygote a sandbox is a fork of, over zygotes that are none."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from app.errors import SandboxStartError
from app.sandbox.local.zygote import Zygote
from app.sandbox.local.zygotes import ZygoteFailed, Zygotes
from app.sandbox.worker.stderr_tail import StderrTail


class FakeZygote:
    def __init__(self) -> None:
        self.tail = StderrTail()
        self.owner: str | None = None
        self.born = self.used = 0.0
        self.forked = self.alive = 0
        self.closed = self.is_usable = False

    async def wait_ready(self, silence_s: float) -> None:
        await asyncio.sleep(0)
        if not silence_s:
            raise SandboxStartError("it was silent")
        self.is_usable = True

    async def close(self) -> None:
        self.closed, self.is_usable = True, False


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[tuple[Zygotes, list[FakeZygote]]]:
    made: list[FakeZygote] = []

    def spawn() -> Zygote:
        made.append(FakeZygote())
        return cast(Zygote, made[-1])

    zygotes = Zygotes(spawn, **{"silence_s": 1.0, "spare_after_s": 1e6, **options})
    yield zygotes, made
    await zygotes.close()
    assert all(zygote.closed for zygote in made)


async def rest() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_those_who_come_at_once_wait_for_one_start() -> None:
    async with opened() as (zygotes, made):
        found = await asyncio.gather(*(zygotes.find("a") for _ in range(5)))
        assert len(set(found)) == len(made) == 1
        assert made[0].forked == 5


async def test_each_owner_has_a_zygote_and_keeps_it() -> None:
    async with opened() as (zygotes, _made):
        first, second = await zygotes.find("a"), await zygotes.find("b")
        assert first is not second
        assert (await zygotes.find("a"), await zygotes.find("b")) == (first, second)
        assert not zygotes.give(first, "b")
        assert zygotes.give(first, "a")


async def test_one_of_nobody_becomes_the_first_owners_and_never_one_more_for_who_has_one() -> None:
    async with opened() as (zygotes, _made):
        nobodys = await zygotes.find(None)
        assert nobodys.owner is None
        assert zygotes.give(nobodys, "a")
        assert not zygotes.give(nobodys, "b")
        assert await zygotes.find("a") is nobodys
        assert (spare := await zygotes.find(None)) is not nobodys
        assert not zygotes.give(spare, "a")


async def test_after_so_many_forks_the_spare_takes_over_and_the_old_one_ends_with_its_last_sandbox() -> None:
    async with opened(renew_after=3, spare_after_s=0) as (zygotes, made):
        first = await zygotes.find("a")
        first.alive = 1
        while len(made) < 2 or not made[1].is_usable:
            await asyncio.sleep(0)
        assert [await zygotes.find("a") for _ in range(2)] == [first, first]
        assert await zygotes.find("a") is cast(Zygote, made[1])
        await rest()
        assert not first.closed
        first.alive = 0
        zygotes.release()
        await rest()
        assert first.closed


async def test_without_a_spare_one_that_is_used_up_goes_on_while_the_next_starts() -> None:
    async with opened(renew_after=1) as (zygotes, made):
        first = await zygotes.find("a")
        assert await zygotes.find("a") is first
        await rest()
        assert await zygotes.find("a") is cast(Zygote, made[1])


async def test_age_counts_from_the_first_fork() -> None:
    async with opened(renew_s=-1.0) as (zygotes, made):
        assert (await zygotes.find("a")).born > 0
        await zygotes.find("a")  # starts the next, which nobody has seen anything of
        await rest()
        assert await zygotes.find("a") is cast(Zygote, made[1])


async def test_one_that_died_is_replaced_by_the_spare_at_once() -> None:
    async with opened(spare_after_s=0) as (zygotes, made):
        first = await zygotes.find("a")
        while len(made) < 2 or not made[1].is_usable:
            await asyncio.sleep(0)
        cast(FakeZygote, first).is_usable = False
        assert zygotes._usable("a") is cast(Zygote, made[1])
        await rest()
        assert first.closed


async def test_a_spare_that_died_is_buried() -> None:
    async with opened() as (zygotes, _made):
        spare = await zygotes.find(None)
        cast(FakeZygote, spare).is_usable = False
        assert await zygotes.find(None) is not spare
        await rest()
        assert spare.closed


async def test_owners_who_are_gone_keep_two_zygotes() -> None:
    async with opened() as (zygotes, made):
        for number in range(5):
            zygote = await zygotes.find(str(number))
            zygote.used = number
            zygote.alive = 1
        for fake in made:
            fake.alive = 0
            zygotes.release()
        await rest()
        assert [zygote.closed for zygote in made] == [True, True, True, False, False]


async def test_a_start_that_fails_is_told_and_tried_again() -> None:
    async with opened(silence_s=0.0) as (zygotes, made):
        for _ in range(2):
            with pytest.raises(ZygoteFailed, match="silent"):
                await zygotes.find("a")
        assert len(made) == 2


async def test_one_who_leaves_does_not_stop_a_start_that_others_wait_for() -> None:
    async with opened() as (zygotes, made):
        first, second = (asyncio.ensure_future(zygotes.find("a")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert await second is cast(Zygote, made[0])


async def test_after_the_end_nothing_is_started() -> None:
    async with opened() as (zygotes, made):
        await zygotes.close()
        with pytest.raises(SandboxStartError, match="shutting down"):
            await zygotes.find("a")
        assert made == []
