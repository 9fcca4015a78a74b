from __future__ import annotations

from typing import Any

import pytest

from app.demo.timeline import Span, Timeline, printable
from tests.demo.events import CODE, FAILURE, SUCCESS, on_batch


def timeline_of(events: list[dict[str, Any]], until_ms: float = 1e9) -> Timeline:
    timeline = Timeline()
    for event in events:
        if event["t_ms"] <= until_ms:
            timeline.apply(event)
    return timeline


def states(timeline: Timeline) -> list[str]:
    return [piece.state for piece in timeline.codes["c1"].chunks.values()]


def test_a_request_that_succeeds() -> None:
    timeline = timeline_of(SUCCESS)
    assert timeline.finished
    assert not timeline.failed
    assert timeline.codes["c1"].text == CODE
    assert timeline.text == "Here:\n"
    assert states(timeline) == ["done", "done", "done"]
    assert timeline.generation == [Span(0.0, 1000)]
    assert timeline.execution == [Span(202, 210), Span(1000, 1100)]
    assert "".join(text for _, text in timeline.output) == "0\n1\n3.14159\n"
    assert repr(timeline) == "<Timeline 1 codes, 1100 ms, finished>"


def test_chunks_go_from_pending_over_running_to_done() -> None:
    assert states(timeline_of(SUCCESS, until_ms=201)) == ["pending"]
    assert states(timeline_of(SUCCESS, until_ms=202)) == ["running"]
    assert states(timeline_of(SUCCESS, until_ms=901)) == ["done", "pending"]
    assert timeline_of(SUCCESS, until_ms=202).execution == [Span(202, None)]


def test_each_line_has_the_state_of_its_chunk() -> None:
    timeline = timeline_of(SUCCESS, until_ms=901)
    assert timeline.codes["c1"].states_by_line() == ["done", "pending", "pending", None]


def test_a_failing_chunk_and_those_that_never_ran() -> None:
    timeline = timeline_of(FAILURE)
    assert timeline.finished
    assert timeline.failed
    assert states(timeline) == ["done", "failed", "skipped"]
    assert timeline.problems == ["ZeroDivisionError: division by zero in line 2"]
    assert timeline.interrupted == "error"
    assert timeline.generation == [Span(0.0, 200)]


def test_a_syntax_error_fails_the_chunk_it_stands_in_without_a_batch() -> None:
    timeline = timeline_of(FAILURE, until_ms=201)
    error = on_batch("exec.error", -1, chunk=2, ename="SyntaxError", evalue="bad", line=3)
    timeline.apply({"t_ms": 202, **error})
    assert states(timeline) == ["pending", "pending", "failed"]


def test_a_second_turn_generates_again() -> None:
    timeline = timeline_of(SUCCESS[:-1])
    timeline.apply({"type": "token", "t_ms": 1300, "turn": 1, "channel": "content", "text": "So."})
    assert timeline.generation == [Span(0.0, 1000), Span(1000, None)]


def test_a_stream_that_ends_early_has_failed() -> None:
    timeline = timeline_of(SUCCESS[:5])
    assert timeline.failed
    assert timeline.problems == []


def test_an_error_of_the_request_is_told() -> None:
    timeline = Timeline()
    timeline.apply({"type": "error", "error": {"message": "no \x1b[31mupstream"}})
    assert timeline.problems == ["no [31mupstream"]


def test_unknown_events_move_only_the_clock() -> None:
    timeline = Timeline()
    timeline.apply({"type": "weather", "t_ms": 7})
    assert timeline.elapsed_ms == 7
    assert timeline.generation == []


def test_images_are_counted() -> None:
    timeline = timeline_of(SUCCESS[:7])
    timeline.apply({"t_ms": 1, **on_batch("exec.result", 0, repr=None, data={}, images=["data:..."])})
    assert timeline.output == [("result", "[1 image]\n")]


def test_no_more_output_is_kept_than_can_be_shown() -> None:
    timeline = timeline_of(SUCCESS[:7])
    for _ in range(100):
        timeline.apply({"t_ms": 1, **on_batch("exec.output", 0, stream="stdout", text="x" * 10_000)})
    timeline.apply({"t_ms": 1, **on_batch("exec.output", 0, stream="stdout", text="y" * 1_000_000)})
    assert sum(len(text) for _, text in timeline.output) <= 64 * 1024
    assert timeline.output[-1][1][-1] == "y"


@pytest.mark.parametrize(
    ("text", "shown"), [("a\tb\n", "a\tb\n"), ("\x1b[2J\x07bell\r", "[2Jbell"), ("\x9b31m", "31m"), (None, "None")]
)
def test_text_cannot_command_the_terminal(text: object, shown: str) -> None:
    assert printable(text) == shown
