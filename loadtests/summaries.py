"""Measurements -> the rows of the paper's tables. Medians of repeats, then ratios of sums over the programs of a cell:
the paper's ``1440 -> 903 ms`` is 37.3 %."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec.structs import replace

from loadtests.measurement import Measurement, Mode
from loadtests.statistics import median, percentile, saved_percent

#: As the paper orders them; others follow by name.
BENCHMARKS = ("DABench", "DSBench", "PandasPlotBench", "GitChameleon")


class Saving(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of the paper's Table 1. Percent; None where the baseline has nothing to save.

    ``limit_nel_saved`` is what an executor without any cost would save: Eq. 12 with the times of the eager runs.
    """

    backend: str
    tps: float
    benchmark: str
    baseline: Mode
    programs: int
    nel_saved: float | None
    e2el_saved: float | None
    limit_nel_saved: float | None
    tokens_saved: float | None
    nel_ms: tuple[float, float]
    e2el_ms: tuple[float, float]


class Closeness(msgspec.Struct, frozen=True, kw_only=True):
    """Measured E2EL over the bound of Eq. 12, by the gateway's clock and by the client's."""

    backend: str
    tps: float
    programs: int
    median: float
    p95: float
    client_median: float
    client_p95: float


class Remainder(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time above the schedule of the upstream goes: medians over eager runs, milliseconds.

    Attributes:
        generation: the last token is late by this much: pace of the upstream, reading, extraction.
        tail: what the bound has behind the last token: a last statement that hides behind nothing.
        beyond_bound: what the bound does not explain: dispatch, waiting for earlier statements, detection.
        detection: of all statements of a program.
        dispatch: of one statement, from being known to being handed over, if the executor is idle.
        invocation: of one batch, beyond the run time of its statements.
        transport: HTTP, admission, check-out.
    """

    backend: str
    tps: float
    generation: float
    tail: float
    beyond_bound: float
    detection: float
    dispatch_p50: float
    dispatch_p99: float
    invocation: float
    transport: float


def at_rate(measurement: Measurement, tps: float) -> Measurement:
    """A serial run as it is at another rate: generated in its time, and then executed as measured (Eq. 1)."""
    later_ms = measurement.tokens_sent * (1e3 / tps - 1e3 / measurement.run.tps)
    changed = {
        name: getattr(measurement, name) + later_ms for name in ("scheduled_ms", "gen_ms", "gateway_e2el_ms", "e2el_ms")
    }
    if measurement.first_output_ms is not None:
        changed["first_output_ms"] = measurement.first_output_ms + later_ms
    batches = [(start + later_ms, end + later_ms) for start, end in measurement.batches]
    return replace(measurement, run=replace(measurement.run, tps=tps), batches=batches, **changed)


def with_serial_at_all_rates(measurements: Sequence[Measurement]) -> list[Measurement]:
    """Serial runs stand for rates at which there are only eager ones (``Plan.serial_once``)."""
    found = list(measurements)
    runs = {measurement.run for measurement in measurements}
    rates = {run.tps for run in runs}
    for measurement in measurements:
        if measurement.run.mode != "eager":
            missing = (tps for tps in sorted(rates) if replace(measurement.run, tps=tps) not in runs)
            found += [at_rate(measurement, tps) for tps in missing]
    return found


def savings(measurements: Sequence[Measurement], baseline: Mode) -> list[Saving]:
    """Only programs that ran in both modes count."""
    cells: dict[tuple[str, float, str], dict[str, dict[Mode, list[Measurement]]]] = {}
    for measurement in measurements:
        run = measurement.run
        programs = cells.setdefault((run.backend, run.tps, run.benchmark), {})
        programs.setdefault(run.program, defaultdict(list))[run.mode].append(measurement)
    found = []
    for (backend, tps, benchmark), programs in sorted(cells.items(), key=lambda item: _cell_order(item[0])):
        pairs = [(modes[baseline], modes["eager"]) for modes in programs.values() if modes[baseline] and modes["eager"]]
        if pairs:
            found.append(_saving(backend, tps, benchmark, baseline, pairs))
    return found


def closeness(measurements: Sequence[Measurement]) -> list[Closeness]:
    """Of programs that do not fail."""
    rows = []
    for (backend, tps), eager in _by_rate(m for m in measurements if m.run.mode == "eager" and m.status == "ok"):
        programs = _by_program(eager)
        inside = [median([m.gateway_e2el_ms / m.bound_ms for m in repeats]) for repeats in programs]
        outside = [median([m.e2el_ms / m.bound_ms for m in repeats]) for repeats in programs]
        rows.append(
            Closeness(
                backend=backend,
                tps=tps,
                programs=len(programs),
                median=median(inside),
                p95=percentile(inside, 95),
                client_median=median(outside),
                client_p95=percentile(outside, 95),
            )
        )
    return rows


def remainders(measurements: Sequence[Measurement]) -> list[Remainder]:
    """Of programs that do not fail."""
    rows = []
    for (backend, tps), eager in _by_rate(m for m in measurements if m.run.mode == "eager" and m.status == "ok"):
        waits = [wait for m in eager for wait in m.dispatch_ms] or [0.0]
        rows.append(
            Remainder(
                backend=backend,
                tps=tps,
                generation=median([m.gen_ms - m.scheduled_ms for m in eager]),
                tail=median([m.bound_ms - m.gen_ms for m in eager]),
                beyond_bound=median([m.gateway_e2el_ms - m.bound_ms for m in eager]),
                detection=median([m.detection_ms for m in eager]),
                dispatch_p50=percentile(waits, 50),
                dispatch_p99=percentile(waits, 99),
                invocation=median([m.overhead_ms / max(1, len(m.batches)) for m in eager]),
                transport=median([m.transport_ms for m in eager]),
            )
        )
    return rows


def _saving(
    backend: str,
    tps: float,
    benchmark: str,
    baseline: Mode,
    pairs: Sequence[tuple[list[Measurement], list[Measurement]]],
) -> Saving:
    def total(side: int, value: Callable[[Measurement], float]) -> float:
        return sum(median([value(measurement) for measurement in pair[side]]) for pair in pairs)

    serial_nel, eager_nel = total(0, lambda m: m.nel_ms), total(1, lambda m: m.nel_ms)
    serial_e2el, eager_e2el = total(0, lambda m: m.e2el_ms), total(1, lambda m: m.e2el_ms)
    limit = total(1, lambda m: m.bound_ms - m.gen_ms)
    count = len(pairs)
    return Saving(
        backend=backend,
        tps=tps,
        benchmark=benchmark,
        baseline=baseline,
        programs=count,
        nel_saved=saved_percent(serial_nel, eager_nel),
        e2el_saved=saved_percent(serial_e2el, eager_e2el),
        limit_nel_saved=saved_percent(serial_nel, limit),
        tokens_saved=saved_percent(total(0, lambda m: m.tokens_sent), total(1, lambda m: m.tokens_sent)),
        nel_ms=(serial_nel / count, eager_nel / count),
        e2el_ms=(serial_e2el / count, eager_e2el / count),
    )


def _by_rate(measurements: Iterable[Measurement]) -> list[tuple[tuple[str, float], list[Measurement]]]:
    groups: dict[tuple[str, float], list[Measurement]] = defaultdict(list)
    for measurement in measurements:
        groups[measurement.run.backend, measurement.run.tps].append(measurement)
    return sorted(groups.items())


def _by_program(measurements: Sequence[Measurement]) -> list[list[Measurement]]:
    groups: dict[str, list[Measurement]] = defaultdict(list)
    for measurement in measurements:
        groups[measurement.run.program].append(measurement)
    return list(groups.values())


def _cell_order(cell: tuple[str, float, str]) -> tuple[str, float, int, str]:
    backend, tps, benchmark = cell
    place = BENCHMARKS.index(benchmark) if benchmark in BENCHMARKS else len(BENCHMARKS)
    return backend, tps, place, benchmark
