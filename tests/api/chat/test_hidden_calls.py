from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.api.chat.hidden_calls import keeper, restored
from app.store.database import open_store
from app.store.hidden_calls import HiddenCalls

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Umbrella?"}]
HIDDEN = [
    {"role": "assistant", "content": None, "tool_calls": [{"id": "call_code"}, {"id": "call_w"}]},
    {"role": "tool", "tool_call_id": "call_code", "content": "42"},
]
RESULT = {"role": "tool", "tool_call_id": "call_w", "content": "sunny"}


def shown(id: str = "call_w") -> dict[str, Any]:
    return {"role": "assistant", "content": "", "tool_calls": [{"id": id, "type": "function"}]}


@pytest.fixture
async def store() -> AsyncIterator[HiddenCalls]:
    async with open_store("sqlite+aiosqlite://") as store:
        await keeper(ASKED, store.hidden_calls, owner="me")(["call_w"], HIDDEN)
        yield store.hidden_calls


async def test_what_was_hidden_is_put_in_the_place_of_what_was_shown(store: HiddenCalls) -> None:
    assert await restored([*ASKED, shown(), RESULT], store, owner="me") == [*ASKED, *HIDDEN, RESULT]


async def test_later_parts_of_the_conversation_do_not_matter(store: HiddenCalls) -> None:
    later = [{"role": "assistant", "content": "No."}, {"role": "user", "content": "Sure?"}]
    assert await restored([*ASKED, shown(), RESULT, *later], store, owner="me") == [*ASKED, *HIDDEN, RESULT, *later]


async def test_a_client_may_write_the_same_text_in_parts_and_change_its_instructions(store: HiddenCalls) -> None:
    parts = [{"type": "text", "text": "Umbr"}, {"type": "image_url"}, {"type": "text", "text": "ella?"}]
    messages = [{"role": "system", "content": "It is 12:01."}, {"role": "user", "content": parts}, shown(), RESULT]
    assert (await restored(messages, store, owner="me"))[2:4] == HIDDEN


@pytest.mark.parametrize(
    ("messages", "owner"),
    [
        ([*ASKED, shown(), RESULT], "somebody else"),
        ([*ASKED, shown("call_other"), RESULT], "me"),
        ([{"role": "user", "content": "Another conversation."}, shown(), RESULT], "me"),
    ],
)
async def test_others_and_other_conversations_go_on_without_it(
    store: HiddenCalls, messages: list[dict[str, Any]], owner: str
) -> None:
    assert await restored(messages, store, owner=owner) == messages


async def test_an_upstream_that_numbers_its_calls_anew_in_each_answer_mixes_nothing_up(store: HiddenCalls) -> None:
    first = [*ASKED, shown(), RESULT]
    again = [{"role": "assistant", "tool_calls": [{"id": "call_code"}, {"id": "call_w"}]}, *HIDDEN[1:]]
    await keeper(first, store, owner="me")(["call_w"], again)
    second = [*first, shown(), RESULT]
    assert await restored(second, store, owner="me") == [*ASKED, *HIDDEN, RESULT, *again, RESULT]
    assert await restored([*second, shown(), RESULT], store, owner="me") == [
        *(await restored(second, store, owner="me")),
        shown(),
        RESULT,
    ]


async def test_an_earlier_exchange_may_be_sent_back_without_its_calls(store: HiddenCalls) -> None:
    more = [{"role": "user", "content": "And tomorrow?"}]
    await keeper([*ASKED, shown(), RESULT, *more], store, owner="me")(["call_w"], HIDDEN)
    assert await restored([*ASKED, *more, shown(), RESULT], store, owner="me") == [*ASKED, *more, *HIDDEN, RESULT]


async def test_odd_messages_are_left_alone(store: HiddenCalls) -> None:
    odd = [
        {"role": "assistant", "tool_calls": "none"},
        {"role": "assistant", "tool_calls": [None, {"id": 7}]},
        {"role": "user", "content": None},
        {"role": "user", "content": [1, {"text": "\ud83d"}]},
        {},
    ]
    assert await restored(odd, store, owner="me") == odd
