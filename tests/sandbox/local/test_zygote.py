"""A zygote and its forks: what is left when anything of it is given up, refused or killed."""

import asyncio
import contextlib
import ctypes
import logging
import os
import resource
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from app.errors import SandboxError, SandboxStartError
from app.sandbox.limits import SandboxLimits
from app.sandbox.local import backend as local
from app.sandbox.local import forked
from app.sandbox.local.backend import LocalBackend
from app.sandbox.local.environment import Environment, inspect_python
from app.sandbox.local.zygote import Zygote
from app.sandbox.local.zygotes import Zygotes
from app.sandbox.worker.worker import Worker
from tests.sandbox.backends import leaves_nothing, printed
from tests.sandbox.processes import all_end, children, descendants, has_ended, said_of

pytestmark = pytest.mark.local

LIMITS = SandboxLimits(memory_bytes=128 << 20, processes=32, work_bytes=8 << 20)
_PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    with leaves_nothing(), orphans_end():
        yield


@contextlib.contextmanager
def orphans_end() -> Iterator[None]:
    """What lost its parent becomes a child of ours, and has to end."""
    libc = ctypes.CDLL(None)
    before = children(os.getpid())
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
        for child in children(os.getpid()) - before:
            assert has_ended(child), said_of(child, "cmdline")
            os.waitpid(child, 0)
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def zygotes_below(pid: int) -> list[int]:
    """Not bubblewrap around them, nor what they have forked."""
    return [one for wrap in children(pid) if said_of(wrap, "comm") == b"bwrap\n" for one in children(wrap)]


@pytest.fixture
def environment() -> Environment:
    return inspect_python(Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}"))


@asynccontextmanager
async def opened(environment: Environment, *, per_owner: bool = False) -> AsyncIterator[LocalBackend]:
    backend = LocalBackend(environment, limits=LIMITS, start="zygote", zygote_per_owner=per_owner)
    try:
        yield backend
    finally:
        await backend.close()


#: What is called on the way of a start, in this order.
MOMENTS = [
    (Zygotes, "_start"),
    (Zygotes, "_start_one"),
    (Zygote, "wait_ready"),
    (Zygote, "_on_packet"),
    (forked.ForkedSandbox, "_fork"),
    (Zygote, "fork"),
    (Zygote, "_on_forked"),
    (local, "connect_socket"),
    (Worker, "_on_ready"),
]


@pytest.mark.parametrize("has_zygote", [False, True])
async def test_a_start_that_is_cancelled_at_any_step_leaves_nothing(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, has_zygote: bool
) -> None:
    starting: asyncio.Task[Worker] | None = None
    reached: list[str] = []

    def cancelling(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            assert starting is not None
            starting.cancel()
            reached.append(name)
            return original(*arguments, **more)

        return call

    for owner, name in MOMENTS:
        async with opened(environment) as backend:
            if has_zygote:
                await (await backend.start()).close()
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, cancelling(name, getattr(owner, name)))
                starting = asyncio.ensure_future(backend.start())
                await asyncio.wait([starting])
                if starting.cancelled():
                    assert name in reached
                else:
                    assert has_zygote
                    assert name not in reached
                    await starting.result().close()
        # A second cancellation leaves the end of the first to itself; the backend's own end waits for that.
        assert backend._slots == set()
    assert len(reached) >= (5 if has_zygote else len(MOMENTS))


async def test_a_zygote_that_is_killed_takes_its_sandboxes_with_it_and_is_replaced(environment: Environment) -> None:
    others = descendants(os.getpid())
    async with opened(environment) as backend:
        for victim in ("zygote", "bubblewrap"):
            workers = [await backend.start(), await backend.start()]
            deaths = [asyncio.Event() for _ in workers]
            for worker, death in zip(workers, deaths, strict=True):
                worker.on_death = lambda _, death=death: death.set()  # type: ignore[misc]
            before = descendants(os.getpid()) - others
            (zygote,) = zygotes_below(os.getpid())
            parent = int(Path(f"/proc/{zygote}/stat").read_text().rpartition(")")[2].split()[1])
            os.kill(zygote if victim == "zygote" else parent, signal.SIGKILL)
            for death in deaths:
                await death.wait()
            for worker in workers:
                await worker.close()
            assert await all_end(before - {parent})
        worker = await backend.start()
        assert await printed(worker, "print('alive')\n") == "alive\n"
        await worker.close()


