"""Long lists of JSON objects as rows of bounded size: one item is read without the others, and no step is long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Item = dict[str, Any]

#: A part is closed with the item that brings it to either. An item is never divided.
PART_ITEMS = 100
PART_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """``text`` is a JSON array of the items from the one at ``first`` on. It is ASCII: characters are bytes."""

    first: int
    count: int
    text: str


async def divide(items: Sequence[Item]) -> list[Part]:
    """The loop is let go between two parts."""
    parts: list[Part] = []
    texts: list[str] = []
    first = size = 0
    for position, item in enumerate(items):
        texts.append(encode(item))
        size += len(texts[-1])
        if len(texts) == PART_ITEMS or size >= PART_BYTES or position + 1 == len(items):
            parts.append(Part(first, len(texts), f"[{','.join(texts)}]"))
            texts, first, size = [], position + 1, 0
            await asyncio.sleep(0)
    return parts


def encode(value: Any) -> str:
    """As it stands in a part."""
    return json.dumps(value, separators=(",", ":"))


def decode(text: str) -> list[Item]:
    items: list[Item] = json.loads(text)
    return items
