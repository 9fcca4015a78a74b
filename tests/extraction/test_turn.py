import itertools
import json
import pathlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import UpstreamBroken
from app.extraction import turn
from app.extraction.deltas import CallDelta, CustomDelta, Delta, FunctionDelta, decode_delta
from app.extraction.turn import TurnReader
from app.extraction.turn_items import (
    CodeEnded,
    CodeStarted,
    CodeText,
    ContentText,
    FieldsBeside,
    Finish,
    ForeignCall,
    ForeignFragment,
    ReasoningText,
    RefusalText,
    RefusedCall,
    TurnItem,
    UsageReport,
)
from app.sse.decoder import SSEDecoder

STREAMS = pathlib.Path(__file__).parent.parent / "streams"
CODE = 'x = 6\ny = 7\nprint("r=", x*y, "é😀")\nx*y\n'


def new_reader(**options: Any) -> TurnReader:
    numbers = itertools.count()
    return TurnReader(new_id=lambda: f"new_{next(numbers)}", **options)


def read(reader: TurnReader, *deltas: Delta) -> list[TurnItem]:
    return [item for delta in deltas for item in reader.feed(delta)] + reader.flush()


def replay(name: str, sizes: int = 1 << 20, **options: Any) -> tuple[list[TurnItem], TurnReader]:
    """The items of a recorded stream but for what stands beside its deltas, read in pieces of that many bytes; the last
    item of a broken one is its error."""
    data = (STREAMS / f"{name}.sse").read_bytes()
    decoder, reader = SSEDecoder(), new_reader(**options)
    events = [event for at in range(0, len(data), sizes) for event in decoder.feed(data[at : at + sizes])]
    deltas = [decode_delta(event.data) for event in events + decoder.flush() if event.data != "[DONE]"]
    return without_beside(read(reader, *deltas)), reader


def without_beside(items: list[TurnItem]) -> list[TurnItem]:
    return [item for item in items if not isinstance(item, FieldsBeside)]


def codes(items: list[TurnItem]) -> list[tuple[str, str, str, bool]]:
    """Source, language, text and completeness of each piece of code; checks the order of items."""
    found: dict[str, list[Any]] = {}
    for item in items:
        match item:
            case CodeStarted(id, source, language, _):
                assert id not in found
                found[id] = [source, language, "", None]
            case CodeText(id, text):
                assert text
                assert found[id][3] is None
                found[id][2] += text
            case CodeEnded(id, complete):
                assert found[id][3] is None
                found[id][3] = complete
    return [(source, language, text, complete) for source, language, text, complete in found.values()]


def text_of(items: list[TurnItem], kind: type[ContentText | ReasoningText | RefusalText] = ContentText) -> str:
    return "".join(item.text for item in items if isinstance(item, kind))


def call(index: Any = 0, id: Any = None, name: Any = None, arguments: Any = None, **extras: Any) -> CallDelta:
    return CallDelta(index=index, id=id, function=FunctionDelta(name=name, arguments=arguments), **extras)


def calls(*deltas: CallDelta, **fields: Any) -> Delta:
    return Delta(tool_calls=list(deltas), **fields)


TOOL = [("tool", "python", CODE, True)]
RECORDED: dict[str, tuple[list[tuple[str, str, str, bool]], str]] = {
    **dict.fromkeys(
        (
            "up-openai", "up-openai-escaped", "up-vllm", "up-ollama", "up-anthropic-layer", "up-null-fields",
            "up-bare-code", "up-json-string", "up-other-keys", "up-openai+crlf", "up-openai+cr", "up-openai+pings",
            "up-openai+multiline", "up-openai+bom", "up-openai+ascii", "up-openai+nospace", "up-openai+nodone",
        ),
        (TOOL, "tool_calls"),
    ),
    "up-noindex": (TOOL, "stop"),
    "up-finish-stop": (TOOL, "stop"),
    "up-ollama-index0": ([("tool", "python", f"print({n})", True) for n in (1, 2)], "stop"),
    "up-parallel": ([("tool", "python", f"print('call {n}')", True) for n in (0, 1)], "tool_calls"),
    "up-parallel-interleaved": ([("tool", "python", "print('A')", True)], "tool_calls"),
    "up-unknown-tool": ([], "tool_calls"),
    "up-truncated": ([("tool", "python", 'x = 6\ny = 7\nprint("r=", x*y, "', False)], "length"),
    "up-fenced": ([("fence", "python", CODE, True)], "stop"),
    "up-fenced+ascii+crlf": ([("fence", "python", CODE, True)], "stop"),
    "up-fenced-tricky": (
        [
            ("fence", "python", "s = '''\n```\n'''\nprint('one', len(s))\n", True),
            ("fence", "python", "print('two ```')\n", True),
            ("fence", "python", "print('three')", True),
        ],
        "stop",
    ),
    "up-smolagents": ([("tag", "python", CODE, True)], "stop"),
    "up-execute-tag": ([("tag", "python", CODE, True)], "stop"),
    "up-toolcall-xml": ([("tag", "python", CODE, True)], "stop"),
    "up-text": ([], "stop"),
    "up-reasoning": ([], "stop"),
    "m-n2": ([], "stop"),
    "s-line-separators": ([], "stop"),
    "s-lone-surrogate": ([], "stop"),
}  # fmt: skip
BROKEN = {"up-mid-error": "boom", "l-mid-error": "died", "l2-mid-error-event": "died", "l3-mid-error-chunk": "Provider"}