async def test_a_zygote_killed_while_it_starts_is_told_and_the_next_start_works(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Zygote._on_packet

    def kill(zygote: Zygote) -> None:
        for pid in zygotes_below(os.getpid()):
            os.kill(pid, signal.SIGKILL)
        heard(zygote)

    monkeypatch.setattr(Zygote, "_on_packet", kill)
    with caplog.at_level(logging.WARNING):
        async with opened(environment) as backend:
            worker = await backend.start()
            assert await printed(worker, "print('alive')\n") == "alive\n"
            await worker.close()
    assert [record.message for record in caplog.records if "no zygote here (its zygote has ended" in record.message]


async def test_a_zygote_that_may_not_fork_says_so_and_forks_again_when_it_may(environment: Environment) -> None:
    async with opened(environment) as backend:
        await (await backend.start()).close()
        (zygote,) = zygotes_below(os.getpid())
        before = resource.prlimit(zygote, resource.RLIMIT_NPROC)
        resource.prlimit(zygote, resource.RLIMIT_NPROC, (1, before[1]))
        with pytest.raises(SandboxStartError, match="cannot fork: Resource temporarily unavailable"):
            await backend.start()
        resource.prlimit(zygote, resource.RLIMIT_NPROC, before)
        worker = await backend.start()
        assert await printed(worker, "print('alive')\n") == "alive\n"
        await worker.close()


async def test_a_sandbox_with_no_room_in_its_cgroup_is_told_of(environment: Environment) -> None:
    async with opened(environment) as backend:
        if backend._cgroups is None:
            pytest.skip("no writable cgroup")
        await (await backend.start()).close()
        backend._limits = SandboxLimits(processes=-1)
        with pytest.raises(SandboxStartError, match=r"no interpreter|Resource temporarily"):
            await backend.start()
        backend._limits = SandboxLimits(memory_bytes=64 << 10)
        with pytest.raises(SandboxStartError):
            await backend.start()
        backend._limits = LIMITS
        await (await backend.start()).close()


async def test_a_gateway_that_is_full_of_descriptors_is_told(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(environment) as backend:
        await (await backend.start()).close()
        with monkeypatch.context() as patch:
            patch.setattr(forked, "_opened", _no_descriptor)
            with pytest.raises(SandboxStartError, match="Too many open files"):
                await backend.start()
        await (await backend.start()).close()


def _no_descriptor(*arguments: object) -> int:
    raise OSError(24, "Too many open files")


GATEWAY = """
import asyncio, sys
from pathlib import Path
from app.sandbox.local.environment import inspect_python
from app.sandbox.local.backend import LocalBackend
from app.sandbox.local.zygote import Zygote

def tell(moment):
    print(moment, flush=True)
    sys.stdin.readline()

async def main():
    heard = Zygote._on_packet
    def on_packet(zygote):
        heard(zygote)
        if sys.argv[2] == zygote._step:
            tell(zygote._step)
    Zygote._on_packet = on_packet
    backend = LocalBackend(inspect_python(Path(sys.argv[1])), start="zygote")
    start = backend._recipe.start_zygote
    def spawn():
        zygote = start()
        if sys.argv[2] == "bubblewrap":
            tell("bubblewrap")
        return zygote
    backend._zygotes._spawn = spawn
    await asyncio.gather(backend.start(), backend.start())
    tell("started")

asyncio.run(main())
"""


@pytest.mark.parametrize("moment", ["bubblewrap", "first uses", "started"])
async def test_a_gateway_that_is_killed_takes_its_zygote_and_all_sandboxes_with_it(
    environment: Environment, moment: str
) -> None:
    gateway = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        GATEWAY,
        str(environment.python),
        moment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert gateway.stdout is not None
    assert gateway.stdin is not None
    assert await gateway.stdout.readline() == f"{moment}\n".encode()
    below = descendants(gateway.pid)
    assert below
    gateway.kill()
    await gateway.wait()
    gateway.stdin.close()
    await gateway.stdin.wait_closed()
    assert await all_end(below)


async def test_sessions_at_random_with_kills_leave_nothing(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Starts that are given up, sandboxes and zygotes that are killed, code that runs on, renewals."""
    random = Random(16)
    mounts = Path("/proc/self/mountinfo").read_text()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    others = descendants(os.getpid())
    descriptors = len(os.listdir("/proc/self/fd"))
    async with opened(environment, per_owner=True) as backend:
        await (await backend.start("0")).close()
        assert backend._zygotes is not None
        backend._zygotes._renew_after, backend._zygotes._spare_after_s = 20, 0.0
        at_once = asyncio.Semaphore(8)

        async def live() -> None:
            async with at_once:
                await _life(backend, random)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(1000 if os.environ.get("EAGER_FULL") == "1" else 50):
                tasks.create_task(live())
        assert backend._slots == set()
        assert backend._zygote_of == {}
        below = descendants(os.getpid()) - others
    assert await all_end(below)
    assert Path("/proc/self/mountinfo").read_text() == mounts
    assert os.listdir(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) == descriptors  # sockets, pipes, doors of cgroups


async def _life(backend: LocalBackend, random: Random) -> None:
    starting = asyncio.create_task(backend.start(str(random.randrange(3))))
    fate = random.choice(["runs"] * 4 + ["is given up"] * 2 + ["is killed"] * 3 + ["loses its zygote"])
    if fate == "is given up":
        await asyncio.sleep(random.random() * 0.05)
        starting.cancel()
    try:
        worker = await starting
    except (asyncio.CancelledError, SandboxStartError):  # or its zygote was killed
        return
    with contextlib.suppress(SandboxError, AssertionError, ProcessLookupError):  # killed by another
        if fate in ("is killed", "loses its zygote"):
            victims = zygotes_below(os.getpid())
            if fate == "is killed":
                victims = [fork for zygote in victims for fork in children(zygote)]
            if victims:
                os.kill(random.choice(victims), signal.SIGKILL)
        else:
            await printed(worker, "import subprocess\nprint(subprocess.Popen(['sleep', '1000']).pid)\n")
    await worker.close()
