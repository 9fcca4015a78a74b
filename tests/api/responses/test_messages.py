"""Histories, as clients resend them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.responses.messages import Conversation
from app.api.responses.request import file_ids
from app.errors import RequestError

Item = dict[str, Any]


def translate(*items: Item, file_names: dict[str, str] | None = None) -> list[dict[str, Any]]:
    return Conversation(code_tool="python", file_names=file_names or {}).translate(items)


def user(content: object = "hi") -> Item:
    return {"role": "user", "content": content}


def answer(text: str) -> Item:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": "msg_1_0", "role": "assistant", "status": "completed", "content": [part]}


def code_call(id: str = "ci_1_0", code: str | None = "print(1)", outputs: object = None) -> Item:
    return {
        "type": "code_interpreter_call",
        "id": id,
        "code": code,
        "container_id": "cntr_1",
        "status": "completed",
        "outputs": outputs,
    }


def function_call(call_id: str) -> Item:
    return {"type": "function_call", "call_id": call_id, "name": "w", "arguments": "{}"}


def result(call_id: str, output: object = "sunny") -> Item:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def chat_call(id: str, name: str = "w", arguments: str = "{}") -> Item:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_messages_of_all_roles_and_spellings() -> None:
    assert translate(
        {"type": "message", "role": "developer", "content": "be brief"},
        user(),
        answer("hello"),
        user([{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]),
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
    ) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "a\nb"},
        {"role": "assistant", "content": "no"},
    ]


def test_images_and_files_of_a_user() -> None:
    [message] = translate(
        user(
            [
                {"type": "input_text", "text": "look"},
                {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
                {"type": "input_file", "file_id": "file-1"},
                {"type": "input_file", "filename": "x.pdf", "file_data": "data:application/pdf;base64,AA=="},
            ]
        ),
        file_names={"file-1": "in.csv"},
    )
    assert message["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
        {"type": "text", "text": "[The user has attached a file: /mnt/data/in.csv]"},
        {"type": "file", "file": {"filename": "x.pdf", "file_data": "data:application/pdf;base64,AA=="}},
    ]


def test_a_code_call_is_replayed_with_what_it_said_also_of_an_expired_container() -> None:
    outputs = [{"type": "logs", "logs": "1\n"}, {"type": "image", "url": "data:image/png;base64,AA=="}]
    assert translate(user(), answer("I compute"), code_call(outputs=outputs), answer("1")) == [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": "I compute",
            "tool_calls": [chat_call("ci_1_0", "python", '{"code": "print(1)"}')],
        },
        {"role": "tool", "tool_call_id": "ci_1_0", "content": "1\n\n[image]"},
        {"role": "assistant", "content": "1"},
    ]


@pytest.mark.parametrize(("outputs", "said"), [(None, "(output not kept)"), ([], "(no output)")])
def test_a_code_call_without_outputs_is_still_answered(outputs: object, said: str) -> None:
    assert translate(code_call(code=None, outputs=outputs))[1]["content"] == said


def test_a_code_call_that_was_cut_off_is_told_as_one() -> None:
    cut_off = {**code_call(outputs=[{"type": "logs", "logs": "1\n"}]), "status": "incomplete"}
    assert translate(cut_off)[1]["content"] == "1\n\n[The code did not run to its end.]"


def test_parallel_function_calls_are_one_turn_and_their_results_follow_at_once() -> None:
    assert translate(
        user(),
        function_call("a"),
        function_call("b"),
        result("b", "B"),
        result("a", [{"type": "input_text", "text": "A"}]),
    )[1:] == [
        {"role": "assistant", "content": None, "tool_calls": [chat_call("a"), chat_call("b")]},
        {"role": "tool", "tool_call_id": "a", "content": "A"},
        {"role": "tool", "tool_call_id": "b", "content": "B"},
    ]


def test_pictures_that_functions_answer_with_follow_the_results_of_their_turn() -> None:
    picture = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}
    told = translate(
        function_call("a"),
        function_call("b"),
        result("a", [{"type": "input_text", "text": "A"}, picture]),
        result("b", [picture]),
        answer("I see."),
    )
    url = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    assert told[1:] == [
        {"role": "tool", "tool_call_id": "a", "content": "A\n(shown below)"},
        {"role": "tool", "tool_call_id": "b", "content": "(shown below)"},
        {"role": "user", "content": [{"type": "text", "text": "Shown by w:"}, url] * 2},
        {"role": "assistant", "content": "I see."},
    ]


def test_a_file_that_a_function_answers_with_lies_in_the_container() -> None:
    part = {"type": "input_file", "file_id": "file-1"}
    assert file_ids([function_call("a"), result("a", [part])]) == ["file-1"]
    [_, said] = translate(function_call("a"), result("a", [part]), file_names={"file-1": "a.csv"})
    assert said["content"] == "[The user has attached a file: /mnt/data/a.csv]"


def test_calls_that_are_numbered_anew_in_every_turn_have_the_results_of_their_own_turn() -> None:
    history = [
        *(function_call("call_0"), function_call("call_1"), result("call_1", "second"), result("call_0", "first")),
        *(answer("And now"), function_call("call_0"), result("call_0", "third")),
    ]
    told = [message["content"] for message in translate(*history) if message["role"] == "tool"]
    assert told == ["first", "second", "third"]
    with pytest.raises(RequestError, match="No tool output found for function call call_0"):
        translate(*history, function_call("call_0"))


def test_a_result_that_is_sent_again_counts_as_it_was_sent_last() -> None:
    assert translate(function_call("a"), result("a", "old"), user(), result("a", "new"))[1]["content"] == "new"


def test_a_mixed_turn_stays_in_order_whatever_lies_between_a_call_and_its_result() -> None:
    messages = translate(
        code_call("ci_1_0"), function_call("f"), {"type": "reasoning", "summary": []}, code_call("ci_1_2"), result("f")
    )
    assert [message.get("tool_call_id") or message["tool_calls"][0]["id"] for message in messages] == [
        *("ci_1_0", "ci_1_0"),
        *("f", "f"),
        *("ci_1_2", "ci_1_2"),
    ]


calls_and_results = [function_call("a"), function_call("b"), result("a"), result("b")]
items = st.sampled_from([user(), answer("x"), code_call(), {"type": "reasoning"}, *calls_and_results])


@settings(deadline=None)
@given(st.lists(items, max_size=8))
def test_upstream_sees_every_call_followed_by_its_result_or_the_client_an_error(history: list[Item]) -> None:
    try:
        messages = translate(*history)
    except RequestError:
        calls = [item["call_id"] for item in history if item.get("type") == "function_call"]
        results = {item["call_id"] for item in history if item.get("type") == "function_call_output"}
        assert len(calls) != len(set(calls)) or set(calls) != results
        return
    due: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] == due.pop(0)
            assert message["content"]
        else:
            assert not due
            due = [call["id"] for call in message.get("tool_calls", [])]
    assert not due


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({}, "input.0.type"),
        ({"type": "made_up_call"}, "input.0.type"),
        ({"type": ["message"]}, "input.0.type"),
        ({"role": "critic", "content": ""}, "input.0.role"),
        ({"role": "user"}, "input.0.content"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "input.0.content.0"),
        ({"role": "user", "content": ["text"]}, "input.0.content.0"),
        ({"role": "user", "content": [{"type": "input_file", "file_id": 9}]}, "input.0.content.0"),
        ({"type": "function_call", "call_id": "a", "arguments": "{}"}, "input.0.name"),
        ({"type": "function_call", "call_id": 3, "name": "w", "arguments": "{}"}, "input.0.call_id"),
        ({"type": "function_call_output", "output": "x"}, "input.0.call_id"),
        ({"type": "function_call_output", "call_id": "a", "output": 3}, "input.0.output"),
        ({"type": "function_call_output", "call_id": "a", "output": ["x"]}, "input.0.output.0"),
        ({"type": "function_call_output", "call_id": "a", "output": "x"}, "input"),
        ({"type": "function_call", "call_id": "a", "name": "w", "arguments": "{}"}, "input"),
        ({"type": "code_interpreter_call", "code": "1"}, "input.0.id"),
    ],
)
def test_what_is_not_well_formed_is_an_error_that_says_where(item: Item, param: str) -> None:
    with pytest.raises(RequestError) as refused:
        translate(item)
    assert refused.value.param == param
