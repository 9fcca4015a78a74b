import json
from typing import Any

import pytest

from app.errors import UpstreamBroken
from app.extraction.deltas import CallDelta, Delta, FunctionDelta, decode_delta, is_error


def chunk(delta: Any = None, finish_reason: Any = None, **fields: Any) -> str:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return json.dumps({"id": "c", "object": "chat.completion.chunk", "choices": [choice], **fields})


def test_text_is_read_from_bytes_and_from_str() -> None:
    data = chunk({"role": "assistant", "content": "é"})
    assert decode_delta(data) == decode_delta(data.encode()) == Delta(content="é")


@pytest.mark.parametrize(
    "data",
    [
        "{}",
        '{"choices": null}',
        '{"choices": [], "id": "", "model": "", "object": ""}',
        '{"choices": [{}]}',
        '{"choices": [{"delta": null}]}',
        '{"error": null, "choices": [{"delta": {"role": null, "content": null, "tool_calls": null}}]}',
        chunk({"role": "assistant", "content": "", "tool_calls": [], "reasoning_content": None}),
        chunk({"content": 3, "reasoning": {"x": 1}}, finish_reason=""),
        chunk({}, usage=3, finish_reason=7),
    ],
)
def test_fields_may_be_missing_null_or_odd(data: str) -> None:
    assert decode_delta(data) == Delta()


def test_the_older_form_of_a_call_is_a_call_unless_it_comes_beside_the_new_one() -> None:
    given = {"name": "get_weather", "arguments": "{}"}
    (call,) = decode_delta(chunk({"content": None, "function_call": given})).tool_calls
    assert call == CallDelta(index="function_call", function=FunctionDelta("get_weather", "{}"))
    beside = decode_delta(chunk({"tool_calls": [{"index": 0, "function": given}], "function_call": given})).tool_calls
    assert [delta.index for delta in beside] == [0]
    assert decode_delta(chunk({"function_call": "odd"})).tool_calls == []


def test_content_may_be_a_list_of_parts() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": []}, "b", {"text": None}]
    assert decode_delta(chunk({"content": parts})).content == "ab"


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"reasoning_content": "t"}, "reasoning_content"),
        ({"reasoning": "t"}, "reasoning"),
        ({"reasoning": "t", "reasoning_content": None}, "reasoning"),
        ({"reasoning": "t", "reasoning_content": "t"}, "reasoning_content"),
    ],
)
def test_reasoning_comes_under_one_of_two_keys(fields: dict[str, Any], key: str) -> None:
    delta = decode_delta(chunk(fields))
    assert (delta.reasoning, delta.reasoning_key) == ("t", key)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("end_turn", "stop"),
        ("STOP", "stop"),
        ("something_new", "stop"),
        ("model_length", "length"),
        ("MAX_TOKENS", "length"),
        ("function_call", "tool_calls"),
        ("tool_use", "tool_calls"),
        ("SAFETY", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("content_filter: PROHIBITED_CONTENT", "content_filter"),
        (None, None),
        ("", None),
        ("null", None),
    ],
)
def test_finish_reasons_are_mapped_into_the_enum(reason: str | None, expected: str | None) -> None:
    assert decode_delta(chunk({}, finish_reason=reason)).finish_reason == expected


def test_usage_and_text_may_share_a_chunk() -> None:
    delta = decode_delta(chunk({"content": "a"}, usage={"total_tokens": 3}))
    assert (delta.content, delta.usage) == ("a", {"total_tokens": 3})
    assert decode_delta('{"choices": [], "usage": {"total_tokens": 3}}').usage == {"total_tokens": 3}


def test_fields_to_be_echoed_are_kept() -> None:
    call = {"index": 0, "function": {"arguments": {"a": 1}}, "extra_content": {"google": {"thought_signature": "s"}}}
    delta = decode_delta(chunk({"tool_calls": [call], "reasoning_details": [{"type": "x"}], "extra_content": {"y": 1}}))
    assert delta.tool_calls[0].extra_content == {"google": {"thought_signature": "s"}}
    assert delta.tool_calls[0].function is not None
    assert delta.tool_calls[0].function.arguments == {"a": 1}
    assert delta.reasoning_details == [{"type": "x"}]
    assert delta.extra_content == {"y": 1}


def test_only_the_first_choice_is_read() -> None:
    assert decode_delta('{"choices": [{"index": 1, "delta": {"content": "b"}}]}') == Delta()
    both = '{"choices": [{"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": "a"}}]}'
    assert decode_delta(both).content == "a"


def test_half_characters_and_control_characters_are_let_through() -> None:
    assert decode_delta('{"choices": [{"delta": {"content": "a\\ud83d"}}]}').content == "a\ud83d"
    assert decode_delta('{"choices": [{"delta": {"content": "a\n"}}]}').content == "a\n"


