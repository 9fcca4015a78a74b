"""An engine that restarts, hangs or has no room left: the gateway says so, and serves on afterwards by itself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from app.errors import SandboxStartError
from app.sandbox.docker.backend import DockerBackend
from app.sandbox.pool import Pool
from tests.docker.own_engine import SMALL_IMAGE, OwnEngine
from tests.sandbox.backends import leaves_no_descriptor, printed
from tests.scenarios.client import body, collect, events, of_type, text
from tests.scenarios.servers import eager

pytestmark = pytest.mark.docker

ENDLESS = "print('on', flush=True)\nwhile True:\n    pass\n"


@pytest.fixture(scope="module")
def own_engine() -> Iterator[OwnEngine]:
    with OwnEngine.open() as engine:
        yield engine


@contextlib.asynccontextmanager
async def pool_on(engine: OwnEngine, transport: str) -> AsyncIterator[Pool]:
    """A pool whose engine calls are given up after a second, and which tries again at once. It leaves nothing."""
    backend = DockerBackend(
        image=SMALL_IMAGE,
        engine=engine.address,
        transport=transport,  # type: ignore[arg-type]
        engine_timeout_s=1,
        start_timeout_s=20,
    )

    async def soon(seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.1))

    with leaves_no_descriptor():
        async with Pool(backend, warm=1, limit=3, sleep=soon) as pool:
            yield pool
            async with pool.checkout(60) as worker:
                assert await printed(worker, "print(6 * 7)\n") == "42\n"
        assert await asyncio.to_thread(engine.containers) == []


async def warm(pool: Pool) -> None:
    """Until one is on the shelf: then nothing is being started."""
    async with asyncio.timeout(60):
        while not pool.statistics().warm:
            await asyncio.sleep(0.02)


async def failed(pool: Pool) -> str:
    """Until the pool has noticed; why it says it can start nothing."""
    async with asyncio.timeout(60):
        while pool.last_error is None:
            await asyncio.sleep(0.02)
    return pool.last_error


async def ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(60):
        while (await client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.1)


async def test_an_engine_that_hangs_stops_no_session_on_a_socket_and_is_used_again_when_it_answers(
    own_engine: OwnEngine,
) -> None:
    async with pool_on(own_engine, "unix") as pool, pool.checkout(60) as worker:
        await warm(pool)
        with own_engine.halted():
            assert await printed(worker, "print('on')\n") == "on\n"
            async with pool.checkout(1) as last_of_the_shelf:
                assert await printed(last_of_the_shelf, "print('on')\n") == "on\n"
                assert "does not answer" in await failed(pool)
                with pytest.raises(SandboxStartError, match=r"no sandbox could be started: .*does not answer"):
                    await pool.acquire(0.1)


async def test_sandboxes_given_back_while_the_engine_hangs_are_removed_later(own_engine: OwnEngine) -> None:
    async with pool_on(own_engine, "attach") as pool, pool.checkout(60):
        await warm(pool)
        with own_engine.halted():
            async with pool.checkout(1):
                await failed(pool)
            while pool.statistics().closing:
                await asyncio.sleep(0.02)


async def test_an_engine_without_room_says_so_and_is_used_again_when_it_has_some(own_engine: OwnEngine) -> None:
    async with pool_on(own_engine, "attach") as pool, pool.checkout(60) as worker:
        await warm(pool)
        with own_engine.full():
            async with pool.checkout(1):
                assert "no space left on device" in await failed(pool)
                assert await printed(worker, "open('file', 'w').write('in memory')\nprint('on')\n") == "on\n"


async def test_a_request_in_flight_is_told_that_the_engine_was_restarted_and_the_next_is_served(
    own_engine: OwnEngine,
) -> None:
    with (
        eager("upstream", "--corpus", "tests/corpus", "--tps", "0") as upstream,
        eager(
            "serve",
            EAGER_UPSTREAM_BASE_URL=f"{upstream.url}/v1",
            EAGER_SANDBOX="docker",
            EAGER_DOCKER_HOST=own_engine.address,
            EAGER_DOCKER_IMAGE=SMALL_IMAGE,
            EAGER_PRELOAD="",
            EAGER_POOL_SIZE="1",
            EAGER_SANDBOX_LIMIT="3",
            EAGER_CHECKOUT_TIMEOUT_S="2",
        ) as server,
    ):
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            await ready(client)
            found = []
            async for event in events(client, body("replay@0", f"```python\n{ENDLESS}```")):
                found.append(event)
                if event["type"] == "exec.output":
                    await asyncio.to_thread(own_engine.stop)
            (error,) = of_type(found, "error")
            assert error["error"]["code"] == "sandbox_gone"
            assert found[-1]["type"] == "done"

            (error,) = of_type(await collect(client, body("replay@0", "```python\n1\n```")), "error")
            assert set(error["error"]) == {"message", "type", "param", "code"}
            assert (error["status"], error["error"]["code"]) == (503, "overloaded")

            await asyncio.to_thread(own_engine.start)
            await ready(client)
            again = await collect(client, body("replay@0", "```python\nprint('fine')\n```"))
            assert text(again, "stdout") == "fine\n"
    assert await asyncio.to_thread(own_engine.containers) == []
