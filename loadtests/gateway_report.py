"""The report of the gateway's cost."""

from __future__ import annotations

from collections.abc import Sequence

from loadtests.gateway_cost import GatewayCost, SandboxCost
from loadtests.load import Load
from loadtests.report import Report
from loadtests.tables import table


def gateway_report(found: GatewayCost) -> Report:
    body = "### Under load\n\n" + _load_table(found.loads)
    body += "\n### Sandboxes\n\nMilliseconds.\n\n" + _sandbox_table(found.sandboxes)
    return Report(
        name="gateway",
        title="What the gateway costs",
        body=body,
        data={"loads": found.loads, "sandboxes": found.sandboxes},
        remarks=found.failures,
    )


def _load_table(loads: Sequence[Load]) -> str:
    header = ["streams", "through", "CPU us/token", "added ms/token p50", "p99", "TTFT ms", "tokens/s"]
    header += ["slowest / upstream's pace", "slowest / mean", "complete"]
    return table(
        header,
        [
            [
                str(load.streams),
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


def _sandbox_table(costs: Sequence[SandboxCost]) -> str:
    header = ["env", "dispatch p50", "p99", "execute over HTTP p50", "check-out, warm (max)", "check-out, cold"]
    return table(
        [*header, "MB a session"],
        [
            [
                cost.backend,
                f"{cost.dispatch_p50:.2f}",
                f"{cost.dispatch_p99:.2f}",
                f"{cost.http_p50:.2f}",
                f"{cost.checkout_warm:.2f}",
                f"{cost.checkout_cold:.0f}",
                f"{cost.session_mb:.0f}",
            ]
            for cost in costs
        ],
    )
