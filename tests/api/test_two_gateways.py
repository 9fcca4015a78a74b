"""Two gateways on one data folder, side by side: what lives in the other one is said to live there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.api.served import Served, served

PYTHON = {"type": "function", "function": {"name": "python"}}
INTERPRETER = {"type": "code_interpreter", "container": {"type": "auto"}}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "Go."}], "tools": [PYTHON]}
RESPONSE = {"model": "m", "input": "Go.", "tools": [INTERPRETER]}
NAMED = {"metadata": {"session_id": "conversation 7"}}


class Two(NamedTuple):
    here: Served
    there: Served


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    async with AsyncExitStack() as stack:
        yield Two(*[await stack.enter_async_context(served(tmp_path)) for _ in range(2)])


def writes(gateway: Served, code: str = "x = 1\n") -> None:
    gateway.upstream.code(code)
    gateway.upstream.end_code()
    gateway.upstream.finish()
    gateway.upstream.delta({"content": "Done."})
    gateway.upstream.finish("stop")


async def call(gateway: Served, method: str, path: str, **request: Any) -> httpx.Response:
    async with gateway.http() as http:
        return await http.request(method, f"/v1/{path}", **request)


async def refused(gateway: Served, method: str, path: str, code: str, **request: Any) -> None:
    answer = await call(gateway, method, path, **request)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (409, "conflict_error", code)
    assert "another gateway" in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "request_"),
    [
        ("DELETE", "", {}),
        ("POST", "/execute", {"json": {"code": "x"}}),
        ("POST", "/execute", {"json": {"code": "x", "stream": True}}),
        ("POST", "/interrupt", {}),
        ("GET", "/files", {}),
        ("PUT", "/files/x", {"content": b"1"}),
        ("GET", "/files/x", {}),
        ("DELETE", "/files/x", {}),
    ],
)
async def test_a_session_can_be_used_only_where_it_lives(
    two: Two, method: str, path: str, request_: dict[str, Any]
) -> None:
    id = (await call(two.here, "POST", "sessions")).json()["id"]
    await refused(two.there, method, f"sessions/{id}{path}", "session_elsewhere", **request_)
    assert (await call(two.here, "GET", f"sessions/{id}")).json()["status"] == "idle"


async def test_sessions_are_listed_and_shown_wherever_they_live(two: Two) -> None:
    id = (await call(two.here, "POST", "sessions")).json()["id"]
    shown = (await call(two.there, "GET", f"sessions/{id}")).json()
    assert (shown["id"], shown["status"]) == (id, "elsewhere")
    assert (await call(two.there, "GET", "sessions")).json()["data"] == [shown]
    assert [found["status"] for found in (await call(two.here, "GET", "sessions")).json()["data"]] == ["idle"]
    async with two.there.http("kb") as stranger:
        assert (await stranger.get("/v1/sessions")).json()["data"] == []
        assert (await stranger.get(f"/v1/sessions/{id}")).status_code == 404
        assert (await stranger.delete(f"/v1/sessions/{id}")).status_code == 404


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("path", "body"), [("chat/completions", CHAT), ("responses", RESPONSE)], ids=["chat", "responses"]
)
async def test_a_session_of_the_clients_naming_is_not_made_twice(
    two: Two, path: str, body: dict[str, Any], stream: bool
) -> None:
    writes(two.here)
    assert (await call(two.here, "POST", path, json={**body, **NAMED})).status_code == 200
    code = "session_elsewhere" if path == "chat/completions" else "container_elsewhere"
    await refused(two.there, "POST", path, code, json={**body, **NAMED, "stream": stream})
    assert two.there.backend.used() == []
    writes(two.here, "x\n")
    assert (await call(two.here, "POST", path, json={**body, **NAMED})).status_code == 200
    assert len(two.here.backend.used()) == 1


async def test_a_session_that_is_named_is_not_said_to_be_missing(two: Two) -> None:
    id = (await call(two.here, "POST", "sessions")).json()["id"]
    body = {**CHAT, "eager": {"session": id}}
    await refused(two.there, "POST", "chat/completions", "session_elsewhere", json=body)
    await refused(two.there, "POST", "eager/completions", "session_elsewhere", json=body)


@pytest.mark.parametrize(
    ("method", "path", "request_"),
    [
        ("DELETE", "", {}),
        ("GET", "/files", {}),
        ("POST", "/files", {"files": {"file": ("x", b"1")}}),
        ("GET", "/files/{file}", {}),
        ("GET", "/files/{file}/content", {}),
        ("DELETE", "/files/{file}", {}),
    ],
)
async def test_a_container_can_be_used_only_where_it_lives(
    two: Two, method: str, path: str, request_: dict[str, Any]
) -> None:
    made = await two.here.sdk().containers.create(name="c")
    file = await two.here.sdk().containers.files.create(made.id, file=("x", b"1"))
    place = f"containers/{made.id}{path.format(file=file.id)}"
    await refused(two.there, method, place, "container_elsewhere", **request_)
    assert two.here.registry.is_alive(made.id, owner="a")
    kept = await two.here.sdk().containers.files.retrieve(file.id, container_id=made.id)
    assert kept.to_dict() == file.to_dict()


async def test_containers_are_listed_and_shown_wherever_they_live(two: Two) -> None:
    made = await two.here.sdk().containers.create(name="c")
    assert (await two.there.sdk().containers.retrieve(made.id)).to_dict() == made.to_dict()
    assert [found.status async for found in two.there.sdk().containers.list()] == ["running"]
    await two.here.registry.delete(made.id, owner="a")  # what its expiry does
    await two.here.services.gateway.instance.settle()
    assert (await two.there.sdk().containers.retrieve(made.id)).status == "expired"
    await two.there.sdk().containers.delete(made.id)  # of what has expired anybody can remove the record
    assert [found async for found in two.here.sdk().containers.list()] == []


@pytest.mark.parametrize("named", [True, False])
async def test_a_conversation_does_not_go_on_in_an_empty_container(two: Two, named: bool) -> None:
    writes(two.here)
    first = (await call(two.here, "POST", "responses", json=RESPONSE)).json()
    (container,) = {item["container_id"] for item in first["output"] if item["type"] == "code_interpreter_call"}
    tools = [{"type": "code_interpreter", "container": container}] if named else [INTERPRETER]
    body = {**RESPONSE, "previous_response_id": first["id"], "tools": tools}
    await refused(two.there, "POST", "responses", "container_elsewhere", json=body)
    assert two.there.backend.used() == []


async def test_what_one_gateway_runs_another_that_starts_leaves_alone(two: Two, tmp_path: Path) -> None:
    made = await two.here.sdk().containers.create(name="c")
    async with served(tmp_path) as third:
        assert (await third.sdk().containers.retrieve(made.id)).status == "running"
    assert (await two.there.sdk().containers.retrieve(made.id)).status == "running"


async def test_what_a_gateway_held_has_expired_when_it_ends(tmp_path: Path) -> None:
    async with served(tmp_path) as there:
        async with served(tmp_path) as here:
            made = await here.sdk().containers.create(name="c")
            session = (await call(here, "POST", "sessions")).json()["id"]
        assert (await there.sdk().containers.retrieve(made.id)).status == "expired"
        assert (await call(there, "GET", f"sessions/{session}")).status_code == 404
