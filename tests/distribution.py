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
    "tests/attacks/test_attacks.py[docker over a Unix socket]": 100,
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
