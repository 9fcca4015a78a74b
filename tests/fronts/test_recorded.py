"""What chat front ends have sent in a conversation (requests/) is sent again: the model must know it as it was."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.sandbox.worker.messages import Output
from tests.api.served import Served, served
from tests.fakes.upstream import FakeUpstream
from tests.fronts.conversation import TITLE, check_known, text_of, turn_for
from tests.fronts.model import chunks
from tests.fronts.recorded import FRONTS, filled, requests_of


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as gateway:
        _converse(gateway.upstream)
        for worker in gateway.backend.workers:
            worker.says = {"print": [Output("stdout", "said\n")]}
        yield gateway


def _converse(upstream: FakeUpstream) -> None:
    """Have it answer as the scripted model does."""

    @asynccontextmanager
    async def stream(body: Mapping[str, Any], headers: object = None) -> AsyncIterator[AsyncIterator[Sequence[str]]]:
        upstream.requests.append(json.loads(json.dumps(body)))

        async def events() -> AsyncIterator[Sequence[str]]:
            for chunk in chunks(turn_for(dict(body)), f"call_{len(upstream.requests)}"):
                yield [json.dumps(chunk)]

        yield events()

    upstream.stream = stream  # type: ignore[method-assign]


async def _answer(gateway: Served, body: dict[str, Any]) -> str:
    async with gateway.http() as http:
        answer = await http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    if not body.get("stream"):
        whole: str = answer.json()["choices"][0]["message"]["content"]
        return whole
    events = [json.loads(line[6:]) for line in answer.text.split("\n") if line.startswith("data: {")]
    deltas = [event["choices"][0]["delta"] for event in events if event.get("choices")]
    return "".join(delta.get("content") or "" for delta in deltas)


@pytest.mark.parametrize("front", FRONTS)
async def test_the_model_knows_the_conversation_as_it_was(gateway: Served, front: str) -> None:
    bodies = requests_of(front)
    assert any("-ANSWER-" in text_of(message) for body in bodies for message in body["messages"])
    answers: list[str] = []
    for body in bodies:
        answers.append(await _answer(gateway, filled(body, answers)))
    for request in gateway.upstream.requests:
        check_known(request["messages"])
    assert len(gateway.backend.used()) == 1, "one conversation, one session"


async def test_a_title_is_made_of_what_was_said(gateway: Served) -> None:
    asking = [body for body in requests_of("open_webui") if '"title"' in text_of(body["messages"][-1])]
    assert asking
    for body in asking:
        assert json.loads(await _answer(gateway, body)) == {"title": TITLE}
