from __future__ import annotations

import asyncio
import json

import pytest
from starlette.types import Message

from app.api.edge.long_bodies import _LongBodyRequest


@pytest.mark.parametrize(("length", "steps"), [(10, 0), (70_000, 1)])
async def test_others_come_in_behind_the_decoding_of_a_long_body(length: int, steps: int) -> None:
    body = {"content": "x" * length}

    async def receive() -> Message:
        return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

    came_in = 0

    async def other() -> None:
        nonlocal came_in
        came_in += 1

    request = _LongBodyRequest({"type": "http", "headers": []}, receive)
    beside = asyncio.create_task(other())
    assert await request.json() == body
    assert came_in == steps
    await beside
