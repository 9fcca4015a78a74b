"""How tests are spread over processes (``pytest -n``): those that share servers, pools and databases stay together.

A unit is what one process runs in one go: the tests of one file over one backend, in their usual order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.preparation import JOBS

#: As identifiers of tests begin: ``test_x[docker over attach: ...]``, ``test_y[local-0-...]``.
_BACKEND = re.compile(r"\[(local|docker with gVisor|docker over attach|docker over a Unix socket|docker|jupyter)\b")
#: Seconds that units take of one core, where they are many. Only the order depends on it: what takes long begins early,
#: so that all processes end at about the same time.
_LONG = {
    "tests/sandbox_image/test_saved_figures.py": 80,
    "tests/scenarios/test_corpus.py[docker]": 80,
    "tests/scenarios/test_corpus.py[local]": 80,
    "tests/attacks/test_attacks.py[docker over a Unix socket]": 70,
    "tests/scenarios/test_tricky.py[docker]": 60,
    "tests/attacks/test_attacks.py[local]": 50,
    "tests/scenarios/test_faults.py[docker]": 45,
    "tests/sandbox/jupyter/test_backend.py": 30,
    "tests/scenarios/test_faults.py[local]": 30,
    "tests/scenarios/test_running_differential.py": 30,
    "tests/scenarios/test_tricky.py[local]": 30,
    "tests/attacks/test_attacks.py[docker with gVisor]": 28,
    "tests/scenarios/test_openapi.py": 27,
    "tests/acceptance/test_sdks.py": 26,
    "tests/docker/test_engine_faults.py": 25,
    "tests/sandbox/test_scenarios.py[docker with gVisor]": 25,
    "tests/attacks/test_attacks.py[docker over attach]": 24,
    "tests/sandbox_image/test_fidelity.py": 21,
    "tests/acceptance/test_litellm_proxy.py": 15,
    "tests/acceptance/test_codex.py": 12,
    "tests/acceptance/test_mcp.py": 12,
}


def unit_of(nodeid: str) -> str:
    file, _, test = nodeid.partition("::")
    backend = _BACKEND.search(test)
    return f"{file}[{backend[1]}]" if backend else file


def in_order(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Units that need nothing that may still be in the making come first; then those that take long."""
    waiting = {unit_of(item.nodeid) for item in items if any(map(item.get_closest_marker, JOBS))}

    def rank(item: pytest.Item) -> tuple[bool, float]:
        unit = unit_of(item.nodeid)
        return unit in waiting, -_LONG.get(unit, 0)

    return sorted(items, key=rank)


class ByUnit(LoadScopeScheduling):
    """Gives out whole units, in the order of the collection."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)
