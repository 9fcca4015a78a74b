from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import generate_latest

from app.api.edge.limits import Admission
from app.api.metrics import Metrics
from app.errors import UpstreamUnreachable
from app.events import Timing
from app.sandbox.docker.engines import EngineStatistics
from app.sandbox.egress.exchange import EgressStatistics
from app.sandbox.pool import PoolStatistics
from app.sandbox.registry import RegistryStatistics
from tests.api.served import served

POOL = PoolStatistics(
    warm=2, starting=0, busy=1, closing=0, waiting=0, started=3, failed_starts=0, died_warm=0, checked_out=1,
    timed_out=0, discarded=0, checkout_s=0.5,
)  # fmt: skip


ENGINE = EngineStatistics(
    address="tcp://a:2376", up=True, sandboxes=3, limit=None, started=9, failed_starts=1, lost=2, outages=1, error=None
)


def gateway() -> Any:
    registry = RegistryStatistics(sessions=1, busy=0, created=4, expired=2, displaced=1)
    return SimpleNamespace(
        pool=SimpleNamespace(statistics=lambda: POOL),
        registry=SimpleNamespace(statistics=lambda: registry),
        engines=SimpleNamespace(statistics=lambda: [ENGINE, replace(ENGINE, address="unix:///b", up=False, limit=4)]),
        egress=SimpleNamespace(statistics=EgressStatistics(open=1, denied=5)),
    )


async def test_metrics_show_the_live_parts_and_what_requests_have_saved() -> None:
    metrics = Metrics(gateway(), Admission(limit=8, queue_limit=8, wait_s=1))
    timing = Timing(
        ttft_ms=1, gen_ms=900, exec_ms=500, nel_ms=100, e2el_ms=1000, serial_e2el_ms=1400, saved_ms=400,
        bound_ms=990, chunks=3, batches=2, gates={},
    )  # fmt: skip
    metrics.observe("stop", timing)
    lines = generate_latest(metrics.registry).decode().splitlines()
    assert "eager_pool_warm 2.0" in lines
    assert "eager_pool_started_total 3.0" in lines
    assert "eager_sessions_expired_total 2.0" in lines
    assert "eager_requests_limit 8.0" in lines
    assert 'eager_engine_up{engine="tcp://a:2376"} 1.0' in lines
    assert 'eager_engine_up{engine="unix:///b"} 0.0' in lines
    assert 'eager_engine_limit{engine="unix:///b"} 4.0' in lines
    assert 'eager_engine_lost_total{engine="tcp://a:2376"} 2.0' in lines
    assert "eager_egress_open 1.0" in lines
    assert "eager_egress_denied_total 5.0" in lines
    assert 'eager_finished_total{reason="stop"} 1.0' in lines
    assert "eager_saved_seconds_total 0.4" in lines
    assert 'eager_e2el_seconds_bucket{le="1.0"} 1.0' in lines


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["eager/completions", "chat/completions", "responses"])
async def test_requests_that_the_upstream_fails_are_counted_once_each(path: str, stream: bool, tmp_path: Path) -> None:
    body = {"model": "m", "tools": [{"type": "code_interpreter"}], "stream": stream}
    said = {"input": "Go."} if path == "responses" else {"messages": [{"role": "user", "content": "Go."}]}
    async with served(tmp_path) as gateway, gateway.http() as client:
        gateway.upstream.refusal = UpstreamUnreachable("nobody there")
        assert (await client.post(f"/v1/{path}", json={**body, **said})).status_code == 502
        gateway.upstream.refusal = None
        gateway.upstream.delta({"content": "Half an ans"})
        gateway.upstream.fail(UpstreamUnreachable("gone"))
        await client.post(f"/v1/{path}", json={**body, **said})
        lines = (await client.get("/metrics")).text.splitlines()
    assert 'eager_finished_total{reason="error"} 2.0' in lines
