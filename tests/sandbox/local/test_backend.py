"""What is special to the embedded sandbox; what it shares with the others is in test_scenarios.py."""

import asyncio
import logging
import os
import select
import signal
import subprocess
import sys
import venv
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.config import Settings
from app.errors import SandboxForbidden, SandboxStartError
from app.main import create_app
from app.sandbox.backend import probe
from app.sandbox.limits import SandboxLimits
from app.sandbox.local import backend as local
from app.sandbox.local import recipe
from app.sandbox.local.backend import LocalBackend, StartBy
from app.sandbox.local.environment import Environment, inspect_python
from app.sandbox.local.recipe import FIRST_UID
from app.sandbox.local.zygote import ZYGOTE_UID
from app.sandbox.worker.worker import Worker
from tests.backends import SANDBOX_ENV, require_backend
from tests.sandbox.backends import leaves_nothing, printed
from tests.sandbox.fakes import chunks_of, run
from tests.sandbox.processes import children, descendants

pytestmark = pytest.mark.local

STARTS: list[StartBy] = ["exec", "zygote"]
LIMITS = SandboxLimits(memory_bytes=128 << 20, processes=32, work_bytes=8 << 20)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    with leaves_nothing():
        yield


@pytest.fixture
def environment() -> Environment:
    return inspect_python(Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}"))


async def test_the_probe_starts_a_sandbox_and_leaves_nothing(environment: Environment) -> None:
    backend = LocalBackend(environment, limits=LIMITS)
    await probe(backend)
    await backend.close()


@pytest.mark.parametrize("start", STARTS)
async def test_a_refusal_says_what_bubblewrap_said(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, start: StartBy
) -> None:
    monkeypatch.setattr(recipe, "SUPERVISOR_FOLDER", "/proc/not/possible")
    backend = LocalBackend(environment, limits=LIMITS, start=start)
    with pytest.raises(SandboxStartError, match=r"bwrap: .*/proc/not.*max_user_namespaces="):
        await backend.start()
    await backend.close()


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in an ordinary container, where the launcher gets no namespace."""
    launcher = tmp_path / "launcher.py"
    launcher.write_text("raise PermissionError(1, 'Operation not permitted', 'unshare')\n")
    monkeypatch.setattr(recipe.launcher, "__file__", str(launcher))


async def test_a_machine_that_allows_sandboxes_passes_the_check(environment: Environment) -> None:
    backend = LocalBackend(environment, limits=LIMITS)
    await backend.check()
    await backend.close()


async def test_a_machine_that_allows_none_is_told_by_the_check_and_by_every_start(
    environment: Environment, refused: None
) -> None:
    told = r"not permitted: 'unshare'.* EAGER_SANDBOX=docker.* EAGER_UNISOLATED"
    backend = LocalBackend(environment, limits=LIMITS)
    with pytest.raises(SandboxForbidden, match=told):
        await backend.start()
    with pytest.raises(SandboxForbidden, match=told):
        await backend.check()


async def test_a_gateway_that_may_start_no_sandbox_ends_at_its_start(refused: None, tmp_path: Path) -> None:
    app = create_app(Settings(sandbox_env=SANDBOX_ENV.parents[1], data_dir=tmp_path))
    with pytest.raises(SandboxForbidden):
        async with app.router.lifespan_context(app):
            pytest.fail("it has started")


@pytest.mark.parametrize("start", STARTS)
async def test_what_is_told_of_a_program_that_fails_is_its_last_line(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, start: StartBy
) -> None:
    monkeypatch.setattr(recipe.Recipe, "_rlimits", lambda self: {"RLIMIT_NONE": 1})
    backend = LocalBackend(environment, limits=LIMITS, start=start)
    with pytest.raises(SandboxStartError) as caught:
        await backend.start()
    await backend.close()
    assert "RLIMIT_NONE" in caught.value.message
    assert "Traceback" not in caught.value.message
    assert "\n" not in caught.value.message


def test_a_gateway_with_low_limits_of_its_own_starts_sandboxes() -> None:
    code = """
