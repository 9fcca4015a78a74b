"""What a model thinks, on its way to the client and back to the upstream that wants it again (B1 of the reports)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from app.api.responses.sealed_reasoning import ReasoningSeal
from tests.api.responses.lint import lint
from tests.api.responses.test_create import ask, body, says, stream
from tests.api.served import Served, served

ANY_EVENT = TypeAdapter[Any](ResponseStreamEvent)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as gateway:
        yield gateway


def thinks_and_codes(gateway: Served, *deltas: dict[str, Any], code: str = "print(1)\n") -> None:
    for delta in deltas:
        gateway.upstream.delta(delta)
    gateway.upstream.code(code)
    gateway.upstream.end_code()
    gateway.upstream.finish()


def assistants(gateway: Served) -> list[dict[str, Any]]:
    """The assistant's messages in the last request to the upstream."""
    return [message for message in gateway.upstream.requests[-1]["messages"] if message["role"] == "assistant"]


def thinking(text: str) -> dict[str, Any]:
    """As Mistral has it."""
    return {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]}


DETAILS = [
    {"type": "reasoning.encrypted", "data": "AB", "index": 0},
    {"type": "reasoning.text", "text": "x", "index": 1},
]
FORMS: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str]] = {
    "reasoning_content": (
        [{"reasoning_content": "Let "}, {"reasoning_content": "me."}],
        {"reasoning_content": "Let me."},
        "Let me.",
    ),
    "reasoning": ([{"reasoning": "Let me."}], {"reasoning": "Let me."}, "Let me."),
    "a field of another name": ([{"reasoning_text": "Let me."}], {"reasoning_text": "Let me."}, "Let me."),
    "reasoning_details": (
        [{"reasoning": "x", "reasoning_details": DETAILS[:1]}, {"reasoning_details": DETAILS[1:]}],
        {"reasoning": "x", "reasoning_details": DETAILS},
        "x",
    ),
    "details alone": ([{"reasoning_details": DETAILS}], {"reasoning_details": DETAILS}, ""),
    "parts of the content": (
        [thinking("Let "), thinking("me.")],
        thinking("Let me."),
        "Let me.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize(("deltas", "fields", "text"), FORMS.values(), ids=FORMS.keys())
async def test_it_goes_back_in_the_form_it_came_in(
    gateway: Served, stored: bool, deltas: list[dict[str, Any]], fields: dict[str, Any], text: str
) -> None:
    thinks_and_codes(gateway, *deltas)
    gateway.upstream.delta({"reasoning_content": "So."})
    says(gateway, "One.")
    first = await ask(gateway, body(store=stored, include=["code_interpreter_call.outputs"]))
    hidden = assistants(gateway)[0]
    assert fields.items() <= hidden.items()
    assert [item["type"] for item in first["output"]] == ["reasoning", "code_interpreter_call", "reasoning", "message"]
    thought = first["output"][0]
    assert "".join(part["text"] for part in thought["summary"]) == text
    assert ("encrypted_content" in thought) is not stored
    says(gateway, "Two.")
    more = [{"role": "user", "content": "And?"}]
    if stored:
        await ask(gateway, body(previous_response_id=first["id"], input=more))
    else:
        await ask(gateway, body(store=False, input=[{"role": "user", "content": "Go."}, *first["output"], *more]))
    called, said = assistants(gateway)
    assert fields.items() <= called.items()
    assert len(called["tool_calls"]) == 1
    assert said == {"role": "assistant", "content": "One.", "reasoning_content": "So."}


async def test_its_events_are_those_of_openai(gateway: Served) -> None:
    thinks_and_codes(gateway, {"reasoning_content": "a"}, {"reasoning_content": "b"})
    says(gateway, "Done.")
    emitted = await stream(gateway, body())
    final = lint(emitted, include_outputs=False)
    for _, data in emitted:
        if data.get("output_index") == 0:
            ANY_EVENT.validate_python(data)
    assert final["output"][0]["summary"] == [{"type": "summary_text", "text": "ab"}]
    names = [
        name.removeprefix("response.") for name, data in emitted if "reasoning" in name or data.get("output_index") == 0
    ]
    assert names == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]


async def test_items_without_it_are_completed_from_what_is_stored(gateway: Served) -> None:
    """SDKs send back what they were shown, or the ids alone."""
    thinks_and_codes(gateway, {"reasoning_content": "Hm."})
    says(gateway, "One.")
    first = await ask(gateway, body())
    reasoning, *rest = first["output"]
    for sent in (reasoning, {"type": "item_reference", "id": reasoning["id"]}):
        says(gateway, "Two.")
        await ask(gateway, body(input=[{"role": "user", "content": "Go."}, sent, *rest]))
        assert assistants(gateway)[0]["reasoning_content"] == "Hm."


@pytest.mark.parametrize("sealed", ["gAAAAABfromOpenAI", "eager1.", "eager1.AAAA", "eager1.!", "", 3, None])
async def test_what_was_not_signed_here_is_left_out(gateway: Served, sealed: Any) -> None:
    says(gateway, "Two.")
    foreign = {"type": "reasoning", "id": "rs_9", "summary": [], "encrypted_content": sealed}
    said = {"role": "assistant", "content": "One."}
    await ask(
        gateway, body(input=[{"role": "user", "content": "Go."}, foreign, said, {"role": "user", "content": "?"}])
    )
    assert assistants(gateway) == [said]


async def test_parallel_calls_of_one_thought_are_of_one_message(gateway: Served) -> None:
    gateway.upstream.delta({"reasoning_content": "Both."})
    for index, id in enumerate(("a", "b")):
        gateway.upstream.code(f"print({index})", id=id, index=index)
        gateway.upstream.end_code(index)
    gateway.upstream.finish()
    says(gateway, "One.")
    first = await ask(gateway, body())
    says(gateway, "Two.")
    await ask(gateway, body(previous_response_id=first["id"]))
    called, said = assistants(gateway)
    assert (len(called["tool_calls"]), called["reasoning_content"]) == (2, "Both.")
    assert said == {"role": "assistant", "content": "One."}


async def test_details_that_come_behind_the_text_belong_to_its_message(gateway: Served) -> None:
    gateway.upstream.delta({"reasoning": "Hm."})
    gateway.upstream.delta({"content": "One."})
    gateway.upstream.delta({"reasoning_details": DETAILS})
    gateway.upstream.finish("stop")
    first = await ask(gateway, body())
    says(gateway, "Two.")
    await ask(gateway, body(previous_response_id=first["id"]))
    assert assistants(gateway) == [
        {"role": "assistant", "content": "One.", "reasoning": "Hm.", "reasoning_details": DETAILS}
    ]


def test_a_seal_is_read_by_its_owner_alone() -> None:
    seal = ReasoningSeal(b"key")
    sealed = seal.seal({"reasoning": "é\ud83d"}, owner="a")
    assert seal.opened(sealed, owner="a") == {"reasoning": "é\ud83d"}
    assert seal.opened(sealed, owner="b") is None
    assert ReasoningSeal(b"other").opened(sealed, owner="a") is None
    for at in range(len(sealed)):
        assert seal.opened(sealed[:at] + ("A" if sealed[at] != "A" else "B") + sealed[at + 1 :], owner="a") is None
        assert seal.opened(sealed[:at], owner="a") is None
