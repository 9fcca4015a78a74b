"""What one answer may be, counted."""

import json
from typing import Any

import pytest

from app.errors import UpstreamBroken
from app.upstream.allowance import Allowance, AnswerLimits

LIMITS = AnswerLimits(bytes=1_000, events=100, seconds=50, silence_s=10)


def event(delta: dict[str, Any], **fields: Any) -> str:
    return json.dumps({"id": "chatcmpl-1", "model": "m", "choices": [{"index": 0, "delta": delta}], **fields})


def say(allowance: Allowance, data: str, *, times: int) -> None:
    for _ in range(times):
        allowance.note_bytes(10, waited_s=1)
        allowance.note_events([data])


SILENT = {
    "an empty delta": event({}),
    "empty content": event({"content": ""}),
    "no content": event({"content": None}),
    "a role": event({"role": "assistant", "content": ""}),
    "a report of usage": json.dumps({"id": "chatcmpl-1", "choices": [], "usage": {"completion_tokens": 1}}),
}
SPEAKING = {
    "content": event({"content": "a"}),
    "reasoning": event({"reasoning_content": "a"}),
    "reasoning by another name": event({"reasoning": "a"}),
    "arguments": event({"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}),
    "a name": event({"tool_calls": [{"index": 0, "function": {"name": "python"}}]}),
    "a refusal": event({"refusal": "no"}),
    "parts": event({"content": [{"type": "text", "text": "a"}]}),
}


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (AnswerLimits(bytes=99), "longer than 99 bytes"),
        (AnswerLimits(events=9), "more than 9 events"),
        (AnswerLimits(seconds=9), "takes longer than 9 s"),
        (AnswerLimits(silence_s=9), "said nothing for 9 s"),
    ],
)
def test_an_endless_answer_is_ended(limits: AnswerLimits, what: str) -> None:
    said = SPEAKING["content"] if limits.silence_s > 9 else SILENT["an empty delta"]
    with pytest.raises(UpstreamBroken, match=what):
        say(Allowance(limits), said, times=100)


@pytest.mark.parametrize("data", SPEAKING.values(), ids=SPEAKING)
def test_text_ends_a_silence(data: str) -> None:
    allowance = Allowance(LIMITS)
    for _ in range(4):
        allowance.note_bytes(1, waited_s=9)
        allowance.note_events([SILENT["no content"], data])


@pytest.mark.parametrize("data", SILENT.values(), ids=SILENT)
def test_what_says_nothing_does_not(data: str) -> None:
    allowance = Allowance(LIMITS)
    allowance.note_bytes(1, waited_s=9)
    allowance.note_events([data])
    with pytest.raises(UpstreamBroken):
        allowance.note_bytes(1, waited_s=9)
