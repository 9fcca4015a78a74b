"""The evaluations one by one, and all of them within a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import uvloop
from rich.console import Console

from loadtests.corpus import Program, sample
from loadtests.evaluation import Plan, evaluate
from loadtests.load import FLOOD_TPS
from loadtests.measurement import MODES
from loadtests.provenance import commit
from loadtests.repair import Plan as RepairPlan
from loadtests.repair import measure_repair, repair_report
from loadtests.report import RESULTS, Report, commit_of
from loadtests.store import Conditions, ResultStore

Evaluation = Literal["replay", "errors"]

#: What ``--fast`` allows itself for runs; starting and stopping servers comes on top.
FAST_LIMIT_S: Final = 240.0
#: The sections of ``measure_all``, in the order of the document.
ALL: Final = ("figures", "replay", "errors", "repair", "gateway", "peers")
_RATES: Final = (20.0, 50.0, 100.0, 200.0)
#: Of ``measure_all``: for writing the last reports.
_RESERVE_S: Final = 20.0
_ERRORS_SHARE: Final = 0.12


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a user chose of an evaluation; None leaves it to the evaluation."""

    corpus: Path
    programs: Sequence[Program]
    backends: Sequence[str]
    sampled: bool = False
    rates: Sequence[float] | None = None
    repeats: int | None = None
    ttft_ms: float = 0
    lanes: int = 1
    serial_once: bool = False
    minutes: float | None = None
    fast: bool = False


def stage_folder(name: str) -> Path:
    return RESULTS / name


def evaluate_stage(name: Evaluation, choice: Choice, folder: Path) -> Report:
    """Interrupted by the user, it reports what it has."""
    from loadtests.reports import errors_report, replay_report

    replay = name == "replay"
    store = ResultStore(
        folder / "raw.jsonl",
        Conditions(
            commit=commit(),
            corpus=choice.corpus.resolve().name,
            ttft_ms=choice.ttft_ms,
            lanes=choice.lanes,
        ),
    )
    limit_s = FAST_LIMIT_S if choice.fast else None
    plan = Plan(
        corpus=choice.corpus,
        programs=sample(choice.programs, 1 if replay else 2) if choice.sampled else choice.programs,
        backends=choice.backends,
        rates=choice.rates or ((100, 200) if choice.fast else _RATES) if replay else choice.rates or (100,),
        modes=MODES,
        repeats=choice.repeats or (1 if choice.fast else 3),
        ttft_ms=choice.ttft_ms,
        lanes=choice.lanes,
        serial_once=choice.serial_once,
        limit_s=limit_s if choice.minutes is None else choice.minutes * 60,
    )
    try:
        remarks = asyncio.run(evaluate(plan, store))
    except KeyboardInterrupt:
        remarks = ["stopped by the user; the same command goes on from here"]
    if replay:
        return replay_report(store.measurements, folder, remarks, serial_once=choice.serial_once)
    return errors_report(store.measurements, remarks)


def gateway_stage(
    *,
    backends: Sequence[str],
    streams: Sequence[int],
    code_streams: int = 64,
    tps: float = 50,
    flood_tps: float | None = FLOOD_TPS,
    seconds: float,
    dispatches: int,
    repeats: int = 1,
    fast: bool = False,
) -> Report:
    from loadtests.fork_cost import FAST_FORKS, ForkPlan
    from loadtests.gateway_cost import Plan as GatewayPlan
    from loadtests.gateway_cost import measure_gateway
    from loadtests.gateway_report import gateway_report
    from loadtests.start_cost import FAST_STARTS, StartPlan

    plan = GatewayPlan(
        backends=backends,
        streams=streams,
        code_streams=code_streams,
        tps=tps,
        flood_tps=flood_tps,
        seconds=seconds,
        dispatches=dispatches,
        repeats=repeats,
        starts=FAST_STARTS if fast else StartPlan(),
        forks=FAST_FORKS if fast else ForkPlan(),
    )
    return gateway_report(uvloop.run(measure_gateway(plan, Console(stderr=True))))  # the loop of the gateway itself


def peers_stage(rates: Sequence[float], repeats: int, backend: str) -> Report:
    from loadtests.peers import measure_peers
    from loadtests.peers_report import peers_report

    return peers_report(asyncio.run(measure_peers(rates, repeats, backend, Console(stderr=True))))


def repair_stage(plan: RepairPlan) -> Report:
    found, failures = asyncio.run(measure_repair(plan, Console(stderr=True)))
    return repair_report(plan, found, failures)


def measure_all(
    corpus: Path,
    programs: Mapping[str, Sequence[Program]],
    backends: Sequence[str],
    lanes: int,
    minutes: float,
    folder: Path,
    *,
    anew: bool,
) -> Iterator[tuple[Report, Path]]:
    """Report after report, each with the folder it belongs to. The replay, which is the longest and goes on where it
    was stopped, gets the time that is left. Skipped is what was measured at this commit, unless it is wanted anew."""
    from loadtests.figures import figures_report

    ends_s = time.monotonic() + minutes * 60
    isolated = [name for name in backends if name != "jupyter"]
    stages: dict[str, Callable[[], Report]] = {
        "gateway": lambda: gateway_stage(
            backends=isolated, streams=(1, 32, 64, 256), seconds=8, dispatches=200, repeats=3
        ),
        "peers": lambda: peers_stage((50, 100, 200), 1, isolated[0]),
        "repair": lambda: repair_stage(
            RepairPlan(corpus=corpus, programs=programs["error"], backends=isolated[-1:], repeats=1)
        ),
    }
    for name, stage in stages.items():
        if anew or commit_of(folder / name) != commit():
            yield stage(), folder / name
    errors = Choice(
        corpus=corpus,
        programs=programs["error"],
        backends=isolated,
        lanes=min(lanes, 4),
        minutes=minutes * _ERRORS_SHARE,
    )
    yield evaluate_stage("errors", errors, folder / "errors"), folder / "errors"
    replay = Choice(
        corpus=corpus,
        programs=programs["ok"],
        backends=backends,
        lanes=lanes,
        serial_once=True,
        minutes=max(ends_s - _RESERVE_S - time.monotonic(), 60) / 60,
    )
    yield evaluate_stage("replay", replay, folder / "replay"), folder / "replay"
    yield figures_report(folder), folder / "figures"