def test_every_recorded_stream_is_expected_here() -> None:
    assert {path.stem for path in STREAMS.glob("*.sse")} == RECORDED.keys() | BROKEN.keys()


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_streams(name: str) -> None:
    items, _ = replay(name)
    assert (codes(items), items[-1] if isinstance(items[-1], Finish) else items[-2]) == (
        RECORDED[name][0],
        Finish(RECORDED[name][1]),
    )
    assert items == replay(name, 1)[0] == replay(name, 7)[0]


@pytest.mark.parametrize(("name", "message"), BROKEN.items())
def test_recorded_streams_that_break(name: str, message: str) -> None:
    with pytest.raises(UpstreamBroken, match=message):
        replay(name)


def test_texts_of_recorded_streams() -> None:
    assert text_of(replay("s-line-separators")[0]) == "Hello\u2028wör\u2029ld\x85 😀!"
    assert text_of(replay("s-lone-surrogate")[0]) == "😀"
    assert text_of(replay("up-reasoning")[0], ReasoningText) == "Thinking ```python\nprint('not me')\n```"
    assert ForeignCall("call_w", "get_weather", '{"city": "Paris"}') in replay("up-unknown-tool")[0]
    fenced = replay("up-fenced")[0]
    assert text_of(fenced) == f"Sure, here it is:\n\n```python\n{CODE}```\n\nDone.\n"


def test_sources_that_are_off_are_only_text() -> None:
    assert codes(replay("up-fenced", sources=("tool", "tag"))[0]) == []
    assert codes(replay("up-smolagents", sources=("fence",))[0]) == []
    assert codes(replay("up-fenced", sources=("fence",))[0]) == RECORDED["up-fenced"][0]
    items = replay("up-openai", sources=("fence",))[0]
    assert codes(items) == []
    assert [item.name for item in items if isinstance(item, ForeignCall)] == ["python"]


def test_the_tools_can_be_chosen() -> None:
    items, _ = replay("up-parallel-interleaved", tools={"Get_Weather"})
    assert codes(items) == [("tool", "python", "Paris", True)]
    assert ForeignCall("call_0", "python", json.dumps({"code": "print('A')"})) in items


def test_the_order_of_items_is_the_order_of_the_stream() -> None:
    reader = new_reader()
    items = read(
        reader,
        Delta(content="Hi", logprobs={"content": []}),
        calls(call(0, "c1", "python", "")),
        calls(call(0, None, None, '{"code": "x"')),
        calls(call(0, None, None, "}")),
        calls(call(1, "c2", "get", "{"), call(1, None, None, "}")),
        Delta(refusal="no"),
        Delta(finish_reason="tool_calls"),
        Delta(usage={"total_tokens": 1}),
    )
    assert items == [
        ContentText("Hi", {"content": []}),
        CodeStarted("c1", "tool", "python", "python"),
        CodeText("c1", "x"),
        CodeEnded("c1", True),
        ForeignFragment("c2", "get", ""),
        ForeignFragment("c2", "get", "{"),
        ForeignFragment("c2", "get", "}"),
        RefusalText("no"),
        ForeignCall("c2", "get", "{}"),
        Finish("tool_calls"),
        UsageReport({"total_tokens": 1}),
    ]
    assert reader.flush() == []


def test_a_code_call_ends_the_reading_of_blocks() -> None:
    reader = new_reader()
    items = read(
        reader,
        Delta(content="```python\na\n```\n```python\nb"),
        calls(call(0, "c1", "python", '{"code": "c"}')),
        Delta(content="\n```\n<code>d</code>"),
        Delta(finish_reason="stop"),
    )
    assert codes(items) == [
        ("fence", "python", "a\n", True),
        ("fence", "python", "b", False),
        ("tool", "python", "c", True),
    ]


