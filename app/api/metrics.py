"""What Prometheus is told: the live statistics of the parts, and what requests have saved."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.api.edge.limits import Admission, SlotStatistics
from app.events import Timing
from app.gateway import Gateway
from app.sandbox.docker.engines import EngineStatistics
from app.sandbox.egress.exchange import EgressStatistics
from app.sandbox.pool import PoolStatistics
from app.sandbox.registry import RegistryStatistics

#: Statistics that go up and down; the others only count up.
GAUGES = {"warm", "starting", "busy", "closing", "waiting", "sessions", "limit", "used", "up", "sandboxes", "open"}
#: Of each Docker Engine; its limit is 0 where it has none.
ENGINE_METRICS = ("up", "sandboxes", "limit", "started", "failed_starts", "lost", "outages")
BUCKETS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)

LAG_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class _Live(Collector):
    """Reads the parts when asked: nothing is counted twice."""

    def __init__(self, gateway: Gateway, admission: Admission) -> None:
        self._gateway = gateway
        self._admission = admission

    def collect(self) -> Iterator[Metric]:
        parts: dict[str, PoolStatistics | RegistryStatistics | SlotStatistics | EgressStatistics] = {
            "pool": self._gateway.pool.statistics(),
            "sessions": self._gateway.registry.statistics(),
            "requests": self._admission.statistics(),
        }
        if self._gateway.egress is not None:
            parts["egress"] = self._gateway.egress.statistics
        for part, statistics in parts.items():
            for name, value in asdict(statistics).items():
                kind = GaugeMetricFamily if name in GAUGES else CounterMetricFamily
                yield kind(f"eager_{part}_{name}", f"{part}: {name.replace('_', ' ')}", value=value)
        yield GaugeMetricFamily("eager_tasks", "asyncio tasks", value=len(asyncio.all_tasks()))
        if self._gateway.engines is not None:
            yield from _by_engine(self._gateway.engines.statistics())


def _by_engine(engines: list[EngineStatistics]) -> Iterator[Metric]:
    for name in ENGINE_METRICS:
        kind = GaugeMetricFamily if name in GAUGES else CounterMetricFamily
        metric = kind(f"eager_engine_{name}", f"engine: {name.replace('_', ' ')}", labels=["engine"])
        for engine in engines:
            metric.add_metric([engine.address], float(getattr(engine, name) or 0))
        yield metric


class Metrics:
    """Of one process."""

    def __init__(self, gateway: Gateway, admission: Admission) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Live(gateway, admission))
        ProcessCollector(registry=self.registry)  # memory, descriptors, CPU time
        self._finished = Counter("eager_finished", "Requests by how they ended.", ["reason"], registry=self.registry)
        self._e2el = Histogram("eager_e2el_seconds", "End to end.", buckets=BUCKETS_S, registry=self.registry)
        self._nel = Histogram(
            "eager_nel_seconds", "Execution after the last token.", buckets=BUCKETS_S, registry=self.registry
        )
        self._first_output = Histogram(
            "eager_first_output_seconds",
            "From a request to the first thing that its code printed or showed.",
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._saved = Counter("eager_saved_seconds", "Against serial execution.", registry=self.registry)
        self._lag = Histogram(
            "eager_loop_lag_seconds",
            "How late the event loop's timers are.",
            buckets=LAG_BUCKETS_S,
            registry=self.registry,
        )

    def observe_lag(self, seconds: float) -> None:
        """A timer of the event loop was so late."""
        self._lag.observe(seconds)

    def observe(self, finish_reason: str, timing: Timing) -> None:
        """A request has ended."""
        self._finished.labels(finish_reason).inc()
        self._e2el.observe(timing.e2el_ms / 1e3)
        self._nel.observe(timing.nel_ms / 1e3)
        if timing.first_output_ms is not None:
            self._first_output.observe(timing.first_output_ms / 1e3)
        self._saved.inc(max(timing.saved_ms, 0.0) / 1e3)

    def observe_failure(self) -> None:
        """A request has ended before there was anything to measure."""
        self._finished.labels("error").inc()
