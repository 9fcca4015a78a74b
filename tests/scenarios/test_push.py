"""The client that docs/api/push.md shows, against the running gateway."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "api" / "push.md"


async def test_the_client_in_the_documentation_works(gateway_url: str) -> None:
    block = re.search(r"```python\n(# push\.py\n.*?)```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    assert block[1].count("\n") <= 20
    names: dict[str, Any] = {}
    exec(compile(block[1], "push.py", "exec"), names)
    ran = asyncio.Event()
    events: list[dict[str, Any]] = []

    async def tokens() -> AsyncIterator[str]:
        yield "print('first')\nx = 2"
        await ran.wait()  # the model goes on when the output of its first statement is here
        yield "0\nx + 1\n"

    def show(event: dict[str, Any]) -> None:
        events.append(json.loads(json.dumps(event)))
        if event["type"] == "exec.output":
            ran.set()

    async with asyncio.timeout(60):
        await names["push"](gateway_url.replace("http", "ws"), tokens(), show)
    assert [event["text"] for event in events if event["type"] == "exec.output"] == ["first\n"]
    assert [event["repr"] for event in events if event["type"] == "exec.result"] == ["21"]
    assert events[-1]["type"] == "done"
