"""The real backends that the scenarios run over, each with the proof that it leaves nothing behind.

To add one: a function like ``open_local`` and a line in ``BACKENDS``.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Self

import docker
import pytest

from app.sandbox.backend import Backend
from app.sandbox.docker.backend import GATEWAY_LABEL, DockerBackend
from app.sandbox.docker.users import SHARED_UID, Users
from app.sandbox.jupyter.backend import JupyterBackend
from app.sandbox.jupyter.local_kernels import LocalKernels
from app.sandbox.limits import SandboxLimits
from app.sandbox.local.backend import LocalBackend
from app.sandbox.local.environment import inspect_python
from app.sandbox.pool import Pool, PoolStatistics
from app.sandbox.worker.worker import Worker
from tests.backends import SANDBOX_ENV, SANDBOX_IMAGE, require_backend
from tests.sandbox.fakes import Recorder, chunks_of, run
from tests.sandbox.processes import children, said_of

#: Small, so that bombs go off quickly.
MEMORY_BYTES = 256 << 20
PROCESSES = 40
OUTPUT_LIMIT_BYTES = 1 << 30


@dataclass(frozen=True)
class Opened:
    """``leftovers`` names what is still there after everything was closed."""

    backend: Backend
    leftovers: Callable[[], set[str]]


#: A backend starts and ends them as it likes, as long as it is open.
_ZYGOTE = "zygote"
_GROUP = f"eager-{os.getpid()}"

Opener = Callable[[], AbstractAsyncContextManager[Opened]]


@asynccontextmanager
async def open_local() -> AsyncIterator[Opened]:
    python = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
    limits = SandboxLimits(
        memory_bytes=MEMORY_BYTES, processes=PROCESSES, work_bytes=32 << 20, tmp_bytes=16 << 20, shared_bytes=16 << 20
    )
    backend = LocalBackend(inspect_python(python), limits=limits, output_limit_bytes=OUTPUT_LIMIT_BYTES)
    try:
        yield Opened(backend, _since(_of_this_process()))
    finally:
        await backend.close()


def _since(before: dict[str, str]) -> Callable[[], set[str]]:
    return lambda: {what for which, what in _of_this_process().items() if which not in before}


def _of_this_process() -> dict[str, str]:
    """Its children, what its zygotes have forked, and its cgroups. A process is the same whatever it runs."""
    groups = os.walk("/sys/fs/cgroup")  # of others some come and go
    paths = {os.path.join(folder, name) for folder, names, _ in groups for name in names if name == _GROUP}
    found = {path: path for path in paths}
    for pid in children(os.getpid()):
        command = said_of(pid, "cmdline")
        is_zygote = b"/zygote.py" in command
        found[f"process {pid}"] = f"{_ZYGOTE if is_zygote else 'process'} {pid}: {command[:80]!r}"
        if is_zygote:
            forks = {fork for zygote in children(pid) for fork in children(zygote)}
            found |= {f"process {fork}": f"fork {fork}" for fork in forks}
    return found


@asynccontextmanager
async def open_docker(transport: Literal["unix", "attach"], runtime: str | None = None) -> AsyncIterator[Opened]:
    require_backend("gvisor" if runtime == "runsc" else "docker")
    backend = DockerBackend(
        image=SANDBOX_IMAGE,
        runtime=runtime,
        transport=transport,
        limits=SandboxLimits(
            memory_bytes=MEMORY_BYTES,
            processes=PROCESSES,
            work_bytes=32 << 20,
            tmp_bytes=16 << 20,
            shared_bytes=16 << 20,
        ),
        output_limit_bytes=OUTPUT_LIMIT_BYTES,
        users=Users(range(SHARED_UID, SHARED_UID + 10), first=SHARED_UID),  # the canaries of the attacks have the first
    )
    yield Opened(backend, lambda: _docker_leftovers(backend.instance))


def _docker_leftovers(instance: str) -> set[str]:
    client = docker.from_env(timeout=10)
    try:
        found = client.containers.list(all=True, filters={"label": f"{GATEWAY_LABEL}={instance}"}, ignore_removed=True)
        folders = Path(tempfile.gettempdir()).glob(f"eager-sockets-{os.getpid()}-*")
        return {f"container {container.name}" for container in found} | set(map(str, folders))
    finally:
        client.close()


@asynccontextmanager
async def open_jupyter() -> AsyncIterator[Opened]:
    require_backend("jupyter")
    kernels = LocalKernels("python3", environment=SANDBOX_ENV.parents[1])
    processes = _since(_of_this_process())

    def leftovers() -> set[str]:
        folders = Path(tempfile.gettempdir()).glob(f"eager-kernel-{os.getpid()}-*")
        return processes() | set(map(str, folders))

    yield Opened(JupyterBackend(kernels, output_limit_bytes=OUTPUT_LIMIT_BYTES), leftovers)


#: A kernel isolates nothing, so only these run over one, each looked at: code that is harmless where it runs as us.
HARMLESS = frozenset(
    {
        "test_names_stay_from_execution_to_execution",
        "test_the_first_program_of_a_sandbox_is_main_py_in_an_empty_folder",
        "test_a_module_of_the_program_is_found_before_a_library_and_from_another_folder",
        "test_two_sessions_do_not_see_each_other",
        "test_output_comes_while_the_code_runs",
        "test_the_value_of_the_last_expression_is_the_result",
        "test_an_error_names_its_chunk_and_line_and_the_session_goes_on",
        "test_sys_exit_ends_the_block_and_not_the_session",
        "test_an_endless_loop_is_interrupted_at_its_deadline",
        "test_code_that_cannot_be_interrupted_is_killed_and_the_session_says_so",
        "test_code_that_stops_itself_is_stopped_at_its_deadline",
        "test_a_cancelled_execution_leaves_a_usable_session",
        "test_a_checkout_left_while_code_runs_ends_the_code",
        "test_a_sandbox_closed_under_running_code_is_gone",
        "test_files_go_in_and_out",
        "test_output_of_a_thread_that_outlives_its_execution_comes_with_the_next",
    }
)

#: And why. What gVisor does there instead is in tests/docker/test_gvisor.py.
NOT_WITH_GVISOR = {
    "test_a_memory_bomb_hits_the_limit": "the kernel ends all of the sandbox when its memory runs out",
    "test_a_fork_bomb_hits_the_limit_and_is_gone_after_a_reset": "the limit of processes ends all of the sandbox",
    "test_an_interpreter_that_dies_or_hangs_is_replaced_by_its_copy": "one of them is a fork bomb",
    "test_there_are_no_namespaces_to_be_had": "they are its own kernel's, and lead nowhere",
    "test_nothing_is_told_of_the_supervisor": "its /proc shows everybody's environment and maps to everybody",
}

BACKENDS: dict[str, tuple[Opener, pytest.MarkDecorator]] = {
    "local": (open_local, pytest.mark.local),
    "docker over a Unix socket": (partial(open_docker, "unix"), pytest.mark.docker),
    "docker over attach": (partial(open_docker, "attach"), pytest.mark.docker),
    "docker with gVisor": (partial(open_docker, "attach", "runsc"), pytest.mark.docker),
    "jupyter": (open_jupyter, pytest.mark.jupyter),
}


class SharedPool:
    """One pool for scenario after scenario. After each it has to serve on, and to leave nothing: ``settle``."""

    def __init__(self, pool: Pool, opened: Opened) -> None:
        self.pool = pool
        self._opened = opened
        self._at_rest: int | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, opener: Opener) -> AsyncIterator[Self]:
        with leaves_no_descriptor():
            async with opener() as opened:
                async with Pool(opened.backend, warm=1, limit=3) as pool:
                    shared = cls(pool, opened)
                    await shared.settle()
                    yield shared
                    async with pool.checkout(60) as worker:
                        assert await printed(worker, "print(6 * 7)\n") == "42\n"
                assert opened.leftovers() == set()

    async def settle(self) -> None:
        """Until all there is is one sandbox on the shelf, started since the last was taken, which has run a line."""
        async with asyncio.timeout(60):
            while _at_work(self.pool.statistics()):
                await asyncio.sleep(0.005)
        left = {each for each in self._opened.leftovers() if not each.startswith(_ZYGOTE)}
        self._at_rest = self._at_rest or len(left)
        assert len(left) == self._at_rest, left


def _at_work(state: PoolStatistics) -> bool:
    return (state.warm, state.starting, state.busy, state.closing, state.waiting) != (1, 0, 0, 0, 0)


@asynccontextmanager
async def scenario(opener: Opener) -> AsyncIterator[Pool]:
    """A pool for one scenario, which has to serve on afterwards, and to leave nothing."""
    async with SharedPool.open(opener) as shared:
        yield shared.pool
        await shared.settle()


async def printed(worker: Worker, source: str) -> str:
    """What code that ends well writes to stdout."""
    sink = Recorder()
    execution = await run(worker, chunks_of(source), sink, timeout_s=60)
    assert execution.status == "ok", (execution, sink.text("stderr"))
    return sink.text()


@contextmanager
def leaves_nothing() -> Iterator[None]:
    """Neither process nor cgroup nor descriptor."""
    leftovers = _since(_of_this_process())
    with leaves_no_descriptor():
        yield
        assert leftovers() == set()


@contextmanager
def leaves_no_descriptor() -> Iterator[None]:
    before = _descriptors()
    yield
    assert _descriptors() <= before


def _descriptors() -> set[str]:
    """Open descriptors that a sandbox could have left: sockets, pipes, files in memory, processes."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:  # the listing's own
            continue
        if target.startswith(("socket:", "pipe:", "/memfd:", "anon_inode:[pidfd]")):
            found.add(f"{fd} {target}")
    return found
