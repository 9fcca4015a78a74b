"""One pool over two real engines."""

import asyncio
import contextlib
import select
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import docker
import pytest

from app.errors import SandboxGone
from app.sandbox.docker.backend import DockerBackend
from app.sandbox.docker.engines import Engines
from app.sandbox.docker.owner import Owner
from app.sandbox.pool import Pool
from tests.backends import SANDBOX_IMAGE
from tests.docker.conftest import containers_of
from tests.docker.own_engine import SMALL_IMAGE, OwnEngine
from tests.sandbox.backends import printed
from tests.sandbox.fakes import Recorder, chunks_of, run

#: Of 127.0.0.1, signed by itself: authority, server and client in one.
TLS = Path(__file__).parents[1] / "sandbox" / "egress" / "tls"

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


@pytest.fixture
def second() -> Iterator[OwnEngine]:
    with OwnEngine.open() as second:
        yield second


@asynccontextmanager
async def pool_over(first: DockerBackend, second: DockerBackend) -> AsyncIterator[tuple[Pool, Engines]]:
    """Two sandboxes on each; an engine that is out is asked again soon."""
    engines = Engines([first, second], limit=2, memory_bytes=1 << 30, jitter=lambda: 0.1, watch_every_s=0.5)
    async with Pool(engines, warm=2, limit=4, has_room=engines.has_room, jitter=lambda: 0.1) as pool:
        engines.on_room = pool.look_again
        yield pool, engines


async def until_up(engines: Engines, expected: list[bool]) -> None:
    async with asyncio.timeout(60):
        while [engine.up for engine in engines.statistics()] != expected:
            await asyncio.sleep(0.02)


async def test_two_engines_serve_as_one_and_one_may_die_and_come_back(
    engine: docker.DockerClient, second: OwnEngine
) -> None:
    left = leave_behind(second)
    here = DockerBackend(image=SANDBOX_IMAGE)
    there = DockerBackend(image=SMALL_IMAGE, engine=second.address)
    async with pool_over(here, there) as (pool, engines):
        await until_up(engines, [True, True])
        assert left not in await asyncio.to_thread(second.containers)

        sessions = [await pool.acquire(60) for _ in range(4)]
        names = await asyncio.to_thread(second.containers)
        assert len(names) == len(containers_of(engine, here)) == 2
        assert [await printed(session, "print(6 * 7)\n") for session in sessions] == ["42\n"] * 4

        lost = next(session for session in sessions if session.id in names)
        kept = next(session for session in sessions if session.id not in names)
        sink = Recorder()
        async with asyncio.TaskGroup() as tasks:
            source = "import time\nprint('started', flush=True)\ntime.sleep(60)\n"
            running = tasks.create_task(run_to_its_end(run(lost, chunks_of(source), sink, timeout_s=None)))
            await sink.arrived.wait()
            await asyncio.to_thread(second.stop)
            assert isinstance(await running, SandboxGone)
        assert await printed(kept, "print('still here')\n") == "still here\n"
        await until_up(engines, [True, False])
        for session in sessions:
            pool.discard(session)
        for _ in range(3):
            async with pool.checkout(60) as worker:
                assert worker.id in containers_of(engine, here)
        (_, state) = engines.statistics()
        assert state.lost >= 2
        assert state.outages == 1
        assert state.error is not None
        assert second.address in state.error

        await asyncio.to_thread(second.start)
        await until_up(engines, [True, True])
        sessions = [await pool.acquire(60) for _ in range(4)]
        names = await asyncio.to_thread(second.containers)
        assert sum(session.id in names for session in sessions) == 2
    assert await asyncio.to_thread(second.containers) == []
    assert containers_of(engine, here) == []


async def test_an_engine_behind_tls_and_one_on_this_machine_serve_as_one(
    engine: docker.DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ours, dockers in (("service.pem", "ca.pem"), ("service.pem", "cert.pem"), ("service.key", "key.pem")):
        shutil.copy(TLS / ours, tmp_path / dockers)
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    with tls_relay("/var/run/docker.sock") as port:
        near = DockerBackend(image=SANDBOX_IMAGE)
        far = DockerBackend(image=SANDBOX_IMAGE, engine=f"tcp://127.0.0.1:{port}")
        async with pool_over(near, far) as (pool, engines):
            await until_up(engines, [True, True])
            sessions = [await pool.acquire(60) for _ in range(4)]
            assert len(containers_of(engine, near)) == len(containers_of(engine, far)) == 2
            assert [await printed(session, "print(6 * 7)\n") for session in sessions] == ["42\n"] * 4
        assert containers_of(engine, far) == []


@contextmanager
def tls_relay(path: str) -> Iterator[int]:
    """A port that leads to a Unix socket, for those who have the key. Who keeps a connection open is not waited for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "service.pem", TLS / "service.key")
    context.load_verify_locations(TLS / "service.pem")
    context.verify_mode = ssl.CERT_REQUIRED

    class Relay(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                contextlib.suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as near,
                socket.socket(socket.AF_UNIX) as far,
            ):
                far.connect(path)
                while True:
                    for source in [near] if near.pending() else select.select([near, far], [], [])[0]:
                        data = source.recv(1 << 16)
                        if not data:
                            return
                        (far if source is near else near).sendall(data)

    class RelayServer(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with RelayServer(("127.0.0.1", 0), Relay) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            serving.join()


async def run_to_its_end(running: object) -> Exception | None:
    try:
        await running  # type: ignore[misc]
    except SandboxGone as error:
        return error
    return None


def leave_behind(second: OwnEngine) -> str:
    """A sandbox of a gateway that is no more."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    dead = f"{str(Owner.current()).rsplit('/', 2)[0]}/{ended.pid}/1"
    labels = {"eager.gateway": "another", "eager.owner": dead}
    with contextlib.closing(second.client()) as client:
        container = client.containers.run(
            SMALL_IMAGE, ["sleep", "600"], entrypoint=[], labels=labels, detach=True, network_mode="none"
        )
        return container.name or ""
