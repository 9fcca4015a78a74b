"""Engines and containers that fail, and gateways that leave without a word."""

import asyncio
import itertools
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import NotFound

from app.errors import SandboxGone, SandboxStartError
from app.sandbox.docker.backend import DockerBackend
from app.sandbox.docker.owner import Owner
from app.sandbox.pool import Pool
from app.sandbox.worker.worker import Worker
from tests.backends import SANDBOX_IMAGE
from tests.docker.conftest import containers_of
from tests.sandbox.backends import printed
from tests.sandbox.fakes import Recorder, chunks_of, run

pytestmark = pytest.mark.docker


@pytest.mark.parametrize("removed", [False, True], ids=["killed", "removed"])
async def test_a_container_ended_from_outside_ends_its_session_only(
    engine: docker.DockerClient, backend: DockerBackend, removed: bool
) -> None:
    async with Pool(backend, warm=1, limit=3) as pool:
        async with pool.checkout(60) as worker:
            sink = Recorder()
            source = "import time\nprint('started', flush=True)\ntime.sleep(60)\n"
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(fails_with_gone(run(worker, chunks_of(source), sink, timeout_s=None)))
                await sink.arrived.wait()
                container = engine.containers.get(worker.id)
                await asyncio.to_thread(container.remove, force=True) if removed else container.kill()
                await running
        async with pool.checkout(60) as worker:
            assert await printed(worker, "print(6 * 7)\n") == "42\n"


async def fails_with_gone(running: object) -> None:
    with pytest.raises(SandboxGone):
        await running  # type: ignore[misc]


async def test_a_start_cancelled_at_any_call_of_the_engine_leaves_nothing(
    engine: docker.DockerClient, backend: DockerBackend
) -> None:
    await (await backend.start()).close()  # what is asked of an engine once has been asked
    for number in itertools.count(1):
        calls = _CancelledAt(backend, number)
        try:
            worker = await asyncio.create_task(calls.start())
        except asyncio.CancelledError:
            assert containers_of(engine, backend) == [], f"cancelled at call {number}"
        else:
            await worker.close()
            break
    assert number >= 4  # creating, attaching and starting a container


class _CancelledAt:
    """A start that is cancelled while its engine is busy with so manyth a call."""

    def __init__(self, backend: DockerBackend, number: int) -> None:
        self._backend, self._left = backend, number
        self._call = backend._engine.call

    async def start(self) -> Worker:
        self._backend._engine.call = self._count  # type: ignore[method-assign]
        try:
            return await self._backend.start()
        finally:
            self._backend._engine.call = self._call  # type: ignore[method-assign]

    async def _count(self, function: Callable[[docker.APIClient], Any]) -> Any:
        self._left -= 1
        if self._left == 0:
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_soon(task.cancel)
        return await self._call(function)


