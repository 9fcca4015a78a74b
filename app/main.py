"""Builds the gateway: settings in, ASGI application out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from importlib import metadata
from typing import NoReturn

from fastapi import FastAPI
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from starlette.middleware.cors import CORSMiddleware

from app.api.chat import routes as chat
from app.api.containers import file_routes as container_files
from app.api.containers import routes as containers
from app.api.eager import push
from app.api.eager import routes as eager
from app.api.edge import errors
from app.api.edge.auth import AuthMiddleware, Keyring
from app.api.edge.body_limit import BodyLimitMiddleware
from app.api.edge.key_file import keys_followed
from app.api.edge.limits import Admission, AdmissionMiddleware
from app.api.edge.meter import Meter
from app.api.edge.open_requests import OpenRequests, ShutdownMiddleware
from app.api.edge.origins import EXPOSED_HEADERS, OriginMiddleware, Origins
from app.api.edge.request_id import RequestIdMiddleware
from app.api.edge.wrong_keys import WrongKeys
from app.api.files import routes as files
from app.api.mcp import routes as mcp
from app.api.metrics import Metrics
from app.api.passed_on import routes as passed_on
from app.api.responses import create as responses
from app.api.responses import stored, unavailable
from app.api.services import Services
from app.api.sessions import file_routes as session_files
from app.api.sessions import routes as sessions
from app.api.shared import links as shared_links
from app.api.shared import routes as shared
from app.api.system import routes as system
from app.api.tools import code_tool_names
from app.audit import Audit
from app.backends import create_backend, create_egress
from app.config import MiB, Settings
from app.containers.host import ContainerHost
from app.errors import EagerError, StorageError
from app.gateway import Gateway
from app.instance import Instance
from app.sandbox.docker.engines import Engines
from app.sandbox.local.backend import LocalBackend
from app.sandbox.pool import Pool
from app.sandbox.registry import SessionRegistry
from app.sandbox.starts import Starts, machine_is_short
from app.store.blobs import BlobStore
from app.store.database import Store, open_store
from app.store.deployment_key import deployment_key
from app.store.quota import Quota
from app.upstream.allowance import AnswerLimits
from app.upstream.client import Upstream
from app.watchdog import LoopWatchdog

log = logging.getLogger(__name__)

#: A form around an uploaded file takes this much more.
FORM_OVERHEAD_BYTES = 64 * 1024
PURGE_EVERY_S = 3600.0
#: Most sandboxes by default, where they are not processes of this machine.
SANDBOX_LIMIT = 16
#: Most sessions of a key by default, unless half of the sandboxes are more.
SESSION_LIMIT = 8


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application. Sandboxes and connections are opened by its lifespan, and closed by it."""
    settings = settings or Settings()
    wrong = WrongKeys(settings.wrong_keys_per_minute)
    keyring = Keyring(settings.api_keys, closed=not settings.is_open, wrong=wrong)
    open_requests = OpenRequests()
    audit = Audit(settings.data_dir / "audit", backend=settings.sandbox, days=settings.audit_days)
    admission = Admission(
        limit=settings.request_limit,
        queue_limit=settings.request_limit,
        wait_s=settings.queue_timeout_s,
        fraction=keyring.fraction,
        meter=Meter(on_execution=audit.note),
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as opened:
            with _failing_with_name_of("EAGER_API_KEYS_FILE"):
                await opened.enter_async_context(
                    keys_followed(settings.api_keys_file, keyring, configured=settings.api_keys)
                )
            with _failing_with_name_of("EAGER_DATA_DIR"):
                await opened.enter_async_context(audit.kept())
            services = _open_services(settings, keyring, audit, admission, open_requests)
            app.state.services = await opened.enter_async_context(services)
            yield

    # A redirection names scheme, host and path as we see them: behind a proxy it would lead to plain HTTP, or astray.
    app = FastAPI(title="Eager", version=metadata.version("eager"), lifespan=lifespan, redirect_slashes=False)
    errors.install(app)
    app.add_middleware(
        BodyLimitMiddleware,
        max_bytes=settings.max_body_mb * MiB,
        max_upload_bytes=settings.max_upload_mb * MiB + FORM_OVERHEAD_BYTES,
        timeout_s=settings.body_timeout_s,
    )
    app.add_middleware(AdmissionMiddleware, admission=admission)
    app.add_middleware(AuthMiddleware, keyring=keyring)
    app.add_middleware(OriginMiddleware, origins=Origins(settings.cors_origins, open=settings.is_open))
    app.add_middleware(ShutdownMiddleware, open_requests=open_requests)
    app.add_middleware(RequestIdMiddleware)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
        )
    _include_routes(app)
    return app


def _include_routes(app: FastAPI) -> None:
    app.include_router(system.open_router)
    app.include_router(shared.open_router)
    app.include_router(unavailable.router)
    for module in (
        system,
        shared,
        eager,
        push,
        chat,
        mcp,
        passed_on,
        sessions,
        session_files,
        files,
        responses,
        stored,
        containers,
        container_files,
    ):
        app.include_router(module.router)


