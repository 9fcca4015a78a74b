"""Where code runs, as the settings say: the backend of the sandboxes and their way out."""

from __future__ import annotations

from app.api.edge.auth import Keyring
from app.config import MiB, Settings
from app.errors import SandboxStartError
from app.sandbox.backend import Backend
from app.sandbox.docker.backend import DockerBackend
from app.sandbox.docker.engines import Engines
from app.sandbox.egress.exchange import EgressLimits
from app.sandbox.egress.proxy import Egress
from app.sandbox.egress.rules import Rules
from app.sandbox.jupyter.backend import JupyterBackend, Kernels
from app.sandbox.jupyter.local_kernels import LocalKernels
from app.sandbox.jupyter.server_kernels import ServerKernels
from app.sandbox.limits import SandboxLimits
from app.sandbox.local.backend import LocalBackend
from app.sandbox.local.environment import find_environment


def create_backend(settings: Settings, egress: Egress | None) -> Backend:
    """Where code runs.

    Raises:
        SandboxStartError: these settings cannot be had together.
    """
    output_limit_bytes = settings.output_limit_mb * MiB
    if settings.sandbox == "docker":
        return Engines(
            [_docker(settings, engine, egress) for engine in settings.docker_host or (None,)],
            limit=settings.docker_engine_limit,
            memory_bytes=settings.memory_mb * MiB,
        )
    if settings.sandbox == "jupyter":
        if egress is not None:
            raise SandboxStartError(
                "EAGER_EGRESS_ALLOW, EAGER_PIP_INDEX: what a Jupyter kernel reaches is not ours to decide"
            )
        return JupyterBackend(
            _kernels(settings),
            output_limit_bytes=output_limit_bytes,
            preload=settings.preload,
            start_timeout_s=settings.start_silence_s,
        )
    return LocalBackend(
        find_environment(settings.sandbox_env),
        limits=_limits(settings),
        output_limit_bytes=output_limit_bytes,
        start_timeout_s=settings.start_silence_s,
        supervisor_options=_supervisor_options(settings),
        unisolated=settings.unisolated,
        egress=egress,
        start=settings.local_start,
        zygote_per_owner=settings.zygote_per_key and bool(settings.api_keys),
    )


def create_egress(settings: Settings, keyring: Keyring) -> Egress | None:
    """A key that is added later has a way out only if there was one for anybody at the start."""
    if not settings.egress_rules and not any(caller.egress_allow for caller in keyring.callers()):
        return None

    def rules_of(owner: str) -> Rules | None:
        caller = keyring.caller(owner)
        return None if caller is None or caller.egress_allow is None else Rules.parse(caller.egress_allow)

    return Egress(
        Rules.parse(settings.egress_rules),
        limits=EgressLimits(bytes=settings.egress_limit_mb * MiB),
        rules_of=rules_of,
    )


def _docker(settings: Settings, engine: str | None, egress: Egress | None) -> DockerBackend:
    return DockerBackend(
        image=settings.docker_image,
        engine=engine,
        runtime=settings.docker_runtime,
        transport=settings.docker_transport,
        limits=_limits(settings),
        output_limit_bytes=settings.output_limit_mb * MiB,
        start_timeout_s=settings.start_silence_s,
        supervisor_options=_supervisor_options(settings),
        egress=egress,
    )


def _limits(settings: Settings) -> SandboxLimits:
    return SandboxLimits(
        memory_bytes=settings.memory_mb * MiB,
        processes=settings.processes,
        cpus=settings.cpus,
        work_bytes=settings.work_mb * MiB,
        tmp_bytes=settings.work_mb * MiB,
    )


def _supervisor_options(settings: Settings) -> list[str]:
    options = ["--preload", ",".join(settings.preload)] if settings.preload else []
    return options + (["--pip-index", settings.pip_index] if settings.pip_index else [])


def _kernels(settings: Settings) -> Kernels:
    if settings.jupyter_url is None:
        return LocalKernels(settings.jupyter_kernel, environment=settings.sandbox_env)
    token = settings.jupyter_token
    return ServerKernels(
        settings.jupyter_url, token=token.get_secret_value() if token else None, name=settings.jupyter_kernel
    )
