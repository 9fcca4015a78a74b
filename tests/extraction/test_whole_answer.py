import json

import pytest

from app.extraction.whole_answer import as_delta


def test_a_completion_becomes_a_chunk_with_everything_it_has() -> None:
    calls = [{"id": name, "type": "function", "function": {"name": "python", "arguments": "{}"}} for name in "ab"]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    answer = {
        "id": "c",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"total_tokens": 1},
    }
    assert json.loads(as_delta(json.dumps(answer))) == {
        "id": "c",
        "object": "chat.completion.chunk",
        "choices": [
            {
                "index": 0,
                "delta": {**message, "tool_calls": [{"index": 0, **calls[0]}, {"index": 1, **calls[1]}]},
                "finish_reason": "stop",
            }
        ],
        "usage": {"total_tokens": 1},
    }


@pytest.mark.parametrize("body", ['{"error": {}}', "<html>", "[1]", '{"choices": [3]}', '{"choices": [{}]}'])
def test_anything_else_is_left_as_it_is(body: str) -> None:
    assert as_delta(body) == body


def test_an_event_is_one_line() -> None:
    assert as_delta('{\r\n"error": 1\n}') == '{  "error": 1 }'
