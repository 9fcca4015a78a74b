"""What reading and cutting code costs as programs get longer: CPU per token, and the longest that one feed holds the
loop."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from app.extraction.deltas import decode_delta
from app.extraction.turn import TurnReader
from app.sse.decoder import SSEDecoder
from loadtests.corpus import CHARS_PER_TOKEN
from loadtests.detection_cost import SHAPES, longest_hold_ms, microseconds_per_token
from loadtests.extraction_cost import event
from loadtests.tables import table

LINES: Final = (50, 500, 5000)
_REPEATS: Final = 3
#: So that a short program is read long enough to be timed.
_LEAST_TOKENS: Final = 20_000


class LengthCost(msgspec.Struct, frozen=True, kw_only=True):
    """Of one shape of code. ``detection_us`` and ``extraction_us`` are CPU per token of four characters, confirmation
    included; ``hold_ms`` is the longest single feed when all of the code comes at once."""

    shape: str
    lines: int
    detection_us: float
    extraction_us: float
    hold_ms: float


def length_costs(tell: Callable[[str], None]) -> list[LengthCost]:
    found = []
    for shape, write in SHAPES.items():
        for lines in LINES:
            tell(f"cost by length: {shape}, {lines} lines")
            code = write(lines)
            found.append(
                LengthCost(
                    shape=shape,
                    lines=lines,
                    detection_us=microseconds_per_token(code, check_lines=True, confirm=True),
                    extraction_us=_extraction_us(code),
                    hold_ms=longest_hold_ms(code),
                )
            )
    return found


def _extraction_us(code: str) -> float:
    """From the bytes of the upstream to the text of the code, as a tool call's argument, a token a read."""
    fragments = [json.dumps(code[at : at + CHARS_PER_TOKEN])[1:-1] for at in range(0, len(code), CHARS_PER_TOKEN)]
    function = {"name": "python", "arguments": '{"code": "'}
    opening = {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}
    reads = [event(opening)]
    reads += [event({"tool_calls": [{"index": 0, "function": {"arguments": text}}]}) for text in fragments]
    best = float("inf")
    for _ in range(max(_REPEATS, _LEAST_TOKENS // len(reads))):
        decoder, reader = SSEDecoder(), TurnReader(new_id=str)
        began = time.process_time_ns()
        for data in reads:
            for item in decoder.feed(data):
                reader.feed(decode_delta(item.data))
        best = min(best, time.process_time_ns() - began)
    return best / 1e3 / len(reads)


def length_table(costs: Sequence[LengthCost]) -> str:
    cells = {(cost.shape, cost.lines): cost for cost in costs}
    rows = []
    for shape in dict.fromkeys(cost.shape for cost in costs):
        row = [cells[shape, lines] for lines in LINES]
        rows.append(
            [shape]
            + [f"{cost.detection_us:.1f}" for cost in row]
            + [f"{row[-1].detection_us / row[0].detection_us:.2f}"]
            + [f"{cost.extraction_us:.1f}" for cost in row]
            + [f"{max(cost.hold_ms for cost in row):.2f}"]
        )
    header = ["code", *(f"detection, {lines:,} lines" for lines in LINES), f"{LINES[-1]:,} : {LINES[0]}"]
    return table([*header, *(f"extraction, {lines:,}" for lines in LINES), "longest hold, ms"], rows)