def test_a_clients_call_does_not_end_the_reading_of_blocks() -> None:
    items = read(new_reader(), calls(call(0, "c1", "get", "{}")), Delta(content="<code>d</code>"))
    assert codes(items) == [("tag", "python", "d", True)]


@pytest.mark.parametrize(("reason", "complete"), [("stop", True), ("length", False), ("content_filter", False)])
def test_a_cut_off_block_is_not_complete(reason: str, complete: bool) -> None:
    items = read(new_reader(), Delta(content="```python\nx"), Delta(finish_reason=reason))
    assert codes(items) == [("fence", "python", "x", complete)]


def test_only_the_last_call_is_cut_off() -> None:
    items = read(
        new_reader(),
        calls(call(0, "c1", "python", "a")),
        calls(call(1, "c2", "python", '{"code": "b"}')),
        calls(call(2, "c3", "get", '{"x"')),
        Delta(finish_reason="length"),
    )
    assert codes(items) == [("tool", "python", "a", True), ("tool", "python", "b", True)]
    assert ForeignCall("c3", "get", '{"x"', complete=False) in items


@pytest.mark.parametrize("arguments", ['{"code": "a"}', '{"code": "a"', '{"code": ["a"', "a", '"a"'])
def test_an_end_without_a_reason_is_legal(arguments: str) -> None:
    items = read(new_reader(), calls(call(0, "c1", "python", arguments)))
    assert codes(items) == [("tool", "python", "a", True)]
    assert items[-1] == Finish("tool_calls")
    assert read(new_reader())[-1] == Finish("stop")


def test_an_end_without_a_reason_cuts_off_a_call_that_is_amid_its_code() -> None:
    """What was written of its last statement may look whole: it must not run."""
    items = read(new_reader(), calls(call(0, "c1", "python", '{"code": "a')))
    assert codes(items) == [("tool", "python", "a", False)]
    assert items[-1] == Finish("length")
    items = read(new_reader(), calls(call(0, "c1", "get", '{"city": "Par')))
    assert items[-2:] == [ForeignCall("c1", "get", '{"city": "Par', complete=False), Finish("length")]


def test_what_comes_behind_a_finish_reason_belongs_to_the_answer() -> None:
    """The head of a call may come with the reason (B2 of the reports), each delta may have one."""
    items = read(
        new_reader(),
        calls(call(0, "c1", "python", '{"code": "a'), finish_reason="tool_calls"),
        calls(call(1, None, None, ' = 1"}'), finish_reason="stop"),
        Delta(content="b", finish_reason="stop"),
    )
    assert codes(items) == [("tool", "python", "a = 1", True)]
    assert items[-2:] == [Finish("tool_calls"), ContentText("b")]
    items = read(new_reader(), Delta(content="```python\nb", finish_reason="stop"), Delta(content=" = 1\n```\n"))
    assert codes(items) == [("fence", "python", "b = 1\n", True)]


def test_a_limit_that_is_told_behind_another_reason_counts() -> None:
    items = read(new_reader(), calls(call(0, "c1", "python", "a"), finish_reason="stop"), Delta(finish_reason="length"))
    assert codes(items) == [("tool", "python", "a", False)]
    assert items[-1] == Finish("length")


@pytest.mark.parametrize(
    ("came", "meant"),
    [
        ("python<|channel|>commentary", "python"),
        ("functions.python:0", "python"),
        ("default_api.python", "python"),
        ("functions.get_weather:3", "get_weather"),
        ("my_server.get_weather", "get_weather"),
        ("Python", "python"),
        ("other.get", "other.get"),
        ("other.python_two", "other.python_two"),
    ],
)
def test_decorations_of_a_name_are_left_out(came: str, meant: str) -> None:
    reader = new_reader(declared={"python", "get_weather", "Get"})
    items = read(reader, calls(call(0, "c1", came, '{"code": "1"}')))
    named = [item.name for item in items if isinstance(item, CodeStarted | ForeignCall)]
    assert named == [meant]
    assert isinstance(items[0], CodeStarted if meant == "python" else ForeignFragment)
    assert reader.assistant_message()["tool_calls"][0]["function"]["name"] == meant


def test_a_name_that_was_declared_with_decorations_is_that_tool() -> None:
    items = read(new_reader(declared={"api.get:1", "get"}), calls(call(0, "c1", "api.get:1", "{}")))
    assert ForeignCall("c1", "api.get:1", "{}") in items


