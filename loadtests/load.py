"""One cell of the load matrix: so many streams through one proxy, and what they came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import asdict, replace

from loadtests.load_client import Stream
from loadtests.statistics import median, percentile

#: Tokens per second of each stream that are more than proxies pass on, where 50 are too few for a comparison.
FLOOD_TPS: Final = 200


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """
    Attributes:
        target: which proxy, and what it does with the stream.
        tps: tokens per second of each stream, as the upstream sends them.
        cpu_us: CPU time of the proxy's process per token that arrived.
        added_p50_ms, added_p99_ms: from the upstream's writing a token to the client's reading it.
        ttft_ms: from asking to the first token, median; the upstream sends it at once.
        tokens_per_s: of all streams together, over the time in which tokens arrived.
        slowest_pace: pace of the slowest stream as a part of its upstream's.
        fairness: tokens per second of the slowest stream as a part of the mean stream's.
        complete: streams that arrived with all their tokens.
    """

    target: str
    streams: int
    tps: float
    tokens: int
    cpu_us: float
    added_p50_ms: float
    added_p99_ms: float
    ttft_ms: float
    tokens_per_s: float
    slowest_pace: float
    fairness: float
    complete: int


class LoadFailed(Exception):
    """Nothing arrived that could be measured."""


def summarize(
    target: str,
    streams: Sequence[Stream],
    sent_s: Mapping[str, Sequence[float]],
    *,
    cpu_s: float,
    tps: float,
    tokens_each: int,
) -> Load:
    """
    Raises:
        LoadFailed: no stream got its second token.
    """
    arrived = [stream for stream in streams if len(stream.arrived_s) > 1]
    if not arrived:
        raise LoadFailed(f"no tokens arrived; the first answer began with {streams[0].status!r}")
    tokens = sum(len(stream.arrived_s) for stream in arrived)
    added = [
        arrival - sent
        for stream in arrived
        for sent, arrival in zip(sent_s.get(stream.id, ()), stream.arrived_s, strict=False)
    ]
    rates = [_rate(stream) for stream in arrived] + [0.0] * (len(streams) - len(arrived))
    began = min(stream.arrived_s[0] for stream in arrived)
    ended = max(stream.arrived_s[-1] for stream in arrived)
    return Load(
        target=target,
        streams=len(streams),
        tps=tps,
        tokens=tokens,
        cpu_us=cpu_s / tokens * 1e6,
        added_p50_ms=percentile(added, 50) * 1e3,
        added_p99_ms=percentile(added, 99) * 1e3,
        ttft_ms=median([stream.arrived_s[0] - stream.asked_s for stream in arrived]) * 1e3,
        tokens_per_s=tokens / (ended - began),
        slowest_pace=min(rates) / tps,
        fairness=min(rates) / (sum(rates) / len(rates)),
        complete=sum(stream.ended and len(stream.arrived_s) == tokens_each for stream in streams),
    )


def middle(loads: Sequence[Load]) -> Load:
    """Of loads of one kind the median of each value; of complete streams the fewest, of tokens the most."""
    first = loads[0]
    values = {name: [getattr(load, name) for load in loads] for name in first.__struct_fields__}
    medians = {name: median(values[name]) for name, value in asdict(first).items() if isinstance(value, float)}
    return replace(first, **medians, complete=min(values["complete"]), tokens=max(values["tokens"]))


def _rate(stream: Stream) -> float:
    """Tokens per second, from the first to the last."""
    spent = stream.arrived_s[-1] - stream.arrived_s[0]
    return (len(stream.arrived_s) - 1) / spent if spent else 0.0


def request_body(stream: str, kind: str, *, tps: float, tokens: int, extra: Mapping[str, Any]) -> dict[str, Any]:
    """What ``load_upstream`` is to play."""
    return {
        "model": f"load-{stream}-{kind}@{tps:g}",
        "messages": [{"role": "user", "content": "Go."}],
        "stream": True,
        "max_tokens": tokens,
        **extra,
    }
