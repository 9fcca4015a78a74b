"""The report of the comparison with other executors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from loadtests.peers import PeerDetection, PeerRun, PeersFound
from loadtests.report import Report
from loadtests.statistics import median, percentile
from loadtests.tables import table


def peers_report(found: PeersFound) -> Report:
    body = (
        "Programs without imports, since not all can import. Late: from the newline that ends a statement to its start "
        "(below zero where a compound statement starts with its line). The peers get tokens in their own process, we "
        "over HTTP.\n\n"
    )
    body += _run_table(found.runs)
    body += "\n### Finding statements: CPU per token, us\n\n" + _detection_table(found.detection)
    return Report(
        name="peers",
        title="Beside other executors",
        body=body,
        data={"runs": found.runs, "detection": found.detection},
        remarks=found.failures,
    )


def _run_table(runs: Sequence[PeerRun]) -> str:
    groups: dict[tuple[str, float, str], list[PeerRun]] = defaultdict(list)
    for run in runs:
        groups[run.program, run.tps, run.system].append(run)
    header = ["program", "TPS", "system", "late ms, median", "p95", "E2EL ms", "beyond generation ms"]
    return table([*header, "tokens sent", "output as CPython's"], [_row(*key, group) for key, group in groups.items()])


def _row(program: str, tps: float, system: str, runs: Sequence[PeerRun]) -> list[str]:
    late = [late for run in runs for late in run.late_ms]
    e2el = median([run.e2el_ms for run in runs])
    sent = median([run.tokens for run in runs])
    return [
        program,
        f"{tps:g}",
        system,
        f"{median(late):.1f}" if late else "-",
        f"{percentile(late, 95):.1f}" if late else "-",
        f"{e2el:.0f}",
        f"{e2el - runs[0].generation_ms:.0f}",
        f"{sent:.0f} of {runs[0].tokens_total}",
        "yes" if all(run.equal for run in runs) else "**no**",
    ]


def _detection_table(found: Sequence[PeerDetection]) -> str:
    shapes = list(dict.fromkeys((cost.shape, cost.lines) for cost in found))
    systems = list(dict.fromkeys(cost.system for cost in found))
    cells = {(cost.system, cost.shape): cost for cost in found}
    rows = [
        [system, *(_cost(cells[system, shape]) if (system, shape) in cells else "-" for shape, _ in shapes)]
        for system in systems
    ]
    return table(["system", *(f"{shape}, {lines:,} lines" for shape, lines in shapes)], rows)


def _cost(cost: PeerDetection) -> str:
    told = f"{cost.cpu_us:.1f}"
    if cost.stopped:
        return f"{told} (gave up before the end)"
    return told if cost.reached > 0.999 else f"{told} (ended after {cost.reached:.0%} of the code)"
