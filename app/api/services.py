"""What lives as long as the application, and what routes work with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, FastAPI
from starlette.requests import HTTPConnection
from starlette.types import Scope

from app.api.edge.limits import Admission
from app.api.edge.open_requests import OpenRequests
from app.api.metrics import Metrics
from app.containers.host import ContainerHost
from app.gateway import Gateway
from app.store.blobs import BlobStore
from app.store.database import Store


@dataclass(frozen=True, kw_only=True)
class Services:
    """
    Attributes:
        max_file_bytes: limit of one file, uploaded or read from a sandbox.
        deployment_key: what this deployment signs with.
    """

    gateway: Gateway
    store: Store
    blobs: BlobStore
    containers: ContainerHost
    metrics: Metrics
    admission: Admission
    open_requests: OpenRequests
    max_file_bytes: int
    deployment_key: bytes = field(repr=False)


def services_of(scope: Scope) -> Services:
    """Of the application that serves this ASGI scope."""
    services: Services = scope["app"].state.services
    return services


async def _services(connection: HTTPConnection) -> Services:
    """FastAPI dependency; ``async`` since others are run in a thread."""
    return services_of(connection.scope)


#: The parameter of a route that works with them.
InjectedServices = Annotated[Services, Depends(_services)]


def end_requests(app: FastAPI) -> None:
    """End the open requests of ``app``. One that is no gateway, or has not started, has none to end."""
    services: Services | None = getattr(app.state, "services", None)
    if services is not None:
        services.open_requests.end()
