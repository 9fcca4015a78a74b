"""Measurements for the tests of what is made of them."""

from __future__ import annotations

from typing import Any

from loadtests.measurement import Measurement, Mode, Run


def run(mode: Mode = "eager", **fields: Any) -> Run:
    defaults = {"program": "p", "benchmark": "DABench", "kind": "ok", "backend": "docker", "tps": 100.0, "repeat": 0}
    return Run(**{**defaults, **fields}, mode=mode)


def measurement(of: Run, **fields: Any) -> Measurement:
    defaults = {
        "status": "ok",
        "stdout_equal": True,
        "tokens_sent": 100,
        "tokens_total": 100,
        "scheduled_ms": 1000.0,
        "e2el_ms": 1110.0,
        "gateway_e2el_ms": 1105.0,
        "gen_ms": 1002.0,
        "exec_ms": 100.0,
        "nel_ms": 103.0,
        "bound_ms": 1010.0,
        "detection_ms": 1.0,
        "dispatch_ms": [0.5],
        "overhead_ms": 2.0,
        "batches": [(10.0, 50.0), (60.0, 122.0)],
    }
    return Measurement(run=of, **{**defaults, **fields})
