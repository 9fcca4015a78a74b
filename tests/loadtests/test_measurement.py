from __future__ import annotations

from typing import Any

import pytest

from loadtests.measurement import JsonEvent, Measurement, RunFailed, measure
from tests.loadtests.runs import run

TIMING = {"e2el_ms": 30.0, "gen_ms": 25.0, "exec_ms": 7.0, "nel_ms": 5.0, "bound_ms": 29.0, "first_output_ms": 11.0}
EVENTS: list[JsonEvent] = [
    {"type": "token", "t_ms": 1.0},
    {"type": "token", "t_ms": 2.0},
    {"type": "chunk", "t_ms": 2.5, "chunk": 0, "gated": None},
    {"type": "exec.start", "t_ms": 3.0, "batch": 0, "chunks": [0]},
    {"type": "token", "t_ms": 10.0},
    {"type": "chunk", "t_ms": 10.25, "chunk": 1, "gated": "low_yield"},
    {"type": "exec.output", "t_ms": 11.0, "batch": 0, "stream": "stdout", "text": "one\n"},
    {"type": "exec.output", "t_ms": 11.0, "batch": 0, "stream": "stderr", "text": "no matter\n"},
    {"type": "exec.end", "t_ms": 12.0, "batch": 0, "duration_ms": 6.0},
    {"type": "token", "t_ms": 20.0},
    {"type": "chunk", "t_ms": 20.5, "chunk": 2, "gated": None},
    {"type": "chunk", "t_ms": 20.5, "chunk": 3, "gated": None},
    {"type": "exec.start", "t_ms": 21.5, "batch": 1, "chunks": [1, 2, 3]},
    {"type": "exec.end", "t_ms": 30.0, "batch": 1, "duration_ms": 1.0},
    {"type": "code.end", "t_ms": 30.0, "status": "ok"},
    {"type": "done", "t_ms": 30.5, "timing": TIMING},
]


def measured(events: list[JsonEvent], **changes: Any) -> Measurement:
    given = {"e2el_ms": 32.0, "stdout": "one\n", "tokens_sent": 3, "tokens_total": 3, "ttft_ms": 5.0, **changes}
    return measure(run(tps=100.0), events, **given)


def test_a_run_is_measured_from_its_events() -> None:
    found = measured(EVENTS)
    assert found.status == "ok"
    assert found.stdout_equal
    assert found.scheduled_ms == pytest.approx(35.0)
    assert found.transport_ms == pytest.approx(2.0)
    assert found.detection_ms == pytest.approx(0.5 + 0.25 + 0.5)
    assert found.dispatch_ms == pytest.approx([0.5, 1.0])
    assert found.batches == [(3.0, 12.0), (21.5, 30.0)]
    assert found.overhead_ms == pytest.approx(9.0 + 8.5 - 7.0)


def test_the_earliest_output_comes_with_the_end_of_its_statement_and_the_execution_up_to_there() -> None:
    found = measured(EVENTS)
    assert (found.first_output_ms, found.earliest_output_ms) == (11.0, 2.0 + 6.0)
    silent = [event for event in EVENTS if event["type"] != "exec.output"]
    assert measured(silent, stdout="").earliest_output_ms is None
    later = [*silent[:11], {"type": "exec.result", "t_ms": 21.75, "batch": 1}, *silent[11:]]
    assert measured(later, stdout="").earliest_output_ms == 20.0 + 0.25


def test_a_statement_that_waited_for_another_is_no_dispatch_time() -> None:
    early = [dict(event, t_ms=11.0) if event.get("chunk") in (2, 3) else event for event in EVENTS]
    assert measured(early).dispatch_ms == pytest.approx([0.5])


def test_a_deferred_statement_is_no_dispatch_time() -> None:
    deferred = [dict(event, gated="low_yield") if event.get("chunk") == 3 else event for event in EVENTS]
    assert measured(deferred).dispatch_ms == pytest.approx([0.5])


def test_another_output_is_noticed() -> None:
    assert not measured(EVENTS, stdout="two\n").stdout_equal


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([], "ended early"),
        (EVENTS[:-1], "ended early"),
        ([EVENTS[-1]], "no code"),
        ([{"type": "error", "error": {"message": "upstream gone"}}, *EVENTS], "upstream gone"),
    ],
)
def test_a_run_that_did_not_end_well_is_no_measurement(events: list[JsonEvent], reason: str) -> None:
    with pytest.raises(RunFailed, match=reason):
        measured(events)
