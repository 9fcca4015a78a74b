"""Measures one request in the paper's terms (PAPER.md, Model and Metrics)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from app import latency
from app.events import Timing


@dataclass
class TurnClock:
    """Times of one upstream answer and of the code in it, in seconds since the request was accepted."""

    started_s: float
    first_token_s: float | None = None
    generated_s: float | None = None
    executed_s: float | None = None
    #: when each chunk was generated, and how long it ran
    chunk_generated_s: list[float] = field(default_factory=list)
    chunk_run_s: list[float] = field(default_factory=list)
    overhead_s: float = 0.0
    batches: int = 0
    #: when code said something for the first time, and for how long code had run by then
    first_output_s: float | None = None
    run_before_output_s: float = 0.0

    def output(self, at_s: float, running_since_s: float) -> None:
        """Code has said something, in a batch that began then."""
        if self.first_output_s is None:
            self.first_output_s = at_s
            self.run_before_output_s = sum(self.chunk_run_s) + at_s - running_since_s

    def execution(self, ended_s: float, elapsed_s: float, durations_ns: list[int]) -> None:
        """A batch ended: ``elapsed_s`` as seen from here, ``durations_ns`` of its chunks as seen inside."""
        run_s = [ns / 1e9 for ns in durations_ns]
        self.chunk_run_s += run_s
        self.overhead_s += max(0.0, elapsed_s - sum(run_s))
        self.executed_s = ended_s
        self.batches += 1

    @property
    def end_s(self) -> float:
        return max(self.generated_s or self.started_s, self.executed_s or 0.0)

    @property
    def gen_s(self) -> float:
        return (self.generated_s or self.started_s) - self.started_s

    @property
    def nel_s(self) -> float:
        """Execution time that falls after the end of generation."""
        return self.end_s - (self.generated_s or self.started_s)

    @property
    def serial_s(self) -> float:
        """Eq. 1 with one invocation's overhead: the same generation, then all of the code."""
        set_up_s = self.overhead_s / self.batches if self.batches else 0.0
        return latency.serial_s(self.gen_s, set_up_s, sum(self.chunk_run_s))

    @property
    def serial_first_output_s(self) -> float:
        """When the same code, run after the last token, would have said something for the first time: Eq. 1, of the
        part of the execution that comes before. Counted from the beginning of the answer."""
        set_up_s = self.overhead_s / self.batches if self.batches else 0.0
        return latency.serial_s(self.gen_s, set_up_s, self.run_before_output_s)

    @property
    def bound_s(self) -> float:
        """Eq. 12 without overheads: what no executor that runs statements in order can go below. The last statement may
        be complete before the answer is over, so Eq. 10 counts from its own end."""
        if not self.chunk_run_s:
            return self.gen_s
        generated_s = [at - self.started_s for at in self.chunk_generated_s[: len(self.chunk_run_s)]]
        return max(self.gen_s, latency.lower_bound_s(generated_s[-1], generated_s[0], self.chunk_run_s))


class Stopwatch:
    """All turns of a request."""

    def __init__(self) -> None:
        self.turns: list[TurnClock] = []
        self.gates: Counter[str] = Counter()

    def turn(self, started_s: float) -> TurnClock:
        clock = TurnClock(started_s)
        self.turns.append(clock)
        return clock

    def timing(self) -> Timing:
        turns = self.turns
        first = turns[0].first_token_s if turns else None
        e2el_s = turns[-1].end_s if turns else 0.0
        serial_s = e2el_s + sum(turn.serial_s - (turn.end_s - turn.started_s) for turn in turns)
        first_output_s, serial_first_output_s = self._first_output_s()
        bound_s = e2el_s + sum(turn.bound_s - (turn.end_s - turn.started_s) for turn in turns)
        return Timing(
            ttft_ms=None if first is None else _ms(first),
            first_output_ms=None if first_output_s is None else _ms(first_output_s),
            serial_first_output_ms=None if serial_first_output_s is None else _ms(serial_first_output_s),
            gen_ms=_ms(sum(turn.gen_s for turn in turns)),
            exec_ms=_ms(sum(sum(turn.chunk_run_s) for turn in turns)),
            nel_ms=_ms(sum(turn.nel_s for turn in turns)),
            e2el_ms=_ms(e2el_s),
            serial_e2el_ms=_ms(serial_s),
            saved_ms=_ms(serial_s - e2el_s),
            bound_ms=_ms(bound_s),
            chunks=sum(len(turn.chunk_generated_s) for turn in turns),
            batches=sum(turn.batches for turn in turns),
            gates=dict(self.gates),
        )

    def _first_output_s(self) -> tuple[float | None, float | None]:
        """When code first said something, and when it would have in a serial run, in which all turns before it take
        longer."""
        lost_s = 0.0
        for turn in self.turns:
            if turn.first_output_s is not None:
                return turn.first_output_s, turn.started_s + lost_s + turn.serial_first_output_s
            lost_s += turn.serial_s - (turn.end_s - turn.started_s)
        return None, None


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