START_AND_WAIT = f"""
import asyncio, sys
from app.sandbox.docker.backend import DockerBackend
async def main():
    worker = await DockerBackend(image={SANDBOX_IMAGE!r}, transport=sys.argv[1]).start()
    print(worker.id, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.mark.parametrize("transport", ["unix", "attach"])
def test_sandboxes_of_a_killed_gateway_end_by_themselves(engine: docker.DockerClient, transport: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT, transport], stdout=subprocess.PIPE, text=True
    ) as gateway:
        assert gateway.stdout is not None
        name = gateway.stdout.readline().strip()
        assert engine.containers.get(name).status == "running"
        gateway.kill()
    ended_by_itself(engine, name)


def ended_by_itself(engine: docker.DockerClient, name: str) -> None:
    """Returns when the engine has removed the container. Tells its state if that takes longer than a minute."""
    told = engine.events(since=0, until=int(time.time()) + 60, filters={"container": name, "event": "destroy"})
    try:
        assert next(told, None), engine.containers.get(name).attrs["State"]
    finally:
        told.close()


async def test_a_sweep_removes_what_dead_gateways_left_and_nothing_else(
    engine: docker.DockerClient, backend: DockerBackend
) -> None:
    ended = subprocess.Popen(["true"])
    dead = f"{str(Owner.current()).rsplit('/', 2)[0]}/{ended.pid}/1"
    ended.wait()
    living, elsewhere = str(Owner.current()), f"another-boot/1/{os.getpid()}/1"

    def leave(owner: str, command: list[str]) -> str:
        labels = {"eager.gateway": "another", "eager.owner": owner}
        container = engine.containers.run(SANDBOX_IMAGE, command, entrypoint=[], labels=labels, detach=True)
        return container.name or ""

    left, kept, unknown, done = (
        leave(dead, ["sleep", "600"]),
        leave(living, ["sleep", "600"]),
        leave(elsewhere, ["sleep", "600"]),
        leave(living, ["true"]),
    )
    try:
        await asyncio.to_thread(engine.api.wait, done)
        worker = await backend.start()
        names = {container.name for container in engine.containers.list(all=True, ignore_removed=True)}
        assert {kept, unknown, worker.id} <= names
        assert not {left, done} & names
        await worker.close()
    finally:
        for name in (left, kept, unknown, done):
            try:
                engine.containers.get(name).remove(force=True)
            except NotFound:
                continue


async def test_an_unreachable_engine_is_named_at_once(engine: docker.DockerClient, tmp_path: Path) -> None:
    for address in (f"unix://{tmp_path}/none.sock", "tcp://127.0.0.1:9"):
        backend = DockerBackend(image=SANDBOX_IMAGE, engine=address)
        async with asyncio.timeout(10):
            with pytest.raises(SandboxStartError, match=r"none\.sock|127\.0\.0\.1"):
                await backend.start()
            await backend.close()


async def test_an_engine_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(never_answer, tmp_path / "hung.sock"):
        backend = DockerBackend(image=SANDBOX_IMAGE, engine=f"unix://{tmp_path}/hung.sock", engine_timeout_s=1)
        async with asyncio.timeout(30):
            with pytest.raises(SandboxStartError, match="does not answer"):
                await backend.start()
            await backend.close()


async def test_an_image_that_is_missing_is_asked_for(engine: docker.DockerClient) -> None:
    backend = DockerBackend(image="eager-nothing:none")
    with pytest.raises(SandboxStartError, match="eager image build"):
        await backend.start()
    await backend.close()
    assert containers_of(engine, backend) == []


async def test_what_the_supervisor_said_before_it_ended_is_told(engine: docker.DockerClient) -> None:
    for transport in ("unix", "attach"):
        backend = DockerBackend(
            image=SANDBOX_IMAGE,
            transport=transport,
            supervisor_options=["--no-such-option"],  # type: ignore[arg-type]
        )
        with pytest.raises(SandboxStartError, match="unrecognized arguments: --no-such-option"):
            await backend.start()
        await backend.close()
        assert containers_of(engine, backend) == []


async def test_without_a_shared_file_system_the_attach_stream_is_taken(
    engine: docker.DockerClient, tmp_path: Path
) -> None:
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    backend = DockerBackend(
        image=SANDBOX_IMAGE,
        socket_folder=Path(f"/proc/self/fd/{folder}"),  # a path that means something else to the engine
    )
    try:
        for _ in range(2):
            worker = await backend.start()
            assert await printed(worker, "print(6 * 7)\n") == "42\n"
            await worker.close()
        assert "transport attach;" in backend.describe()
    finally:
        await backend.close()
        os.close(folder)
    assert containers_of(engine, backend) == []
    assert list(tmp_path.iterdir()) == []


async def test_an_engine_on_the_network_is_reached_by_its_address_alone(engine: docker.DockerClient) -> None:
    async with relay("/var/run/docker.sock") as port:
        backend = DockerBackend(image=SANDBOX_IMAGE, engine=f"tcp://127.0.0.1:{port}")
        worker = await backend.start()
        assert await printed(worker, "print('x' * 1_000_000)\n") == "x" * 1_000_000 + "\n"
        await worker.close()
        await backend.close()
    assert containers_of(engine, backend) == []


@asynccontextmanager
async def relay(path: str) -> AsyncIterator[int]:
    """A TCP port that leads to a Unix socket."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(path)
        try:
            await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer), return_exceptions=True)
        finally:
            writer.close()
            far_writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
