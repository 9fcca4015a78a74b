from __future__ import annotations

import json

import pytest

from app.api.responses.answer import Answer
from app.api.responses.request import tools_of
from app.api.responses.schemas import ResponsesRequest
from app.api.responses.sealed_reasoning import ReasoningSeal
from app.events import Error, ErrorBody, Event, Start, Token
from app.store.database import open_store

START = Start(id="x", model="m", session="", container_id="")
TEXT = Token(turn=0, channel="content", text="Hm.")
ERROR = Error(error=ErrorBody("cut", "upstream_error"))


@pytest.mark.parametrize(("events", "stored"), [([START, TEXT, ERROR], "failed"), ([START, ERROR], None)])
async def test_an_answer_that_failed_is_stored_when_its_client_learns_of_it_unless_it_never_saw_any(
    events: list[Event], stored: str | None
) -> None:
    request = ResponsesRequest(model="m", input="x", stream=True)
    async with open_store("sqlite+aiosqlite://") as store:
        seal = ReasoningSeal(b"key")
        answer = Answer(
            "resp_1",
            request,
            owner="a",
            store=store,
            tools=tools_of(request),
            seal=seal,
            carry_events=False,
            created_at=0,
        )
        seen: list[str | None] = []

        async def send(event: Event) -> None:
            if isinstance(event, Error):
                found = await store.responses.get("resp_1", owner="a")
                seen.append(json.loads(found.document)["status"] if found else None)

        for event in events:
            await answer.relay(event, send)
        assert seen == [stored]
        assert await store.responses.get("resp_1", owner="a") is not None