import asyncio, os, resource, sys, threading
from pathlib import Path
from app.sandbox.backend import probe
from app.sandbox.local.environment import inspect_python
from app.sandbox.local.backend import LocalBackend

resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
def owner(task):
    try:
        return task.stat().st_uid
    except FileNotFoundError:
        return None


# The kernel counts all threads of the user, also of what runs beside these tests, and in other pid namespaces.
threads = len([task for task in Path("/proc").glob("[0-9]*/task/[0-9]*") if owner(task) == os.getuid()])
hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
while True:
    resource.setrlimit(resource.RLIMIT_NPROC, (threads, hard))
    try:
        one_more = threading.Thread(target=int)
        one_more.start()
        one_more.join()
        break
    except RuntimeError:
        threads += 10
resource.setrlimit(resource.RLIMIT_NPROC, (threads + 50, threads + 50))


async def main():
    backend = LocalBackend(inspect_python(Path(sys.argv[1])))
    await probe(backend)
    await backend.close()


asyncio.run(main())
"""
    python = str(Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}"))
    subprocess.run([sys.executable, "-c", code, python], check=True, timeout=60)


@pytest.mark.parametrize("start", STARTS)
async def test_a_start_that_is_cancelled_leaves_nothing(environment: Environment, start: StartBy) -> None:
    backend = LocalBackend(environment, limits=LIMITS, start=start)
    for turns in (1, 2, 3, 10, 200):
        starting = asyncio.ensure_future(backend.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    await backend.close()


@pytest.mark.parametrize("start", STARTS)
async def test_a_sandbox_killed_from_outside_is_noticed(environment: Environment, start: StartBy) -> None:
    backend = LocalBackend(environment, limits=LIMITS, start=start)
    before = children(os.getpid())
    worker = await backend.start()
    died = asyncio.Event()
    worker.on_death = lambda _: died.set()
    (child,) = children(os.getpid()) - before
    os.kill(child, signal.SIGKILL)
    await died.wait()
    await worker.close()
    await backend.close()


GATEWAY = """
import asyncio, sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from app.sandbox.local.environment import inspect_python
from app.sandbox.local.backend import LocalBackend

