"""One run of one program through the gateway, as numbers (PAPER.md, Metrics). All times are milliseconds.

Two clocks: ``e2el_ms`` is the client's, from sending the request to receiving ``done``; everything else is the
gateway's own (``t_ms`` and ``timing``), which starts when the request was accepted. Their difference is transport.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

#: ``cold``: serial, in a sandbox that has imported nothing; ``warm``: serial, in our own; ``eager``: in the same.
Mode = Literal["cold", "warm", "eager"]
MODES: Final[tuple[Mode, ...]] = ("cold", "warm", "eager")

JsonEvent = Mapping[str, Any]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What was run: equal runs are repeats only if ``repeat`` differs."""

    program: str
    benchmark: str
    kind: str
    backend: str
    tps: float
    mode: Mode
    repeat: int


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        scheduled_ms: when the upstream was due to have sent its last token.
        bound_ms: Eq. 12 with this run's own times.
        detection_ms: from a token's arrival to the statement it completes being known, in all.
        dispatch_ms: for each statement that found the executor idle, from being known to being handed over.
        overhead_ms: time of all invocations beyond the run time of their statements.
        batches: start and end of each invocation.
        first_output_ms: when code first said something, and ``earliest_output_ms`` when it could have at the earliest
            (see below); None where it said nothing.
    """

    run: Run
    status: str
    stdout_equal: bool
    tokens_sent: int
    tokens_total: int
    scheduled_ms: float
    e2el_ms: float
    gateway_e2el_ms: float
    gen_ms: float
    exec_ms: float
    nel_ms: float
    bound_ms: float
    detection_ms: float
    dispatch_ms: list[float]
    overhead_ms: float
    batches: list[tuple[float, float]]
    first_output_ms: float | None = None
    earliest_output_ms: float | None = None

    @property
    def transport_ms(self) -> float:
        """HTTP, admission and check-out of the session: what the client waits beyond the gateway's own time."""
        return self.e2el_ms - self.gateway_e2el_ms


class RunFailed(Exception):
    """The gateway did not run the program to its end, so there is nothing to measure."""


def measure(
    run: Run,
    events: Sequence[JsonEvent],
    *,
    e2el_ms: float,
    stdout: str,
    tokens_sent: int,
    tokens_total: int,
    ttft_ms: float,
) -> Measurement:
    """
    Args:
        stdout: what the program is to print.

    Raises:
        RunFailed: the request ended with an error.
    """
    done = events[-1] if events else {}
    if failure := next((event for event in events if event["type"] == "error"), None):
        raise RunFailed(str(failure["error"]))
    ends = [event for event in events if event["type"] == "code.end"]
    if done.get("type") != "done" or not ends:
        raise RunFailed("the stream ended early" if done.get("type") != "done" else "no code was found in the answer")
    timing = done["timing"]
    batches = _batches(events)
    printed = "".join(
        event["text"] for event in events if event["type"] == "exec.output" and event["stream"] == "stdout"
    )
    return Measurement(
        run=run,
        status=ends[-1]["status"],
        stdout_equal=printed == stdout,
        tokens_sent=tokens_sent,
        tokens_total=tokens_total,
        scheduled_ms=ttft_ms + tokens_sent / run.tps * 1e3,
        e2el_ms=e2el_ms,
        gateway_e2el_ms=timing["e2el_ms"],
        gen_ms=timing["gen_ms"],
        exec_ms=timing["exec_ms"],
        nel_ms=timing["nel_ms"],
        bound_ms=timing["bound_ms"],
        detection_ms=_detection_ms(events),
        dispatch_ms=_dispatch_ms(events),
        overhead_ms=sum(end - start for start, end in batches) - timing["exec_ms"],
        batches=batches,
        first_output_ms=timing.get("first_output_ms"),
        earliest_output_ms=earliest_output_ms(events),
    )


def earliest_output_ms(events: Sequence[JsonEvent]) -> float | None:
    """The earliest possible first output, with the times of this very run; None where nothing was said.

    It is the end of the first statement that says something, plus the execution up to there: a batch starts when its
    last statement is written and the one before it is done, and takes the run time of its statements.
    """
    took = {event["batch"]: float(event["duration_ms"]) for event in events if event["type"] == "exec.end"}
    written: dict[int, float] = {}
    token_at = begins = began_at = done = 0.0
    for event in events:
        match event["type"]:
            case "token":
                token_at = event["t_ms"]
            case "chunk":  # it is there with the token that completes it; to find it is our own time
                written[event["chunk"]] = token_at
            case "exec.start":
                begins, began_at = max(done, written[event["chunks"][-1]]), event["t_ms"]
                done = begins + took.get(event["batch"], 0.0)
            case "exec.output" | "exec.result":
                return begins + min(float(event["t_ms"]) - began_at, took.get(event["batch"], float("inf")))
    return None


def _batches(events: Sequence[JsonEvent]) -> list[tuple[float, float]]:
    started = {event["batch"]: event["t_ms"] for event in events if event["type"] == "exec.start"}
    ended = {event["batch"]: event["t_ms"] for event in events if event["type"] == "exec.end"}
    return [(start, ended[batch]) for batch, start in started.items() if batch in ended]


def _detection_ms(events: Sequence[JsonEvent]) -> float:
    """A token is told before it is looked at, and its chunk when it is known: the time between is detection."""
    total = token_at = 0.0
    for event in events:
        if event["type"] == "token":
            token_at = event["t_ms"]
        elif event["type"] == "chunk":
            total += event["t_ms"] - token_at
            token_at = event["t_ms"]
    return total


def _dispatch_ms(events: Sequence[JsonEvent]) -> list[float]:
    """Only for statements that nothing held back: the gate had no category for them, and no batch was running."""
    known: dict[int, JsonEvent] = {}
    idle_since = 0.0
    waits = []
    for event in events:
        if event["type"] == "chunk":
            known[event["chunk"]] = event
        elif event["type"] == "exec.end":
            idle_since = event["t_ms"]
        elif event["type"] == "exec.start":
            chunk = known[event["chunks"][-1]]
            if chunk["gated"] is None and chunk["t_ms"] >= idle_since:
                waits.append(event["t_ms"] - chunk["t_ms"])
    return waits
