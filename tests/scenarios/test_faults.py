"""What goes wrong ends in the right event, the gateway serves on, and nothing is left."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest

from tests.scenarios.client import JsonEvent, body, collect, cut_short, events, of_type, text
from tests.scenarios.servers import Server, eager

ENDLESS = "print('on', flush=True)\nwhile True:\n    pass\n"
IGNORES_INTERRUPTS = (
    "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('on', flush=True)\nwhile True:\n    pass\n"
)


@pytest.fixture(scope="module")
def server(backend: str, upstream_url: str) -> Iterator[Server]:
    settings = {"EAGER_SANDBOX": backend, "EAGER_PRELOAD": "", "EAGER_POOL_SIZE": "1", "EAGER_SANDBOX_LIMIT": "4"}
    with eager("serve", EAGER_UPSTREAM_BASE_URL=f"{upstream_url}/v1", **settings) as server:
        yield server


@pytest.fixture
async def gateway(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        yield client
        await serves_on(client)


def program(code: str, **eager: Any) -> dict[str, Any]:
    return body("replay@0", f"```python\n{code}```", **eager)


async def serves_on(client: httpx.AsyncClient) -> None:
    """A request after the fault works, and no sandbox is in use any more."""
    found = await collect(client, program("print('fine')\n"))
    assert text(found, "stdout") == "fine\n"
    async with asyncio.timeout(20):
        while (await client.get("/readyz")).json()["pool"]["busy"]:
            await asyncio.sleep(0.05)


async def until(found: AsyncIterator[JsonEvent], kind: str) -> JsonEvent:
    async for event in found:
        if event["type"] == kind:
            return event
    raise AssertionError(f"no {kind}")


@pytest.mark.parametrize("code", [ENDLESS, IGNORES_INTERRUPTS], ids=["endless", "ignores interrupts"])
async def test_an_endless_loop_ends_at_its_time_limit(gateway: httpx.AsyncClient, code: str) -> None:
    found = await collect(gateway, program(code, timeout_s=1))
    assert text(found, "stdout") == "on\n"
    (end,) = of_type(found, "code.end")
    assert end["status"] == "timeout"
    assert of_type(found, "exec.end")[-1]["status"] == "timeout"
    assert found[-1]["finish_reason"] in ("timeout", "stop")


@pytest.mark.parametrize("code", [ENDLESS, IGNORES_INTERRUPTS], ids=["endless", "ignores interrupts"])
async def test_a_client_that_leaves_in_mid_run_frees_its_sandbox(gateway: httpx.AsyncClient, code: str) -> None:
    found = events(gateway, program(code))
    await until(found, "exec.output")
    await found.aclose()


@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/containers"])
async def test_a_client_that_leaves_while_it_waits_for_a_session_gets_none(
    gateway: httpx.AsyncClient, path: str
) -> None:
    # Of the sessions of the tests before, none may give way while we count.
    for id in await ids(gateway, "/v1/sessions"):
        await gateway.delete(f"/v1/sessions/{id}")
    await pool_has(gateway, waiting=0, starting=0)
    before = await ids(gateway, path)
    held = [(await gateway.post("/v1/sessions")).json()["id"] for _ in range(4)]
    leaving = asyncio.create_task(gateway.post(path, json={"name": "never used"}))
    await pool_has(gateway, waiting=1)
    leaving.cancel()
    await pool_has(gateway, waiting=0)
    for id in held:
        assert (await gateway.delete(f"/v1/sessions/{id}")).status_code == 200
    assert await ids(gateway, path) == before


async def ids(client: httpx.AsyncClient, path: str) -> set[str]:
    return {entry["id"] for entry in (await client.get(path)).json()["data"]}


async def pool_has(client: httpx.AsyncClient, **counts: int) -> None:
    async with asyncio.timeout(20):
        while not counts.items() <= (await client.get("/readyz")).json()["pool"].items():
            await asyncio.sleep(0.05)


async def test_a_client_that_leaves_stops_the_model(gateway: httpx.AsyncClient, upstream: httpx.AsyncClient) -> None:
    model = "replay@5"
    found = events(gateway, body(model, f"```python\n{ENDLESS}{'x = 1' * 100}\n```"))
    await until(found, "token")
    await found.aclose()
    sent = await cut_short(upstream, model)
    assert sent["tokens_sent"] < sent["tokens_total"]


@pytest.mark.parametrize(
    "code",
    ["import os\nos._exit(3)\n", "import os\nos.kill(os.getpid(), 9)\n", "import ctypes\nctypes.string_at(0)\n"],
    ids=["_exit", "kill -9", "segfault"],
)
async def test_an_interpreter_that_dies_is_told_and_the_session_goes_on(gateway: httpx.AsyncClient, code: str) -> None:
    created = (await gateway.post("/v1/sessions")).json()
    found = await collect(gateway, program(code, session=created["id"]))
    assert of_type(found, "session.lost")
    assert of_type(found, "code.end")[0]["status"] == "error"
    again = await collect(gateway, program("print(__name__)\n", session=created["id"]))
    assert text(again, "stdout") == "__main__\n"
    await gateway.delete(f"/v1/sessions/{created['id']}")


async def test_a_fork_bomb_stays_in_its_sandbox(gateway: httpx.AsyncClient) -> None:
    bomb = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass\n"
    found = await collect(gateway, program(bomb, timeout_s=2))
    assert of_type(found, "code.end")[0]["status"] in ("timeout", "error")


async def test_a_gigabyte_of_output_is_cut_off_at_the_limit(gateway: httpx.AsyncClient) -> None:
    flood = "line = 'x' * 1023 + '\\n'\nfor _ in range(1 << 20):\n    print(line, end='')\n"
    found = await collect(gateway, program(flood))
    (error,) = of_type(found, "exec.error")
    assert error["ename"] == "OutputLimitExceeded"
    assert len(text(found, "stdout")) < 64 * 1024 * 1024


async def test_a_memory_bomb_is_the_programs_own_error(gateway: httpx.AsyncClient) -> None:
    bomb = "kept = []\nwhile True:\n    kept.append(bytearray(50_000_000))\n"
    found = await collect(gateway, program(bomb))
    (error,) = of_type(found, "exec.error")
    assert error["ename"] in ("MemoryError", "MemoryLimitExceeded", "InterpreterKilled")


async def test_code_that_the_compiler_makes_gigabytes_of_ends_its_interpreter_alone(gateway: httpx.AsyncClient) -> None:
    # Each ``finally`` is compiled once for each way out of its ``try``: 549 characters that no compiler survives.
    nested = "".join(" " * n + "try:return 0\n" + " " * n + "finally:\n" for n in range(1, 15))
    created = (await gateway.post("/v1/sessions", json={})).json()
    found = await collect(gateway, program(f"x = 1\ndef f():\n{nested}{' ' * 15}a\n\nb = 1\n", session=created["id"]))
    (error,) = of_type(found, "exec.error")
    # Where no cgroup limits memory, the interpreter's own limit does, and the compiler may heed it.
    assert error["ename"] in ("MemoryLimitExceeded", "InterpreterKilled", "ExecutionTimeout", "MemoryError")
    assert bool(of_type(found, "session.lost")) == (error["ename"] != "MemoryError")
    again = await collect(gateway, program("print('here')\n", session=created["id"]))
    assert text(again, "stdout") == "here\n"
    await gateway.delete(f"/v1/sessions/{created['id']}")


async def test_a_sandbox_killed_from_outside_is_a_clear_error(
    server: Server, gateway: httpx.AsyncClient, backend: str
) -> None:
    found = events(gateway, program(ENDLESS))
    await until(found, "exec.output")
    kill_sandboxes(server, backend)
    rest = [event async for event in found]
    (error,) = of_type(rest, "error")
    assert error["error"]["code"] == "sandbox_gone"
    assert rest[-1]["type"] == "done"


def kill_sandboxes(server: Server, backend: str) -> None:
    if backend == "docker":
        client = docker.from_env()
        try:
            for container in client.containers.list(filters={"label": "eager.gateway"}, ignore_removed=True):
                if container.labels["eager.gateway"].startswith(f"{server.pid}-"):
                    container.kill()
        finally:
            client.close()
    else:
        for pid in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split():
            os.kill(int(pid), signal.SIGKILL)


async def test_an_upstream_that_breaks_off_ends_with_an_error(gateway: httpx.AsyncClient) -> None:
    request = {**program("print(1)\nx = 2\ny = 3\n"), "replay": {"cut_after": 5}}
    found = await collect(gateway, request)
    assert [event["type"] for event in found[-2:]] == ["error", "done"]
    assert of_type(found, "code.end")[0]["status"] == "incomplete"


async def test_an_upstream_that_refuses_is_an_http_error(gateway: httpx.AsyncClient) -> None:
    answer = await gateway.post("/v1/eager/completions", json={**program("1\n"), "replay": {"status": 429}})
    assert answer.status_code == 429
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


async def test_the_gateway_leaves_nothing_when_it_is_stopped(backend: str, upstream_url: str) -> None:
    with eager(
        "serve", EAGER_UPSTREAM_BASE_URL=f"{upstream_url}/v1", EAGER_SANDBOX=backend, EAGER_PRELOAD=""
    ) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            await collect(client, program("print(1)\n"))
            running = events(client, program(ENDLESS))
            await until(running, "exec.output")
            group = server.pid
            await running.aclose()
    left = [stat for stat in Path("/proc").glob("[0-9]*/stat") if parent_of(stat) == group]
    assert left == []
    if backend == "docker":
        assert containers_of(group) == []


@pytest.fixture(scope="module")
def answers_of_a_stopped_gateway(backend: str, upstream_url: str) -> dict[bool, httpx.Response]:
    """To a request that streams and to one that does not, which both ran when it was stopped."""

    async def ask_and_stop(server: Server) -> dict[bool, httpx.Response]:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client, asyncio.TaskGroup() as tasks:
            asking = {
                stream: tasks.create_task(
                    client.post("/v1/eager/completions", json={**program(ENDLESS), "stream": stream})
                )
                for stream in (True, False)
            }
            while (await client.get("/readyz")).json()["pool"]["busy"] < len(asking):
                await asyncio.sleep(0.05)
            os.kill(server.pid, signal.SIGTERM)
        return {stream: task.result() for stream, task in asking.items()}

    with eager(
        "serve", EAGER_UPSTREAM_BASE_URL=f"{upstream_url}/v1", EAGER_SANDBOX=backend, EAGER_PRELOAD=""
    ) as server:
        return asyncio.run(ask_and_stop(server))


@pytest.mark.parametrize("stream", [True, False])
def test_code_that_runs_when_the_gateway_is_stopped_ends_with_an_error_that_is_not_retried(
    answers_of_a_stopped_gateway: dict[bool, httpx.Response], stream: bool
) -> None:
    answer = answers_of_a_stopped_gateway[stream]
    assert '"code":"overloaded"' in answer.text.replace(": ", ":")
    if not stream:
        assert (answer.status_code, answer.headers["x-should-retry"]) == (503, "false")


def containers_of(gateway_pid: int) -> list[str]:
    client = docker.from_env()
    try:
        return [
            container.name or ""
            for container in client.containers.list(all=True, filters={"label": "eager.gateway"}, ignore_removed=True)
            if container.labels["eager.gateway"].startswith(f"{gateway_pid}-")
        ]
    finally:
        client.close()


SESSIONS = 200 if os.environ.get("EAGER_FULL") == "1" else 40
AT_ONCE = 8
#: The Docker SDK keeps up to 25 for later calls (seen: 20).
ENGINE_CONNECTIONS = 25


@pytest.mark.timeout(900)
async def test_sessions_opened_and_dropped_leave_nothing(
    server: Server, gateway: httpx.AsyncClient, backend: str
) -> None:
    """Clients that disconnect: before the first event, in the middle of the code, while it is being stopped."""
    await serves_on(gateway)
    before = await settled(server, gateway, backend)
    turn = asyncio.Semaphore(AT_ONCE)

    async def open_and_drop(n: int) -> None:
        async with turn:
            found = events(gateway, program(ENDLESS if n % 2 else "x = 1\n"))
            try:
                await until(found, ("start", "code.start", "chunk", "exec.output" if n % 2 else "exec.end")[n // 2 % 4])
            finally:
                await found.aclose()

    async with asyncio.TaskGroup() as tasks:
        for n in range(SESSIONS):
            tasks.create_task(open_and_drop(n))
    await serves_on(gateway)
    after = await settled(server, gateway, backend)
    # Connections to the upstream and the engine are kept for the next request: at most one for each that ran at once.
    assert after.pop("descriptors") - before.pop("descriptors") <= AT_ONCE + ENGINE_CONNECTIONS < SESSIONS
    assert after == before


async def settled(server: Server, gateway: httpx.AsyncClient, backend: str) -> dict[str, int]:
    """What there is of the gateway once it is at rest: one sandbox on the shelf, nothing on its way."""
    async with asyncio.timeout(60):
        while True:
            pool = (await gateway.get("/readyz")).json()["pool"]
            if (pool["warm"], pool["starting"], pool["busy"], pool["closing"], pool["waiting"]) == (1, 0, 0, 0, 0):
                break
            await asyncio.sleep(0.05)
    told = dict(line.rsplit(" ", 1) for line in (await gateway.get("/metrics")).text.splitlines() if line[0] != "#")
    return {
        "descriptors": int(float(told["process_open_fds"])),
        "tasks": int(float(told["eager_tasks"])),
        "processes": sum(sandboxes_in(child) for child in children_of(server.pid)),
        "containers": len(containers_of(server.pid)) if backend == "docker" else 0,
        "folders": len(list(Path(tempfile.gettempdir()).glob(f"eager-*-{server.pid}-*/*"))),
        "cgroups": len(list(Path("/sys/fs/cgroup").glob(f"*/**/eager-{server.pid}/*/"))),
    }


def parent_of(stat: Path) -> int | None:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        return None


def sandboxes_in(process: str) -> int:
    """One; of a zygote, in its bubblewrap, what it has forked. A second zygote is started when there is time."""
    if b"/zygote.py" not in Path(f"/proc/{process}/cmdline").read_bytes():
        return 1
    return sum(len(children_of(zygote)) for zygote in children_of(process))


def children_of(pid: object) -> list[str]:
    return [child for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]
