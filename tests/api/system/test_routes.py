"""Readiness, and the upstream's models."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openai
import pytest

from app.api.system.routes import readyz
from app.sandbox.pool import PoolStatistics
from tests.api.served import Served, served

MODELS = [{"id": name, "object": "model", "created": 1, "owned_by": "x"} for name in ("m", "org/m:free")]


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as gateway:
        gateway.upstream.model_list = {"object": "list", "data": MODELS}
        yield gateway


POOL = PoolStatistics(
    warm=0, starting=2, busy=0, closing=1, waiting=0, started=0, failed_starts=0, died_warm=0, checked_out=0,
    timed_out=0, discarded=0, checkout_s=0.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("pool", "last_error", "status"),
    [
        (POOL, None, 503),
        (replace(POOL, warm=1), "no room for the other one", 200),
        (replace(POOL, busy=1), None, 200),
        (replace(POOL, started=9), None, 200),
        (replace(POOL, started=9), "the engine is away", 503),
    ],
    ids=["at the start", "one is warm", "one is busy", "all are used up", "none can be started any more"],
)
async def test_a_gateway_is_ready_as_long_as_sandboxes_can_be_had(
    pool: PoolStatistics, last_error: str | None, status: int
) -> None:
    parts = SimpleNamespace(
        pool=SimpleNamespace(statistics=lambda: pool, last_error=last_error), upstream=1, engines=None, isolation=""
    )
    services: Any = SimpleNamespace(gateway=parts)
    assert (await readyz(services)).status_code == status


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model["id"])
async def test_a_model_is_found_by_its_name(gateway: Served, model: dict[str, Any]) -> None:
    found = await gateway.sdk().models.retrieve(model["id"])
    assert found.model_dump(exclude_unset=True) == model


async def test_a_name_may_be_sent_with_its_slashes_as_they_are(gateway: Served) -> None:
    async with gateway.http() as http:
        assert (await http.get("/v1/models/org/m:free")).json() == MODELS[1]


async def test_all_models_are_listed(gateway: Served) -> None:
    assert [model.id async for model in gateway.sdk().models.list()] == [
        "m",
        "m:eager",
        "org/m:free",
        "org/m:free:eager",
    ]


@pytest.mark.parametrize("models", [{"object": "list", "data": MODELS}, {"data": None}, {"data": ["x", None]}, []])
async def test_a_model_that_is_not_listed_is_not_found(gateway: Served, models: Any) -> None:
    gateway.upstream.model_list = models
    with pytest.raises(openai.NotFoundError) as error:
        await gateway.sdk().models.retrieve("x")
    assert (error.value.code, error.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/m"])
@pytest.mark.parametrize(("passed_on", "headers"), [(True, {"authorization": "Bearer ka"}), (False, {})])
async def test_the_clients_key_is_passed_on_only_where_that_is_set(
    tmp_path: Path, path: str, passed_on: bool, headers: dict[str, str]
) -> None:
    async with served(tmp_path, pass_authorization=passed_on) as gateway:
        gateway.upstream.model_list = {"object": "list", "data": MODELS}
        async with gateway.http() as http:
            assert (await http.get(path)).status_code == 200
        assert gateway.upstream.headers == headers


async def test_a_key_for_some_models_is_shown_those(gateway: Served) -> None:
    assert [model.id async for model in gateway.sdk("kb").models.list()] == ["m", "m:eager"]
