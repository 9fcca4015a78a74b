from __future__ import annotations

from typing import Any

from app.demo.plain import lines_of
from app.demo.timeline import Timeline
from tests.demo.events import FAILURE, SUCCESS


def told(events: list[dict[str, Any]]) -> list[str]:
    timeline = Timeline()
    lines = []
    for event in events:
        timeline.apply(event)
        lines += lines_of(timeline, event)
    return lines


def test_a_request_is_told_in_lines() -> None:
    assert told(SUCCESS) == [
        "  0.000 s  start    demo",
        "  0.201 s  chunk      0  import math",
        "  0.202 s  run      0",
        "  0.210 s  ran      ok, 8.0 ms",
        "  0.901 s  chunk      1  for i in range(2): ...",
        "  1.000 s  chunk      2  math.pi",
        "  1.000 s  run      1, 2",
        "  1.000 s  turn     generation over (stop)",
        "  1.001 s  stdout   0",
        "  1.001 s  stdout   1",
        "  1.090 s  result   3.14159",
        "  1.100 s  ran      ok, 99.0 ms",
        "  1.100 s  done",
    ]


def test_a_failure_is_told() -> None:
    lines = told(FAILURE)
    assert "  0.210 s  error    ZeroDivisionError: division by zero in line 2" in lines
    assert "  0.212 s  stop     generation stopped early: error" in lines


def test_a_chunk_is_told_by_its_first_line_that_says_something() -> None:
    timeline = Timeline()
    timeline.apply({"type": "token", "channel": "code", "call_id": "c", "text": "\n# why\nx = 1\n# end\n"})
    first = {"type": "chunk", "call_id": "c", "chunk": 0, "start": 0, "end": 13, "line": 1, "gated": "timing"}
    last = {"type": "chunk", "call_id": "c", "chunk": 1, "start": 13, "end": 19, "line": 4, "gated": None}
    timeline.apply(first)
    timeline.apply(last)
    assert lines_of(timeline, first) == ["  0.000 s  chunk      0  x = 1  [timing]"]
    assert lines_of(timeline, last) == ["  0.000 s  chunk      1  (comments)"]
