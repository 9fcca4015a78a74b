"""Whole requests over HTTP: real gateway, replay upstream, real sandboxes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.backends import require_backend
from tests.scenarios.servers import eager

CORPUS = "tests/corpus"
#: What most programs of the corpus import. A container imports for itself alone, what comes with the default takes as
#: long again, and the programs that want it import it themselves; local sandboxes have the default, by their zygote.
PRELOAD = {"docker": {"EAGER_PRELOAD": "numpy,pandas,matplotlib.pyplot"}, "local": {}}


@pytest.fixture(scope="package")
def upstream_url() -> Iterator[str]:
    with eager("upstream", "--corpus", CORPUS, "--tps", "0") as server:
        yield server.url


@pytest.fixture(
    scope="package", params=[pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("local", "docker")]
)
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    require_backend(name)
    return name


@pytest.fixture(scope="package")
def gateway_url(backend: str, upstream_url: str) -> Iterator[str]:
    with eager(
        "serve",
        EAGER_UPSTREAM_BASE_URL=f"{upstream_url}/v1",
        EAGER_SANDBOX=backend,
        EAGER_SANDBOX_LIMIT="12",
        EAGER_SESSION_LIMIT="10",
        EAGER_POOL_SIZE="3",
        EAGER_CHECKOUT_TIMEOUT_S="110",
        **PRELOAD[backend],
    ) as server:
        yield server.url


@pytest.fixture
async def gateway(gateway_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway_url, timeout=120) as client:
        yield client


@pytest.fixture
async def upstream(upstream_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """The replay upstream's own record of what it sent."""
    async with httpx.AsyncClient(base_url=upstream_url, timeout=30) as client:
        yield client
