"""The gateway over fakes: the model's server and the sandboxes are scripted, all between them is real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import openai
from fastapi import FastAPI

from app import main
from app.api.services import Services
from app.config import MiB, Settings
from app.sandbox.registry import SessionRegistry
from app.upstream.client import Upstream
from tests.fakes.upstream import FakeUpstream
from tests.fakes.worker import FakeBackend

KEYS = ('{"key": "ka", "name": "a"}', '{"key": "kb", "name": "b", "models": ["m"]}')
MAX_FILE_BYTES = 4 * MiB


@dataclass
class Served:
    app: FastAPI
    upstream: FakeUpstream
    backend: FakeBackend

    @property
    def services(self) -> Services:
        services: Services = self.app.state.services
        return services

    @property
    def registry(self) -> SessionRegistry:
        return self.services.gateway.registry

    def ask(self, upstream: Upstream | FakeUpstream) -> None:
        """From now on it is this one that the gateway asks."""
        self.app.state.services = replace(self.services, gateway=replace(self.services.gateway, upstream=upstream))

    def http(self, key: str = "ka") -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {key}"}
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://gateway", headers=headers)

    def sdk(self, key: str = "ka") -> openai.AsyncOpenAI:
        http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app))
        return openai.AsyncOpenAI(base_url="http://gateway/v1", api_key=key, max_retries=0, http_client=http)


@asynccontextmanager
async def served(folder: Path, **settings: Any) -> AsyncIterator[Served]:
    """``folder`` keeps what outlives the process."""
    upstream, backend = FakeUpstream(), FakeBackend()
    given = {"api_keys": KEYS, "pool_size": 1, "sandbox_limit": 8, "session_limit": 4, "turn_limit": 4, **settings}
    app = main.create_app(Settings(data_dir=folder, max_upload_mb=MAX_FILE_BYTES // MiB, **given))
    with patch.object(main, "create_backend", lambda settings, egress: backend):
        async with app.router.lifespan_context(app):
            gateway = Served(app, upstream, backend)
            gateway.ask(upstream)
            while not backend.workers:  # tests tell those that are there what to do
                await asyncio.sleep(0)
            yield gateway