def test_a_call_of_a_custom_tool_is_the_clients_whatever_its_name() -> None:
    reader = new_reader()
    head = CallDelta(index=0, id="c1", custom=CustomDelta(name="python", input='{"a": 1}'))
    items = read(reader, calls(head), calls(CallDelta(index=0, custom=CustomDelta(input='{"b": 2}'))))
    assert codes(items) == []
    assert items[-2] == ForeignCall("c1", "python", '{"a": 1}{"b": 2}', kind="custom")
    assert reader.assistant_message()["tool_calls"] == [
        {"id": "c1", "type": "custom", "custom": {"name": "python", "input": '{"a": 1}{"b": 2}'}}
    ]


def test_a_call_without_a_name_breaks_the_answer() -> None:
    with pytest.raises(UpstreamBroken, match="without naming"):
        read(new_reader(), calls(call(0, "c1", None, '{"a": 1}')))
    assert read(new_reader(), calls(call(0, "c1", None, ""))) == [Finish("tool_calls")]


def test_a_call_without_code_runs_nothing() -> None:
    assert codes(read(new_reader(), calls(call(0, "c1", "python", "{}")))) == [("tool", "python", "", True)]
    assert codes(read(new_reader(), calls(call(0, "c1", "python")))) == [("tool", "python", "", True)]


def test_another_language_makes_it_the_clients_call() -> None:
    arguments = '{"language": "js", "code": "x"}'
    items = read(
        new_reader(), calls(call(0, "c1", "execute", arguments[:20])), calls(call(0, None, None, arguments[20:]))
    )
    assert codes(items) == []
    assert "".join(item.arguments for item in items if isinstance(item, ForeignFragment)) == arguments
    assert ForeignCall("c1", "execute", arguments) in items


@pytest.mark.parametrize(
    ("arguments", "cuts", "language", "code"),
    [
        ('{"language": "js", "code": "x"}', range(30), "js", None),
        ('{"language": "js", "code": "x', range(28), "js", None),
        ("```js\nx\n```", range(10), "js", None),
        ('{"code": "x", "lang": "js"}', range(11, 26), "js", "x"),
        ('{"code": "x", "lang": "bash"}', range(11, 27), "bash", "x"),
    ],
)
def test_a_call_of_a_tool_that_the_client_does_not_know_is_never_the_clients(
    arguments: str, cuts: range, language: str, code: str | None
) -> None:
    for cut in cuts:
        reader = new_reader(own_tools={"python"})
        first, second = (calls(call(0, "c1", "Python", text)) for text in (arguments[:cut], arguments[cut:]))
        items = read(reader, first, second)
        assert [item for item in items if isinstance(item, RefusedCall)] == [RefusedCall("c1", "Python", language)]
        assert not [item for item in items if isinstance(item, ForeignCall | ForeignFragment)]
        assert codes(items) == ([] if code is None else [("tool", "python", code, False)])
        (told,) = reader.assistant_message()["tool_calls"]
        assert isinstance(json.loads(told["function"]["arguments"]), dict)


def test_a_language_that_is_known_only_at_the_end() -> None:
    items = read(new_reader(), calls(call(0, "c1", "python", "```js")))
    assert items == [
        ForeignFragment("c1", "python", "```js"),
        ForeignCall("c1", "python", "```js"),
        Finish("tool_calls"),
    ]


def test_code_in_thoughts_is_not_run() -> None:
    draft, code = "<think>\n```python\n1/0\n```\n<code>2/0</code></think>", "\n```python\nprint(1)\n```\n"
    items = read(new_reader(), *(Delta(content=character) for character in draft + code))
    assert codes(items) == [("fence", "python", "print(1)\n", True)]
    assert text_of(items) == draft + code


def test_without_content_sources_nothing_in_it_is_code() -> None:
    reader = new_reader(sources=("tool",))
    assert codes(read(reader, Delta(content="<code>a</code>\n```python\nb\n```"))) == []
    assert reader.assistant_message() == {"role": "assistant", "content": "<code>a</code>\n```python\nb\n```"}


def test_ids_that_were_left_out_are_made() -> None:
    reader = new_reader()
    read(reader, calls(call(None, "", "python", "{}"), call(None, "", "python", "{}")))
    assert [made["id"] for made in reader.assistant_message()["tool_calls"]] == ["new_0", "new_1"]


def test_bash_is_ours() -> None:
    items = read(new_reader(), calls(call(0, "c1", "execute", '{"language": "sh", "code": "ls"}')))
    assert codes(items) == [("tool", "bash", "ls", True)]


def test_a_language_that_comes_too_late_ends_the_code() -> None:
    arguments = ['{"code": "x', '", "lang": "js"', "}"]
    items = read(
        new_reader(), calls(call(0, "c1", "execute")), *[calls(call(0, None, None, text)) for text in arguments]
    )
    assert codes(items) == [("tool", "python", "x", False)]
    assert "".join(item.arguments for item in items if isinstance(item, ForeignFragment)) == "".join(arguments)
    assert ForeignCall("c1", "execute", "".join(arguments)) in items


