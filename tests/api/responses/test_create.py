"""POST /v1/responses from the wire to the sandbox, over fakes at both ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from app.errors import UpstreamBroken, UpstreamRefused
from app.sandbox.worker.messages import Output, Result
from tests.api.responses.lint import lint
from tests.api.served import Served, served
from tests.fakes.session import failing

INTERPRETER = {"type": "code_interpreter", "container": {"type": "auto"}}
WEATHER = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}
OUTPUTS = "code_interpreter_call.outputs"
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as gateway:
        yield gateway


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "input": "Go.", "tools": [INTERPRETER], **fields}


def writes(gateway: Served, code: str, answer: str = "Done.") -> None:
    """The model writes this code, and then this answer."""
    gateway.upstream.code(code)
    gateway.upstream.end_code()
    gateway.upstream.finish(usage=USAGE)
    says(gateway, answer)


def says(gateway: Served, answer: str) -> None:
    gateway.upstream.delta({"content": answer})
    gateway.upstream.finish("stop", USAGE)


def calls_weather(gateway: Served) -> None:
    function = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    gateway.upstream.delta({"tool_calls": [{"index": 0, "id": "call_w", "type": "function", "function": function}]})
    gateway.upstream.finish(usage=USAGE)


def prepare(gateway: Served, **fields: Any) -> None:
    """What sandboxes do from now on, those that are warm already included."""

    def set_up(worker: Any) -> None:
        for name, value in fields.items():
            setattr(worker, name, value)

    for worker in gateway.backend.workers:
        set_up(worker)
    gateway.backend.prepare = set_up


async def stream(gateway: Served, request: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    async with gateway.http() as http:
        answer = await http.post("/v1/responses", json={**request, "stream": True})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    frames = [frame.split("\n") for frame in answer.text.removesuffix("\n\n").split("\n\n")]
    assert all(len(frame) == 2 for frame in frames)
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in frames]


async def ask(gateway: Served, request: dict[str, Any], status: int = 200) -> dict[str, Any]:
    async with gateway.http() as http:
        answer = await http.post("/v1/responses", json=request)
    assert answer.status_code == status, answer.text
    document: dict[str, Any] = answer.json()
    return document


def text_of(response: dict[str, Any]) -> str:
    parts = [part for item in response["output"] if item["type"] == "message" for part in item["content"]]
    return "".join(part["text"] for part in parts)


def calls_of(response: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for item in response["output"] if item["type"] == "code_interpreter_call"]


@pytest.mark.parametrize("include", [[OUTPUTS], []])
async def test_code_runs_in_a_container_and_the_stream_is_openais(gateway: Served, include: list[str]) -> None:
    prepare(gateway, says={"print": [Output("stdout", "42\n")], "plot": [Result(0, {"image/png": "AAAA"})]})
    writes(gateway, "print(42)\nplot\n", "It is 42.")
    final = lint(await stream(gateway, body(include=include)), include_outputs=bool(include))
    assert (final["status"], text_of(final)) == ("completed", "It is 42.")
    (call,) = calls_of(final)
    assert call["code"] == "print(42)\nplot\n"
    image = {"type": "image", "url": "data:image/png;base64,AAAA"}
    assert call["outputs"] == ([{"type": "logs", "logs": "42\n"}, image] if include else None)
    assert final["usage"]["total_tokens"] == 30
    container = await gateway.sdk().containers.retrieve(call["container_id"])
    assert container.status == "running"
    tool_message = gateway.upstream.requests[1]["messages"][-1]
    assert (tool_message["role"], tool_message["content"][:3]) == ("tool", "42\n")


class Sum(BaseModel):
    value: int


async def ask_for_a_sum(gateway: Served, stream: bool) -> Any:
    sdk: Any = gateway.sdk()
    asked = {"model": "m", "input": "Go.", "tools": [INTERPRETER], "text_format": Sum}
    if not stream:
        return await sdk.responses.parse(**asked)
    async with sdk.responses.stream(**asked) as events:
        return await events.get_final_response()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_refusal_is_told_as_one_to_who_asked_for_an_object(gateway: Served, stream: bool) -> None:
    gateway.upstream.delta({"refusal": "I won't."})
    gateway.upstream.finish("stop", USAGE)
    response = await ask_for_a_sum(gateway, stream)
    assert response.output_parsed is None
    assert response.output[0].content[0].refusal == "I won't."


@pytest.mark.parametrize("stream", [True, False])
async def test_what_is_said_before_the_code_is_no_part_of_an_object(gateway: Served, stream: bool) -> None:
    gateway.upstream.delta({"content": "Let me compute."})
    writes(gateway, "42\n", '{"value": 42}')
    response = await ask_for_a_sum(gateway, stream)
    assert response.output_parsed == Sum(value=42)
    assert [item.type for item in response.output] == ["code_interpreter_call", "message"]


async def test_the_answer_in_one_document_is_what_would_have_streamed(gateway: Served) -> None:
    for _ in range(2):
        writes(gateway, "1\n", "One.")
    streamed = lint(await stream(gateway, body()), include_outputs=False)
    whole = await ask(gateway, body())
    volatile = {"id", "created_at", "output"}
    assert {k: v for k, v in whole.items() if k not in volatile} | {"eager": 0} == {
        k: v for k, v in streamed.items() if k not in volatile
    } | {"eager": 0}
    assert [item["type"] for item in whole["output"]] == [item["type"] for item in streamed["output"]]


async def test_a_conversation_goes_on_by_the_id_of_its_last_answer_in_the_same_container(gateway: Served) -> None:
    prepare(gateway, says={"x = 1": [Output("stdout", "set\n")]})
    writes(gateway, "x = 1\n", "Set.")
    first = await ask(gateway, body(input="Set x.", instructions="Be brief."))
    writes(gateway, "x\n", "It is 1.")
    second = await ask(gateway, body(input="What is x?", previous_response_id=first["id"]))
    assert second["previous_response_id"] == first["id"]
    assert calls_of(second)[0]["container_id"] == calls_of(first)[0]["container_id"]
    (worker,) = gateway.backend.used()
    assert [source for run in worker.executed[1:] for source in run.sources] == ["x = 1\n", "x\n"]
    sent = gateway.upstream.requests[2]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "assistant", "user"]
    assert sent[2]["content"] == "set\n"  # though the client never asked for outputs
    assert sent[-1]["content"] == "What is x?"


async def test_an_answer_is_there_to_refer_to_as_soon_as_it_is_complete(gateway: Served) -> None:
    says(gateway, "Hello.")
    events = await stream(gateway, body())
    response_id = events[-1][1]["response"]["id"]
    assert (await gateway.sdk().responses.retrieve(response_id)).output_text == "Hello."
    items = [item async for item in gateway.sdk().responses.input_items.list(response_id)]
    assert [item.type for item in items] == ["message"]


async def test_what_is_not_to_be_stored_is_not(gateway: Served) -> None:
    says(gateway, "Hello.")
    response = await ask(gateway, body(store=False))
    with pytest.raises(openai.NotFoundError):
        await gateway.sdk().responses.retrieve(response["id"])
    refused = await ask(gateway, body(previous_response_id=response["id"]), status=400)
    assert refused["error"]["code"] == "previous_response_not_found"
    assert refused["error"]["param"] == "previous_response_id"


async def test_a_conversation_outlives_the_deletion_of_its_earlier_answers(gateway: Served) -> None:
    calls_weather(gateway)
    first = await ask(gateway, body(tools=[WEATHER]))
    says(gateway, "Sunny.")
    result = [{"type": "function_call_output", "call_id": "call_w", "output": "sunny"}]
    second = await ask(gateway, body(input=result, previous_response_id=first["id"], tools=[WEATHER]))
    await gateway.sdk().responses.delete(first["id"])
    says(gateway, "Yes.")
    await ask(gateway, body(input="Sure?", previous_response_id=second["id"], tools=[WEATHER]))
    roles = [message["role"] for message in gateway.upstream.requests[2]["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]
    refused = await ask(gateway, body(previous_response_id=first["id"]), status=400)
    assert refused["error"]["code"] == "previous_response_not_found"


async def test_a_conversation_of_too_many_items_is_refused(gateway: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.api.responses.history.MAX_MESSAGES", 3)
    says(gateway, "Hello.")
    first = await ask(gateway, body())
    says(gateway, "Hello.")
    await ask(gateway, body(previous_response_id=first["id"]))
    two = [{"role": "user", "content": text} for text in ("Go", "on.")]
    refused = await ask(gateway, body(previous_response_id=first["id"], input=two), status=400)
    assert (refused["error"]["code"], refused["error"]["param"]) == ("context_length_exceeded", "previous_response_id")


async def test_the_answers_of_others_cannot_be_continued(gateway: Served) -> None:
    says(gateway, "Hello.")
    response = await ask(gateway, body())
    with pytest.raises(openai.BadRequestError) as refused:
        await gateway.sdk("kb").responses.create(model="m", input="x", previous_response_id=response["id"])
    assert refused.value.code == "previous_response_not_found"


async def test_a_named_container_is_used_with_the_files_in_it(gateway: Served) -> None:
    sdk = gateway.sdk()
    container = await sdk.containers.create(name="mine")
    await sdk.containers.files.create(container.id, file=("in.csv", b"1"))
    writes(gateway, "read()\n")
    response = await ask(gateway, body(tools=[{"type": "code_interpreter", "container": container.id}]))
    assert calls_of(response)[0]["container_id"] == container.id
    (worker,) = gateway.backend.used()
    assert worker.files == {"in.csv": b"1"}
    assert len(worker.executed) > 1


async def test_a_named_container_that_is_not_there_or_has_expired_is_an_error(gateway: Served) -> None:
    unknown = await ask(gateway, body(tools=[{"type": "code_interpreter", "container": "cntr_x"}]), status=404)
    assert unknown["error"]["code"] == "container_not_found"
    container = await gateway.sdk().containers.create(name="mine")
    await gateway.registry.delete(container.id, owner="a")
    gone = await ask(gateway, body(tools=[{"type": "code_interpreter", "container": container.id}]), status=400)
    assert gone["error"]["code"] == "container_expired"
    assert gateway.upstream.requests == []


@pytest.mark.parametrize("replay", ["previous_response_id", "items"])
async def test_a_conversation_whose_container_has_expired_goes_on_in_a_fresh_one(gateway: Served, replay: str) -> None:
    writes(gateway, "x = 1\n", "Set.")
    first = await ask(gateway, body(include=[OUTPUTS]))
    old = calls_of(first)[0]["container_id"]
    await gateway.registry.delete(old, owner="a")
    writes(gateway, "x\n", "Gone.")
    if replay == "items":
        again = body(input=[{"role": "user", "content": "Go."}, *first["output"], {"role": "user", "content": "x?"}])
    else:
        again = body(previous_response_id=first["id"])
    second = await ask(gateway, again)
    assert text_of(second) == "Gone."
    assert calls_of(second)[0]["container_id"] not in (old, "")


async def test_while_another_answer_uses_the_conversations_container_there_is_a_fresh_one(gateway: Served) -> None:
    writes(gateway, "x = 1\n", "Set.")
    first = await ask(gateway, body())
    container = calls_of(first)[0]["container_id"]
    branch = body(previous_response_id=first["id"])
    writes(gateway, "x\n")
    async with gateway.services.containers.use(container, owner="a"):
        assert calls_of(await ask(gateway, branch))[0]["container_id"] != container
        named = await ask(gateway, body(tools=[{"type": "code_interpreter", "container": container}]), status=409)
        assert named["error"]["code"] == "session_busy"
    writes(gateway, "x\n")
    assert calls_of(await ask(gateway, branch))[0]["container_id"] == container


@pytest.mark.parametrize("broken", [False, True])
async def test_who_learns_that_an_answer_is_over_finds_its_container_free(gateway: Served, broken: bool) -> None:
    writes(gateway, "x = 1\n", "Set.")
    container = calls_of(await ask(gateway, body()))[0]["container_id"]
    gateway.upstream.delta({"content": "Half"})
    if broken:
        gateway.upstream.fail(UpstreamBroken("it was cut"))
    else:
        gateway.upstream.finish("stop", USAGE)
    used: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def watch(message: Any) -> None:
            if b"event: response.completed" in message.get("body", b"") or b"event: error" in message.get("body", b""):
                async with gateway.services.containers.use(container, owner="a") as again:
                    used.append(again.id)
            await send(message)

        await gateway.app(scope, receive, watch)

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        tools = [{"type": "code_interpreter", "container": container}]
        headers = {"authorization": "Bearer ka"}
        await http.post("/v1/responses", json=body(tools=tools, stream=True), headers=headers)
    assert used == [container]


async def test_replayed_items_find_their_container_again(gateway: Served) -> None:
    writes(gateway, "x = 1\n", "Set.")
    first = await ask(gateway, body(store=False))
    writes(gateway, "x\n")
    items = [{"role": "user", "content": "Go."}, *first["output"], {"role": "user", "content": "x?"}]
    second = await ask(gateway, body(input=items, store=False))
    assert calls_of(second)[0]["container_id"] == calls_of(first)[0]["container_id"]


async def test_functions_of_the_client_go_to_the_client_and_their_results_come_back(gateway: Served) -> None:
    calls_weather(gateway)
    first = lint(await stream(gateway, body(tools=[WEATHER, INTERPRETER])), include_outputs=False)
    (call,) = first["output"]
    assert (call["type"], call["call_id"], call["name"], call["arguments"]) == (
        "function_call",
        "call_w",
        "get_weather",
        '{"city": "Paris"}',
    )
    says(gateway, "Sunny.")
    result = [{"type": "function_call_output", "call_id": "call_w", "output": "sunny"}]
    second = await ask(gateway, body(input=result, previous_response_id=first["id"], tools=[WEATHER, INTERPRETER]))
    assert text_of(second) == "Sunny."
    sent = gateway.upstream.requests[1]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert sent[2] == {"role": "tool", "tool_call_id": "call_w", "content": "sunny"}


async def test_without_a_code_tool_no_sandbox_is_taken(gateway: Served) -> None:
    says(gateway, "Just text.")
    response = lint(await stream(gateway, body(tools=[])), include_outputs=False)
    assert text_of(response) == "Just text."
    assert gateway.registry.statistics().created == 0
    calls_weather(gateway)
    assert (await ask(gateway, body(tools=[WEATHER])))["output"][0]["type"] == "function_call"


async def test_a_function_of_the_client_that_is_called_python_is_the_clients(gateway: Served) -> None:
    gateway.upstream.code("print(1)")
    gateway.upstream.end_code()
    gateway.upstream.finish()
    response = await ask(gateway, body(tools=[{"type": "function", "name": "python"}, INTERPRETER]))
    assert [item["type"] for item in response["output"]] == ["function_call"]
    assert [run.sources for worker in gateway.backend.workers for run in worker.executed[1:]] == []


async def test_a_call_in_another_language_is_answered_to_the_model_not_shown_to_the_client(gateway: Served) -> None:
    function = {"name": "python", "arguments": '{"language": "javascript", "code": "1"}'}
    for tools in ([INTERPRETER], [WEATHER, INTERPRETER]):
        gateway.upstream.delta({"tool_calls": [{"index": 0, "id": "call_j", "function": function}]})
        gateway.upstream.finish()
        writes(gateway, "print(1)\n", "Python, then.")
        response = lint(await stream(gateway, body(tools=tools)), include_outputs=False)
        assert [item["type"] for item in response["output"]] == ["code_interpreter_call", "message"]
    told = gateway.upstream.requests[1]["messages"][-1]
    assert (told["role"], told["tool_call_id"]) == ("tool", "call_j")
    assert "only Python and bash run here" in told["content"]


async def test_only_allowed_tools_are_offered_in_every_turn(gateway: Served) -> None:
    writes(gateway, "print(1)\n")
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "code_interpreter"}]}
    response = await ask(gateway, body(tools=[WEATHER, INTERPRETER], tool_choice=choice))
    assert response["tool_choice"] == choice
    offered = [[tool["function"]["name"] for tool in request["tools"]] for request in gateway.upstream.requests]
    assert offered == [["python"], ["python"]]


async def test_links_to_files_that_the_code_wrote_are_cited_and_can_be_fetched(gateway: Served) -> None:
    prepare(gateway, writes={"savefig": {"plot.png": b"PNG"}})
    answer = "Here: [plot](sandbox:/mnt/data/plot.png)."
    writes(gateway, "savefig()\n", answer)
    response = lint(await stream(gateway, body()), include_outputs=False)
    (annotation,) = response["output"][-1]["content"][0]["annotations"]
    assert answer[annotation["start_index"] : annotation["end_index"]] == "sandbox:/mnt/data/plot.png"
    assert (annotation["type"], annotation["filename"]) == ("container_file_citation", "plot.png")
    content = await gateway.sdk().containers.files.content.retrieve(
        annotation["file_id"], container_id=annotation["container_id"]
    )
    assert content.content == b"PNG"
    says(gateway, answer)  # a later turn without code knows the files, too
    later = await ask(gateway, body(previous_response_id=response["id"]))
    assert later["output"][0]["content"][0]["annotations"] == [annotation]


async def test_files_of_the_request_are_in_the_container_before_code_runs(gateway: Served) -> None:
    sdk = gateway.sdk()
    one = await sdk.files.create(file=("data.csv", b"1"), purpose="user_data")
    two = await sdk.files.create(file=("data.csv", b"2"), purpose="user_data")
    content = [{"type": "input_text", "text": "Sum."}, {"type": "input_file", "file_id": one.id}]
    tool = {"type": "code_interpreter", "container": {"type": "auto", "file_ids": [two.id, one.id]}}
    request = body(input=[{"role": "user", "content": content}], tools=[tool])
    writes(gateway, "x\n")
    response = await ask(gateway, request)
    (worker,) = gateway.backend.used()
    assert worker.files == {"data.csv": b"2", f"{one.id}-data.csv": b"1"}
    assert f"/mnt/data/{one.id}-data.csv" in json.dumps(gateway.upstream.requests[0]["messages"])
    worker.files["data.csv"] = b"changed by code"
    writes(gateway, "x\n")
    await ask(gateway, {**request, "previous_response_id": response["id"]})
    assert worker.files["data.csv"] == b"changed by code"


async def test_another_file_of_the_same_name_takes_its_place(gateway: Served) -> None:
    def tool(*file_ids: str) -> list[dict[str, Any]]:
        return [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": list(file_ids)}}]

    sdk = gateway.sdk()
    one = await sdk.files.create(file=("data.csv", b"1"), purpose="user_data")
    two = await sdk.files.create(file=("data.csv", b"2"), purpose="user_data")
    writes(gateway, "x\n")
    last = await ask(gateway, body(tools=tool(one.id)))
    (worker,) = gateway.backend.used()
    for file_id, content in [(two.id, b"2"), (one.id, b"1")]:
        says(gateway, "Next.")
        last = await ask(gateway, body(tools=tool(file_id), previous_response_id=last["id"]))
        assert worker.files == {"data.csv": content}
    says(gateway, "Both.")
    await ask(gateway, body(tools=tool(one.id, two.id), previous_response_id=last["id"]))
    assert worker.files == {"data.csv": b"1", f"{two.id}-data.csv": b"2"}


async def test_a_file_that_is_attached_later_takes_no_name_from_one_of_the_tool(gateway: Served) -> None:
    sdk = gateway.sdk()
    one = await sdk.files.create(file=("data.csv", b"1"), purpose="user_data")
    two = await sdk.files.create(file=("data.csv", b"2"), purpose="user_data")
    tools = [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": [one.id]}}]
    writes(gateway, "x\n")
    first = await ask(gateway, body(tools=tools))
    (worker,) = gateway.backend.used()
    worker.files["data.csv"] = b"changed by code"
    says(gateway, "Seen.")
    message = {"role": "user", "content": [{"type": "input_file", "file_id": two.id}]}
    await ask(gateway, body(tools=tools, input=[message], previous_response_id=first["id"]))
    assert worker.files == {"data.csv": b"changed by code", f"{two.id}-data.csv": b"2"}


@pytest.mark.parametrize("tools", [[INTERPRETER], []])
async def test_a_conversation_goes_on_without_the_file_it_began_with(gateway: Served, tools: list[Any]) -> None:
    sdk = gateway.sdk()
    file = await sdk.files.create(file=("data.csv", b"1"), purpose="user_data")
    message = {"role": "user", "content": [{"type": "input_file", "file_id": file.id}]}
    writes(gateway, "x\n")
    first = await ask(gateway, body(input=[message]))
    if tools:
        await sdk.files.delete(file.id)
    says(gateway, "A title.")
    await ask(gateway, body(tools=tools, previous_response_id=first["id"]))
    told = gateway.upstream.requests[-1]["messages"][0]["content"]
    assert told == "[The user has attached a file, which cannot be read any more]"
    says(gateway, "Never said.")
    refused = await ask(gateway, body(tools=tools, input=[message]), status=404 if tools else 400)
    assert refused["error"]["param"] == ("id" if tools else "tools")


async def test_a_file_that_nothing_could_read_is_refused(gateway: Served) -> None:
    file = await gateway.sdk().files.create(file=("data.csv", b"1"), purpose="user_data")
    items = [{"role": "user", "content": [{"type": "input_file", "file_id": file.id}]}]
    assert "code_interpreter" in (await ask(gateway, body(input=items, tools=[]), 400))["error"]["message"]
    items[0]["content"] = [{"type": "input_file", "file_id": "file-x"}]
    assert (await ask(gateway, body(input=items), 404))["error"]["code"] == "file_not_found"


async def test_an_upstream_that_refuses_is_an_http_error(gateway: Served) -> None:
    gateway.upstream.refusal = UpstreamRefused("no", status=429, type="requests", code="rate_limit_exceeded")
    for streaming in (True, False):
        refused = await ask(gateway, body(stream=streaming), status=429)
        assert refused["error"]["code"] == "rate_limit_exceeded"


async def test_an_upstream_that_breaks_is_an_error_event_and_then_a_failed_response(gateway: Served) -> None:
    gateway.upstream.delta({"content": "Half an"})
    gateway.upstream.fail(UpstreamBroken("it was cut"))
    events = await stream(gateway, body())
    assert [name for name, _ in events[-2:]] == ["error", "response.failed"]
    failed = lint(events, include_outputs=False)
    assert failed["error"]["code"] == "server_error"
    assert "it was cut" in failed["error"]["message"]
    assert [item["status"] for item in failed["output"]] == ["incomplete"]
    assert (await gateway.sdk().responses.retrieve(failed["id"])).status == "failed"


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_request_that_failed_with_an_http_error_leaves_nothing_stored(
    gateway: Served, streaming: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, stored = gateway.services.store.responses, []

    async def add(id: str, **fields: Any) -> None:
        stored.append(id)

    monkeypatch.setattr(store, "add", add)
    gateway.upstream.fail(UpstreamBroken("it was cut"))
    await ask(gateway, body(stream=streaming), status=502)
    assert stored == []
    says(gateway, "Hello.")
    assert stored == [(await ask(gateway, body()))["id"]]


async def test_an_upstream_that_breaks_is_an_http_error_without_a_stream(gateway: Served) -> None:
    prepare(gateway, hold="x")
    gateway.upstream.code("x\n")
    async with gateway.http() as http, asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(http.post("/v1/responses", json=body()))
        await gateway.backend.wait_running()
        gateway.upstream.fail(UpstreamBroken("it was cut"))
    answer = asked.result()
    assert answer.status_code == 502
    assert answer.json()["error"]["type"] == "upstream_error"
    assert answer.headers["x-should-retry"] == "false"  # the code has run


async def test_failing_code_is_repaired_as_on_chat_completions(gateway: Served) -> None:
    prepare(gateway, fails={"boom": failing()})
    gateway.upstream.code("boom()\n")
    gateway.upstream.end_code()
    gateway.upstream.finish()
    writes(gateway, "better()\n", "Fixed.")
    response = lint(await stream(gateway, body(include=[OUTPUTS])), include_outputs=True)
    first, second = calls_of(response)
    assert "ValueError" in first["outputs"][0]["logs"]
    assert second["code"] == "better()\n"
    assert text_of(response) == "Fixed."


async def test_an_answer_that_is_cut_short_is_incomplete(gateway: Served) -> None:
    gateway.upstream.delta({"content": "Once upon"})
    gateway.upstream.finish("length", USAGE)
    response = await ask(gateway, body(max_output_tokens=2))
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert gateway.upstream.requests[0]["max_tokens"] == 2


async def test_execution_events_ride_along_when_asked_for(gateway: Served) -> None:
    prepare(gateway, says={"print": [Output("stdout", "1\n")]})
    writes(gateway, "print(1)\n")
    events = await stream(gateway, body(eager={"events": True}))
    carried = [event["type"] for _, data in events for event in data.get("eager", ())]
    assert carried[:2] == ["code.start", "chunk"]
    assert {"exec.start", "exec.output", "exec.end", "code.end", "summary"} <= set(carried)
    lint(events, include_outputs=False)


async def test_a_client_that_leaves_takes_its_code_with_it(gateway: Served) -> None:
    prepare(gateway, hold="sleep")
    gateway.upstream.code("sleep()\n")
    async with gateway.http() as http:
        request = asyncio.ensure_future(http.post("/v1/responses", json=body(stream=True)))
        worker = await gateway.backend.wait_running()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
    assert worker.cancelled
    assert gateway.upstream.closed.is_set()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"background": True}, "background"),
        ({"max_tool_calls": -1}, "max_tool_calls"),
        ({"eager": {"session": "new"}}, "eager.session"),
        ({"tools": [{"type": "function"}]}, "tools.0.name"),
        ({"tools": [], "tool_choice": {"type": "code_interpreter"}}, "tool_choice"),
        ({"input": [{"type": "item_reference", "id": "msg_1_0"}]}, "input.0.id"),
        ({"input": None}, "input"),
    ],
)
async def test_what_cannot_be_done_is_refused(gateway: Served, fields: dict[str, Any], param: str) -> None:
    status = 404 if param == "input.0.id" else 400
    assert (await ask(gateway, body(**fields), status))["error"]["param"] == param


async def test_a_limit_of_built_in_calls_is_no_matter_without_such_tools(gateway: Served) -> None:
    says(gateway, "Hello.")
    assert (await ask(gateway, body(tools=[WEATHER], max_tool_calls=1)))["max_tool_calls"] == 1


async def test_stored_items_can_be_referred_to(gateway: Served) -> None:
    writes(gateway, "x = 1\n", "Set.")
    first = await ask(gateway, body())
    references = [{"type": "item_reference", "id": item["id"]} for item in first["output"]]
    says(gateway, "Yes.")
    await ask(gateway, body(input=[*references, {"role": "user", "content": "Sure?"}]))
    roles = [message["role"] for message in gateway.upstream.requests[2]["messages"]]
    assert roles == ["assistant", "tool", "assistant", "user"]


@pytest.mark.parametrize(("store", "told"), [(True, "42\n"), (False, "(output not kept)")])
async def test_the_model_learns_what_its_code_said_also_where_the_client_was_not_shown_it(
    gateway: Served, store: bool, told: str
) -> None:
    prepare(gateway, says={"print": [Output("stdout", "42\n")]})
    function = {"name": "get_weather", "arguments": "{}"}
    gateway.upstream.code("print(42)\n")
    gateway.upstream.end_code()
    gateway.upstream.delta({"tool_calls": [{"index": 1, "id": "call_w", "type": "function", "function": function}]})
    gateway.upstream.finish(usage=USAGE)
    request = body(tools=[INTERPRETER, WEATHER], store=store)
    first = await ask(gateway, request)
    assert [item["type"] for item in first["output"]] == ["code_interpreter_call", "function_call"]
    assert first["output"][0]["outputs"] is None
    result = {"type": "function_call_output", "call_id": "call_w", "output": "sunny"}
    says(gateway, "It is sunny.")
    await ask(gateway, {**request, "input": [{"role": "user", "content": "Go."}, *first["output"], result]})
    results = [message["content"] for message in gateway.upstream.requests[1]["messages"] if message["role"] == "tool"]
    assert results == [told, "sunny"]


async def test_a_model_that_the_key_may_not_use_is_refused(gateway: Served) -> None:
    with pytest.raises(openai.PermissionDeniedError):
        await gateway.sdk("kb").responses.create(model="other", input="x")


async def test_what_a_request_named_may_be_gone_when_it_is_repeated(gateway: Served) -> None:
    sdk = gateway.sdk()
    says(gateway, "Hello.")
    previous = await ask(gateway, body())
    file = await sdk.files.create(file=("data.csv", b"1"), purpose="user_data")
    tools = [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": [file.id]}}]
    says(gateway, "Once.")
    async with gateway.http() as http:
        request = body(tools=tools, previous_response_id=previous["id"])
        first = await http.post("/v1/responses", json=request, headers={"idempotency-key": "k1"})
        await sdk.files.delete(file.id)
        await sdk.responses.delete(previous["id"])
        second = await http.post("/v1/responses", json=request, headers={"idempotency-key": "k1"})
        other = await http.post("/v1/responses", json=request, headers={"idempotency-key": "k2"})
    assert first.status_code == 200
    assert first.json() == second.json()
    assert other.status_code == 400


async def test_a_file_that_is_deleted_before_its_container_is_made_is_missed(gateway: Served) -> None:
    sdk = gateway.sdk()
    file = await sdk.files.create(file=("data.csv", b"1"), purpose="user_data")
    tools = [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": [file.id]}}]
    async with gateway.http() as http, asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(http.post("/v1/responses", json=body(tools=tools)))
        while not gateway.upstream.requests:
            await asyncio.sleep(0)
        await sdk.files.delete(file.id)
        gateway.upstream.code("x\n")
    answer = asking.result()
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "file_not_found")
    assert file.id in answer.json()["error"]["message"]


async def test_the_same_idempotency_key_does_not_run_code_twice(gateway: Served) -> None:
    writes(gateway, "x\n", "Once.")
    async with gateway.http() as http:
        headers = {"idempotency-key": "k1"}
        first = await http.post("/v1/responses", json=body(), headers=headers)
        second = await http.post("/v1/responses", json=body(), headers=headers)
    assert first.json() == second.json()
    assert len(gateway.upstream.requests) == 2


async def test_what_the_model_was_not_told_of_is_in_the_answer(gateway: Served) -> None:
    gateway.upstream.delta({"content": "Hi."})
    gateway.upstream.finish("stop", USAGE)
    answer = await ask(gateway, body(tools=[{"type": "web_search"}, INTERPRETER]))
    [warning] = answer["eager"]
    assert (warning["type"], warning["code"], warning["param"]) == ("warning", "tool_unavailable", "tools.0")
    assert [tool["function"]["name"] for tool in gateway.upstream.requests[0]["tools"]] == ["python"]


async def test_a_deployment_may_refuse_services_that_are_not_here(tmp_path: Path) -> None:
    async with served(tmp_path, hosted_tools="refuse") as gateway:
        answer = await ask(gateway, body(tools=[{"type": "web_search"}]), 400)
    assert answer["error"]["param"] == "tools.0.type"


@pytest.mark.parametrize("asked", [{"eager": {"code_tool": "always"}}, {"model": "m:eager"}], ids=str)
async def test_the_model_has_the_interpreter_also_where_the_client_declares_none(
    gateway: Served, asked: dict[str, Any]
) -> None:
    writes(gateway, "x = 1\n")
    answer = await ask(gateway, {**body(tools=[]), **asked})
    assert [item["type"] for item in answer["output"]] == ["code_interpreter_call", "message"]
    assert answer["tools"] == []


async def test_a_conversation_with_a_tool_of_a_namespace_goes_on(gateway: Served) -> None:
    """Stored, and brought back by its client: the model sees the same."""
    namespace = {"type": "namespace", "name": "ns", "tools": [{"type": "custom", "name": "note"}]}
    function = {"name": "ns__note", "arguments": '{"input": "x"}'}
    gateway.upstream.delta({"tool_calls": [{"index": 0, "id": "call_n", "type": "function", "function": function}]})
    gateway.upstream.finish(usage=USAGE)
    first = await ask(gateway, body(tools=[namespace]))
    [call] = first["output"]
    assert (call["type"], call["namespace"], call["input"]) == ("custom_tool_call", "ns", "x")
    output = {"type": "custom_tool_call_output", "call_id": "call_n", "output": "noted"}
    for again in (
        {"previous_response_id": first["id"], "input": [output]},
        {"input": [{"role": "user", "content": "Go."}, call, output]},
    ):
        says(gateway, "Done.")
        await ask(gateway, body(tools=[namespace], **again))
        assistant, result = gateway.upstream.requests[-1]["messages"][-2:]
        assert assistant["tool_calls"][0]["function"] == function
        assert result == {"role": "tool", "tool_call_id": "call_n", "content": "noted"}


@pytest.mark.parametrize("path", ["input_tokens", "compact"])
async def test_what_is_not_here_is_a_404(gateway: Served, path: str) -> None:
    async with gateway.http() as http:
        answer = await http.post(f"/v1/responses/{path}", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")


@pytest.mark.parametrize(("sent", "passed_on"), [("auto", None), ("flex", "flex")])
async def test_a_service_tier_is_passed_on_and_told_as_it_was_sent(
    gateway: Served, sent: str, passed_on: str | None
) -> None:
    says(gateway, "Hi.")
    answer = await ask(gateway, body(service_tier=sent))
    assert answer["service_tier"] == sent
    assert gateway.upstream.requests[0].get("service_tier") == passed_on


async def test_calls_of_the_interpreter_can_be_limited(gateway: Served) -> None:
    writes(gateway, "x = 1\n")
    answer = await ask(gateway, body(max_tool_calls=1))
    assert [item["type"] for item in answer["output"]] == ["code_interpreter_call", "message"]
    assert gateway.upstream.requests[1]["tool_choice"] == "none"
