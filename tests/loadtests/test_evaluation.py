from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from loadtests.corpus import OWN_CORPUS, Program, read_corpus
from loadtests.evaluation import Plan, _Bench, _Lane
from loadtests.measurement import MODES, Measurement, Run, RunFailed
from loadtests.processes import Server
from loadtests.store import Conditions, ResultStore
from tests.loadtests.runs import measurement, run

PROGRAMS = read_corpus(OWN_CORPUS)[:2]


def plan(**changed: Any) -> Plan:
    defaults = {"corpus": OWN_CORPUS, "programs": PROGRAMS, "backends": ["local"], "rates": [50.0, 200.0]}
    return Plan(**{**defaults, "modes": MODES, "repeats": 2, "ttft_ms": 0, **changed})


def told(runs: Sequence[Run]) -> list[tuple[float, str]]:
    return [(one.tps, one.mode) for one in runs]


def test_what_is_compared_runs_side_by_side_in_an_order_that_rotates() -> None:
    first, second = (told(list(plan().runs(PROGRAMS[0], "local", repeat))) for repeat in (0, 1))
    assert first[:3] == [(50, "cold"), (50, "warm"), (50, "eager")]
    assert second[:3] == [(50, "warm"), (50, "eager"), (50, "cold")]
    assert len(first) == 6
    assert plan().size == 2 * 2 * 6


def test_serial_runs_can_be_had_at_the_highest_rate_only() -> None:
    once = plan(serial_once=True)
    runs = told(list(once.runs(PROGRAMS[0], "local", 0)))
    assert runs == [(50, "eager"), (200, "cold"), (200, "warm"), (200, "eager")]
    assert once.size == 2 * 2 * 4


@pytest.fixture
def bench(tmp_path: Path) -> _Bench:
    store = ResultStore(tmp_path / "raw.jsonl", Conditions(commit="c", corpus="c", ttft_ms=0))
    return _Bench(Server("http://127.0.0.1:1", 0), "docker", plan(), store)


def test_a_window_is_as_long_as_execution_took_before(bench: _Bench) -> None:
    program = PROGRAMS[0]
    before = bench.behind_s(program, run("eager", program=program.id))
    assert 0 < before < program.cpu_s
    for nel_ms in (2000, 3000):
        bench.store.add(measurement(run("eager", program=program.id), nel_ms=nel_ms))
    assert bench.behind_s(program, run("eager", program=program.id)) == 3
    assert bench.behind_s(program, run("cold", program=program.id)) > program.cpu_s


class Lane(_Lane):
    """Measures nothing: the first run of a program fails."""

    def __init__(self, bench: _Bench) -> None:
        super().__init__(bench)
        self.asked: list[Run] = []

    async def _measure(self, program: Program, run: Run) -> Measurement:
        self.asked.append(run)
        if run.mode == "cold":
            raise RunFailed("no")
        return measurement(run)


async def test_a_lane_skips_what_is_stored_and_goes_on_after_a_failure(bench: _Bench) -> None:
    bench.clients = dict.fromkeys(MODES)  # type: ignore[assignment,arg-type]
    runs = list(plan(rates=[50.0]).runs(PROGRAMS[0], "docker", 0))
    bench.store.add(measurement(runs[1]))
    lane, failures, steps = Lane(bench), list[str](), list[str]()
    await lane.work([(PROGRAMS[0], runs)], failures, steps.append)
    assert [one.mode for one in lane.asked] == ["cold", "eager"]
    assert failures == [f"{PROGRAMS[0].id}@50 cold, docker: no"]
    assert len(steps) == 3
    assert [m.run.mode for m in bench.store.measurements] == ["warm", "eager"]
