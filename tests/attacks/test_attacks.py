"""Attempts from inside, each next to a neighbour and canaries of the host; see arena.py for what is proved after each.

The attempts are data, by theme, in the modules imported here. To add one, add a line to a table.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.attacks import (
    control_channel,
    files,
    kernel,
    memory_and_disk,
    neighbours,
    network,
    processes,
    results,
)
from tests.attacks.arena import Arena, arena
from tests.attacks.attempt import Attempt
from tests.sandbox.backends import BACKENDS

#: The attach stream differs in how bytes travel, not in the sandbox at its end.
TABLES = (processes, memory_and_disk, control_channel, kernel, network, files, results, neighbours)
ATTEMPTS = [attempt for table in TABLES for attempt in table.ATTEMPTS]
OF_THE_STREAM = [attempt for table in (control_channel, results, files) for attempt in table.ATTEMPTS]
CASES = [
    pytest.param(backend, attempt, marks=mark, id=f"{backend}: {attempt}")
    for backend, (_, mark) in BACKENDS.items()
    for attempt in (OF_THE_STREAM if backend == "docker over attach" else ATTEMPTS)
]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Arena]:
    async with arena(BACKENDS[request.param][0], tmp_path_factory.mktemp("host")) as opened:
        yield opened


@pytest.mark.parametrize(("place", "attempt"), CASES, indirect=["place"], scope="module")
async def test_nothing_outside_is_touched_and_the_pool_recovers(place: Arena, attempt: Attempt) -> None:
    await place.withstands(attempt)


def test_attempts_have_names_of_their_own() -> None:
    names = [attempt.name for attempt in ATTEMPTS]
    assert len(set(names)) == len(names) >= 60
