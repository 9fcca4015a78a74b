"""A real gateway over a scripted upstream, spoken to as any client would."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.acceptance.upstream import Upstream, running
from tests.backends import require_backend
from tests.scenarios.servers import eager


@pytest.fixture(scope="package")
def _upstream() -> Iterator[Upstream]:
    with running() as upstream:
        yield upstream


@pytest.fixture
def upstream(_upstream: Upstream) -> Upstream:
    """Remembers only what this test has asked."""
    _upstream.asked.clear()
    return _upstream


@pytest.fixture(scope="package")
def gateway_url(_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require_backend("local")
    data: Path = tmp_path_factory.mktemp("gateway")
    with eager(
        "serve",
        EAGER_UPSTREAM_BASE_URL=_upstream.url,
        EAGER_UPSTREAM_API_KEY="upstream-key",
        EAGER_API_KEYS="client-key",
        EAGER_PRELOAD="",
        EAGER_DATA_DIR=str(data),
        EAGER_CHECKOUT_TIMEOUT_S="60",
    ) as server:
        yield server.url


@pytest.fixture
async def gateway(gateway_url: str, upstream: Upstream) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": "Bearer client-key"}
    async with httpx.AsyncClient(base_url=gateway_url, headers=headers, timeout=60) as client:
        yield client
