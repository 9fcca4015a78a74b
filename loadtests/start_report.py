"""What forks of a zygote show beside sandboxes that import for themselves, each figure with what it is to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from loadtests.demo_cost import DemoCost
from loadtests.fork_cost import ForkCost
from loadtests.start_cost import StartCost
from loadtests.tables import table

_Cost = TypeVar("_Cost")


@dataclass
class Starts:
    """By way: the forks first."""

    starts: list[StartCost] = field(default_factory=list)
    forks: list[ForkCost] = field(default_factory=list)
    demo: list[DemoCost] = field(default_factory=list)


def starts_table(found: Starts) -> str:
    """Empty if nothing was measured."""
    rows = [*_starts(found.starts), *_forks(found.forks), *_demo(found.demo)]
    return table(["", "zygote", "exec", "to be"], rows) if rows else ""


def _starts(costs: Sequence[StartCost]) -> list[list[str]]:
    rows = []
    for fork, own in _pairs(costs):
        who = "as root" if fork.user == "root" else "as an ordinary user"
        rows += [
            [
                f"start to ready, {who}, p50 / p99, ms ({fork.starts} and {own.starts})",
                f"{fork.p50:.0f} / {fork.p99:.0f}",
                f"{own.p50:.0f} / {own.p99:.0f}",
                "30 / 80",
            ],
            [
                f"{fork.at_once} starts at once, {who}, s, and s of CPU",
                f"{fork.at_once_s:.2f}, {fork.at_once_cpu_s:.2f}",
                f"{own.at_once_s:.1f}, {own.at_once_cpu_s:.1f}",
                "0.5, 1",
            ],
            [
                f"start beside 8 busy processes, {who}, p50 / p99, ms ({fork.beside} and {own.beside})",
                f"{fork.beside_p50:.0f} / {fork.beside_p99:.0f}",
                f"{own.beside_p50:.0f} / {own.beside_p99:.0f}",
                "p99 100",
            ],
        ]
    return rows


def _forks(costs: Sequence[ForkCost]) -> list[list[str]]:
    rows = []
    for fork, own in _pairs(costs):
        rows += [
            [f"idle session, MB of PSS ({fork.open} and {own.open} open)", *_both(fork.idle_mb, own.idle_mb, 1), "20"],
            ["session after a description and a plot, MB", *_both(fork.plotted_mb, own.plotted_mb, 1), "35"],
            ["what serves all of them, MB of PSS", f"{fork.shared_mb:.0f}", "-", "-"],
            [
                "first description of a table, ms",
                *_both(fork.describe_ms, own.describe_ms, 1),
                _ratio(fork.describe_ms, own.describe_ms),
            ],
            ["first plot after it, ms", *_both(fork.plot_ms, own.plot_ms, 1), _ratio(fork.plot_ms, own.plot_ms)],
            [
                "round trip, us",
                *_both(fork.round_trip_us, own.round_trip_us, 0),
                _ratio(fork.round_trip_us, own.round_trip_us),
            ],
            ["output, MB/s", *_both(fork.output_mb_s, own.output_mb_s, 0), _ratio(own.output_mb_s, fork.output_mb_s)],
        ]
    return rows


def _demo(costs: Sequence[DemoCost]) -> list[list[str]]:
    return [
        [
            "`make demo`, installed, from the command to the first statement, s",
            *_both(fork.first_statement_s, own.first_statement_s, 2),
            "first token 3",
        ]
        for fork, own in _pairs(costs)
    ]


def _pairs(costs: Sequence[_Cost]) -> list[tuple[_Cost, _Cost]]:
    return list(zip(costs[::2], costs[1::2], strict=True))


def _both(fork: float, own: float, digits: int) -> list[str]:
    return [f"{fork:.{digits}f}", f"{own:.{digits}f}"]


def _ratio(worse: float, better: float) -> str:
    return f"ratio 1.05, is {worse / better:.2f}"
