from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.replay.script import BadRequest, ReplayOptions, Script, options_of, script_of

DEFAULTS = ReplayOptions(tps=50, ttft_ms=200, chars=4)
PROGRAMS = {"demo": "print('default')\n", "dev-01": "x = 1\nprint(x)\n"}
CODE_TOOL = {"type": "function", "function": {"name": "Python", "parameters": {"properties": {"script": {}}}}}


def body(model: str = "dev-01", content: Any = "go", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": content}], **more}


def script(request: dict[str, Any], options: ReplayOptions = DEFAULTS) -> Script:
    return script_of(request, PROGRAMS, options)


def content_of(script: Script) -> str:
    return "".join(token["content"] for token in script.tokens)


def arguments_of(script: Script) -> str:
    return "".join(token["tool_calls"][0]["function"]["arguments"] for token in script.tokens)


def test_the_model_name_picks_a_program_in_a_fence() -> None:
    made = script(body("openai/dev-01@100"))
    assert content_of(made) == "```python\nx = 1\nprint(x)\n```\n"
    assert made.opening == {"role": "assistant", "content": ""}
    assert made.finish_reason == "stop"
    assert len(made.tokens) == 4, "15 characters, 4 a token; the fence costs none"


def test_a_tool_for_code_gets_the_program_as_its_argument() -> None:
    made = script(body(tools=[{"type": "function", "function": {"name": "weather"}}, CODE_TOOL]))
    assert json.loads(arguments_of(made)) == {"script": "x = 1\nprint(x)\n"}
    assert made.opening["tool_calls"][0]["function"] == {"name": "Python", "arguments": ""}
    assert made.finish_reason == "tool_calls"
    assert len(made.tokens) == 4


@pytest.mark.parametrize("tools", [None, [], "python", ["python"], [{"type": "function"}]])
def test_without_a_tool_for_code_the_program_comes_in_a_fence(tools: Any) -> None:
    assert content_of(script(body(tools=tools))).startswith("```python\n")


def test_a_code_interpreter_tool_is_a_tool_for_code() -> None:
    made = script(body(tools=[{"type": "code_interpreter"}]))
    assert made.opening["tool_calls"][0]["function"]["name"] == "code_interpreter"
    assert json.loads(arguments_of(made)) == {"code": "x = 1\nprint(x)\n"}


@pytest.mark.parametrize(
    ("form", "text"),
    [("fence", "```python\nx = 1\nprint(x)\n```\n"), ("text", "x = 1\nprint(x)\n")],
)
def test_the_form_can_be_asked_for_against_the_tools(form: Any, text: str) -> None:
    assert content_of(script(body(tools=[CODE_TOOL]), msgspec.structs.replace(DEFAULTS, form=form))) == text


def test_a_tool_call_can_be_asked_for_without_a_tool() -> None:
    made = script(body(), msgspec.structs.replace(DEFAULTS, form="tool"))
    assert json.loads(arguments_of(made)) == {"code": "x = 1\nprint(x)\n"}
    assert made.opening["tool_calls"][0]["function"]["name"] == "python"


@pytest.mark.parametrize(
    "content",
    ["Run this:\n```python\ny = 2\n```\nthen stop", [{"type": "text", "text": "```py\ny = 2\n```"}]],
)
def test_a_program_is_taken_from_the_last_user_message(content: Any) -> None:
    request = body("any", content)
    request["messages"].insert(0, {"role": "user", "content": "```python\nold\n```"})
    assert content_of(script(request)) == "```python\ny = 2\n```\n"


def test_the_default_program_is_streamed_to_who_names_none() -> None:
    assert content_of(script(body("gpt"))) == "```python\nprint('default')\n```\n"
    assert content_of(script({"model": "x", "messages": [{"role": "system"}]})) == content_of(script(body("gpt")))


def test_the_answer_to_a_tools_result_quotes_it() -> None:
    request = body(tools=[CODE_TOOL])
    request["messages"] += [{"role": "assistant", "tool_calls": []}, {"role": "tool", "content": "42\n"}]
    made = script(request)
    assert content_of(made) == "The tool said: 42"
    assert made.finish_reason == "stop"


def test_an_empty_result_is_quoted_as_nothing() -> None:
    assert content_of(script({"model": "x", "messages": [{"role": "tool", "content": None}]})).endswith("(nothing)")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), st.integers(1, 9))
def test_any_program_survives_either_form_in_tokens_of_any_size(program: str, chars: int) -> None:
    programs = {"demo": program}
    options = msgspec.structs.replace(DEFAULTS, chars=chars)
    called = script_of(body("demo", tools=[CODE_TOOL]), programs, options)
    fenced = script_of(body("demo"), programs, options)
    assert json.loads(arguments_of(called)) == {"script": program}
    text = content_of(fenced)
    assert text == "```python\n" + program + ("" if program.endswith("\n") else "\n") + "```\n"
    assert len(called.tokens) == len(fenced.tokens) == max(1, -(-len(program) // chars))


def test_options_come_from_the_model_name_and_the_field_replay() -> None:
    assert options_of(body("a"), defaults=DEFAULTS) == DEFAULTS
    assert options_of(body("a@0"), defaults=DEFAULTS).tps == 0
    asked = options_of(body("a@100", replay={"tps": 20, "as": "text", "cut_after": 3}), defaults=DEFAULTS)
    assert (asked.tps, asked.ttft_ms, asked.form, asked.cut_after) == (20, 200, "text", 3)


def test_the_finish_reason_can_be_changed_or_left_out() -> None:
    assert script(body(), options_of(body(replay={"finish": "length"}), defaults=DEFAULTS)).finish_reason == "length"
    assert script(body(), options_of(body(replay={"finish": None}), defaults=DEFAULTS)).finish_reason is None


def test_the_first_failure_counts() -> None:
    assert DEFAULTS.breaks_after is None
    assert msgspec.structs.replace(DEFAULTS, stall_after=5, cut_after=0).breaks_after == 0


@pytest.mark.parametrize(
    "request_body",
    [
        body("a@fast"),
        body("a@-1"),
        body("a@nan"),
        body(replay={"tps": "x"}),
        body(replay={"speed": 3}),
        body(replay={"chars": 0}),
        body(replay=[1]),
        body(replay={"status": 200}),
    ],
)
def test_options_that_make_no_sense_are_refused(request_body: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        options_of(request_body, defaults=DEFAULTS)


@pytest.mark.parametrize("messages", [None, [], "hi", ["hi"]])
def test_a_request_without_messages_is_refused(messages: Any) -> None:
    with pytest.raises(BadRequest, match="messages"):
        script({"model": "x", "messages": messages})
