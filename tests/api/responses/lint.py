"""The rules of a Responses stream, as SDKs rely on them (PROTOCOL.md 4): raises on the first that is broken."""

from __future__ import annotations

from typing import Any

from app.api.responses.events import Emitted

ITEM_KEYS = {
    "code_interpreter_call": {"id", "type", "status", "code", "container_id", "outputs"},
    "message": {"id", "type", "status", "content", "role"},
    "function_call": {"id", "type", "status", "call_id", "name", "arguments"},
    "custom_tool_call": {"id", "type", "status", "call_id", "name", "input"},
    "reasoning": {"id", "type", "status", "summary"},
    "image_generation_call": {"id", "type", "status", "result"},
}
ITEM_EVENTS = {
    "code_interpreter_call": {
        "response.code_interpreter_call.in_progress",
        "response.code_interpreter_call_code.delta",
        "response.code_interpreter_call_code.done",
        "response.code_interpreter_call.interpreting",
        "response.code_interpreter_call.completed",
    },
    "message": {
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.annotation.added",
        "response.output_text.done",
        "response.refusal.delta",
        "response.refusal.done",
        "response.content_part.done",
    },
    "function_call": {"response.function_call_arguments.delta", "response.function_call_arguments.done"},
    "custom_tool_call": {"response.custom_tool_call_input.delta", "response.custom_tool_call_input.done"},
    "reasoning": {
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
    },
    "image_generation_call": {
        "response.image_generation_call.in_progress",
        "response.image_generation_call.completed",
    },
}
CODE_ORDER = [
    "response.code_interpreter_call.in_progress",
    "response.code_interpreter_call_code.delta",
    "response.code_interpreter_call_code.done",
    "response.code_interpreter_call.interpreting",
    "response.code_interpreter_call.completed",
]
RESPONSE_KEYS = {
    *("id", "object", "created_at", "model", "output", "parallel_tool_calls", "tool_choice", "tools", "status", "usage")
}
USAGE_KEYS = {"input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details", "total_tokens"}
TERMINAL = ("response.completed", "response.incomplete", "response.failed")


def lint(emitted: list[Emitted], *, include_outputs: bool) -> dict[str, Any]:
    """The final response."""
    assert [name for name, _ in emitted[:2]] == ["response.created", "response.in_progress"]
    assert [data["sequence_number"] for _, data in emitted] == list(range(len(emitted)))
    assert all(name == data["type"] for name, data in emitted)
    assert "eager" not in emitted[0][1]
    last_name, last = emitted[-1]
    assert last_name in TERMINAL
    assert sum(name in TERMINAL for name, _ in emitted) == 1
    body = emitted[2:-1]
    if last_name == "response.failed":
        name, error = body.pop()
        assert name == "error"
        assert error["error"].keys() == {"message", "type", "param", "code"}
    done = []
    while body:
        length = next(at for at, (name, _) in enumerate(body) if name == "response.output_item.done") + 1
        done.append(_lint_item(body[:length], len(done), include_outputs=include_outputs))
        body = body[length:]
    final: dict[str, Any] = last["response"]
    assert final["output"] == done
    assert final.keys() >= RESPONSE_KEYS
    assert isinstance(final["created_at"], int)
    assert final["status"] == last_name.removeprefix("response.")
    if last_name != "response.failed":
        assert final["usage"].keys() == USAGE_KEYS
    return final


def _lint_item(events: list[Emitted], index: int, *, include_outputs: bool) -> dict[str, Any]:
    names = [name for name, _ in events]
    assert names[0] == "response.output_item.added"
    added, done = events[0][1]["item"], events[-1][1]["item"]
    kind = added["type"]
    assert added.keys() == done.keys() - {"encrypted_content"} == ITEM_KEYS[kind]
    assert (added["id"], added["type"]) == (done["id"], done["type"])
    assert added["status"] == "in_progress"
    assert done["status"] in ("completed", "incomplete", "failed")
    assert all(data["output_index"] == index for _, data in events)
    assert set(names[1:-1]) <= ITEM_EVENTS[kind]
    assert all(data["item_id"] == added["id"] for _, data in events[1:-1])
    joined = "".join(data["delta"] for name, data in events if name.endswith(".delta"))
    match kind:
        case "code_interpreter_call":
            positions = [CODE_ORDER.index(name) for name in names[1:-1]]
            assert positions == sorted(positions)
            assert set(positions) >= {0, 2, 3, 4}
            assert _one(events, "response.code_interpreter_call_code.done")["code"] == joined == done["code"]
            assert isinstance(done["outputs"], list) == include_outputs
        case "message":
            assert names[1] == "response.content_part.added"
            [part] = done["content"]
            key = {"output_text": "text", "refusal": "refusal"}[part["type"]]
            whole = f"response.{part['type']}.done"
            assert names[-3:-1] == [whole, "response.content_part.done"]
            assert _one(events, whole)[key] == joined == part[key]
            assert joined.strip()
        case "reasoning":
            assert "".join(part["text"] for part in done["summary"]) == joined
        case "function_call":
            assert _one(events, "response.function_call_arguments.done")["arguments"] == joined == done["arguments"]
        case "custom_tool_call":
            assert _one(events, "response.custom_tool_call_input.done")["input"] == joined == done["input"]
    return done  # type: ignore[no-any-return]


def _one(events: list[Emitted], wanted: str) -> dict[str, Any]:
    [data] = [data for name, data in events if name == wanted]
    return data
