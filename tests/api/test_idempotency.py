"""A repeated request does not run twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from app.api.edge.auth import Caller
from app.api.edge.errors import error_response, install
from app.api.edge.request_notes import notes_of
from app.api.idempotency import MAX_BODY, idempotent
from app.errors import SandboxUnavailable, UpstreamBroken
from app.store.database import open_store
from tests.api.served import served

Work = Callable[[Scope], Awaitable[Response]]


class Working(Response):
    """A response that runs its request when it is sent, as ``EventDocument`` does."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._work(scope)
        await response(scope, receive, send)


class Service:
    """One route whose work the test sets; ``runs`` counts how often it was done."""

    def __init__(self) -> None:
        self.runs = 0
        self.work: Work = self.succeed

    async def succeed(self, scope: Scope) -> Response:
        return JSONResponse({"run": self.runs})

    async def run(self, scope: Scope) -> Response:
        self.runs += 1
        return await self.work(scope)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    install(app)
    async with open_store("sqlite+aiosqlite://") as store:
        await store.instances.beat("inst_1", lease_s=600)

        @app.post("/{path}")
        async def create(path: str, request: Request) -> Response:
            caller = Caller(request.headers.get("x-caller", "a"))
            streaming = path == "stream"
            return idempotent(
                request,
                caller,
                await request.body(),
                Working(service.run),
                keys=store.idempotency_keys,
                instance="inst_1",
                streaming=streaming,
            )

        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
            yield client


async def post(client: httpx.AsyncClient, path: str = "/one", body: str = "b", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post(path, content=body, headers={"idempotency-key": "k", **named})


def conflict(response: httpx.Response) -> bool:
    error = response.json().get("error", {})
    return (response.status_code, error.get("code")) == (409, "idempotency_conflict")


async def test_a_repetition_gets_the_first_answer(client: httpx.AsyncClient, service: Service) -> None:
    first, again = await post(client), await post(client)
    assert first.json() == again.json() == {"run": 1}
    assert again.headers["content-type"] == first.headers["content-type"]
    assert (again.headers.get("idempotent-replayed"), first.headers.get("idempotent-replayed")) == ("true", None)
    assert service.runs == 1


async def test_without_a_key_or_with_another_ones_requests_are_their_own(
    client: httpx.AsyncClient, service: Service
) -> None:
    await post(client)
    await client.post("/one", content="b")
    await post(client, idempotency_key="other")
    await post(client, x_caller="somebody else")
    assert service.runs == 4


@pytest.mark.parametrize(("path", "body"), [("/one", "c"), ("/two", "b")])
async def test_a_key_cannot_be_used_for_another_request(client: httpx.AsyncClient, path: str, body: str) -> None:
    await post(client)
    assert (await post(client, path, body)).status_code == 400


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_key_has_a_form(client: httpx.AsyncClient, key: str) -> None:
    assert (await post(client, idempotency_key=key)).status_code == 400


@pytest.mark.parametrize(("path", "should_retry"), [("/one", None), ("/stream", "false")])
async def test_while_the_first_runs_a_repetition_is_a_conflict(
    client: httpx.AsyncClient, service: Service, path: str, should_retry: str | None
) -> None:
    started, end = asyncio.Event(), asyncio.Event()

    async def wait(scope: Scope) -> Response:
        started.set()
        await end.wait()
        return await service.succeed(scope)

    service.work = wait
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(post(client, path))
        await started.wait()
        again = await post(client, path)
        end.set()
    assert conflict(again)
    assert again.headers.get("x-should-retry") == should_retry
    assert first.result().json() == {"run": 1}


async def test_a_stream_is_not_made_again(client: httpx.AsyncClient, service: Service) -> None:
    assert (await post(client, "/stream")).status_code == 200
    again = await post(client, "/stream")
    assert conflict(again)
    assert again.headers["x-should-retry"] == "false"
    assert service.runs == 1


@pytest.mark.parametrize("path", ["/one", "/stream"])
async def test_a_failure_before_any_code_ran_leaves_the_key_free(
    client: httpx.AsyncClient, service: Service, path: str
) -> None:
    async def fail(scope: Scope) -> Response:
        return error_response(SandboxUnavailable("none free"))

    service.work = fail
    assert (await post(client, path)).status_code == 429
    service.work = service.succeed
    assert (await post(client, path)).json() == {"run": 2}


async def test_a_failure_after_code_ran_is_the_answer(client: httpx.AsyncClient, service: Service) -> None:
    async def fail(scope: Scope) -> Response:
        notes_of(scope).code_ran = True
        return error_response(SandboxUnavailable("gone"))

    service.work = fail
    first, again = await post(client), await post(client)
    assert (first.status_code, again.status_code, again.json()) == (429, 429, first.json())
    assert service.runs == 1


@pytest.mark.parametrize("code_ran", [False, True])
async def test_a_client_that_left_finds_its_key_free_only_if_nothing_ran(
    client: httpx.AsyncClient, service: Service, code_ran: bool
) -> None:
    started = asyncio.Event()

    async def hang(scope: Scope) -> Response:
        notes_of(scope).code_ran = code_ran
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    service.work = hang
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(post(client))
        await started.wait()
        first.cancel()
    service.work = service.succeed
    assert conflict(await post(client)) == code_ran


@pytest.mark.parametrize("code_ran", [False, True])
async def test_so_does_one_that_left_in_the_middle_of_a_stream(
    client: httpx.AsyncClient, service: Service, code_ran: bool
) -> None:
    class Cut(Response):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            notes_of(scope).code_ran = code_ran
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})

    async def cut(scope: Scope) -> Response:
        return Cut()

    service.work = cut
    with suppress(AssertionError):  # httpx: the answer is not complete
        await post(client, "/stream")
    service.work = service.succeed
    assert conflict(await post(client, "/stream")) == code_ran


