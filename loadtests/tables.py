"""Rows -> Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from loadtests.first_output import FirstOutput
from loadtests.measurement import Measurement, Mode
from loadtests.paper import corpus_limit, figure, is_reached, target
from loadtests.summaries import BENCHMARKS, Closeness, Remainder, Saving

_BASELINES: dict[Mode, str] = {
    "cold": "serial execution in a sandbox that has imported nothing",
    "warm": "serial execution in our own warm sandbox",
}


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def savings_table(rows: Sequence[Saving]) -> str:
    """The paper's Table 1: NEL / E2EL saved, a row for each backend and rate, a column for each benchmark."""
    names = {row.benchmark for row in rows}
    columns = [*(name for name in BENCHMARKS if name in names), *sorted(names - set(BENCHMARKS))]
    cells = {(row.backend, row.tps, row.benchmark): row for row in rows}
    places = sorted({(row.backend, row.tps) for row in rows})
    return table(
        ["env", "TPS", *columns],
        [
            [backend, f"{tps:g}", *(_saving(cells.get((backend, tps, column))) for column in columns)]
            for backend, tps in places
        ],
    )


def paper_table(rows: Sequence[Saving]) -> str:
    """NEL / E2EL saved beside the paper's, cell by cell."""
    lines = []
    for row in rows:
        theirs, wanted = figure(row.backend, row.tps, row.benchmark), target(row.backend, row.tps, row.benchmark)
        if theirs is not None and wanted is not None:
            ours = f"{_number(row.nel_saved)} / {_number(row.e2el_saved)}"
            reached = "yes" if is_reached(row) else "**no**"
            cells = [row.backend, f"{row.tps:g}", row.benchmark, ours, "{:.1f} / {:.1f}".format(*theirs)]
            lines.append([*cells, _number(corpus_limit(row.tps, row.benchmark)), f"{wanted:.1f}", reached])
    header = ["env", "TPS", "benchmark", "saved, NEL / E2EL", "paper", "corpus' own limit, NEL", "to reach, NEL"]
    return table([*header, "reached"], lines)


def closeness_table(rows: Sequence[Closeness]) -> str:
    return table(
        ["env", "TPS", "programs", "median", "p95", "client's clock: median", "p95"],
        [
            [row.backend, f"{row.tps:g}", str(row.programs)]
            + [f"{value:.3f}" for value in (row.median, row.p95, row.client_median, row.client_p95)]
            for row in rows
        ],
    )


def first_output_table(rows: Sequence[FirstOutput]) -> str:
    header = ["env", "TPS", "programs", "eager, s", "of generation", "serial, warm, s", "serial, cold, s"]
    return table(
        [*header, "over the earliest possible", "p95"],
        [
            [row.backend, f"{row.tps:g}", str(row.programs), f"{row.eager_ms / 1e3:.2f}", f"{row.share:.0f} %"]
            + ["-" if ms is None else f"{ms / 1e3:.2f}" for ms in (row.warm_ms, row.cold_ms)]
            + [f"{row.ratio:.3f}", f"{row.ratio_p95:.3f}"]
            for row in rows
        ],
    )


def remainder_table(rows: Sequence[Remainder]) -> str:
    header = ["env", "TPS", "generation late by", "tail in the bound", "beyond the bound", "detection, program"]
    header += ["dispatch p50", "dispatch p99", "one invocation", "transport"]
    return table(
        header,
        [
            [row.backend, f"{row.tps:g}"]
            + [f"{value:.2f}" for value in (row.generation, row.tail, row.beyond_bound, row.detection)]
            + [f"{value:.2f}" for value in (row.dispatch_p50, row.dispatch_p99, row.invocation, row.transport)]
            for row in rows
        ],
    )


def errors_table(rows: Sequence[Saving]) -> str:
    header = ["against", "env", "TPS", "benchmark", "programs", "E2EL saved", "NEL saved", "tokens saved"]
    return table([*header, "E2EL serial -> eager, ms"], map(_error_cells, rows))


def baseline_title(mode: Mode) -> str:
    return _BASELINES[mode]


def fidelity(measurements: Sequence[Measurement]) -> str:
    """Whether what ran is what was meant to run."""
    wrong = sorted({f"{m.run.program} ({m.run.mode}, {m.run.backend})" for m in measurements if not m.stdout_equal})
    told = f"{len(measurements)} runs; in {len(measurements) - len(wrong)} the output was that of the whole program"
    return f"{told}; not in {', '.join(wrong)}.\n" if wrong else f"{told}.\n"


def _error_cells(row: Saving) -> list[str]:
    e2el = "{:.0f} -> {:.0f}".format(*row.e2el_ms)
    saved = [_percent(row.e2el_saved), _percent(row.nel_saved), _percent(row.tokens_saved)]
    return [row.baseline, row.backend, f"{row.tps:g}", row.benchmark, str(row.programs), *saved, e2el]


def _saving(row: Saving | None) -> str:
    return (
        "-" if row is None else f"{_number(row.nel_saved)} / {_number(row.e2el_saved)} ({_number(row.limit_nel_saved)})"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} %"
