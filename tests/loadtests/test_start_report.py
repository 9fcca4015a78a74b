from __future__ import annotations

import msgspec

from loadtests.demo_cost import DemoCost
from loadtests.fork_cost import ForkCost
from loadtests.start_cost import StartCost
from loadtests.start_report import Starts, starts_table

FORK = StartCost(
    way="zygote",
    user="root",
    starts=200,
    p50=25.4,
    p99=51.0,
    at_once=20,
    at_once_s=0.43,
    at_once_cpu_s=0.85,
    beside=100,
    beside_p50=40.0,
    beside_p99=90.0,
)
OWN = msgspec.structs.replace(FORK, way="exec", starts=10, p50=1400.0, p99=1500.0, beside=3)
FORKED = ForkCost(
    way="zygote",
    describe_ms=10.0,
    plot_ms=44.0,
    round_trip_us=100.0,
    output_mb_s=800.0,
    open=200,
    idle_mb=19.5,
    plotted_mb=29.0,
    shared_mb=35.0,
)
IMPORTED = msgspec.structs.replace(FORKED, way="exec", describe_ms=8.0, open=8, output_mb_s=1000.0, shared_mb=0.0)


def test_what_was_measured_stands_side_by_side_with_what_it_is_to_be() -> None:
    lines = starts_table(
        Starts(
            starts=[FORK, OWN, msgspec.structs.replace(FORK, user="user"), msgspec.structs.replace(OWN, user="user")],
            forks=[FORKED, IMPORTED],
            demo=[DemoCost(way="zygote", first_statement_s=2.5), DemoCost(way="exec", first_statement_s=4.0)],
        )
    ).splitlines()
    assert "| start to ready, as root, p50 / p99, ms (200 and 10) | 25 / 51 | 1400 / 1500 | 30 / 80 |" in lines
    assert "| 20 starts at once, as an ordinary user, s, and s of CPU | 0.43, 0.85 | 0.4, 0.8 | 0.5, 1 |" in lines
    assert "| first description of a table, ms | 10.0 | 8.0 | ratio 1.05, is 1.25 |" in lines
    assert "| output, MB/s | 800 | 1000 | ratio 1.05, is 1.25 |" in lines
    assert "| idle session, MB of PSS (200 and 8 open) | 19.5 | 19.5 | 20 |" in lines
    assert lines[-1].startswith("| `make demo`, installed")


def test_where_nothing_was_measured_there_is_no_table() -> None:
    assert starts_table(Starts()) == ""