async def test_options_in_headers_are_part_of_the_request(client: httpx.AsyncClient) -> None:
    await post(client)
    answer = await client.post("/run", content=b"{}", headers={"idempotency-key": "k", "x-eager-mode": "serial"})
    assert answer.status_code == 400


async def test_an_answer_too_large_to_keep_is_not_made_again(client: httpx.AsyncClient, service: Service) -> None:
    async def large(scope: Scope) -> Response:
        return Response(b"x" * (MAX_BODY + 1))

    service.work = large
    assert len((await post(client)).content) == MAX_BODY + 1
    assert conflict(await post(client))


MESSAGES = [{"role": "user", "content": "Go."}]
PYTHON = {"type": "function", "function": {"name": "python"}}
REQUESTS = {
    "eager": ("/v1/eager/completions", {"messages": MESSAGES, "tools": [PYTHON]}),
    "chat": ("/v1/chat/completions", {"messages": MESSAGES, "tools": [PYTHON]}),
    "proxied": ("/v1/chat/completions", {"messages": MESSAGES}),
    "responses": (
        "/v1/responses",
        {"input": "Go.", "tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
    ),
}
#: Endpoint, whether it streams, whether code ran. Where nothing runs here, what is not streamed comes whole or not.
BREAKING = [
    *[
        (name, stream, ran)
        for name in ("eager", "chat", "responses")
        for stream in (True, False)
        for ran in (True, False)
    ],
    ("proxied", True, False),
]


@pytest.mark.parametrize(("name", "stream", "code_ran"), BREAKING)
async def test_an_upstream_that_breaks_in_mid_answer_leaves_the_key_free_unless_code_ran(
    tmp_path: Path, name: str, stream: bool, code_ran: bool
) -> None:
    path, fields = REQUESTS[name]
    body: dict[str, Any] = {"model": "m", "stream": stream, **fields}
    async with served(tmp_path) as gateway, gateway.http() as http:

        async def ask() -> httpx.Response:
            return await http.post(path, json=body, headers={"idempotency-key": "k"})

        gateway.upstream.delta({"content": "Let me see."})
        if code_ran:
            gateway.upstream.code("x = 1\ny = 2\n")
            async with asyncio.TaskGroup() as tasks:
                first = tasks.create_task(ask())
                while not gateway.backend.used():
                    await asyncio.sleep(0)
                gateway.upstream.fail(UpstreamBroken("cut"))
            assert "cut" in first.result().text
        else:
            gateway.upstream.fail(UpstreamBroken("cut"))
            assert "cut" in (await ask()).text
        gateway.upstream.delta({"content": "Hi."})
        gateway.upstream.finish("stop")
        again = await ask()
        assert ("Hi." in again.text) is not code_ran
        assert len(gateway.upstream.requests) == (1 if code_ran else 2)


@pytest.mark.parametrize("stream", [True, False])
async def test_so_does_one_that_tells_of_its_failure(tmp_path: Path, stream: bool) -> None:
    failure: dict[str, Any] = {"choices": [{"index": 0, "delta": {}}], "error": {"message": "boom", "code": "x"}}
    body = {"model": "m", "stream": stream, "messages": MESSAGES}
    async with served(tmp_path) as gateway, gateway.http() as http:

        async def ask() -> httpx.Response:
            return await http.post("/v1/chat/completions", json=body, headers={"idempotency-key": "k"})

        gateway.upstream.document = failure
        gateway.upstream.delta({}, error=failure["error"])
        told = (await ask()).text
        assert json.loads(told.split("\n")[0].removeprefix("data: "))["error"] == failure["error"]
        assert told.count("error") == 1
        gateway.upstream.document = {"choices": [{"index": 0, "message": {"content": 'An "error".'}}]}
        gateway.upstream.delta({"content": 'An "error".'})
        gateway.upstream.finish("stop")
        assert "An" in (await ask()).text
        assert ("An" in (await ask()).text) is not stream  # now it is spent, or kept


async def test_what_ran_when_its_gateway_was_killed_is_not_said_to_be_running(tmp_path: Path) -> None:
    path, body = REQUESTS["chat"]

    async def ask(http: httpx.AsyncClient) -> httpx.Response:
        return await http.post(path, json={"model": "m", **body}, headers={"idempotency-key": "k"})

    async with served(tmp_path) as gateway, gateway.http() as http:
        keys = gateway.services.store.idempotency_keys
        keys.release = lambda *arguments, **named: asyncio.sleep(0)  # it does not get so far
        gateway.upstream.refusal = UpstreamBroken("cut")
        await ask(http)
    async with served(tmp_path) as gateway, gateway.http() as http:
        again = await ask(http)
    assert conflict(again)
    assert again.headers["x-should-retry"] == "false"
