"""What reading an upstream costs: microseconds per token from bytes to items, stage by stage.

    python -m loadtests.extraction_cost [TOKENS]

Each token comes in a network read of its own, as it does from an LLM that is slower than we are. The best of five runs.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from app.extraction.deltas import Delta, decode_delta
from app.extraction.turn import TurnReader
from app.sse.decoder import SSEDecoder

CODE = 'total = 0\nfor i in range(10):\n    total += i * 2  # "sum"\nprint(f"total: {total}")\n\n'
PROSE = "The result of this computation is shown below, with some `inline` code in it.\n\n"


def event(delta: dict[str, Any]) -> bytes:
    body = {
        "id": "chatcmpl-0123456789abcdef01234567",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "some-model",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}],
    }
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def tokens(text: str, count: int) -> Iterator[str]:
    """``count`` pieces of four characters, about a token's length."""
    whole = text * (4 * count // len(text) + 1)
    return (whole[at : at + 4] for at in range(0, 4 * count, 4))


def tool_stream(count: int) -> list[bytes]:
    escaped = json.dumps(CODE)[1:-1]
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "python", "arguments": '{"code": "'}}
    rest = ({"index": 0, "function": {"arguments": token}} for token in tokens(escaped, count))
    return [event({"tool_calls": [call]}), *(event({"tool_calls": [fragment]}) for fragment in rest)]


def content_stream(opening: str, text: str, count: int) -> list[bytes]:
    return [event({"content": opening}), *(event({"content": token}) for token in tokens(text, count))]


def best_us(work: Callable[[], None], count: int) -> float:
    times = []
    for _ in range(5):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times) / count * 1e6


def measure(reads: list[bytes]) -> tuple[float, float, float, float]:
    """Microseconds per token: decoder, deltas, turn reader, all three."""
    count = len(reads)
    events = SSEDecoder().feed(b"".join(reads))
    deltas = [decode_delta(item.data) for item in events]

    def decode() -> None:
        decoder = SSEDecoder()
        for data in reads:
            decoder.feed(data)

    def to_deltas() -> None:
        for item in events:
            decode_delta(item.data)

    def read_turn() -> None:
        feed_all(TurnReader(new_id=str), deltas)

    def everything() -> None:
        decoder, reader = SSEDecoder(), TurnReader(new_id=str)
        for data in reads:
            for item in decoder.feed(data):
                reader.feed(decode_delta(item.data))

    return best_us(decode, count), best_us(to_deltas, count), best_us(read_turn, count), best_us(everything, count)


def feed_all(reader: TurnReader, deltas: list[Delta]) -> None:
    for delta in deltas:
        reader.feed(delta)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    streams = {
        "tool call": tool_stream(count),
        "fenced code": content_stream("```python\n", CODE, count),
        "tagged code": content_stream("<code>\n", CODE, count),
        "prose": content_stream("", PROSE, count),
    }
    print(f"{'us per token':14}{'decoder':>10}{'delta':>10}{'turn':>10}{'all':>10}")
    for name, reads in streams.items():
        print(f"{name:14}" + "".join(f"{us:10.2f}" for us in measure(reads)))


if __name__ == "__main__":
    main()
