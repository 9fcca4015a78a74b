"""What a sandbox has to survive, over every real backend. After each scenario the pool has to serve on, and no process,
container or folder may be left (``pool``); after the last, no descriptor."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from app.errors import SandboxGone
from app.sandbox.pool import Pool
from app.sandbox.worker.execution import Execution
from app.sandbox.worker.messages import Display, Output, Result
from app.sandbox.worker.worker import Worker
from tests.sandbox.backends import MEMORY_BYTES, printed
from tests.sandbox.fakes import Recorder, chunks_of, run

pytestmark = pytest.mark.asyncio(loop_scope="module")

KILL_EVERYTHING = """
import os, signal
for pid in (-1, 1):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
os._exit(1)
"""


async def survives(worker: Worker, source: str, *, timeout_s: float = 30) -> Execution:
    """Run hostile code; the same session then runs another line."""
    execution = await run(worker, chunks_of(source), timeout_s=timeout_s)
    assert await printed(worker, "print('alive')\n") == "alive\n"
    return execution


async def test_names_stay_from_execution_to_execution(pool: Pool) -> None:
    async with pool.checkout(60) as worker:
        first = await run(worker, chunks_of("x = 20\n", "def double(n):\n    return 2 * n\n"), final=False)
        assert (first.status, first.ran, len(first.durations_ns)) == ("ok", 2, 2)
        sink = Recorder()
        second = await run(worker, chunks_of("print(double(x) + 2)\n", first=2), sink)
        assert (second.status, sink.text()) == ("ok", "42\n")


async def test_the_first_program_of_a_sandbox_is_main_py_in_an_empty_folder(pool: Pool) -> None:
    source = "import os, sys\nprint(os.path.basename(__file__), sys.argv == [__file__], os.listdir())\n"
    async with pool.checkout(60) as worker:
        assert await printed(worker, source) == "main.py True []\n"


async def test_a_module_of_the_program_is_found_before_a_library_and_from_another_folder(pool: Pool) -> None:
    source = (
        "import os, sys\n"
        "open('colorsys.py', 'w').write('here = __file__\\n')\n"
        "folder = os.getcwd()\n"
        "os.mkdir('sub')\n"
        "os.chdir('sub')\n"
        "import colorsys\n"
        "print(colorsys.here == os.path.join(folder, 'colorsys.py'), sys.path[0] == folder, '' in sys.path)\n"
    )
    async with pool.checkout(60) as worker:
        assert await printed(worker, source) == "True True False\n"


async def test_two_sessions_do_not_see_each_other(pool: Pool) -> None:
    async with pool.checkout(60) as first, pool.checkout(60) as second:
        await printed(first, "x = 1\nopen('file', 'w').close()\n")
        assert await printed(second, "import os\nprint('x' in globals(), os.listdir())\n") == "False []\n"


async def test_cpu_time_counts_children_and_interpreters_that_are_no_more(pool: Pool) -> None:
    burn = "import time\nwhile time.process_time() < {}:\n    pass\n"
    async with pool.checkout(60) as worker:
        before = await worker.cpu_s()
        if before is None:
            pytest.skip("a kernel does not tell")
        child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn.format(0.3)!r}])\n"
        await run(worker, chunks_of(child))
        after_child = await worker.cpu_s()
        assert after_child is not None
        assert after_child - before >= 0.29
        lost = "import os\n" + burn.format(0.3) + "os._exit(1)\n"
        await run(worker, chunks_of(lost))
        after_loss = await worker.cpu_s()
        assert after_loss is not None
        assert after_loss - after_child >= 0.15  # it had used some before


async def test_output_comes_while_the_code_runs(pool: Pool) -> None:
    async with pool.checkout(60) as worker, asyncio.TaskGroup() as tasks:
        sink = Recorder()
        source = "import time\nprint('started', flush=True)\ntime.sleep(60)\n"
        running = tasks.create_task(run(worker, chunks_of(source), sink, timeout_s=None))
        await sink.arrived.wait()
        assert sink.text() == "started\n"
        assert not running.done()
        await worker.interrupt()
        assert (await running).status == "interrupted"


async def test_the_value_of_the_last_expression_is_the_result(pool: Pool) -> None:
    async with pool.checkout(60) as worker:
        sink = Recorder()
        await run(worker, chunks_of("6 * 7\n"), sink)
        results = [message for message in sink.messages if isinstance(message, Result)]
        assert [result.data["text/plain"] for result in results] == ["42"]


async def test_both_streams_are_kept_apart_and_keep_their_order(pool: Pool) -> None:
    async with pool.checkout(60) as worker:
        sink = Recorder()
        source = """
