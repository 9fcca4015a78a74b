"""Real kernels: of this machine, and of a Jupyter Server on the loopback interface."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from app.errors import SandboxStartError
from app.sandbox.jupyter.backend import JupyterBackend
from app.sandbox.jupyter.local_kernels import LocalKernels
from app.sandbox.jupyter.server_kernels import ServerKernels
from app.sandbox.worker.messages import Display, Output, Result
from app.sandbox.worker.worker import Worker
from tests.backends import SANDBOX_ENV, require_backend
from tests.sandbox.backends import printed
from tests.sandbox.fakes import Recorder, chunks_of, run

pytestmark = pytest.mark.jupyter
TOKEN = "secret"


@asynccontextmanager
async def local_worker(*, output_limit_bytes: int = 1 << 20, preload: tuple[str, ...] = ()) -> AsyncIterator[Worker]:
    require_backend("jupyter")
    kernels = LocalKernels("python3", environment=SANDBOX_ENV.parents[1])
    backend = JupyterBackend(kernels, output_limit_bytes=output_limit_bytes, preload=preload)
    async with _worker(backend) as worker:
        yield worker


@asynccontextmanager
async def _worker(backend: JupyterBackend) -> AsyncIterator[Worker]:
    try:
        worker = await backend.start()
        try:
            yield worker
        finally:
            await worker.close()
    finally:
        await backend.close()


async def test_libraries_are_imported_ahead_in_every_kernel() -> None:
    async with local_worker(preload=("no_such_module", "colorsys")) as worker:
        for _ in range(2):
            assert await printed(worker, "import sys\nprint('colorsys' in sys.modules)\n") == "True\n"
            await worker.reset()


async def test_a_program_that_awaits_has_a_loop_beside_that_of_the_kernel() -> None:
    async with local_worker() as worker:
        define = "import asyncio\nasync def f(n):\n    await asyncio.sleep(0)\n    return n\n"
        sink = Recorder()
        await run(
            worker,
            chunks_of(define, "print(await f(1))\n", "t = asyncio.create_task(f(2))\n", "print(await t)\n"),
            sink,
        )
        assert sink.text() == "1\n2\n"
        assert await printed(worker, "print(asyncio.run(f(3)))\n") == "3\n"


async def test_chunks_of_a_block_are_one_program() -> None:
    async with local_worker() as worker:
        sink = Recorder()
        chunks = chunks_of(
            "from __future__ import annotations\n",
            "def f(x: undefined) -> None: raise ValueError(x)\n",
            "import asyncio, sys\n",
            "async def answer(): return 42\n",
            "print(asyncio.run(answer()), __name__, sys.argv == [__file__])\n",
            "print(await answer())\n",
        )
        assert (await run(worker, chunks[:2], sink, final=False)).status == "ok"
        assert (await run(worker, chunks[2:], sink, final=False)).status == "ok"
        assert sink.text() == "42 __main__ True\n42\n"
        execution = await run(worker, chunks_of("f(1)\n", first=6), sink)
        assert execution.failure is not None
        assert (execution.status, execution.failure.line, execution.failure.evalue) == ("error", 2, "1")
        assert "sandbox_image" not in execution.failure.traceback
        assert "line 7, in <module>" in execution.failure.traceback


async def test_only_the_end_of_a_block_shows_a_value_and_figures() -> None:
    async with local_worker() as worker:
        sink = Recorder()
        first = "import matplotlib.pyplot as plt\n", "line = plt.plot([1, 2])\n", "'not shown'\n"
        await run(worker, chunks_of(*first), sink, final=False)
        assert sink.messages == []
        await run(worker, chunks_of("%time pass\n", "display('shown')\n", "plt.gcf().number\n", first=3), sink)
        kinds = [type(message) for message in sink.messages if isinstance(message, Display | Result)]
        assert kinds == [Display, Result, Display]
        assert [m.data for m in sink.messages if isinstance(m, Result)] == [{"text/plain": "1"}]


async def test_a_kernel_that_ends_itself_is_replaced() -> None:
    async with local_worker() as worker:
        execution = await run(worker, chunks_of("import os\nos._exit(3)\n"))
        assert (execution.status, execution.state_lost) == ("lost", True)
        assert execution.failure is not None
        assert (execution.failure.ename, execution.failure.evalue[:13]) == ("InterpreterExit", "exit status 3")
        assert await printed(worker, "print(6 * 7)\n") == "42\n"


async def test_a_flood_of_output_ends_the_execution_and_not_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    async with local_worker(output_limit_bytes=100_000) as worker:
        monkeypatch.setattr(worker, "_grace_s", 20.0)  # a busy machine takes its time to interrupt a kernel
        assert await printed(worker, "kept = 1\n") == ""
        sink = Recorder()
        execution = await run(worker, chunks_of("while True: print('x' * 1000)\n"), sink)
        assert execution.failure is not None
        assert (execution.failure.ename, len(sink.text())) == ("OutputLimitExceeded", 100_000)
        assert await printed(worker, "print(kept)\n") == "1\n"


async def test_a_thread_between_executions_fills_no_memory_and_ends_no_session() -> None:
    """Nothing can keep a kernel from publishing."""
    async with local_worker() as worker:
        source = """