@asynccontextmanager
async def _open_services(
    settings: Settings, keyring: Keyring, audit: Audit, admission: Admission, open_requests: OpenRequests
) -> AsyncIterator[Services]:
    async with AsyncExitStack() as opened:
        with _failing_with_name_of("EAGER_FILES_URL" if settings.files_url else "EAGER_DATA_DIR"):
            blobs = BlobStore(settings.files_url or str(settings.data_dir / "files"))
            await blobs.prepare()
        with _failing_with_name_of(settings.database_setting):
            store = await opened.enter_async_context(open_store(settings.database, quota=_quota(settings, keyring)))
        with _failing_with_name_of(settings.database_setting):
            instance = Instance(store)
            await opened.enter_async_context(instance.alive())
        gateway = await opened.enter_async_context(_open_gateway(settings, instance, keyring))
        secret = settings.secret_key.get_secret_value() if settings.secret_key else None
        with _failing_with_name_of("EAGER_DATA_DIR"):
            key = deployment_key(secret, settings.data_dir)
        metrics = Metrics(gateway, admission)
        opened.enter_context(LoopWatchdog(settings.slow_step_ms / 1e3, metrics.observe_lag))
        containers = ContainerHost(
            store=store,
            blobs=blobs,
            registry=gateway.registry,
            instance=instance,
            checkout_timeout_s=settings.checkout_timeout_s,
        )
        async with asyncio.TaskGroup() as tasks:
            housekeeping = (
                tasks.create_task(_purge_now_and_then(store, blobs, audit)),
                tasks.create_task(instance.keep_alive(gateway.registry)),
            )
            yield Services(
                gateway=gateway,
                store=store,
                blobs=blobs,
                containers=containers,
                metrics=metrics,
                admission=admission,
                open_requests=open_requests,
                max_file_bytes=settings.max_upload_mb * MiB,
                deployment_key=key,
            )
            for each in housekeeping:
                each.cancel()


@contextmanager
def _failing_with_name_of(setting: str) -> Iterator[None]:
    """If something cannot be opened, the start ends with one sentence that names the setting."""
    try:
        yield
    except (StorageError, OSError, ValueError, ImportError, SQLAlchemyError) as error:
        reason = error.__cause__ if isinstance(error, StorageError) else error
        if isinstance(reason, DBAPIError):
            reason = reason.orig  # without a link to SQLAlchemy's manual
        raise EagerError(f"{setting}: {reason}") from error


async def _purge_now_and_then(store: Store, blobs: BlobStore, audit: Audit) -> NoReturn:
    """What has expired is removed at the start and every hour. A store that is away for a while stops nothing."""
    while True:
        with suppress(StorageError):  # which has been logged
            await store.purge()
            await files.purge_files(store, blobs)
            await shared_links.purge_shared(store, blobs)
        with suppress(OSError):
            await audit.purge()
        await asyncio.sleep(PURGE_EVERY_S)


@asynccontextmanager
async def _open_gateway(settings: Settings, instance: Instance, keyring: Keyring) -> AsyncIterator[Gateway]:
    egress = create_egress(settings, keyring)
    backend = create_backend(settings, egress)
    if isinstance(backend, LocalBackend):
        await backend.check()
    engines = backend if isinstance(backend, Engines) else None
    upstream = _upstream(settings)
    log.info("sandboxes: %s", backend.describe())
    limit = settings.sandbox_limit or (backend.room if isinstance(backend, LocalBackend) else SANDBOX_LIMIT)
    async with (
        Pool(
            backend,
            warm=min(settings.pool_size, limit),
            limit=limit,
            forking=backend if isinstance(backend, LocalBackend) else None,
            has_room=engines.has_room if engines else lambda: True,
            fraction=keyring.fraction,
            on_handover=egress.assign if egress else lambda sandbox, owner: None,
            starts=Starts(is_short=machine_is_short),
            patience_s=settings.start_silence_s,
        ) as pool,
        SessionRegistry(
            pool,
            limit=settings.session_limit or max(SESSION_LIMIT, limit // 2),
            idle_s=settings.session_idle_s,
            directory=instance,
        ) as registry,
    ):
        if engines is not None:
            engines.on_room = pool.look_again
        try:
            yield Gateway(
                upstream=upstream,
                pool=pool,
                engines=engines,
                egress=egress,
                isolation=backend.describe(),
                registry=registry,
                instance=instance,
                gate=settings.gate_policy,
                tools=code_tool_names(settings.code_tools or None),
                timeout_s=settings.timeout_s,
                turn_limit=settings.turn_limit,
                max_repairs=settings.max_repairs,
                sources=frozenset(settings.sources),
                events=settings.events,
                render=settings.render,
                code_tool=settings.code_tool,
                hosted_tools=settings.hosted_tools,
                pass_on=frozenset(settings.pass_on),
                hint=settings.hint,
                model_suffix=settings.model_suffix,
                public_url=settings.public_url.rstrip("/") if settings.public_url else None,
                shared_s=settings.shared_s,
                checkout_timeout_s=settings.checkout_timeout_s,
                pass_authorization=settings.pass_authorization,
            )
        finally:
            if upstream is not None:
                await upstream.aclose()
            if egress is not None:
                egress.close()


def _upstream(settings: Settings) -> Upstream | None:
    if settings.upstream_base_url is None:
        return None
    key = settings.upstream_api_key
    return Upstream(
        settings.upstream_base_url,
        api_key=key.get_secret_value() if key else None,
        first_byte_timeout_s=settings.upstream_first_byte_timeout_s,
        idle_timeout_s=settings.upstream_idle_timeout_s,
        limits=AnswerLimits(
            bytes=settings.upstream_answer_mb * MiB,
            events=settings.upstream_answer_events,
            seconds=settings.upstream_answer_timeout_s,
            silence_s=settings.upstream_silence_timeout_s,
        ),
    )


def _quota(settings: Settings, keyring: Keyring) -> Quota:
    def own_limit(owner: str) -> int | None:
        caller = keyring.caller(owner)
        return None if caller is None or caller.stored_mb is None else caller.stored_mb * MiB

    return Quota(limit_bytes=settings.stored_mb * MiB, fraction=keyring.fraction, own_limit=own_limit)
