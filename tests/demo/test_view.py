from __future__ import annotations

import io
from typing import Any

from rich.console import Console, RenderableType

from app.demo.timeline import Timeline
from app.demo.view import bars, render, saving, summary
from tests.demo.events import FAILURE, SUCCESS


def timeline_of(events: list[dict[str, Any]], until_ms: float = 1e9) -> Timeline:
    timeline = Timeline()
    for event in events:
        if event["t_ms"] <= until_ms:
            timeline.apply(event)
    return timeline


def shown(picture: RenderableType) -> list[str]:
    console = Console(file=io.StringIO(), width=100, height=30, color_system=None)
    console.print(picture)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def picture_of(timeline: Timeline, height: int = 20) -> list[str]:
    return shown(render(timeline, title="eager", now_ms=timeline.elapsed_ms, scale_ms=0, width=100, height=height))


def test_the_picture_shows_code_with_marks_output_and_counts() -> None:
    picture = picture_of(timeline_of(SUCCESS, until_ms=1001))
    text = "\n".join(picture)
    assert "✓ import math" in text
    assert "▶ for i in range(2):" in text
    assert "▶ math.pi" in text
    assert "✓ 1 done   ▶ 2 running" in text
    assert any(line.split("││")[-1].strip(" │") == "1" for line in picture), "output stands in its own column"


def test_a_failure_is_marked_and_told() -> None:
    text = "\n".join(picture_of(timeline_of(FAILURE)))
    assert "✗ 1 / 0" in text
    assert "· print(x)" in text
    assert "ZeroDivisionError: division by" in text, "a long line is cut"
    assert "generation was stopped early" in text


def test_the_picture_keeps_its_height_and_shows_the_newest_lines() -> None:
    timeline = timeline_of(SUCCESS[:3])
    timeline.apply({"type": "token", "t_ms": 1, "channel": "code", "call_id": "c1", "text": "x\n" * 200 + "last"})
    picture = picture_of(timeline, height=15)
    assert len(picture) <= 15
    assert "last" in "\n".join(picture)


def test_nothing_is_drawn_before_the_first_event() -> None:
    assert "0 chunks" in "\n".join(picture_of(Timeline()))


def test_bars_show_what_overlapped() -> None:
    timeline = timeline_of(SUCCESS)
    above, below = shown(bars(timeline, now_ms=1100, scale_ms=1100, width=100))
    assert above.startswith("generation")
    assert above.count("━") == 79, "1000 of 1100 ms in 86 cells, the last begun"
    assert below.startswith("execution")
    assert "━" in below[:40], "the first batch ran while the model wrote"
    assert below.endswith("━")


def test_the_summary_has_a_column_per_run() -> None:
    text = "\n".join(shown(summary([("eager", timeline_of(SUCCESS)), ("serial", timeline_of(SUCCESS))])))
    assert "eager" in text
    assert "serial" in text
    assert "1,100" in text
    assert "3 / 2" in text


def test_the_saving_is_measured_against_a_serial_run_or_else_estimated() -> None:
    eager, serial = timeline_of(SUCCESS), timeline_of(SUCCESS)
    serial.timing = {"e2el_ms": 2200.0}
    assert saving([("eager", eager)]) == ("eager: 1.10 s end to end; serial: 1.50 s (estimated). Saved 0.40 s, 26.7%.")
    assert saving([("eager", eager), ("serial", serial)]).endswith("Saved 1.10 s, 50.0%.")
    assert saving([("eager", Timeline())]) == "No timing came."