import threading
quiet, said = threading.Event(), threading.Event()
def late():
    quiet.wait()
    for n in range(100):
        print("x" * 50_000)
        display({"text/plain": "y" * 50_000}, raw=True)
    said.set()
threading.Thread(target=late, daemon=True).start()
threading.Timer(0.2, quiet.set).start()
"""
        await printed(worker, source)
        async with asyncio.timeout(20):
            while worker.statistics().output_bytes < 100 * 50_001:
                await asyncio.sleep(0.01)
        assert worker.statistics().dropped_bytes > 3 << 20
        assert worker.statistics().buffered_bytes <= (1 << 20) + 65_536
        assert (await printed(worker, "ended = said.wait(20)\nprint('\\nnext')\n")).endswith("next\n")


async def test_a_stream_of_the_program_s_own_need_not_be_hashable_or_comparable() -> None:
    source = (
        "import sys\n"
        "class Tee:\n"
        "    def __init__(self, out): self.out = out\n"
        "    def write(self, text): return self.out.write(text.upper())\n"
        "    def flush(self): self.out.flush()\n"
        "    def __eq__(self, other): raise ValueError\n"
        "sys.stdout = Tee(sys.stdout)\n"
        "print('one')\n"
    )
    async with local_worker() as worker:
        assert await printed(worker, source) == "ONE\n"
        assert await printed(worker, "print('two')\n") == "two\n"


async def test_the_streams_of_a_kernel_let_themselves_be_reconfigured() -> None:
    async with local_worker() as worker:
        source = "import sys\nsys.stdout.reconfigure(encoding='utf-8', line_buffering=True)\nprint('é')\n"
        assert await printed(worker, source) == "é\n"


async def test_both_streams_of_a_kernel_come_in_the_order_of_writing() -> None:
    async with local_worker() as worker:
        sink = Recorder()
        source = "import sys\nfor i in range(30):\n    print('out', i)\n    print('err', i, file=sys.stderr)\n"
        await run(worker, chunks_of(source), sink)
        said = "".join(message.text for message in sink.messages if isinstance(message, Output))
        assert said == "".join(f"out {i}\nerr {i}\n" for i in range(30))


async def test_a_program_that_closes_its_streams_leaves_them_to_the_next() -> None:
    async with local_worker() as worker:
        assert await printed(worker, "import sys\nprint('one')\nsys.stdout.close()\nsys.stderr.close()\n") == "one\n"
        source = "print('two')\ntry:\n    exit()\nfinally:\n    print(sys.stdin.closed)\n"
        sink = Recorder()
        execution = await run(worker, chunks_of(source), sink)
        assert (execution.status, sink.text()) == ("exit", "two\nTrue\n")
        assert await printed(worker, "print(sys.stdin.closed)\n") == "False\n"


async def test_a_forked_child_ends_with_the_execution_and_says_nothing_for_its_parent() -> None:
    async with local_worker() as worker:
        source = "import os\npid = os.fork()\nif pid == 0: 1 / 0\nprint(os.waitpid(pid, 0)[1] >> 8)\n"
        execution = await run(worker, chunks_of(source))
        assert execution.status == "ok"


async def test_another_language_is_an_error_of_the_code() -> None:
    async with local_worker() as worker:
        execution = await worker.execute(
            chunks_of("ls\n"), block="b", final=True, sink=Recorder(), timeout_s=30, language="bash"
        )
        assert execution.failure is not None
        assert execution.failure.evalue == "this kernel runs Python only"


def test_without_jupyter_client_local_kernels_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jupyter_client", None)
    with pytest.raises(SandboxStartError, match="pip install"):
        LocalKernels("python3", environment=SANDBOX_ENV.parents[1])


async def test_a_kernel_does_not_see_our_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAGER_API_KEYS", "hunter2")
    async with local_worker() as worker:
        assert await printed(worker, "import os\nprint('EAGER_API_KEYS' in os.environ)\n") == "False\n"


async def test_a_kernelspec_that_does_not_exist_is_a_failed_start() -> None:
    require_backend("jupyter")
    backend = JupyterBackend(LocalKernels("cobol", environment=SANDBOX_ENV.parents[1]))
    with pytest.raises(SandboxStartError, match="cobol"):
        await backend.start()
    await backend.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Jupyter Server that offers the kernel of the sandbox environment."""
    require_backend("jupyter")
    pytest.importorskip("jupyter_server")
    folder = tmp_path_factory.mktemp("server")
    kernel = folder / "share" / "kernels" / "sandbox"
    kernel.mkdir(parents=True)
    python = SANDBOX_ENV.absolute()
    argv = f'["{python}", "-m", "ipykernel_launcher", "-f", "{{connection_file}}"]'
    (kernel / "kernel.json").write_text(f'{{"argv": {argv}, "display_name": "sandbox", "language": "python"}}')
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jupyter_server", "--allow-root", "--no-browser", f"--port={port}"]
    command += ["--ip=127.0.0.1", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}"]
    command += [f"--ServerApp.root_dir={folder}", "--MappingKernelManager.shutdown_wait_time=0.5"]
    environment = {
        **os.environ,
        "JUPYTER_PATH": str(folder / "share"),
        "JUPYTER_RUNTIME_DIR": str(folder / "run"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "IPYTHONDIR": str(folder / "ipython"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    log = (folder / "log").open("w+")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)
        log.close()


async def wait_served(url: str) -> None:
    """A server tells nobody but its log that it listens: ask until it answers."""
    async with asyncio.timeout(60), aiohttp.ClientSession() as http:
        while True:
            try:
                async with http.get(f"{url}/api"):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)


async def running_kernels(url: str) -> list[object]:
    headers = {"Authorization": f"token {TOKEN}"}
    async with aiohttp.request("GET", f"{url}/api/kernels", headers=headers) as response:
        found: list[object] = await response.json()
        return found


async def test_a_session_over_a_jupyter_server(server: str) -> None:
    await wait_served(server)
    backend = JupyterBackend(ServerKernels(server, token=TOKEN, name="sandbox"))
    assert "127.0.0.1" in backend.describe()
    async with _worker(backend) as worker:
        assert await printed(worker, "import os\nx = 6\nprint(x * 7, os.listdir())\n") == "42 []\n"
        execution = await run(worker, chunks_of("while True: pass\n"), timeout_s=0.1)
        assert (execution.status, execution.state_lost) == ("timeout", False)
        assert await printed(worker, "print(x)\n") == "6\n"

        async def content() -> AsyncIterator[bytes]:
            yield b"x" * 200_000

        assert (await worker.put_file("a/b", 200_000, content())).ok
        entries = (await worker.list_files(10)).entries
        assert entries is not None
        assert [(entry.path, entry.size) for entry in entries] == [("a/b", 200_000)]
        source = "import signal\nsignal.signal(2, signal.SIG_IGN)\nwhile True: pass\n"
        execution = await run(worker, chunks_of(source), timeout_s=0.1)
        assert (execution.status, execution.state_lost) == ("timeout", True)
        assert await printed(worker, "print('x' in globals())\n") == "False\n"
        assert len(await running_kernels(server)) == 1
    assert await running_kernels(server) == []


async def test_a_server_that_refuses_is_a_failed_start(server: str) -> None:
    await wait_served(server)
    backend = JupyterBackend(ServerKernels(server, token="wrong", name="sandbox"))
    with pytest.raises(SandboxStartError, match="403"):
        await backend.start()
    await backend.close()


async def test_a_kernel_that_its_server_found_dead_is_replaced(server: str) -> None:
    await wait_served(server)
    async with _worker(JupyterBackend(ServerKernels(server, token=TOKEN, name="sandbox"))) as worker:
        execution = await run(worker, chunks_of("import os\nos._exit(3)\n"))
        assert (execution.status, execution.state_lost) == ("lost", True)
        assert await printed(worker, "print(6 * 7)\n") == "42\n"


async def test_local_kernels_say_that_they_are_not_isolated() -> None:
    require_backend("jupyter")
    kernels = LocalKernels("python3", environment=SANDBOX_ENV.parents[1])
    assert "NOT ISOLATED" in kernels.describe()
    await kernels.close()
