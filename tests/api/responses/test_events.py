"""Golden orders, and the rules over generated pipelines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import httpx
import msgspec
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.responses.events import Emitted, ResponseStream, response_id_of
from app.api.responses.request import envelope
from app.api.responses.schemas import ResponsesRequest
from app.api.responses.usage import response_usage
from app.events import (
    ChunkDetected,
    CodeEnd,
    CodeStart,
    Done,
    Error,
    ErrorBody,
    Event,
    ExecEnd,
    ExecError,
    ExecOutput,
    ExecResult,
    ExecStart,
    Start,
    Timing,
    Token,
    ToolCall,
    TurnEnd,
)
from tests.api.responses.lint import lint

REQUEST = ResponsesRequest.model_validate(
    {"model": "m", "input": "x", "tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}
)
TIMING = Timing(
    **dict.fromkeys(
        ("ttft_ms", "gen_ms", "exec_ms", "nel_ms", "e2el_ms", "serial_e2el_ms", "saved_ms", "bound_ms"), 0.0
    ),
    chunks=0,
    batches=0,
    gates={},
)
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def start() -> Start:
    return Start(id="eager_1", model="m", session="s", container_id="cntr_1")


def say(text: str) -> Token:
    return Token(turn=0, channel="content", text=text)


def refuse(text: str) -> Token:
    return Token(turn=0, channel="refusal", text=text)


def begin(call: str = "a") -> CodeStart:
    return CodeStart(call_id=call, turn=0, source="tool", language="python")


def write(text: str, call: str = "a") -> Token:
    return Token(turn=0, channel="code", text=text, call_id=call)


def output(text: str, call: str = "a") -> ExecOutput:
    return ExecOutput(call_id=call, batch=0, stream="stdout", text=text)


def end(code: str, call: str = "a", status: Any = "ok") -> CodeEnd:
    return CodeEnd(call_id=call, code=code, status=status, ran=1, chunks=1)


def done(finish_reason: str = "stop", usage: dict[str, Any] | None = USAGE) -> Done:
    return Done(finish_reason=finish_reason, usage=usage, timing=TIMING)


def make(*, include_outputs: bool = True, carry_events: bool = False) -> ResponseStream:
    return ResponseStream(
        "resp_1",
        envelope=envelope(REQUEST, created_at=1.0),
        include_outputs=include_outputs,
        carry_events=carry_events,
    )


def play(stream: ResponseStream, events: Iterable[Event]) -> list[Emitted]:
    return [emitted for event in events for emitted in stream.feed(event)]


def short(emitted: list[Emitted]) -> list[str]:
    """Type, index and text of each event."""
    lines = []
    for name, data in emitted:
        text = next((data[key] for key in ("delta", "text", "code", "arguments") if isinstance(data.get(key), str)), "")
        index = f"{data['output_index']} " if "output_index" in data else ""
        lines.append(f"{index}{name.removeprefix('response.')} {text}".strip())
    return lines


ONE_CALL = [
    start(),
    begin(),
    write("print("),
    write("42)\n"),
    ExecStart(call_id="a", batch=0, chunks=[0]),
    output("42\n"),
    ExecEnd(call_id="a", batch=0, status="ok", duration_ms=1.0),
    end("print(42)\n"),
    TurnEnd(turn=0, finish_reason="tool_calls", usage=None),
    say("It is "),
    say("42."),
    done(),
]

ONE_CALL_ON_THE_WIRE = [
    "created",
    "in_progress",
    "0 output_item.added",
    "0 code_interpreter_call.in_progress",
    "0 code_interpreter_call_code.delta print(",
    "0 code_interpreter_call_code.delta 42)",
    "0 code_interpreter_call_code.done print(42)",
    "0 code_interpreter_call.interpreting",
    "0 code_interpreter_call.completed",
    "0 output_item.done",
    "1 output_item.added",
    "1 content_part.added",
    "1 output_text.delta It is",
    "1 output_text.delta 42.",
    "1 output_text.done It is 42.",
    "1 content_part.done",
    "1 output_item.done",
    "completed",
]


def test_one_call_and_an_answer_come_in_the_recorded_order_with_the_recorded_shapes() -> None:
    emitted = play(make(), ONE_CALL)
    assert short(emitted) == ONE_CALL_ON_THE_WIRE
    final = lint(emitted, include_outputs=True)
    code, message = final["output"]
    assert code == {
        "id": "ci_1_0",
        "type": "code_interpreter_call",
        "status": "completed",
        "code": "print(42)\n",
        "container_id": "cntr_1",
        "outputs": [{"type": "logs", "logs": "42\n"}],
    }
    assert message == {
        "id": "msg_1_1",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "annotations": [], "logprobs": [], "text": "It is 42."}],
    }
    assert final["usage"]["total_tokens"] == 15
    assert emitted[2][1]["item"]["outputs"] == []
    assert emitted[-1][1]["eager"][0]["type"] == "summary"


def test_outputs_are_null_unless_asked_for_but_kept_for_the_next_turn() -> None:
    stream = make(include_outputs=False)
    final = lint(play(stream, ONE_CALL), include_outputs=False)
    assert final["output"][0]["outputs"] is None
    assert stream.output_items[0]["outputs"] == [{"type": "logs", "logs": "42\n"}]
    assert stream.response == final


def test_the_end_of_a_turn_ends_the_code_while_it_still_runs() -> None:
    events = [start(), begin(), write("f()\n"), TurnEnd(turn=0, finish_reason="tool_calls", usage=None), output("1")]
    assert short(play(make(), events))[-2:] == [
        "0 code_interpreter_call_code.done f()",
        "0 code_interpreter_call.interpreting",
    ]


def test_it_ends_the_code_of_calls_that_wait_as_well() -> None:
    turn_end = TurnEnd(turn=0, finish_reason="tool_calls", usage=None)
    events = [start(), begin("a"), begin("b"), write("2", "b"), turn_end, end("", "a"), output("B", "b")]
    emitted = play(make(), events)
    assert short(emitted)[-2:] == ["1 code_interpreter_call_code.done 2", "1 code_interpreter_call.interpreting"]


def test_our_events_ride_on_empty_deltas_while_code_comes_and_on_interpreting_afterwards() -> None:
    chunk = ChunkDetected(call_id="a", chunk=0, start=0, end=4, line=1, gated=None)
    turn_end = TurnEnd(turn=0, finish_reason="tool_calls", usage=None)
    events = [start(), begin(), write("f()\n"), chunk, turn_end, output("1"), end("f()\n"), say("x"), done()]
    emitted = play(make(carry_events=True), events)
    carried = [
        (short([event])[0], [item["type"] for item in event[1]["eager"]]) for event in emitted if "eager" in event[1]
    ]
    assert carried == [
        ("0 output_item.added", ["code.start"]),
        ("0 code_interpreter_call_code.delta", ["chunk"]),
        ("0 code_interpreter_call.interpreting", ["exec.output"]),
        ("0 code_interpreter_call.completed", ["code.end"]),
        ("completed", ["summary"]),
    ]
    lint(emitted, include_outputs=True)


def test_parallel_calls_follow_one_another_however_their_events_interleave() -> None:
    events = [
        start(),
        begin("a"),
        write("1", "a"),
        begin("b"),
        write("2", "b"),
        write("3", "a"),
        output("A", "a"),
        say("and"),
        end("13", "a"),
        output("B", "b"),
        ToolCall(id="call_w", name="weather", arguments='{"city":"Paris"}'),
        end("2", "b"),
        done("tool_calls"),
    ]
    emitted = play(make(carry_events=True), events)
    output_items = lint(emitted, include_outputs=True)["output"]
    assert [(item["type"], item["status"]) for item in output_items] == [
        ("code_interpreter_call", "completed"),
        ("code_interpreter_call", "completed"),
        ("message", "completed"),
        ("function_call", "completed"),
    ]
    assert [(item["code"], item["outputs"][0]["logs"]) for item in output_items[:2]] == [("13", "A"), ("2", "B")]
    assert output_items[3]["call_id"] == "call_w"
    carried = [item["type"] for _, data in emitted for item in data.get("eager", [])]
    assert carried == ["code.start", "code.start", "exec.output", "code.end", "exec.output", "code.end", "summary"]


def test_text_before_a_call_is_a_message_of_its_own_unless_it_is_blank() -> None:
    assert [item["type"] for item in _output([say("\n\n"), begin(), write("1"), end("1"), say("x")])] == [
        "code_interpreter_call",
        "message",
    ]
    before, _, after = _output([say("\n"), say(" I'll "), say(""), say("run"), begin(), write("1"), end("1"), say("x")])
    assert before["content"][0]["text"] == "\n I'll run"
    assert after["content"][0]["text"] == "x"


def _output(events: list[Event]) -> list[dict[str, Any]]:
    output_items: list[dict[str, Any]] = lint(play(make(), [start(), *events, done()]), include_outputs=True)["output"]
    return output_items


@pytest.mark.parametrize("arguments", ["", " ", "{}"])
def test_arguments_are_json_also_where_the_upstream_wrote_none(arguments: str) -> None:
    [call] = _output([ToolCall(id="call_w", name="now", arguments=arguments)])
    assert call["arguments"] == "{}"


def test_a_refusal_is_a_part_of_its_own_and_no_text() -> None:
    emitted = play(make(), [start(), say("Hm."), refuse("I "), refuse("won't."), done()])
    text, refusal = lint(emitted, include_outputs=True)["output"]
    assert text["content"][0]["type"] == "output_text"
    assert refusal["content"] == [{"type": "refusal", "refusal": "I won't."}]
    assert [name.removeprefix("response.") for name, data in emitted if data.get("output_index") == 1] == [
        "output_item.added",
        "content_part.added",
        "refusal.delta",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
    ]


@pytest.mark.parametrize("asked", [True, False])
def test_logprobs_are_told_to_who_asked_for_them(asked: bool) -> None:
    def token(text: str) -> Token:
        return Token(turn=0, channel="content", text=text, logprobs={"content": [{"token": text, "logprob": -1.0}]})

    stream = ResponseStream(
        "resp_1", envelope=envelope(REQUEST, created_at=1.0), include_outputs=True, include_logprobs=asked
    )
    emitted = play(stream, [start(), token("\n"), token("4"), token("2"), done()])
    [message] = lint(emitted, include_outputs=True)["output"]
    told = [{"token": text, "logprob": -1.0, "top_logprobs": []} for text in "\n42"] if asked else []
    assert message["content"][0]["logprobs"] == told
    deltas = [data["logprobs"] for name, data in emitted if name == "response.output_text.delta"]
    assert deltas == ([told[:2], told[2:]] if asked else [[], []])
    [whole] = [data["logprobs"] for name, data in emitted if name == "response.output_text.done"]
    assert whole == told


def test_outputs_read_like_a_repl_with_images_in_their_place() -> None:
    [call] = _output(
        [
            begin(),
            output("a\n"),
            ExecResult(
                call_id="a", batch=0, repr="<Figure>", data={}, images=["data:image/png;base64,AA=="], display=True
            ),
            ExecResult(call_id="a", batch=0, repr="shown", data={"text/plain": "shown"}, images=[], display=True),
            ExecResult(call_id="a", batch=0, repr="(1, 2)", data={"text/plain": "(1, 2)"}, images=[]),
            end(""),
        ]
    )
    assert call["outputs"] == [
        {"type": "logs", "logs": "a\n"},
        {"type": "image", "url": "data:image/png;base64,AA=="},
        {"type": "logs", "logs": "shown\n(1, 2)"},
    ]


def failure(traceback: str) -> ExecError:
    return ExecError(call_id="a", batch=0, chunk=0, ename="E", evalue="v", traceback=traceback, line=1, phase="run")


@pytest.mark.parametrize(
    ("status", "events", "item_status", "logs"),
    [
        ("error", [failure("Traceback ...\nE: v\n")], "completed", "Traceback ...\nE: v\n"),
        ("error", [failure("")], "completed", "E: v\n"),
        ("timeout", [], "completed", "[The time limit was reached; the code was stopped.]\n"),
        ("interrupted", [], "incomplete", "[Interrupted.]\n"),
        ("incomplete", [output("x")], "incomplete", "x"),
    ],
)
def test_code_that_failed_is_a_result_and_code_cut_short_is_incomplete(
    status: str, events: list[Event], item_status: str, logs: str
) -> None:
    [call] = _output([begin(), write("f()"), *events, end("f()", status=status)])
    assert (call["status"], call["outputs"]) == (item_status, [{"type": "logs", "logs": logs}])


def test_endless_output_is_cut_in_the_answer() -> None:
    [call] = _output([begin(), *[output("x" * 300_000)] * 5, end("")])
    [logs] = call["outputs"]
    assert 1_000_000 < len(logs["logs"]) < 1_000_100
    assert "left out" in logs["logs"]


@pytest.mark.parametrize(
    ("finish_reason", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_an_answer_cut_short_is_incomplete_and_says_why(finish_reason: str, reason: str) -> None:
    final = lint(play(make(), [start(), say("abc"), done(finish_reason)]), include_outputs=True)
    assert (final["status"], final["incomplete_details"]) == ("incomplete", {"reason": reason})
    assert final["output"][0]["status"] == "incomplete"


def test_a_failure_closes_what_is_open_and_is_told_in_both_ways() -> None:
    events = [
        start(),
        say("a"),
        begin(),
        write("f("),
        Error(error=ErrorBody("upstream died", "upstream_error")),
        done(),
    ]
    emitted = play(make(), events)
    final = lint(emitted, include_outputs=True)
    assert [(item["type"], item["status"]) for item in final["output"]] == [
        ("message", "completed"),
        ("code_interpreter_call", "failed"),
    ]
    assert emitted[-2][1]["error"] == {
        "message": "upstream died",
        "type": "upstream_error",
        "param": None,
        "code": None,
    }
    assert final["error"] == {"code": "server_error", "message": "upstream died"}


def test_events_that_just_stop_are_a_failure_and_after_the_end_nothing_follows() -> None:
    stream = make()
    emitted = [*play(stream, [start(), say("a")]), *stream.flush()]
    assert lint(emitted, include_outputs=True)["status"] == "failed"
    assert stream.flush() == stream.feed(say("b")) == stream.feed(done()) == []
    assert [name for name, _ in make().flush()] == [
        "response.created",
        "response.in_progress",
        "error",
        "response.failed",
    ]


def test_links_to_files_of_the_code_are_annotated() -> None:
    stream = make()
    emitted = play(stream, [start(), begin(), write("1"), end("1")])
    stream.know_file("/mnt/data/my plot.png", "cfile_1")
    text = "See [it](sandbox:/mnt/data/my%20plot.png) and [no](sandbox:/mnt/data/other.png)."
    emitted += play(stream, [say(text[:30]), say(text[30:]), done()])
    final = lint(emitted, include_outputs=True)
    [annotation] = final["output"][1]["content"][0]["annotations"]
    assert annotation | {"start_index": 0, "end_index": 0} == {
        "type": "container_file_citation",
        "container_id": "cntr_1",
        "file_id": "cfile_1",
        "filename": "my plot.png",
        "start_index": 0,
        "end_index": 0,
    }
    covered = text[annotation["start_index"] : annotation["end_index"]]
    assert covered == "sandbox:/mnt/data/my%20plot.png"
    names = [name for name, _ in emitted]
    assert names.index("response.output_text.annotation.added") == names.index("response.output_text.done") - 1


def test_ids_of_items_lead_back_to_their_response() -> None:
    stream = make()
    play(stream, ONE_CALL)
    assert {response_id_of(item["id"]) for item in stream.output_items} == {"resp_1"}
    assert response_id_of("rs_1_0") == response_id_of("ig_1_0") == "resp_1"
    for foreign in ("", "msg_", "msg_1", "msg__1", "rs_1", "ci_1_x", "file-1"):
        assert response_id_of(foreign) is None


def test_usage_is_translated_and_never_null() -> None:
    told = response_usage({**USAGE, "prompt_tokens_details": {"cached_tokens": 3}, "completion_tokens_details": None})
    assert told == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 3},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 15,
    }
    assert response_usage(None)["total_tokens"] == 0
    assert response_usage({"prompt_tokens": "10", "prompt_tokens_details": "none"})["input_tokens"] == 0


calls = st.sampled_from("abc")
texts = st.text(max_size=5)


@st.composite
def pipelines(draw: st.DrawFn) -> list[Event]:
    """Any order of events in which each call begins once, is written to only then, and ends at most once."""
    events: list[Event] = [start()]
    running: list[str] = []
    for number in range(draw(st.integers(0, 25))):
        kinds = ["say", "refuse", "tool", "turn", "begin"] + (["write", "out", "chunk", "end"] * 2 if running else [])
        kind = draw(st.sampled_from(kinds))
        call = draw(st.sampled_from(running)) if running else ""
        match kind:
            case "say":
                events.append(say(draw(texts)))
            case "refuse":
                events.append(refuse(draw(texts)))
            case "tool":
                events.append(ToolCall(id=f"t{number}", name="f", arguments=draw(texts)))
            case "turn":
                if not running:
                    events.append(TurnEnd(turn=0, finish_reason="stop", usage=None))
            case "begin":
                running.append(f"c{number}")
                events.append(begin(f"c{number}"))
            case "write":
                events.append(write(draw(texts), call))
            case "out":
                events.append(output(draw(texts), call))
            case "chunk":
                events.append(ChunkDetected(call_id=call, chunk=0, start=0, end=1, line=1, gated=None))
            case "end":
                running.remove(call)
                events.append(end("", call, draw(st.sampled_from(["ok", "error", "incomplete"]))))
    events.append(draw(st.sampled_from([done(), done("length"), Error(error=ErrorBody("m", "t"))])))
    return events


@settings(deadline=None, max_examples=80)
@given(pipelines(), st.booleans(), st.booleans())
def test_whatever_the_pipeline_does_the_rules_hold_and_nothing_is_lost(
    events: list[Event], include_outputs: bool, carry_events: bool
) -> None:
    stream = make(include_outputs=include_outputs, carry_events=carry_events)
    emitted = play(stream, events)
    final = lint(emitted, include_outputs=include_outputs)
    written = [
        "".join(e.text for e in events if isinstance(e, Token) and e.call_id == s.call_id)
        for s in events
        if isinstance(s, CodeStart)
    ]
    assert [item["code"] for item in final["output"] if item["type"] == "code_interpreter_call"] == written
    said = "".join(e.text for e in events if isinstance(e, Token) and e.channel in ("content", "refusal"))
    parts = [item["content"][0] for item in final["output"] if item["type"] == "message"]
    shown = "".join(part["text" if part["type"] == "output_text" else "refusal"] for part in parts)
    assert "".join(shown.split()) == "".join(said.split())
    asked = [e.id for e in events if isinstance(e, ToolCall)]
    assert [item["call_id"] for item in final["output"] if item["type"] == "function_call"] == asked
    carried = [item for _, data in emitted for item in data.get("eager", []) if item["type"] != "summary"]
    own = [msgspec.to_builtins(e) for e in events if isinstance(e, ChunkDetected | CodeStart | CodeEnd | ExecOutput)]
    assert carried == (own if carry_events else [])
    json.dumps(emitted)


@pytest.mark.parametrize("carry_events", [False, True])
async def test_openais_sdk_accumulates_the_stream_to_the_same_response(carry_events: bool) -> None:
    events = [*ONE_CALL[:-1], ToolCall(id="call_w", name="weather", arguments="{}"), done("tool_calls")]
    stream = make(carry_events=carry_events)
    emitted = play(stream, events)
    body = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in emitted)
    transport = httpx.MockTransport(
        lambda request: httpx.Response(200, text=body, headers={"content-type": "text/event-stream"})
    )
    http = httpx.AsyncClient(transport=transport)
    async with (
        openai.AsyncOpenAI(base_url="http://gateway/v1", api_key="k", http_client=http) as sdk,
        sdk.responses.stream(model="m", input="x") as answer,
    ):
        seen = [event.type async for event in answer]
        final = await answer.get_final_response()
    assert final.output_text == "It is 42."
    assert [item.type for item in final.output] == ["code_interpreter_call", "message", "function_call"]
    assert "response.code_interpreter_call_code.done" in seen


async def test_openais_sdk_raises_on_a_failure_in_the_middle() -> None:
    emitted = play(make(), [start(), say("a"), Error(error=ErrorBody("upstream died", "upstream_error"))])
    body = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in emitted)
    transport = httpx.MockTransport(
        lambda request: httpx.Response(200, text=body, headers={"content-type": "text/event-stream"})
    )
    async with openai.AsyncOpenAI(
        base_url="http://gateway/v1", api_key="k", http_client=httpx.AsyncClient(transport=transport)
    ) as sdk:
        stream = await sdk.responses.create(model="m", input="x", stream=True)
        with pytest.raises(openai.APIError, match="upstream died"):
            _ = [event async for event in stream]
