"""How long ``make demo`` takes, where all is installed, from the command to the first statement that the model has
written: processes, sandboxes, and the 0.3 s that the replayed model takes for its first token."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

import msgspec

from app.sandbox.local.backend import StartBy
from loadtests.measurement import RunFailed
from loadtests.start_cost import WAYS
from loadtests.statistics import median

_ROOT: Final = Path(__file__).parents[1]
_FIRST_STATEMENT: Final = re.compile(rb" s  chunk +0  ")
_END_S: Final = 30.0


class DemoCost(msgspec.Struct, frozen=True, kw_only=True):
    """Median of several."""

    way: StartBy
    first_statement_s: float


def demo_costs(rounds: int) -> list[DemoCost]:
    """In turns. Blocks.

    Raises:
        RunFailed: the demo ended before it showed any code.
    """
    taken: dict[StartBy, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            taken[way].append(_run(way))
    return [DemoCost(way=way, first_statement_s=median(taken[way])) for way in WAYS]


def _run(way: StartBy) -> float:
    began = time.perf_counter()
    demo = subprocess.Popen(
        ["make", "demo"],
        cwd=_ROOT,
        env={**os.environ, "EAGER_LOCAL_START": way, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert demo.stdout is not None
    try:
        for line in demo.stdout:
            if _FIRST_STATEMENT.search(line):
                return time.perf_counter() - began
        raise RunFailed(f"`make demo` ended with status {demo.wait()} before it showed code")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(demo.pid, signal.SIGINT)
        demo.stdout.close()
        demo.wait(_END_S)