async def main():
    await LocalBackend(inspect_python(Path(sys.argv[1]))).start()
    print("started", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_gateway_that_is_killed_takes_its_sandboxes_with_it(environment: Environment) -> None:
    gateway = await asyncio.create_subprocess_exec(
        sys.executable, "-c", GATEWAY, str(environment.python), stdout=asyncio.subprocess.PIPE
    )
    assert gateway.stdout is not None
    assert await gateway.stdout.readline() == b"started\n"
    (sandbox,) = children(gateway.pid)
    pidfd = os.pidfd_open(sandbox)
    try:
        gateway.kill()
        await gateway.wait()
        ended, _, _ = await asyncio.to_thread(select.select, [pidfd], [], [], 20)
        assert ended == [pidfd]
    finally:
        os.close(pidfd)


@pytest.mark.parametrize("start", STARTS)
async def test_each_sandbox_has_a_uid_of_its_own_as_root(environment: Environment, start: StartBy) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    backend = LocalBackend(environment, limits=LIMITS, start=start)
    others = descendants(os.getpid())
    workers = [await backend.start(), await backend.start()]
    users = {_user(pid) for pid in descendants(os.getpid()) - others}
    assert users - {ZYGOTE_UID} == {FIRST_UID, FIRST_UID + 1}
    for worker in workers:
        await worker.close()
    await backend.close()


async def test_without_cgroups_memory_is_limited_per_process(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "find_parent", lambda: None)
    backend = LocalBackend(environment, limits=LIMITS)
    assert "memfd, inodes and CPU not limited" in backend.describe()
    worker = await backend.start()
    execution = await run(worker, chunks_of("block = bytearray(1 << 30)\n"))
    assert execution.failure is not None
    assert execution.failure.ename == "MemoryError"
    assert await printed(worker, "print('alive')\n") == "alive\n"
    await worker.close()
    await backend.close()


async def test_a_virtual_environment_under_a_private_folder_of_tmp_works(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    backend = LocalBackend(inspect_python(tmp_path / "env" / "bin" / "python"), limits=LIMITS)
    worker = await backend.start()
    assert await printed(worker, "import sys\nprint(sys.prefix)\n") == f"{tmp_path / 'env'}\n"
    await worker.close()
    await backend.close()


async def test_the_code_has_names_for_itself_and_its_host(environment: Environment) -> None:
    backend = LocalBackend(environment, limits=LIMITS)
    worker = await backend.start()
    source = "import getpass, os, socket\nprint(getpass.getuser(), socket.gethostname(), os.path.expanduser('~'))\n"
    assert await printed(worker, source) == "sandbox sandbox /mnt/data\n"
    assert await printed(worker, "import socket\nprint(socket.gethostbyname('localhost'))\n") == "127.0.0.1\n"
    await worker.close()
    await backend.close()


async def test_unisolated_is_said_loudly_and_leaves_nothing(
    environment: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        backend = LocalBackend(environment, unisolated=True)
    assert "NOT ISOLATED" in caplog.text
    worker = await backend.start()
    folder = Path((await printed(worker, "import os\nprint(os.getcwd())\n")).strip())
    assert folder.is_dir()
    child = await printed(worker, "import subprocess\nprint(subprocess.Popen(['sleep', '1000']).pid)\n")
    await worker.close()
    await backend.close()
    assert not folder.exists()
    assert not Path("/proc", child.strip()).exists()


async def test_what_libraries_note_when_they_are_imported_is_not_in_the_work_folder() -> None:
    async with _worker_with("matplotlib.font_manager") as worker:
        assert await printed(worker, "import os\nprint(os.listdir())\n") == "[]\n"


async def test_multiprocessing_that_was_imported_ahead_finds_the_classes_of_the_program() -> None:
    source = """
import multiprocessing
class Answer: pass
def work(x): return Answer()
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(type(pool.map_async(work, [1]).get(20)[0]) is Answer)
"""
    async with _worker_with("multiprocessing") as worker:
        assert await printed(worker, source) == "True\n"


@asynccontextmanager
async def _worker_with(module: str) -> AsyncIterator[Worker]:
    require_backend("local")
    backend = LocalBackend(inspect_python(SANDBOX_ENV), supervisor_options=("--preload", module))
    worker = await backend.start()
    try:
        yield worker
    finally:
        await worker.close()
        await backend.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look into another user's memory")
async def test_what_waits_has_the_memory_that_programs_write_to_until_code_has_run() -> None:
    require_backend("local")
    backend = LocalBackend(inspect_python(SANDBOX_ENV), supervisor_options=("--preload", "matplotlib.pyplot"))
    others = descendants(os.getpid())
    worker = await backend.start()
    try:
        interpreter = max(descendants(os.getpid()) - others)
        await _own_memory_is(interpreter, lambda kilobytes: kilobytes > 10_000)
        assert await worker.checkpoint() is None  # nothing is its own any more; then it is again
        await _own_memory_is(interpreter, lambda kilobytes: kilobytes > 10_000)
        await run(worker, chunks_of("x = 1\n"))
        await worker.commit()
        assert await worker.checkpoint() is None
        await _own_memory_is(interpreter, lambda kilobytes: kilobytes < 5_000)
        await worker.ping()
        assert _own_memory_kb(interpreter) < 5_000
    finally:
        await worker.close()
        await backend.close()


def _user(pid: int) -> int:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["Uid"].split()[0])


def _own_memory_kb(pid: int) -> int:
    lines = dict(line.split(":") for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return int(lines["Private_Dirty"].split()[0])


async def _own_memory_is(pid: int, enough: Callable[[int], bool]) -> None:
    """No event tells of it."""
    async with asyncio.timeout(20):
        while not enough(_own_memory_kb(pid)):
            await asyncio.sleep(0.01)
