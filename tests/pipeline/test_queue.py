from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.detection import create_detector
from app.detection.chunk import Chunk
from app.pipeline.block import Block
from app.pipeline.queue import ExecutionQueue, NextBlock, Work


def chunk(index: int, source: str) -> Chunk:
    return Chunk(index, source, start=0, end=len(source), line=1, column=0, kind="simple")


async def take(queue: ExecutionQueue, block: Block) -> None:
    assert await queue.take() == NextBlock(block)
    work = await queue.take()
    assert isinstance(work, Work)
    assert [each.source for each in work.chunks] == ["x = 1\n"]


async def drop(queue: ExecutionQueue, block: Block) -> None:
    block.status = "error"
    queue.drop(block)


@pytest.mark.parametrize("making_room", [take, drop])
async def test_while_too_much_code_waits_no_more_is_added(
    making_room: Callable[[ExecutionQueue, Block], Awaitable[None]],
) -> None:
    queue, block = (
        ExecutionQueue(limit_chars=5),
        Block("call_1", 0, "tool", "python", create_detector("python", (3, 11))),
    )
    queue.begin(block)
    await queue.add(block, chunk(0, "x = 1\n"), "run")
    adding = asyncio.create_task(queue.add(block, chunk(1, "y = 2\n"), "run"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not adding.done()
    await making_room(queue, block)
    async with asyncio.timeout(20):
        await adding
