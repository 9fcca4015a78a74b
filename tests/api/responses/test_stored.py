from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace

import httpx
import openai
import pytest
from fastapi import FastAPI

from app.api.edge.auth import AuthMiddleware, Keyring
from app.api.edge.errors import install
from app.api.responses.outputs import shown
from app.api.responses.request import envelope
from app.api.responses.schemas import ResponsesRequest
from app.api.responses.stored import router
from app.store.database import open_store

REQUEST = ResponsesRequest.model_validate({"model": "m", "input": "x"})
CALL = {
    "id": "ci_1_0",
    "type": "code_interpreter_call",
    "status": "completed",
    "code": "1",
    "container_id": "cntr_1",
    "outputs": [{"type": "logs", "logs": "1"}],
}


@pytest.fixture
async def app() -> AsyncIterator[FastAPI]:
    app = FastAPI()
    install(app)
    app.include_router(router)
    app.add_middleware(AuthMiddleware, keyring=Keyring(['{"key": "ka", "name": "a"}', '{"key": "kb", "name": "b"}']))
    async with open_store("sqlite+aiosqlite://") as store:
        app.state.services = SimpleNamespace(store=store)
        response = {**envelope(REQUEST, created_at=1.0), "id": "resp_1", "status": "completed"}
        await store.responses.add(
            "resp_1",
            owner="a",
            model="m",
            previous_response_id=None,
            container_id="cntr_1",
            input_items=[{"role": "user", "content": str(number), "id": None, "type": None} for number in range(5)],
            output_items=[CALL],
            response={**response, "output": [shown(CALL, outputs=False, reasoning=False)]},
        )
        yield app


def sdk(app: FastAPI, key: str = "ka") -> openai.AsyncOpenAI:
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app))
    return openai.AsyncOpenAI(base_url="http://gateway/v1", api_key=key, max_retries=0, http_client=http)


async def test_a_stored_response_is_given_as_it_was_answered_and_with_outputs_on_demand(app: FastAPI) -> None:
    plain = await sdk(app).responses.retrieve("resp_1")
    assert (plain.id, plain.model, plain.status) == ("resp_1", "m", "completed")
    assert [item.to_dict()["outputs"] for item in plain.output] == [None]
    full = await httpx_get(app, "/v1/responses/resp_1?include=code_interpreter_call.outputs")
    assert full.json()["output"] == [CALL]
    by_sdk = await sdk(app).responses.retrieve("resp_1", include=["code_interpreter_call.outputs"])
    assert [item.to_dict() for item in by_sdk.output] == [CALL]


async def test_its_events_are_not_kept(app: FastAPI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk(app).responses.retrieve("resp_1", stream=True)
    assert (refused.value.param, refused.value.code) == ("stream", "unsupported_parameter")


async def httpx_get(app: FastAPI, path: str) -> httpx.Response:
    headers = {"authorization": "Bearer ka"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        return await client.get(path, headers=headers)


async def test_its_input_is_listed_page_by_page(app: FastAPI) -> None:
    listed = [item.to_dict() async for item in sdk(app).responses.input_items.list("resp_1", limit=2, order="asc")]
    assert [item["content"][0]["text"] for item in listed] == ["0", "1", "2", "3", "4"]
    assert len({item["id"] for item in listed}) == 5
    assert {item["type"] for item in listed} == {"message"}
    newest = await sdk(app).responses.input_items.list("resp_1", limit=1)
    assert newest.data[0].to_dict()["content"] == [{"type": "input_text", "text": "4"}]
    assert newest.has_more
    assert (await httpx_get(app, "/v1/responses/resp_1/input_items?after=nope")).status_code == 400


async def test_a_deleted_one_is_gone(app: FastAPI) -> None:
    client = sdk(app)
    await client.responses.delete("resp_1")
    for call in (client.responses.retrieve, client.responses.delete, client.responses.input_items.list):
        with pytest.raises(openai.NotFoundError) as missing:
            await call("resp_1")
        assert missing.value.code == "response_not_found"


async def test_another_callers_response_does_not_exist(app: FastAPI) -> None:
    with pytest.raises(openai.NotFoundError):
        await sdk(app, "kb").responses.retrieve("resp_1")
    with pytest.raises(openai.NotFoundError):
        await sdk(app, "kb").responses.delete("resp_1")
    assert (await sdk(app).responses.retrieve("resp_1")).id == "resp_1"
