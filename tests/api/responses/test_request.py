"""Requests, translated whole; and what SDKs make of the response object."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.responses import Response

from app.api.responses.request import (
    envelope,
    file_ids,
    includes_outputs,
    input_items,
    referenced_responses,
    replayed_container,
    require_supported,
    resolve_references,
    tools_of,
    upstream_body,
)
from app.api.responses.schemas import ResponsesRequest
from app.errors import RequestError


def make(**fields: Any) -> ResponsesRequest:
    return ResponsesRequest.model_validate({"model": "m", "input": "hi", **fields})


def body(request: ResponsesRequest) -> dict[str, Any]:
    return upstream_body(request, tools_of(request), input_items(request), file_names={})


def test_a_plain_request_stays_plain() -> None:
    assert body(make()) == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_instructions_come_first_and_settings_are_spelled_as_chat_completions_spell_them() -> None:
    schema = {"type": "json_schema", "name": "n", "schema": {}, "strict": True}
    request = make(
        input=[{"role": "user", "content": "hi"}],
        instructions="be brief",
        max_output_tokens=9,
        temperature=0.0,
        top_p=0.5,
        user="u",
        parallel_tool_calls=False,
        reasoning={"effort": "low"},
        text={"format": schema, "verbosity": "low"},
        include=["message.output_text.logprobs"],
        top_logprobs=2,
        tools=[{"type": "code_interpreter"}],
        tool_choice={"type": "code_interpreter"},
        service_tier="auto",
    )
    translated = body(request)
    assert [tool["function"]["name"] for tool in translated.pop("tools")] == ["python"]
    assert translated == {
        "model": "m",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
        "max_tokens": 9,
        "temperature": 0.0,
        "top_p": 0.5,
        "user": "u",
        "parallel_tool_calls": False,
        "reasoning_effort": "low",
        "verbosity": "low",
        "logprobs": True,
        "top_logprobs": 2,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}},
        "tool_choice": {"type": "function", "function": {"name": "python"}},
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ({"verbosity": "low"}, None),
        ({"format": {"type": "text"}}, None),
        ({"format": {"type": "json_object"}}, {"type": "json_object"}),
        (
            {"format": {"type": "json_schema", "name": "n", "schema": {}, "description": None, "strict": None}},
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
        ),
    ],
)
def test_formats_of_the_answer(text: dict[str, Any] | None, expected: object) -> None:
    assert body(make(text=text)).get("response_format") == expected


def test_what_is_null_was_not_given() -> None:
    nulls = dict.fromkeys(("tools", "tool_choice", "stream", "metadata", "store", "truncation", "eager", "include"))
    assert make(**nulls) == make()


@pytest.mark.parametrize("format", [{"type": "json_schema"}, {"type": "xml"}, 3])
def test_an_unknown_format_is_a_400(format: object) -> None:
    with pytest.raises(RequestError) as refused:
        body(make(text={"format": format}))
    assert refused.value.param == "text.format"


@pytest.mark.parametrize(("name", "value"), [("background", True), ("conversation", "c"), ("prompt", {"id": "p"})])
def test_what_would_silently_not_happen_is_refused(name: str, value: object) -> None:
    require_supported(make())
    with pytest.raises(RequestError) as refused:
        require_supported(make(**{name: value}))
    assert (refused.value.param, refused.value.code) == (name, "unsupported_parameter")


def test_outputs_are_included_when_asked_for() -> None:
    assert includes_outputs(make(include=["code_interpreter_call.outputs"]))
    assert not includes_outputs(make(include=["reasoning.encrypted_content"]))
    assert not includes_outputs(make())


def test_an_automatic_container_is_the_last_one_replayed() -> None:
    calls = [{"type": "code_interpreter_call", "container_id": id} for id in ("cntr_1", "cntr_2", None)]
    assert replayed_container([calls[0], {"role": "user"}, calls[1], calls[2]]) == "cntr_2"
    assert replayed_container([{"role": "user"}]) is None


def test_files_that_messages_refer_to_are_found_once_each() -> None:
    part = {"type": "input_file", "file_id": "file-1"}
    other = {"type": "input_image", "file_id": "file-2"}
    messages = [{"role": "user", "content": [part, other, "odd"]}, {"role": "user", "content": [part]}]
    assert file_ids([*messages, {"role": "user", "content": "x"}, {"type": "reasoning"}]) == ["file-1", "file-2"]


def test_code_calls_that_come_back_without_outputs_have_those_that_are_known() -> None:
    call = {"type": "code_interpreter_call", "id": "ci_ab_0", "code": "1", "outputs": None}
    whole = {**call, "outputs": [{"type": "logs", "logs": "1"}]}
    other = {**whole, "outputs": []}
    assert referenced_responses([call, other, {**call, "id": "ci_of_openai"}]) == ["resp_ab"]
    assert resolve_references([call, other], {"ci_ab_0": whole}) == [whole, other]
    assert resolve_references([call], {}) == [call]


def test_references_to_stored_items_are_found_and_resolved() -> None:
    message = {"type": "message", "id": "msg_ab_1", "role": "assistant", "content": "x"}
    items = [
        {"role": "user", "content": "hi"},
        {"type": "item_reference", "id": "msg_ab_1"},
        {"id": "ci_ab_0"},
        {"type": "item_reference", "id": "rs_gone"},
        message,
    ]
    assert referenced_responses(items) == ["resp_ab"]
    call = {"type": "code_interpreter_call", "id": "ci_ab_0"}
    assert resolve_references(items, {"msg_ab_1": message, "ci_ab_0": call}) == [items[0], message, call, message]
    with pytest.raises(RequestError) as refused:
        resolve_references(items, {})
    assert (refused.value.status, refused.value.param, refused.value.code) == (404, "input.1.id", "item_not_found")


def test_the_envelope_is_a_response_that_openais_types_accept_and_repeats_the_request() -> None:
    request = make(
        instructions="be brief",
        tools=[{"type": "code_interpreter", "container": {"type": "auto"}}],
        metadata={"a": "b"},
        previous_response_id="resp_0",
        store=False,
        text={"verbosity": "low"},
    )
    response = {**envelope(request, created_at=1.5), "id": "resp_1", "status": "in_progress", "output": []}
    parsed = Response.model_validate(response)
    assert (parsed.instructions, parsed.metadata, parsed.previous_response_id) == ("be brief", {"a": "b"}, "resp_0")
    assert response["store"] is False
    assert response["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    assert parsed.tools[0].type == "code_interpreter"
