"""The reports of the replay and the error evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from loadtests import plots
from loadtests.first_output import first_outputs
from loadtests.measurement import Measurement, Mode
from loadtests.paper import TOLERANCE, is_reached
from loadtests.report import Report
from loadtests.summaries import Saving, closeness, remainders, savings, with_serial_at_all_rates
from loadtests.tables import (
    baseline_title,
    closeness_table,
    errors_table,
    fidelity,
    first_output_table,
    paper_table,
    remainder_table,
    savings_table,
)

_BASELINES: Final[tuple[Mode, ...]] = ("cold", "warm")


def replay_report(
    measurements: Sequence[Measurement], folder: Path, remarks: Sequence[str], *, serial_once: bool = False
) -> Report:
    """The paper's RQ1."""
    body = ""
    if serial_once:
        measurements = with_serial_at_all_rates(measurements)
        body = "Serial runs were measured at the highest rate only: they execute when all is generated, so the rate "
        body += "moves their end and not their execution (Eq. 1).\n\n"
    saved = {mode: savings(measurements, mode) for mode in _BASELINES}
    close, rest, first = closeness(measurements), remainders(measurements), first_outputs(measurements)
    for mode in _BASELINES:
        if saved[mode]:
            body += f"### Saved against {baseline_title(mode)}\n\n"
            body += "Percent NEL / E2EL; in brackets the NEL that an executor without any cost would save (Eq. 12).\n\n"
            body += savings_table(saved[mode]) + "\n"
    body += _against_the_paper(saved["cold"])
    body += f"### Measured E2EL over the bound of Eq. 12\n\n{closeness_table(close)}\n"
    body += (
        "### First output\n\nWhen code first prints or shows something, after the request was sent: medians over the "
    )
    body += "programs. The earliest possible is the end of the first statement that says something, plus the execution "
    body += f"up to there.\n\n{first_output_table(first)}\n"
    body += f"### Where the time goes\n\nMilliseconds, medians over the runs.\n\n{remainder_table(rest)}\n"
    body += fidelity(measurements)
    pictures = []
    if measurements and plots.available():
        pictures = [plots.plot_savings(saved[mode], folder / f"saved-{mode}.png") for mode in _BASELINES if saved[mode]]
        pictures.append(plots.plot_timeline(_most_telling(measurements), folder / "timeline.png"))
    return Report(
        name="replay",
        title="Replay: execution hidden behind generation",
        body=body,
        data={"savings": saved, "closeness": close, "remainders": rest, "first_output": first},
        plots=pictures,
        remarks=[*remarks, *([] if plots.available() else [plots.MISSING])],
    )


def _against_the_paper(saved: Sequence[Saving]) -> str:
    verdicts = [verdict for row in saved if (verdict := is_reached(row)) is not None]
    if not verdicts:
        return ""
    told = f"{sum(verdicts)} of {len(verdicts)} cells reach the paper's figure, or come within {TOLERANCE} points of "
    told += "what the corpus allows where that is less."
    return f"### Against the paper\n\n{told}\n\n{paper_table(saved)}\n"


def errors_report(measurements: Sequence[Measurement], remarks: Sequence[str]) -> Report:
    """The error half of the paper's RQ2."""
    saved = {mode: savings(measurements, mode) for mode in _BASELINES}
    overall = {mode: savings([_of_all(m) for m in measurements], mode) for mode in _BASELINES}
    body = "Programs that fail at run time. Against serial execution of all that the model writes: *cold* in a sandbox "
    body += "that has imported nothing, *warm* in our own.\n\n"
    body += errors_table([row for mode in _BASELINES for row in [*saved[mode], *overall[mode]]])
    body += "\n" + fidelity(measurements)
    return Report(
        name="errors",
        title="Errors: generation stopped early",
        body=body,
        data={"errors": saved, "overall": overall},
        remarks=remarks,
    )


def _of_all(measurement: Measurement) -> Measurement:
    return replace(measurement, run=replace(measurement.run, benchmark="all"))


def _most_telling(measurements: Sequence[Measurement]) -> list[Measurement]:
    """The runs of one program in all modes: at the highest rate the one that hides the largest part of its time."""
    best = max(
        (m for m in measurements if m.run.mode == "eager"),
        key=lambda m: (m.run.tps, (m.exec_ms - m.nel_ms) / m.e2el_ms),
        default=measurements[0],
    )
    key = best.run
    return [
        m
        for m in measurements
        if (m.run.program, m.run.backend, m.run.tps, m.run.repeat) == (key.program, key.backend, key.tps, key.repeat)
    ]
