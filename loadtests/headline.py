"""The few figures that a README quotes, each beside what it is to be compared with, from the results of ``all``.

A row without results is left out: a README tells what was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from loadtests.figures import CODE_RUN, LITELLM, PASS_THROUGH, PASSED_ON, SEARCHED, Data, Missing, one
from loadtests.report import Report, read
from loadtests.summaries import Saving
from loadtests.tables import table

_BACKEND: Final = "docker"
_TPS: Final = 100.0
_STREAMS: Final = 64


def headline_report(results: Path) -> Report:
    rows = [[what, *told] for stage, what, tell in _ROWS if (told := _told(read(results / stage), tell)) is not None]
    body = f"At {_TPS:g} tokens/s in Docker where nothing else is said. All of it, with how it was measured, is in "
    body += "[docs/evaluation.md](docs/evaluation.md).\n\n" + table(["", "Eager", "beside it"], rows)
    return Report(name="headline", title="Measured", body=body, data={"rows": rows})


def _told(data: Data | None, tell: Callable[[Data], tuple[str, str]]) -> tuple[str, str] | None:
    try:
        return tell(data) if data is not None else None
    except (Missing, KeyError):
        return None


def _savings(data: Data, of: str, baseline: str) -> list[Saving]:
    cells = msgspec.convert(data[of][baseline], list[Saving])
    found = [cell for cell in cells if (cell.backend, cell.tps) == (_BACKEND, _TPS)]
    if not found:
        raise Missing
    return found


def _hidden(data: Data) -> tuple[str, str]:
    def left(baseline: str, side: int) -> float:
        cells = _savings(data, "savings", baseline)
        return sum(cell.nel_ms[side] * cell.programs for cell in cells) / sum(cell.programs for cell in cells)

    return f"{left('cold', 1):.0f} ms", f"serial: {left('warm', 0):.0f} ms warm, {left('cold', 0):.0f} ms cold"


def _bound(data: Data) -> tuple[str, str]:
    row = one(data["closeness"], backend=_BACKEND, tps=_TPS)
    return f"{row['client_median']:.3f}, p95 {row['client_p95']:.3f}", "1, which no executor goes below (Eq. 12)"


def _first_output(data: Data) -> tuple[str, str]:
    row = one(data["first_output"], backend=_BACKEND, tps=_TPS)
    beside = f"serial: {row['warm_ms'] / 1e3:.1f} s warm, {row['cold_ms'] / 1e3:.1f} s cold"
    return f"{row['eager_ms'] / 1e3:.1f} s, at {row['share']:.0f} % of generation", beside


def _failing(data: Data) -> tuple[str, str]:
    (warm,) = _savings(data, "overall", "warm")
    serial, eager = warm.e2el_ms
    return f"{eager / 1e3:.1f} s", f"serial: {serial / 1e3:.1f} s"


def _dispatch(data: Data) -> tuple[str, str]:
    row = one(data["remainders"], backend=_BACKEND, tps=_TPS)
    return f"{row['dispatch_p50']:.2f} ms, p99 {row['dispatch_p99']:.2f} ms", ""


def _cpu(data: Data) -> tuple[str, str]:
    ours, bare, theirs = (_load(data, target) for target in (SEARCHED, PASS_THROUGH, LITELLM))
    beside = f"{theirs['target']}: {theirs['cpu_us']:.0f} us; an aiohttp pass-through: {bare['cpu_us']:.0f} us"
    return f"{ours['cpu_us']:.0f} us", beside


def _latency(data: Data) -> tuple[str, str]:
    ours, running, theirs = (_load(data, target) for target in (PASSED_ON, CODE_RUN, LITELLM))
    told = f"{ours['added_p99_ms']:.1f} ms, with code running {running['added_p99_ms']:.1f} ms"
    return told, f"{theirs['target']}: {theirs['added_p99_ms']:.0f} ms"


def _load(data: Data, target: str) -> Data:
    return one(data["loads"], target=target, streams=_STREAMS)


def _detection(data: Data) -> tuple[str, str]:
    """Peers that give up or stop before the end are told so, not timed."""
    costs: dict[str, list[Data]] = {}
    for cost in data["detection"]:
        costs.setdefault(cost["system"], []).append(cost)
    told = {system: ", ".join(_peer_costs(found)) for system, found in costs.items()}
    return told.pop("Eager"), "; ".join(f"{system}: {text}" for system, text in told.items())


def _peer_costs(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for cost in found:
        yield f"{cost['cpu_us']:.1f} us" + ("" if cost["reached"] > 0.999 and not cost["stopped"] else " (did not end)")


_ROWS: Final[tuple[tuple[str, str, Callable[[Data], tuple[str, str]]], ...]] = (
    ("replay", "Execution left behind the last token (NEL), mean of the programs", _hidden),
    ("replay", "End to end, over the bound", _bound),
    ("replay", "First output on the screen, median of the programs", _first_output),
    ("errors", "End to end of programs that fail", _failing),
    ("replay", "From a complete statement to its execution", _dispatch),
    ("gateway", f"CPU of the gateway per token, {_STREAMS} streams at 50 tokens/s", _cpu),
    ("gateway", "Added to the latency of a token there, p99", _latency),
    ("peers", "CPU to find statements, per token: flat code, one function, one string of 2,000 lines", _detection),
)