import os, sys
print("é" * 3)
print("warning", file=sys.stderr)
sys.stdout.flush()
status = os.system("echo child")
"""
        await run(worker, chunks_of(source), sink)
        assert sink.text() == "ééé\nchild\n"
        assert sink.text("stderr") == "warning\n"


async def test_an_error_names_its_chunk_and_line_and_the_session_goes_on(pool: Pool) -> None:
    async with pool.checkout(60) as worker:
        execution = await run(worker, chunks_of("a = 1\n", "b = a / 0\n", "c = 3\n"))
        assert (execution.status, execution.ran, execution.state_lost) == ("error", 1, False)
        assert execution.failure is not None
        assert (execution.failure.ename, execution.failure.chunk, execution.failure.line) == ("ZeroDivisionError", 1, 2)
        assert await printed(worker, "print(a, 'c' in globals())\n") == "1 False\n"


async def test_sys_exit_ends_the_block_and_not_the_session(pool: Pool) -> None:
    async with pool.checkout(60) as worker:
        execution = await survives(worker, "import sys\nsys.exit(3)\n")
        assert (execution.status, execution.exit_code, execution.state_lost) == ("exit", 3, False)


async def test_an_endless_loop_is_interrupted_at_its_deadline(pool: Pool) -> None:
    async with pool.checkout(60) as worker:
        await printed(worker, "kept = 1\n")
        execution = await survives(worker, "while True:\n    pass\n", timeout_s=0.1)
        assert (execution.status, execution.state_lost) == ("timeout", False)
        assert await printed(worker, "print(kept)\n") == "1\n"


@pytest.mark.parametrize(
    "source",
    [
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True:\n    pass\n",
        "while True:\n    try:\n        while True:\n            pass\n    except KeyboardInterrupt:\n        pass\n",
    ],
    ids=["SIGINT ignored", "KeyboardInterrupt caught"],
)
async def test_code_that_cannot_be_interrupted_is_killed_and_the_session_says_so(pool: Pool, source: str) -> None:
    async with pool.checkout(60) as worker:
        execution = await survives(worker, source, timeout_s=0.1)
        assert (execution.status, execution.state_lost) == ("timeout", True)


async def test_code_that_stops_itself_is_stopped_at_its_deadline(pool: Pool) -> None:
    async with pool.checkout(60) as worker:
        execution = await survives(worker, "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\n", timeout_s=0.1)
        assert execution.status == "timeout"


async def test_code_that_interrupts_itself_has_failed(pool: Pool) -> None:
    async with pool.checkout(60) as worker:
        execution = await survives(worker, "import signal\nsignal.raise_signal(signal.SIGINT)\n")
        assert execution.status == "error"
        assert execution.failure is not None
        assert execution.failure.ename == "KeyboardInterrupt"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import os\nos._exit(3)\n", "InterpreterExit"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", "InterpreterKilled"),
        ("import ctypes\nctypes.string_at(0)\n", "InterpreterKilled"),
        ("import os\nos.abort()\n", "InterpreterKilled"),
        (KILL_EVERYTHING, "InterpreterExit"),
    ],
    ids=["_exit", "SIGKILL", "segmentation fault", "abort", "kill everything"],
)
async def test_an_interpreter_that_dies_is_replaced(pool: Pool, source: str, name: str) -> None:
    async with pool.checkout(60) as worker:
        await printed(worker, "kept = 1\n")
        execution = await run(worker, [*chunks_of("a = 1\n"), *chunks_of(source, first=1)])
        assert (execution.status, execution.ran, execution.state_lost) == ("lost", 1, True)
        assert execution.failure is not None
        assert (execution.failure.ename, execution.failure.chunk) == (name, 1)
        assert await printed(worker, "print('kept' in globals())\n") == "False\n"


async def test_a_memory_bomb_hits_the_limit(pool: Pool) -> None:
    async with pool.checkout(60) as worker:
        source = f"blocks = []\nfor n in range({4 * MEMORY_BYTES >> 20}):\n    blocks.append(b'x' * (1 << 20))\n"
        execution = await survives(worker, source)
        assert execution.failure is not None
        assert execution.failure.ename in ("MemoryLimitExceeded", "MemoryError", "InterpreterKilled")


async def test_a_fork_bomb_hits_the_limit_and_is_gone_after_a_reset(pool: Pool) -> None:
    async with pool.checkout(60) as worker:
        source = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass\n"
        execution = await run(worker, chunks_of(source), timeout_s=1)
        assert execution.status in ("timeout", "lost")
        await worker.reset()
        count = "import os\nprint(sum(name.isdigit() for name in os.listdir('/proc')))\n"
        assert int(await printed(worker, count)) <= 4


async def test_a_flood_of_output_is_delivered_whole_with_little_memory(pool: Pool) -> None:
    async with pool.checkout(60) as worker:
        received = 0
        most = 0

        async def count(message: Output | Display | Result) -> None:
            nonlocal received, most
            assert isinstance(message, Output)
            received += len(message.text)
            most = max(most, worker.statistics().buffered_bytes)

        source = "import sys\nblock = 'x' * (1 << 20)\nfor n in range(200):\n    written = sys.stdout.write(block)\n"
        execution = await worker.execute(chunks_of(source), block="b", final=True, sink=count, timeout_s=100)
        assert (execution.status, received) == ("ok", 200 << 20)
        assert most < 2 << 20


async def test_a_cancelled_execution_leaves_a_usable_session(pool: Pool) -> None:
    async with pool.checkout(60) as worker, asyncio.TaskGroup() as tasks:
        sink = Recorder()
        source = "kept = 1\nprint('started', flush=True)\nwhile True:\n    pass\n"
        running = tasks.create_task(run(worker, chunks_of(source), sink, timeout_s=None))
        await sink.arrived.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await printed(worker, "print(kept)\n") == "1\n"


async def test_a_checkout_left_while_code_runs_ends_the_code(pool: Pool) -> None:
    async with asyncio.TaskGroup() as tasks:
        sink = Recorder()

        async def request() -> None:
            async with pool.checkout(60) as worker:
                source = (
                    "print('started', flush=True)\nimport signal\nsignal.signal(2, signal.SIG_IGN)\nwhile True: pass\n"
                )
                await run(worker, chunks_of(source), sink, timeout_s=None)

        running = tasks.create_task(request())
        await sink.arrived.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert pool.statistics().busy == 0


async def test_a_sandbox_closed_under_running_code_is_gone(pool: Pool) -> None:
    async with pool.checkout(60) as worker, asyncio.TaskGroup() as tasks:
        sink = Recorder()

        async def request() -> None:
            with pytest.raises(SandboxGone):
                await run(worker, chunks_of("print('started', flush=True)\nimport time\ntime.sleep(60)\n"), sink)

        running = tasks.create_task(request())
        await sink.arrived.wait()
        await worker.close()
        await running


async def test_there_is_no_network(pool: Pool) -> None:
    async with pool.checkout(60) as worker:
        source = """
