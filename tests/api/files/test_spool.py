from __future__ import annotations

import os

import pytest

from app.api.files.spool import IN_MEMORY_BYTES, Spool
from app.errors import RequestError


@pytest.mark.parametrize("size", [0, 1, IN_MEMORY_BYTES, IN_MEMORY_BYTES + 1, 3 * IN_MEMORY_BYTES])
async def test_a_file_comes_out_as_it_went_in_also_twice(size: int) -> None:
    content = os.urandom(size)
    async with Spool(max_bytes=size) as spool:
        for start in range(0, size, 300_000):
            await spool.write(content[start : start + 300_000])
        for _ in range(2):
            assert b"".join([piece async for piece in spool]) == content
        assert spool.size == size


async def test_more_than_was_allowed_is_refused() -> None:
    async with Spool(max_bytes=3) as spool:
        await spool.write(b"abc")
        with pytest.raises(RequestError) as refused:
            await spool.write(b"d")
    assert refused.value.status == 413
