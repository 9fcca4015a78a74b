from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from app.sandbox.pool import Pool
from tests.sandbox.backends import BACKENDS, HARMLESS, NOT_WITH_GVISOR, SharedPool


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[pytest.param(name, marks=mark) for name, (_, mark) in BACKENDS.items()],
)
async def shared_pool(request: pytest.FixtureRequest) -> AsyncIterator[SharedPool]:
    """Of each real backend in turn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EAGER_TEST_SECRET", "hunter2")  # which no sandbox may see
        opener, _ = BACKENDS[request.param]
        async with SharedPool.open(opener) as shared:
            yield shared


@pytest_asyncio.fixture(loop_scope="module")
async def pool(request: pytest.FixtureRequest, shared_pool: SharedPool) -> AsyncIterator[Pool]:
    """For one scenario, on the loop of its module. Afterwards it serves on, and nothing is left."""
    backend, scenario = request.node.callspec.params["shared_pool"], request.node.originalname
    if backend == "jupyter" and scenario not in HARMLESS:
        pytest.skip("a kernel isolates and limits nothing")
    if backend == "docker with gVisor" and scenario in NOT_WITH_GVISOR:
        pytest.skip(NOT_WITH_GVISOR[scenario])
    yield shared_pool.pool
    await shared_pool.settle()
