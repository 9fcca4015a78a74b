"""The rules of PROTOCOL.md 2.2, event by event; whole streams are checked in tests/acceptance."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.api.chat.wire import ChatWire, chat_document
from app.errors import EagerError
from app.events import (
    CodeStart,
    DeltaExtra,
    Done,
    Error,
    ErrorBody,
    Event,
    ExecOutput,
    Start,
    Timing,
    Token,
    ToolCall,
    ToolCallDelta,
    TurnEnd,
)

TIMING = Timing(
    ttft_ms=1, gen_ms=1, exec_ms=0, nel_ms=0, e2el_ms=1, serial_e2el_ms=1, saved_ms=0, bound_ms=1, chunks=0, batches=0,
    gates={},
)  # fmt: skip
START = Start(id="x", model="upstream-name", session="ses_1", container_id="c")
OUTPUT = ExecOutput(call_id="call_1", batch=0, stream="stdout", text="42\n")


def done(reason: str = "stop", usage: dict[str, Any] | None = None) -> Done:
    return Done(finish_reason=reason, usage=usage, timing=TIMING)


def text(text: str, **fields: Any) -> Token:
    return Token(turn=0, channel="content", text=text, **fields)


def stream(*events: Event, include_usage: bool = False, carry: bool = True) -> list[dict[str, Any]]:
    """The chunks of an answer; one event may be none or several."""
    wire = ChatWire(id="chatcmpl-1", created=7, model="m", include_usage=include_usage, events=carry)
    data = b"".join(wire.encode(event) for event in (START, *events)).decode()
    return [json.loads(line.removeprefix("data: ")) for line in data.split("\n") if line]


def delta(chunk: dict[str, Any]) -> Any:
    return chunk["choices"][0]["delta"]


def document(*events: Event, carry: bool = False) -> Any:
    return json.loads(chat_document([START, *events], id="chatcmpl-1", created=7, model="m", carry=carry))


def test_the_role_comes_first_and_without_events() -> None:
    (first,) = stream()
    assert first == {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "m",
        "choices": [
            {"index": 0, "delta": {"role": "assistant", "content": None}, "logprobs": None, "finish_reason": None}
        ],
    }


def test_events_ride_on_an_empty_delta_before_the_first_text_and_on_empty_text_after_it() -> None:
    _, before, _, after = stream(OUTPUT, text("Hi"), OUTPUT)
    assert delta(before) == {}
    assert delta(after) == {"content": ""}
    assert before["eager"][0]["type"] == after["eager"][0]["type"] == "exec.output"


def test_events_are_not_sent_to_who_did_not_ask_but_the_summary_is() -> None:
    chunks = stream(OUTPUT, TurnEnd(turn=0, finish_reason="stop", usage=None), text("Hi"), done(), carry=False)
    assert [chunk.get("eager") is not None for chunk in chunks] == [False, False, True]
    (summary,) = chunks[-1]["eager"]
    assert (summary["type"], summary["session"], summary["timing"]["e2el_ms"]) == ("summary", "ses_1", 1)


def test_usage_that_the_upstream_did_not_sum_up_is_summed_up() -> None:
    *_, usage = stream(done(usage={"prompt_tokens": 5, "completion_tokens": 3}), include_usage=True)
    assert usage["usage"]["total_tokens"] == 8


def test_usage_comes_last_and_only_when_asked() -> None:
    *before, usage = stream(text("Hi"), done(usage={"total_tokens": 3, "estimated": True}), include_usage=True)
    assert all(chunk["usage"] is None for chunk in before)
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 3}
    assert before[-1]["eager"][0]["usage"]["estimated"] is True
    assert all("usage" not in chunk for chunk in stream(text("Hi"), done(usage={"total_tokens": 3})))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("stop", "stop"), ("interrupt", "stop"), ("timeout", "stop"), ("length", "length"), ("tool_calls", "tool_calls")],
)
def test_the_finish_reason_is_one_of_openais(ours: str, theirs: str) -> None:
    assert stream(done(ours))[-1]["choices"][0]["finish_reason"] == theirs


def test_a_call_that_streams_has_its_id_and_name_once() -> None:
    chunks = stream(
        ToolCallDelta(id="call_w", name="weather", arguments=""),
        ToolCallDelta(id="call_w", name="weather", arguments='{"a"'),
        ToolCallDelta(id="call_w", name="weather", arguments=":1}"),
        ToolCall(id="call_w", name="weather", arguments='{"a":1}', extras={"extra_content": {"sign": "x"}}),
        ToolCall(id="call_v", name="other", arguments="{}"),
    )
    calls = [call for chunk in chunks[1:] for call in delta(chunk)["tool_calls"]]
    assert calls == [
        {"index": 0, "id": "call_w", "type": "function", "function": {"name": "weather", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"a"'}},
        {"index": 0, "function": {"arguments": ":1}"}},
        {"index": 0, "function": {"arguments": ""}, "extra_content": {"sign": "x"}},
        {"index": 1, "id": "call_v", "type": "function", "function": {"name": "other", "arguments": "{}"}},
    ]


def test_code_calls_are_never_shown_as_calls() -> None:
    chunks = stream(
        CodeStart(call_id="call_1", turn=0, source="tool", language="python"),
        Token(turn=0, channel="code", text="print(", call_id="call_1"),
        done(),
    )
    assert all("tool_calls" not in delta(chunk) for chunk in chunks)


def test_reasoning_refusals_and_logprobs_keep_their_places() -> None:
    logprobs = {"content": [{"token": "Hi"}], "refusal": None}
    events = (
        Token(turn=0, channel="reasoning", text="Hm.", key="reasoning"),
        text("Hi", logprobs=logprobs),
        text("!", logprobs={"content": [{"token": "!"}]}),
        Token(turn=0, channel="refusal", text="No.", logprobs={"refusal": [{"token": "No."}]}),
        done(),
    )
    _, reasoning, content, _, refusal, _ = stream(*events)
    assert delta(reasoning) == {"reasoning": "Hm."}
    assert content["choices"][0]["logprobs"] == logprobs
    assert delta(refusal) == {"refusal": "No."}
    assert refusal["choices"][0]["logprobs"] == {"refusal": [{"token": "No."}]}
    choice = document(*events)["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": "Hi!", "refusal": "No.", "reasoning": "Hm."}
    assert choice["logprobs"] == {"content": [{"token": "Hi"}, {"token": "!"}], "refusal": [{"token": "No."}]}


def test_a_failure_is_an_error_without_choices_and_without_a_finish() -> None:
    failed = Error(error=ErrorBody("cut", "upstream_error", None, "bad_gateway"), status=502)
    _, error = stream(failed, done("error"), include_usage=True)
    assert error == {
        "error": {"message": "cut", "type": "upstream_error", "param": None, "code": "bad_gateway"},
    }
    with pytest.raises(EagerError) as raised:
        document(text("Hi"), failed, done("error"))
    assert (raised.value.status, raised.value.type, raised.value.code) == (502, "upstream_error", "bad_gateway")


def test_a_document_holds_what_would_have_streamed() -> None:
    call = ToolCall(id="call_w", name="weather", arguments="{}")
    answer = document(text("One. "), OUTPUT, text("Two."), call, done("tool_calls"), carry=True)
    (choice,) = answer["choices"]
    assert choice["message"]["content"] == "One. Two."
    assert choice["message"]["tool_calls"] == [
        {"id": "call_w", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    ]
    assert choice["finish_reason"] == "tool_calls"
    assert [event["type"] for event in answer["eager"]] == ["exec.output", "summary"]
    assert document(OUTPUT, done())["choices"][0]["message"]["content"] is None


def test_what_stood_beside_the_deltas_rides_on_the_last_chunk() -> None:
    turns = [
        DeltaExtra(turn=0, fields={}, answer={"citations": [1], "provider": "p"}),
        DeltaExtra(turn=1, fields={}, choice={"stop_reason": 7}, answer={"citations": [2]}),
    ]
    chunks = stream(*turns, text("Hi"), done(), include_usage=True)
    assert len(chunks) == 4
    last = chunks[2]
    assert (last["citations"], last["provider"], last["choices"][0]["stop_reason"]) == ([2], "p", 7)
    assert not any("citations" in chunk for chunk in chunks if chunk is not last)
    answer = document(*turns, text("Hi"), done())
    assert (answer["citations"], answer["provider"], answer["choices"][0]["stop_reason"]) == ([2], "p", 7)
    assert "citations" not in answer["choices"][0]["message"]
