"""Attempts from inside, each next to a neighbour and canaries of the host; see arena.py for what is proved after each.

The attempts are data, by theme, in the modules imported here. To add one, add a line to a table.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.attacks import (
    control_channel,
    files,
    gvisor,
    kernel,
    memory_and_disk,
    neighbours,
    network,
    processes,
    results,
    zygote,
)
from tests.attacks.arena import Arena, arena
from tests.attacks.attempt import Attempt
from tests.sandbox.backends import BACKENDS

TABLES = (processes, memory_and_disk, control_channel, kernel, network, files, results, neighbours)
ATTEMPTS = [attempt for table in TABLES for attempt in table.ATTEMPTS]
#: The attach stream differs in how bytes travel, not in the sandbox at its end.
OF_THE_STREAM = [attempt for table in (control_channel, results, files) for attempt in table.ATTEMPTS]
#: gVisor is slow: by default the channel and the files, where our own code meets another kernel. EAGER_FULL=1: all.
WITH_GVISOR = [
    attempt
    for table in (TABLES if os.environ.get("EAGER_FULL") == "1" else (control_channel, files))
    for attempt in table.ATTEMPTS
    if attempt.name not in gvisor.DIFFERS
]
CASES = [
    pytest.param(backend, attempt, marks=BACKENDS[backend][1], id=f"{backend}: {attempt}")
    for backend, attempts in (
        ("local", [*ATTEMPTS, *zygote.ATTEMPTS]),
        ("docker over a Unix socket", ATTEMPTS),
        ("docker over attach", OF_THE_STREAM),
        ("docker with gVisor", WITH_GVISOR),
    )
    for attempt in attempts
]

Place = Callable[[str], Awaitable[Arena]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """The arena of a backend, until another is asked for. Not a parameter: pytest would go to and fro between them."""
    opened: dict[str, Arena] = {}
    async with AsyncExitStack() as stack:

        async def enter(backend: str) -> Arena:
            if backend not in opened:
                opened.clear()
                await stack.aclose()
                opener, _ = BACKENDS[backend]
                opened[backend] = await stack.enter_async_context(arena(opener, tmp_path_factory.mktemp("host")))
            return opened[backend]

        yield enter


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("backend", "attempt"), CASES)
async def test_nothing_outside_is_touched_and_the_pool_recovers(place: Place, backend: str, attempt: Attempt) -> None:
    await (await place(backend)).withstands(attempt)


def test_attempts_have_names_of_their_own() -> None:
    names = [attempt.name for attempt in [*ATTEMPTS, *zygote.ATTEMPTS]]
    assert len(set(names)) == len(names) >= 60
    assert set(gvisor.DIFFERS) <= set(names)
