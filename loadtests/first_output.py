"""When code first says something: what a person feels of running it early."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from loadtests.measurement import Measurement, Mode
from loadtests.statistics import median, percentile


class FirstOutput(msgspec.Struct, frozen=True, kw_only=True):
    """Of one backend and rate: medians over the programs that say something, milliseconds.

    Attributes:
        share: of generation, percent.
        ratio, ratio_p95: over the earliest possible.
        warm_ms, cold_ms: of serial runs of the same programs; None where there were none.
    """

    backend: str
    tps: float
    programs: int
    eager_ms: float
    share: float
    warm_ms: float | None
    cold_ms: float | None
    ratio: float
    ratio_p95: float


def first_outputs(measurements: Sequence[Measurement]) -> list[FirstOutput]:
    """Programs that fail, and those that say nothing, are left out."""
    cells: dict[tuple[str, float], dict[str, dict[Mode, list[Measurement]]]] = {}
    for measurement in measurements:
        run = measurement.run
        if measurement.status == "ok" and None not in (measurement.first_output_ms, measurement.earliest_output_ms):
            programs = cells.setdefault((run.backend, run.tps), {})
            programs.setdefault(run.program, defaultdict(list))[run.mode].append(measurement)
    rows = []
    for (backend, tps), programs in sorted(cells.items()):
        ran = [modes for modes in programs.values() if modes["eager"]]
        if not ran:
            continue
        ratios = [median([_first(m) / (m.earliest_output_ms or _first(m)) for m in modes["eager"]]) for modes in ran]
        rows.append(
            FirstOutput(
                backend=backend,
                tps=tps,
                programs=len(ran),
                eager_ms=median([_first_ms(modes["eager"]) for modes in ran]),
                share=median([median([_first(m) / m.gen_ms for m in modes["eager"]]) for modes in ran]) * 100,
                warm_ms=_of(ran, "warm"),
                cold_ms=_of(ran, "cold"),
                ratio=median(ratios),
                ratio_p95=percentile(ratios, 95),
            )
        )
    return rows


def _of(ran: Sequence[Mapping[Mode, list[Measurement]]], mode: Mode) -> float | None:
    found = [_first_ms(modes[mode]) for modes in ran if modes[mode]]
    return median(found) if found else None


def _first_ms(repeats: Sequence[Measurement]) -> float:
    return median([_first(measurement) for measurement in repeats])


def _first(measurement: Measurement) -> float:
    assert measurement.first_output_ms is not None, "those that say nothing are left out"
    return measurement.first_output_ms
