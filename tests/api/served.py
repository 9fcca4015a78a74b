"""The gateway's routes over fakes: the model's server and the sandboxes are scripted, all between them is real."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
from fastapi import Depends, FastAPI

from app.api import files, push, session_files, sessions
from app.api.auth import AuthMiddleware, Keyring, authenticate
from app.api.containers import files as container_files
from app.api.containers import routes as containers
from app.api.containers.host import Containers
from app.api.errors import install
from app.api.limits import Admission, admitted
from app.api.responses import create, stored
from app.extraction.names import CODE_TOOLS
from app.gateway import Gateway
from app.sandbox.pool import Pool
from app.sandbox.registry import SessionRegistry
from app.store.blobs import BlobStore
from app.store.database import open_store
from tests.fakes.upstream import FakeUpstream
from tests.fakes.worker import FakeBackend

KEYS = ['{"key": "ka", "name": "a"}', '{"key": "kb", "name": "b", "models": ["m"]}']
MAX_FILE_BYTES = 4 * 1024 * 1024


@dataclass
class Served:
    app: FastAPI
    upstream: FakeUpstream
    backend: FakeBackend
    registry: SessionRegistry

    def http(self, key: str = "ka") -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {key}"}
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://gateway", headers=headers)

    def sdk(self, key: str = "ka") -> openai.AsyncOpenAI:
        http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app))
        return openai.AsyncOpenAI(base_url="http://gateway/v1", api_key=key, max_retries=0, http_client=http)


@asynccontextmanager
async def served(
    folder: Path, *, session_limit: int = 4, sandbox_limit: int = 8, gateway: str = "here", idle_s: float = 1200
) -> AsyncIterator[Served]:
    """``folder`` keeps what outlives the process."""
    app = FastAPI()
    install(app)
    app.state.keyring = Keyring(KEYS)
    app.state.max_file_bytes = MAX_FILE_BYTES
    app.state.admission = Admission(limit=8, queue_limit=8, wait_s=1)
    app.add_middleware(AuthMiddleware, keyring=app.state.keyring)
    app.include_router(push.router)
    for module in (sessions, session_files, files, create, stored, containers, container_files):
        app.include_router(module.router, dependencies=[Depends(authenticate), Depends(admitted)])
    upstream, backend = FakeUpstream(), FakeBackend()
    app.state.blobs = BlobStore(str(folder / "files"))
    await app.state.blobs.prepare()
    async with (
        open_store(f"sqlite+aiosqlite:///{folder}/eager.db") as app.state.store,
        Pool(backend, warm=1, limit=sandbox_limit) as pool,  # type: ignore[arg-type]
        SessionRegistry(pool, limit=session_limit, idle_s=idle_s) as registry,
    ):
        await app.state.store.containers.expire_all_of(gateway)
        app.state.gateway = Gateway(
            upstream=upstream,  # type: ignore[arg-type]
            pool=pool,
            isolation="none",
            registry=registry,
            gate="permissive",
            tools=CODE_TOOLS,
            timeout_s=60,
            turn_limit=4,
            checkout_timeout_s=5,
            pass_authorization=False,
        )
        app.state.containers = Containers(
            store=app.state.store,
            blobs=app.state.blobs,
            registry=registry,
            gateway=gateway,
            checkout_timeout_s=5,
        )
        yield Served(app, upstream, backend, registry)
