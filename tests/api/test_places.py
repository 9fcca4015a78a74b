"""Where a request's code runs: a sandbox is taken when code comes, and kept for who asks to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.errors import UpstreamRefused
from tests.api.served import Served, served

NEVER_S = 1000.0
PYTHON = {"type": "function", "function": {"name": "python"}}
INTERPRETER = {"type": "code_interpreter", "container": {"type": "auto"}}

CHAT = ("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "Go."}], "tools": [PYTHON]})
EAGER = ("/v1/eager/completions", CHAT[1])
RESPONSES = ("/v1/responses", {"model": "m", "input": "Go.", "tools": [INTERPRETER]})
ENDPOINTS = pytest.mark.parametrize(("path", "body"), [CHAT, EAGER, RESPONSES], ids=["chat", "eager", "responses"])
OPENAIS = pytest.mark.parametrize(("path", "body"), [CHAT, RESPONSES], ids=["chat", "responses"])


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as gateway:
        yield gateway


@asynccontextmanager
async def exhausted(folder: Path, **settings: Any) -> AsyncIterator[Served]:
    """The only sandbox there may be is taken."""
    async with (
        asyncio.timeout(5),
        served(folder, sandbox_limit=1, **settings) as gateway,
        gateway.services.gateway.pool.checkout(NEVER_S),
    ):
        yield gateway


def says(gateway: Served, text: str = "Hi.") -> None:
    gateway.upstream.delta({"content": text})
    gateway.upstream.finish("stop")


def writes(gateway: Served, code: str) -> None:
    gateway.upstream.code(code)
    gateway.upstream.end_code()
    gateway.upstream.finish()
    says(gateway)


async def ask(gateway: Served, path: str, body: dict[str, Any], key: str = "ka", **fields: Any) -> httpx.Response:
    async with gateway.http(key) as http:
        return await http.post(path, json={**body, **fields})


@ENDPOINTS
@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_without_code_does_not_wait_for_a_sandbox(
    tmp_path: Path, path: str, body: dict[str, Any], stream: bool
) -> None:
    async with exhausted(tmp_path, checkout_timeout_s=NEVER_S) as gateway:
        says(gateway)
        answer = await ask(gateway, path, body, stream=stream)
        assert answer.status_code == 200
        assert "Hi." in answer.text


@pytest.mark.parametrize("stream", [True, False])
async def test_code_for_which_no_sandbox_comes_free_is_a_429(tmp_path: Path, stream: bool) -> None:
    async with exhausted(tmp_path, checkout_timeout_s=0.001) as gateway:
        gateway.upstream.code("x = 1\n")
        answer = await ask(gateway, *CHAT, stream=stream)
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert answer.headers["retry-after"] == "1"
    assert "x-should-retry" not in answer.headers
    assert gateway.upstream.closed.is_set()


async def test_the_sandbox_is_asked_for_at_the_name_of_the_tool(tmp_path: Path) -> None:
    async with served(tmp_path, sandbox_limit=1, checkout_timeout_s=NEVER_S) as gateway, asyncio.timeout(5):
        pool = gateway.services.gateway.pool
        async with asyncio.TaskGroup() as tasks:
            async with pool.checkout(NEVER_S):
                asking = tasks.create_task(ask(gateway, *CHAT))
                function = {"name": "python", "arguments": ""}
                gateway.upstream.delta({"tool_calls": [{"index": 0, "id": "c", "function": function}]})
                while not pool.statistics().waiting:
                    await asyncio.sleep(0)
            gateway.upstream.delta({"tool_calls": [{"index": 0, "function": {"arguments": '{"code": "x"}'}}]})
            gateway.upstream.finish()
            says(gateway)
        assert asking.result().status_code == 200
        assert [worker.executed[-1].sources for worker in gateway.backend.used()] == [["x"]]


async def test_a_client_that_leaves_while_it_waits_for_a_sandbox_waits_no_more(tmp_path: Path) -> None:
    async with served(tmp_path, sandbox_limit=1, checkout_timeout_s=NEVER_S) as gateway, asyncio.timeout(5):
        pool = gateway.services.gateway.pool
        async with pool.checkout(NEVER_S):
            gateway.upstream.code("x = 1\n")
            asking = asyncio.create_task(ask(gateway, *CHAT))
            while not pool.statistics().waiting:
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])
            assert pool.statistics().waiting == 0
        assert gateway.upstream.closed.is_set()


@ENDPOINTS
async def test_a_sandbox_that_nobody_keeps_is_given_back(gateway: Served, path: str, body: dict[str, Any]) -> None:
    writes(gateway, "x = 1\n")
    await ask(gateway, path, body)
    (worker,) = gateway.backend.used()
    kept = path == "/v1/responses"  # there it is a container
    assert (worker.death is None) is kept


@OPENAIS
async def test_a_session_of_the_clients_naming_is_made_and_found_again(
    gateway: Served, path: str, body: dict[str, Any]
) -> None:
    for code in ("x = 1\n", "x + 1\n"):
        writes(gateway, code)
        await ask(gateway, path, body, metadata={"session_id": "conversation 7"})
    (worker,) = gateway.backend.used()
    assert [executed.sources for executed in worker.executed[1:]] == [["x = 1\n"], ["x + 1\n"]]
    assert worker.death is None


@OPENAIS
async def test_other_callers_and_other_names_have_other_sessions(
    gateway: Served, path: str, body: dict[str, Any]
) -> None:
    for key, name in (("ka", "one"), ("kb", "one"), ("ka", "two")):
        writes(gateway, "x = 1\n")
        await ask(gateway, path, body, key, metadata={"session_id": name})
    assert len(gateway.backend.used()) == 3


@OPENAIS
async def test_a_session_of_the_clients_naming_is_not_made_without_code(
    gateway: Served, path: str, body: dict[str, Any]
) -> None:
    says(gateway)
    await ask(gateway, path, body, metadata={"session_id": "one"})
    assert gateway.registry.list(owner="a") == []


async def test_the_session_of_the_clients_naming_is_told(gateway: Served) -> None:
    writes(gateway, "x = 1\n")
    answer = await ask(gateway, *CHAT, metadata={"session_id": "one"})
    (session,) = gateway.registry.list(owner="a")
    assert answer.json()["eager"][-1]["session"] == session.id
    writes(gateway, "x = 2\n")
    await ask(gateway, *CHAT, eager={"session": session.id}, metadata={"session_id": "another"})  # the id counts
    assert len(gateway.backend.used()) == 1


async def test_a_session_of_the_clients_naming_whose_sandbox_died_is_made_anew(gateway: Served) -> None:
    writes(gateway, "x = 1\n")
    await ask(gateway, *CHAT, metadata={"session_id": "one"})
    gateway.backend.used()[0].die()
    writes(gateway, "x = 2\n")
    assert (await ask(gateway, *CHAT, metadata={"session_id": "one"})).status_code == 200
    assert len(gateway.backend.used()) == 2


async def test_two_requests_at_once_do_not_make_one_session_twice(gateway: Served) -> None:
    gateway.backend.prepare = lambda worker: setattr(worker, "hold", "slow")
    for worker in gateway.backend.workers:
        worker.hold = "slow"
    async with asyncio.TaskGroup() as tasks:
        gateway.upstream.code("slow()\n")
        first = tasks.create_task(ask(gateway, *CHAT, metadata={"session_id": "one"}))
        worker = await gateway.backend.wait_running()
        refused = await ask(gateway, *CHAT, metadata={"session_id": "one"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "session_busy")
        worker.release.set()
        gateway.upstream.end_code()
        gateway.upstream.finish()
        says(gateway)
    assert first.result().status_code == 200
    assert len(gateway.registry.list(owner="a")) == 1


async def test_a_session_that_another_request_made_and_left_meanwhile_is_used(gateway: Served) -> None:
    place = gateway.services.gateway.place
    async with place(None, owner="a", keep_as="one") as slower:
        async with place(None, owner="a", keep_as="one") as faster:
            session = await faster.session()
        assert await slower.session() is session


@pytest.mark.parametrize("metadata", [None, {}, {"session_id": ""}, {"session_id": 7}, {"other": "x"}])
async def test_without_a_name_nothing_is_kept(gateway: Served, metadata: Any) -> None:
    writes(gateway, "x = 1\n")
    assert (await ask(gateway, *CHAT, metadata=metadata)).status_code == 200
    assert gateway.registry.list(owner="a") == []


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("path", "body"), [CHAT, EAGER], ids=["chat", "eager"])
async def test_a_new_session_of_a_request_that_the_upstream_refuses_is_never_made(
    tmp_path: Path, path: str, body: dict[str, Any], stream: bool
) -> None:
    async with served(tmp_path, session_limit=1) as gateway:
        own = await gateway.registry.create(owner="a", deadline_s=NEVER_S)
        gateway.upstream.refusal = UpstreamRefused("no such model", status=404, type="invalid_request_error")
        answer = await ask(gateway, path, body, stream=stream, eager={"session": "new"})
        assert answer.status_code == 404
        assert gateway.registry.list(owner="a") == [own]


async def test_a_new_session_is_there_when_its_id_is_told_though_no_code_came(gateway: Served) -> None:
    says(gateway)
    start = (await ask(gateway, *EAGER, eager={"session": "new"})).json()["events"][0]
    [session] = gateway.registry.list(owner="a")
    assert (start["session"], start["container_id"]) == (session.id, gateway.backend.workers[0].id)
    writes(gateway, "x = 1\n")
    assert (await ask(gateway, *EAGER, eager={"session": session.id})).status_code == 200


async def test_a_new_session_for_which_no_sandbox_comes_free_is_a_429(tmp_path: Path) -> None:
    async with exhausted(tmp_path, checkout_timeout_s=0.001) as gateway:
        says(gateway)
        answer = await ask(gateway, *EAGER, eager={"session": "new"})
        assert answer.status_code == 429
        assert gateway.registry.list(owner="a") == []
        assert gateway.upstream.closed.is_set()
