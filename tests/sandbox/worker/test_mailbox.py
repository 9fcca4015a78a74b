import asyncio

import pytest

from app.sandbox.worker.mailbox import ITEM_BYTES, Mailbox


async def test_items_come_out_in_order_with_their_weight() -> None:
    box: Mailbox[str] = Mailbox()
    box.put_nowait("a", 2)
    box.put_nowait("b", 3)
    assert box.weight == 5 + 2 * ITEM_BYTES
    assert (await box.get(), box.weight) == ("a", 3 + ITEM_BYTES)
    assert (await box.get(), box.weight) == ("b", 0)


async def test_a_reader_waits_for_an_item() -> None:
    box: Mailbox[int] = Mailbox()
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(box.get())
        await asyncio.sleep(0)
        assert not reading.done()
        box.put_nowait(1)
        box.put_nowait(2)
        assert await reading == 1
    assert await box.get() == 2


async def test_a_reader_that_is_cancelled_takes_nothing() -> None:
    box: Mailbox[int] = Mailbox()
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(box.get())
        await asyncio.sleep(0)
        box.put_nowait(1)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert await box.get() == 1
