"""The response that pushes: status held back, keep-alives, the client's leaving, errors before and after the start."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from starlette.types import Message

from app.api import event_stream
from app.api.eager.wire import EagerWire, completion_document
from app.api.edge.open_requests import OpenRequests
from app.api.event_stream import EventDocument, EventStream, while_client_stays
from app.errors import ClientLeft, UpstreamBroken, UpstreamRefused
from app.events import Event, ExecOutput, ExecResult, ExecStart, Token
from app.pipeline.emitter import SendEvent


class Client:
    """The other end of an ASGI connection."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.left = asyncio.Event()
        self.open_requests = OpenRequests()
        services = SimpleNamespace(open_requests=self.open_requests, metrics=Mock())
        self.scope: dict[str, Any] = {"type": "http", "app": SimpleNamespace(state=SimpleNamespace(services=services))}
        self._came = asyncio.Condition()

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        async with self._came:
            self.sent.append(message)
            self._came.notify_all()

    async def wait_for_body(self, part: bytes) -> None:
        async with self._came:
            await self._came.wait_for(lambda: part in self.body)

    @property
    def status(self) -> int | None:
        return self.sent[0]["status"] if self.sent else None

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


def token(text: str) -> Token:
    return Token(turn=0, channel="content", text=text)


async def test_the_status_waits_for_the_second_event_so_that_a_refusal_is_an_http_error() -> None:
    client = Client()

    async def pipeline(send: SendEvent) -> None:
        await send(token("start"))
        assert client.sent == []
        raise UpstreamRefused("slow down", status=429, type="requests")

    await EventStream(pipeline, EagerWire())(client.scope, client.receive, client.send)
    assert client.status == 429
    assert json.loads(client.body)["error"]["message"] == "slow down"


async def test_events_arrive_as_they_are_pushed_and_the_stream_is_ended() -> None:
    client = Client()
    go_on = asyncio.Event()

    async def pipeline(send: SendEvent) -> None:
        await send(token("one"))
        await send(token("two"))
        await go_on.wait()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(EventStream(pipeline, EagerWire())(client.scope, client.receive, client.send))
        await client.wait_for_body(b'"two"')
        assert b'"one"' in client.body
        assert client.status == 200
        go_on.set()
    assert client.body.endswith(b"data: [DONE]\n\n")
    assert client.sent[-1]["more_body"] is False


@pytest.mark.parametrize("response", [EventStream, EventDocument])
async def test_a_client_that_leaves_cancels_a_silent_pipeline(response: type[EventStream]) -> None:
    client = Client()
    cancelled = running = False

    async def pipeline(send: SendEvent) -> None:
        nonlocal cancelled, running
        running = True
        client.left.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled = True
            raise

    async with asyncio.timeout(5):
        await response(pipeline, EagerWire())(client.scope, client.receive, client.send)
    assert running
    assert cancelled


async def test_what_is_made_for_a_client_that_leaves_is_cancelled() -> None:
    client = Client()
    cancelled = asyncio.Event()

    async def make() -> str:
        client.left.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return "never"

    with pytest.raises(ClientLeft):
        await while_client_stays(client.receive, make())
    assert cancelled.is_set()


async def test_what_is_made_for_a_client_that_stays_is_returned_and_errors_are_raised() -> None:
    client = Client()
    watched = len(asyncio.all_tasks())
    assert await while_client_stays(client.receive, asyncio.sleep(0, "made")) == "made"

    async def fail() -> None:
        raise UpstreamBroken("no")

    with pytest.raises(UpstreamBroken):
        await while_client_stays(client.receive, fail())
    assert len(asyncio.all_tasks()) == watched


async def test_a_failure_after_the_start_is_an_event_and_the_stream_ends() -> None:
    client = Client()

    async def pipeline(send: SendEvent) -> None:
        await send(token("one"))
        await send(token("two"))
        raise UpstreamBroken("cut")

    await EventStream(pipeline, EagerWire())(client.scope, client.receive, client.send)
    assert client.status == 200
    assert b"event: error" in client.body
    assert b'"message":"cut"' in client.body
    assert client.sent[-1]["more_body"] is False


async def test_a_bug_is_told_without_its_details(caplog: pytest.LogCaptureFixture) -> None:
    client = Client()

    async def pipeline(send: SendEvent) -> None:
        raise RuntimeError("secret")

    await EventStream(pipeline, EagerWire())(client.scope, client.receive, client.send)
    assert client.status == 500
    assert b"secret" not in client.body
    assert "secret" in caplog.text


async def test_a_silent_stream_is_kept_alive_and_does_not_hold_its_status_back_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_stream, "HOLD_S", 0.01)
    monkeypatch.setattr(event_stream, "KEEPALIVE_S", 0.01)
    client = Client()
    go_on = asyncio.Event()

    async def pipeline(send: SendEvent) -> None:
        await send(token("one"))
        await go_on.wait()
        await send(token("two"))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(EventStream(pipeline, EagerWire())(client.scope, client.receive, client.send))
        await client.wait_for_body(event_stream.KEEPALIVE * 2)
        assert b'"one"' in client.body.split(event_stream.KEEPALIVE)[0]
        go_on.set()
    assert b'"two"' in client.body


