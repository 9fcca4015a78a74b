"""Health, readiness, metrics, and the upstream's models."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from app.gateway import Gateway

#: For probes: no key.
open_router = APIRouter()
router = APIRouter()


@open_router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@open_router.get("/readyz")
async def readyz(request: Request) -> JSONResponse:
    """A sandbox has answered (each was made to, before it was put in the pool) and an upstream is configured."""
    gateway: Gateway = request.app.state.gateway
    statistics = gateway.pool.statistics()
    sandbox = statistics.warm + statistics.busy > 0
    upstream = gateway.upstream is not None
    document = {
        "ready": sandbox and upstream,
        "sandbox": sandbox,
        "upstream": upstream,
        "isolation": gateway.isolation,
        "last_error": gateway.pool.last_error,
        "pool": asdict(statistics),
        "engines": [asdict(engine) for engine in gateway.engines.statistics()] if gateway.engines else [],
    }
    return JSONResponse(document, status_code=200 if sandbox and upstream else 503)


@router.get("/v1/models")
async def list_models(request: Request) -> JSONResponse:
    """The upstream's list."""
    gateway: Gateway = request.app.state.gateway
    models: dict[str, Any] = await gateway.require_upstream().models()
    return JSONResponse(models)