import socket
for family, address in (
    (socket.AF_INET, ("192.0.2.1", 80)),
    (socket.AF_INET, ("169.254.169.254", 80)),
    (socket.AF_INET, ("172.17.0.1", 22)),
    (socket.AF_INET6, ("2001:db8::1", 80)),
):
    try:
        with socket.socket(family) as client:
            client.settimeout(5)
            client.connect(address)
    except OSError as error:
        print("unreachable" if error.errno in (97, 99, 101, 113) else error)
"""
        assert await printed(worker, source) == "unreachable\n" * 4


async def test_only_the_work_folder_and_tmp_can_be_written(pool: Pool) -> None:
    async with pool.checkout(60) as worker:
        source = """
for folder in ("/", "/usr", "/usr/bin", "/etc", "/opt/eager/sandbox_image", "/proc/sys/kernel", "/dev", "/sys"):
    try:
        open(folder + "/planted", "w").close()
    except OSError:
        continue
    print("written:", folder)
for folder in (".", "/tmp", "/dev/shm"):
    open(folder + "/file", "w").close()
"""
        assert await printed(worker, source) == ""


async def test_the_work_folder_has_a_quota(pool: Pool) -> None:
    async with pool.checkout(60) as worker:
        source = "with open('big', 'wb') as file:\n    for n in range(1024):\n        file.write(bytes(1 << 20))\n"
        execution = await survives(worker, source)
        assert execution.failure is not None or execution.status == "lost"


async def test_nothing_of_the_host_is_visible(pool: Pool) -> None:
    assert os.environ["EAGER_TEST_SECRET"] == "hunter2"
    async with pool.checkout(60) as worker:
        source = f"""