def test_literals_are_code_only_at_the_end() -> None:
    reader = new_reader()
    assert reader.feed(calls(call(0, "c1", "python", "{1, 2}"))) == []
    assert codes(reader.feed(Delta(finish_reason="stop"))) == [("tool", "python", "{1, 2}", True)]


def test_half_characters_are_joined_in_every_channel() -> None:
    halves = [Delta(content=half, reasoning=half, refusal=half) for half in ("\ud83d", "\ude00", "\ud83d")]
    items = read(new_reader(), *halves, Delta(finish_reason="stop"))
    assert text_of(items) == "😀\ufffd"
    assert text_of(items, ReasoningText) == "😀"
    assert text_of(items, RefusalText) == "😀"


def test_the_message_for_the_next_request() -> None:
    reader = new_reader()
    read(
        reader,
        Delta(content="a"),
        Delta(content="b", reasoning="t", reasoning_details=[{"type": "text", "index": 0, "text": "p"}]),
        Delta(reasoning_details=[{"type": "text", "index": 0, "text": "q", "signature": "s"}, {"type": "x"}]),
        Delta(reasoning_details=[{"type": "x"}, {"index": 1, "data": 1}], refusal="no"),
        Delta(extra_content={"e": 1}),
        calls(call(0, "c1", "python", "print(1)"), call(1, "c2", "get", "{", extra_content={"g": 1})),
        calls(call(2, "c3", "python", '{"code": "x"}')),
    )
    assert reader.assistant_message() == {
        "role": "assistant",
        "content": "ab",
        "reasoning_content": "t",
        "reasoning_details": [
            {"type": "text", "index": 0, "text": "pq", "signature": "s"},
            {"type": "x"},
            {"type": "x"},
            {"index": 1, "data": 1},
        ],
        "refusal": "no",
        "extra_content": {"e": 1},
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "python", "arguments": '{"code": "print(1)"}'}},
            {"id": "c2", "type": "function", "function": {"name": "get", "arguments": "{"}, "extra_content": {"g": 1}},
            {"id": "c3", "type": "function", "function": {"name": "python", "arguments": '{"code": "x"}'}},
        ],
    }


def test_the_message_of_a_cut_off_call_holds_the_code_received() -> None:
    message = replay("up-truncated")[1].assistant_message()
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"code": 'x = 6\ny = 7\nprint("r=", x*y, "'}
    assert message["content"] is None


def test_an_answer_without_end_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "MAX_CHARS", 100)
    reader = new_reader()
    reader.feed(Delta(content="x" * 60))
    with pytest.raises(UpstreamBroken):
        reader.feed(calls(call(0, "c1", "python", "x" * 60)))


@given(st.sampled_from(sorted(RECORDED)), st.lists(st.integers(1, 300), min_size=1, max_size=20))
def test_recorded_streams_are_the_same_for_any_cut(name: str, sizes: list[int]) -> None:
    data = (STREAMS / f"{name}.sse").read_bytes()
    decoder, reader = SSEDecoder(), new_reader()
    items: list[TurnItem] = []
    at = 0
    for size in itertools.cycle(sizes):
        events = decoder.feed(data[at : at + size]) if at < len(data) else decoder.flush()
        for event in events:
            if event.data != "[DONE]":
                items += reader.feed(decode_delta(event.data))
        if at >= len(data):
            break
        at += size
    assert without_beside(items + reader.flush()) == replay(name)[0]


def test_what_stands_beside_deltas_is_told_once_at_the_end_with_its_latest_values() -> None:
    reader = TurnReader(sources=("tool",), new_id=lambda: "id")
    fed = [
        Delta(content="a", answer_fields={"citations": [1]}),
        Delta(answer_fields={"citations": [1, 2], "provider": "p"}, choice_fields={"stop_reason": 7}),
        Delta(finish_reason="stop"),
        Delta(answer_fields={f"n{number}": 1 for number in range(1000)}),
    ]
    items = [item for delta in fed for item in reader.feed(delta)]
    assert not [item for item in items if isinstance(item, FieldsBeside)]
    (beside,) = reader.flush()
    assert isinstance(beside, FieldsBeside)
    assert beside.choice == {"stop_reason": 7}
    assert {name: beside.answer[name] for name in ("citations", "provider")} == {"citations": [1, 2], "provider": "p"}
    assert len(beside.answer) == turn.MAX_FIELDS_BESIDE
