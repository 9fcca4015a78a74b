"""The report of the gateway's cost."""

from __future__ import annotations

from collections.abc import Sequence

from loadtests.gateway_cost import GatewayCost
from loadtests.length_cost import length_table
from loadtests.load import Load
from loadtests.render_cost import render_table
from loadtests.report import Report
from loadtests.sandbox_cost import SandboxCost
from loadtests.session_cost import SessionCost
from loadtests.start_report import starts_table
from loadtests.tables import table


def gateway_report(found: GatewayCost) -> Report:
    body = "### Under load\n\n" + _load_table(found.loads)
    body += "\n### By the length of the program\n\nMicroseconds of CPU per token.\n\n" + length_table(found.lengths)
    body += "\n### Showing code in the answer's text\n\nCPU per token of code, with what is written for it.\n\n"
    body += render_table(found.rendering)
    body += "\n### Sessions, over HTTP\n\nMilliseconds.\n\n" + _session_table(found.sessions)
    body += "\n### Sandboxes, without the gateway\n\nOne execution of `pass`, us.\n\n" + _sandbox_table(found.sandboxes)
    if starts := starts_table(found.starts):
        body += f"\n### Local sandboxes, forks of a zygote beside those that import for themselves\n\n{starts}"
    return Report(
        name="gateway",
        title="What the gateway costs",
        body=body,
        data={
            "loads": found.loads,
            "lengths": found.lengths,
            "rendering": found.rendering,
            "sessions": found.sessions,
            "sandboxes": found.sandboxes,
            "starts": found.starts,
        },
        remarks=found.failures,
    )


def _load_table(loads: Sequence[Load]) -> str:
    header = ["streams", "TPS", "through", "CPU us/token", "added ms/token p50", "p99", "TTFT ms", "tokens/s"]
    header += ["slowest / upstream's pace", "slowest / mean", "complete"]
    return table(
        header,
        [
            [
                str(load.streams),
                f"{load.tps:g}",
                load.target,
                f"{load.cpu_us:.0f}",
                f"{load.added_p50_ms:.2f}",
                f"{load.added_p99_ms:.2f}",
                f"{load.ttft_ms:.1f}",
                f"{load.tokens_per_s:.0f}",
                f"{load.slowest_pace:.2f}",
                f"{load.fairness:.2f}",
                f"{load.complete}/{load.streams}",
            ]
            for load in loads
        ],
    )


def _session_table(costs: Sequence[SessionCost]) -> str:
    header = ["env", "dispatch p50", "p99", "execute over HTTP p50", "check-out, warm p50", "max", "cold"]
    return table(
        [*header, "MB a session", "sessions a GB"],
        [
            [
                cost.backend,
                f"{cost.dispatch_p50:.2f}",
                f"{cost.dispatch_p99:.2f}",
                f"{cost.http_p50:.2f}",
                f"{cost.checkout_warm_p50:.2f}",
                f"{cost.checkout_warm:.2f}",
                f"{cost.checkout_cold:.0f}",
                f"{cost.session_mb:.0f}",
                f"{1000 / max(cost.session_mb, 1):.0f}",
            ]
            for cost in costs
        ],
    )


def _sandbox_table(costs: Sequence[SandboxCost]) -> str:
    header = ["env", "round trip p50", "p99", "bare socket p50", "gateway CPU", "interpreter CPU", "output MB/s"]
    return table(
        [*header, "gateway grows by MB", "imports, ms", "own MB", "own MB, used"],
        [
            [
                cost.backend,
                *(f"{value:.0f}" for value in (cost.round_trip.p50, cost.round_trip.p99, cost.round_trip.floor_p50)),
                *(f"{value:.0f}" for value in (cost.round_trip.gateway_cpu, cost.round_trip.interpreter_cpu)),
                f"{cost.output.mb_s:.0f}",
                f"{cost.output.gateway_growth_mb:.0f}",
                f"{cost.import_ms:.2f}",
                f"{cost.own_mb:.0f}",
                f"{cost.used_mb:.0f}",
            ]
            for cost in costs
        ],
    )