async def test_once_code_has_run_an_error_forbids_retries() -> None:
    client = Client()

    async def pipeline(send: SendEvent) -> None:
        await send(ExecStart(call_id="c", batch=0, chunks=[0]))
        raise UpstreamBroken("cut")

    def render(events: list[Event]) -> bytes:
        raise AssertionError("not reached")

    await EventDocument(pipeline, render)(client.scope, client.receive, client.send)
    headers = dict(client.sent[0]["headers"])
    assert client.status == 502
    assert headers[b"x-should-retry"] == b"false"


async def test_an_answer_without_a_stream_holds_a_bounded_amount_of_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "MAX_OUTPUT", 100)
    client = Client()
    seen: list[Event] = []

    async def pipeline(send: SendEvent) -> None:
        for batch in range(3):
            await send(ExecOutput(call_id="c", batch=batch, stream="stderr", text="x" * 40, seq=batch))
            await send(token("kept"))
            await send(ExecResult(call_id="c", batch=batch, repr=None, data={"text/html": "y" * 20}, images=[]))

    def render(events: list[Event]) -> bytes:
        seen.extend(events)
        return b"{}"

    await EventDocument(pipeline, render)(client.scope, client.receive, client.send)
    assert client.status == 200
    assert sum(isinstance(event, Token) for event in seen) == 3
    outputs = [event for event in seen if not isinstance(event, Token)]
    assert [type(event) for event in outputs] == [ExecOutput, ExecResult, ExecOutput]
    last = outputs[-1]
    assert isinstance(last, ExecOutput)
    assert (last.text, last.batch, last.seq) == ("\n[More output was left out.]\n", 1, 1)


async def test_a_first_event_that_comes_after_the_hold_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "HOLD_S", 0)
    client = Client()

    async def pipeline(send: SendEvent) -> None:
        await client.wait_for_body(b": keep-alive")  # no sandbox came free for a while
        await send(token("one"))
        await send(token("two"))

    await EventStream(pipeline, EagerWire())(client.scope, client.receive, client.send)
    assert client.status == 200
    assert b'"one"' in client.body
    assert b'"two"' in client.body


@pytest.mark.parametrize("code_ran", [True, False])
async def test_a_server_that_stops_answers_with_an_error_of_ours(code_ran: bool) -> None:
    client = Client()

    async def pipeline(send: SendEvent) -> None:
        if code_ran:
            await send(ExecStart(call_id="c", batch=0, chunks=[0]))
        client.open_requests.end()
        await asyncio.Event().wait()

    async with asyncio.timeout(5):
        await EventDocument(pipeline, completion_document)(client.scope, client.receive, client.send)
    headers = dict(client.sent[0]["headers"])
    assert client.status == 503
    assert json.loads(client.body)["error"]["code"] == "overloaded"
    assert headers.get(b"x-should-retry") == (b"false" if code_ran else None)


async def test_a_server_that_stops_ends_a_stream_with_an_error() -> None:
    client = Client()

    async def pipeline(send: SendEvent) -> None:
        await send(token("one"))
        await send(token("two"))
        client.open_requests.end()
        await asyncio.Event().wait()

    async with asyncio.timeout(5):
        await EventStream(pipeline, EagerWire())(client.scope, client.receive, client.send)
    assert client.status == 200
    assert b'"code":"overloaded"' in client.body
    assert client.body.endswith(b"data: [DONE]\n\n")


async def test_what_comes_when_the_server_has_stopped_is_not_begun() -> None:
    client = Client()
    client.open_requests.end()

    async def pipeline(send: SendEvent) -> None:
        await asyncio.Event().wait()

    async with asyncio.timeout(5):
        await EventStream(pipeline, EagerWire())(client.scope, client.receive, client.send)
    assert client.status == 503


async def test_nothing_overtakes_what_is_being_written() -> None:
    sent: list[Message] = []
    held, go_on = asyncio.Event(), asyncio.Event()

    async def send(message: Message) -> None:
        if not held.is_set():
            held.set()
            await go_on.wait()
        sent.append(message)

    writer = event_stream.StreamWriter(Client().scope, send)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.write(b"event"))
        await held.wait()
        tasks.create_task(writer.write(b"keep-alive"))
        await asyncio.sleep(0)  # it has begun, and waits
        assert sent == []
        go_on.set()
    assert [message.get("body") for message in sent] == [None, b"event", b"keep-alive"]


async def test_a_document_of_texts_keeps_no_single_tokens() -> None:
    collected: list[Event] = []

    def render(events: list[Event]) -> bytes:
        collected.extend(events)
        return b"{}"

    async def pipeline(send: SendEvent) -> None:
        for event in [token("a"), token("b"), Token(turn=0, channel="code", text="c", call_id="1"), token("d")]:
            await send(event)
        await send(Token(turn=0, channel="content", text="e", logprobs={"content": []}))
        await send(token("f"))

    client = Client()
    await EventDocument(pipeline, render, joined=True)(client.scope, client.receive, client.send)
    assert [event.text for event in collected if isinstance(event, Token)] == ["ab", "c", "d", "e", "f"]
