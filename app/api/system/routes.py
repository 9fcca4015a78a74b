"""Health, readiness, metrics, and the upstream's models."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response

from app.api.aliases import with_aliases
from app.api.edge.auth import AuthenticatedCaller, Caller
from app.api.options import forwarded_headers
from app.api.services import InjectedServices
from app.errors import RequestError
from app.gateway import Gateway

#: For probes and Prometheus: no key.
open_router = APIRouter()
router = APIRouter()


@open_router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@open_router.get("/readyz")
async def readyz(services: InjectedServices) -> JSONResponse:
    """A sandbox has answered (each was made to, before it was put in the pool) and an upstream is configured. Where the
    last one has just been used up, the next one may be on its way, as long as none has failed to start."""
    gateway = services.gateway
    statistics = gateway.pool.statistics()
    sandbox = statistics.warm + statistics.busy > 0 or (statistics.started > 0 and gateway.pool.last_error is None)
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


@open_router.get("/metrics", include_in_schema=False)
async def metrics(services: InjectedServices) -> Response:
    """In Prometheus' format."""
    return Response(generate_latest(services.metrics.registry), headers={"content-type": CONTENT_TYPE_LATEST})


@router.get("/v1/models")
async def list_models(request: Request, caller: AuthenticatedCaller, services: InjectedServices) -> JSONResponse:
    """The upstream's list, and of each model its alias (``EAGER_MODEL_SUFFIX``)."""
    models = await _models(request, caller, services.gateway)
    return JSONResponse(with_aliases(models, services.gateway.model_suffix))


@router.get("/v1/models/{model:path}")
async def get_model(
    request: Request, caller: AuthenticatedCaller, services: InjectedServices, model: str
) -> JSONResponse:
    """One of the upstream's list. Names may have slashes; not every upstream tells of one model by itself."""
    models = with_aliases(await _models(request, caller, services.gateway), services.gateway.model_suffix)
    listed = models.get("data") if isinstance(models, dict) else None
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict) and entry.get("id") == model:
            return JSONResponse(entry)
    raise RequestError(f"The model '{model}' does not exist.", param="model", code="model_not_found", status=404)


async def _models(request: Request, caller: Caller, gateway: Gateway) -> Any:
    """Those of the upstream's that the caller may use."""
    models = await gateway.require_upstream().models(forwarded_headers(gateway, request.headers))
    listed = models.get("data") if isinstance(models, dict) else None
    if caller.models is None or not isinstance(listed, list):
        return models
    return {
        **models,
        "data": [entry for entry in listed if isinstance(entry, dict) and caller.may_use(str(entry.get("id")))],
    }