import os
print([name for name in os.environ if name.startswith("EAGER")])
seen = []
for name in os.listdir("/proc"):
    if name.isdigit():
        try:
            seen.append(open(f"/proc/{{name}}/environ").read())
        except OSError:
            pass
print("hunter2" in "".join(seen))
print(os.path.exists("/proc/{os.getpid()}"), os.path.exists({__file__!r}), os.access("/etc/shadow", os.R_OK))
print(os.getuid() != 0, os.path.exists("/var/run/docker.sock"))
"""
        assert await printed(worker, source) == "[]\nFalse\nFalse False False\nTrue False\n"


async def test_the_supervisor_is_out_of_reach(pool: Pool) -> None:
    async with pool.checkout(60) as worker:
        source = """
import ctypes, os
for path in ("mem", "fd/3", "fd/4", "fd/7", "fd/9"):
    try:
        open(f"/proc/1/{path}", "rb", buffering=0)
    except OSError:
        continue
    print("opened:", path)
libc = ctypes.CDLL(None)
print(libc.ptrace(16, 1, 0, 0), libc.mount(None, b"/mnt", b"tmpfs", 0, None))
"""
        assert await printed(worker, source) == "-1 -1\n"


async def test_there_are_no_namespaces_to_be_had(pool: Pool) -> None:
    async with pool.checkout(60) as worker:
        source = "import ctypes\nprint(ctypes.CDLL(None).unshare(0x10000000))\n"
        assert await printed(worker, source) == "-1\n"


async def test_nothing_is_told_of_the_supervisor(pool: Pool) -> None:
    async with pool.checkout(60) as worker:
        source = """
for path in ("environ", "maps", "io", "auxv"):
    try:
        open(f"/proc/1/{path}", "rb").read(1)
    except OSError:
        continue
    print("read:", path)
"""
        assert await printed(worker, source) == ""


async def test_files_go_in_and_out(pool: Pool) -> None:
    async with pool.checkout(60) as worker:
        content = os.urandom(300_000)

        async def source() -> AsyncIterator[bytes]:
            yield content[:7]
            yield content[7:]

        assert (await worker.put_file("data/in.bin", len(content), source())).ok
        await printed(worker, "open('out.bin', 'wb').write(open('data/in.bin', 'rb').read()[::-1])\n")
        pieces: list[bytes] = []

        async def sink(piece: bytes) -> None:
            pieces.append(piece)

        reply = await worker.get_file("out.bin", limit_bytes=1 << 20, sink=sink)
        assert (reply.ok, reply.size) == (True, len(content))
        assert b"".join(pieces) == content[::-1]
        entries = (await worker.list_files(10)).entries
        assert entries is not None
        assert sorted((entry.path, entry.size) for entry in entries) == [
            ("data/in.bin", len(content)),
            ("out.bin", len(content)),
        ]
        assert (await worker.remove_file("out.bin")).ok
        assert not (await worker.get_file("out.bin", limit_bytes=10, sink=sink)).ok
        assert not (await worker.get_file("../../etc/passwd", limit_bytes=1 << 20, sink=sink)).ok


async def test_output_of_a_thread_that_outlives_its_execution_comes_with_the_next(pool: Pool) -> None:
    async with pool.checkout(60) as worker:
        source = """
import threading
go = threading.Event()
said = threading.Event()
def late():
    go.wait()
    print("late", flush=True)
    said.set()
threading.Thread(target=late, daemon=True).start()
"""
        await printed(worker, source)
        assert await printed(worker, "go.set()\nready = said.wait(20)\nprint('next')\n") == "late\nnext\n"