def test_numbers_that_are_no_json_are_null() -> None:
    given = '{"choices": [{"delta": {"content": "a", "reasoning_details": [{"x": NaN}]}, "logprobs": [-Infinity]}]}'
    delta = decode_delta(given)
    assert (delta.content, delta.reasoning_details, delta.logprobs) == ("a", [{"x": None}], [None])


def test_half_characters_of_what_does_not_come_in_pieces_are_replaced() -> None:
    half = "\ud83d"
    call = {"id": half, "function": {"name": half, "arguments": half}, "extra_content": {half: [half]}}
    message = {"reasoning_details": [{"text": half}], "tool_calls": [call]}
    logprobs = {"content": [{"token": half, "logprob": -1.0}]}
    delta = decode_delta(json.dumps({"choices": [{"delta": message, "logprobs": logprobs}], "usage": {half: 1}}))
    assert delta.logprobs == {"content": [{"token": "\ufffd", "logprob": -1.0}]}
    assert delta.usage == {"\ufffd": 1}
    assert delta.reasoning_details == [{"text": "\ufffd"}]
    [given] = delta.tool_calls
    assert (given.id, given.extra_content) == ("\ufffd", {"\ufffd": ["\ufffd"]})
    assert given.function is not None
    assert (given.function.name, given.function.arguments) == ("\ufffd", half)
    with pytest.raises(UpstreamBroken, match="bad \ufffd"):
        decode_delta(json.dumps({"error": {"message": f"bad {half}"}}))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('{"error": {"message": "boom", "code": 500}}', "boom"),
        ('{"error": "boom"}', "boom"),
        ('{"error": {"code": "boom"}}', "boom"),
        ('{"error": {"x": 1}}', "the upstream failed"),
        ('{"object": "error", "message": "boom"}', "boom"),
        ('{"choices": [{"delta": {"content": ""}, "finish_reason": "error"}], "error": {"message": "boom"}}', "boom"),
        (chunk({}, finish_reason="error"), "error"),
        (chunk({}, finish_reason="abort"), "abort"),
        (chunk({}, finish_reason="insufficient_system_resource"), "insufficient_system_resource"),
        (chunk({}, finish_reason="function_call_filter: MALFORMED_FUNCTION_CALL"), "MALFORMED_FUNCTION_CALL"),
        ("<html>", "not a chat completion"),
        ('{"choices": 3}', "not a chat completion"),
        ("[1]", "not a chat completion"),
        ("[" * 100_000, "not a chat completion"),
        ('{"choices": [], "x": ' + "[" * 100_000, "not a chat completion"),
    ],
)
def test_errors_and_nonsense_break_the_stream(data: str, message: str) -> None:
    with pytest.raises(UpstreamBroken, match=message):
        decode_delta(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('{"error": {"message": "busy"}}', True),
        ('{"object": "error", "message": "busy", "error": null}', True),
        (chunk({"content": '"error"'}), False),
        ('{"error": null, "choices": []}', False),
        (chunk({"content": "fine"}), False),
    ],
)
def test_the_data_of_an_event_may_be_an_error(data: str, expected: bool) -> None:
    assert is_error(data) is expected


def test_what_stands_beside_a_delta_is_told_but_what_only_we_may_tell() -> None:
    known = {"provider": "p", "citations": ["a"], "service_tier": "flex", "system_fingerprint": None}
    odd = {"x_groq": {"id": "r"}, "timings": {}, "eager": [{"type": "summary"}]}
    beside = {"stop_reason": 7, "native_finish_reason": "eos"}
    assert decode_delta(chunk({"content": "a"}, **known)).answer_fields is None  # it is the same with every token
    delta = decode_delta(chunk({"content": "a"}, "stop", **known))
    assert (delta.content, delta.choice_fields) == ("a", None)
    assert delta.answer_fields == {"provider": "p", "citations": ["a"], "service_tier": "flex"}
    choice = {
        "index": 0,
        "delta": {"role": "assistant", "content": "a", "eager": 1},
        **beside,
        "score": 0.5,
        "eager": [],
    }
    delta = decode_delta(json.dumps({"choices": [{"index": 1, "rank": 2}, choice], **known, **odd}))
    assert (delta.content, delta.extras) == ("a", {})
    assert delta.choice_fields == {**beside, "score": 0.5}
    assert delta.answer_fields == {"provider": "p", "citations": ["a"], "service_tier": "flex", "x_groq": {"id": "r"}}
    whole = {"index": 0, "message": {"content": "a"}, **beside, "finish_reason": "stop"}
    delta = decode_delta(json.dumps({"choices": [whole], **known}))
    assert (delta.content, delta.choice_fields) == ("a", beside)
    assert delta.answer_fields is not None
