"""The WebSocket for apps that call their model themselves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.api.eager.push import READ_AHEAD
from app.sandbox.worker.messages import Output
from tests.api.served import Served, served
from tests.fakes.session import failing

Headers = list[tuple[bytes, bytes]]
KEY: Headers = [(b"host", b"gateway"), (b"authorization", b"Bearer ka")]


class App:
    """The far end of the connection."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.got: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.events: list[dict[str, Any]] = []

    def send(self, *messages: Any) -> None:
        for message in messages:
            text = message if isinstance(message, str) else json.dumps(message)
            self.sent.put_nowait({"type": "websocket.receive", "text": text})

    def leave(self) -> None:
        self.sent.put_nowait({"type": "websocket.disconnect", "code": 1001})

    async def wait_for(self, kind: str) -> dict[str, Any]:
        """The next event of this type, or message of the protocol."""
        while True:
            message = await self.got.get()
            if message["type"] == kind:
                return message
            if message["type"] == "websocket.send":
                event: dict[str, Any] = json.loads(message["text"])
                self.events.append(event)
                if event["type"] == kind:
                    return event

    async def close_code(self) -> int:
        code: int = (await self.wait_for("websocket.close"))["code"]
        return code

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]


@asynccontextmanager
async def connection(gateway: Served, headers: Headers = KEY) -> AsyncIterator[App]:
    app = App()
    app.sent.put_nowait({"type": "websocket.connect"})
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/v1/eager/stream",
        "raw_path": b"/v1/eager/stream",
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "subprotocols": [],
        "state": {},
        "extensions": {"websocket.http.response": {}},
    }
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(gateway.app(scope, app.sent.get, app.got.put))  # type: ignore[arg-type]
        yield app


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as gateway:
        yield gateway


def prepare(gateway: Served, **fields: Any) -> None:
    for worker in gateway.backend.workers:
        for name, value in fields.items():
            setattr(worker, name, value)


async def test_a_statement_has_run_before_the_next_one_is_sent(gateway: Served) -> None:
    prepare(gateway, says={"print": [Output("stdout", "1\n")]})
    async with connection(gateway) as app:
        app.send({}, {"code": "print("}, {"code": "1)\nx ="})
        output = await app.wait_for("exec.output")
        assert output["text"] == "1\n"
        app.send({"code": " 2\n"}, {"end": True})
        assert await app.close_code() == 1000
    assert [event["seq"] for event in app.events] == list(range(len(app.events)))
    assert (app.events[0]["type"], app.events[-1]["type"]) == ("start", "done")
    (end,) = app.of("code.end")
    assert (end["code"], end["status"]) == ("print(1)\nx = 2\n", "ok")


async def test_the_app_learns_at_once_that_its_model_can_stop(gateway: Served) -> None:
    prepare(gateway, fails={"boom": failing()})
    async with connection(gateway) as app:
        app.send({}, {"code": "boom()\nx"})
        assert (await app.wait_for("interrupt"))["reason"] == "error"
        assert await app.close_code() == 1000
    assert app.of("exec.error")[0]["ename"] == "ValueError"
    assert app.events[-1]["finish_reason"] == "interrupt"


async def test_what_the_models_server_sends_can_be_pushed_as_it_is(gateway: Served) -> None:
    prepare(gateway, says={"print": [Output("stdout", "1\n")]})

    def chunk(arguments: str, **first: Any) -> dict[str, Any]:
        function = {"arguments": arguments, **({"name": "python"} if first else {})}
        return {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": function, **first}]}}]}

    async with connection(gateway) as app:
        app.send({"model": "m"})
        app.send({"chunk": {"choices": [{"index": 0, "delta": {"content": "Let me see."}}]}})
        app.send({"chunk": chunk('{"code": "pri', id="call_1", type="function")}, {"chunk": chunk("nt(1)\\n")})
        await app.wait_for("exec.output")
        app.send({"chunk": chunk('"}')}, {"end": True})
        await app.close_code()
    assert app.of("code.end")[0]["call_id"] == "call_1"
    assert app.of("token")[0]["text"] == "Let me see."


async def test_bash_is_run_as_bash(gateway: Served) -> None:
    async with connection(gateway) as app:
        app.send({"language": "bash"}, {"code": "ls\n"}, {"end": True})
        await app.close_code()
    assert app.of("code.start")[0]["language"] == "bash"
    assert gateway.backend.used()[0].executed[-1].language == "bash"


async def test_a_kept_session_goes_on(gateway: Served) -> None:
    async with connection(gateway) as app:
        app.send({"eager": {"session": "new"}}, {"code": "x = 1\n"}, {"end": True})
        await app.close_code()
    session = app.events[0]["session"]
    async with connection(gateway) as app:
        app.send({"eager": {"session": session}}, {"code": "x\n"}, {"end": True})
        await app.close_code()
    (worker,) = gateway.backend.used()
    assert [source for run in worker.executed[1:] for source in run.sources] == ["x = 1\n", "x\n"]


async def test_code_stops_when_the_app_leaves(gateway: Served) -> None:
    prepare(gateway, hold="sleep")
    async with connection(gateway) as app:
        app.send({}, {"code": "sleep()\nx"})
        worker = await gateway.backend.wait_running()
        app.leave()
    assert worker.cancelled


async def test_what_comes_after_the_end_is_dropped_and_does_not_hide_that_the_app_leaves(gateway: Served) -> None:
    prepare(gateway, hold="sleep")
    async with connection(gateway) as app:
        app.send({}, {"code": "sleep()\n"}, {"end": True})
        app.send(*[{"code": "more()\n"}] * (3 * READ_AHEAD))
        worker = await gateway.backend.wait_running()
        app.leave()
    assert worker.cancelled
    assert [run.sources for run in worker.executed[1:]] == [["sleep()\n"]]


async def test_neither_does_what_comes_when_generation_was_stopped(gateway: Served) -> None:
    prepare(gateway, hold="sleep")
    async with connection(gateway) as app:
        app.send({}, {"code": "sleep()\nx = = 1\ny\n"})
        app.send(*[{"code": "more()\n"}] * (3 * READ_AHEAD))
        worker = await gateway.backend.wait_running()
        app.leave()
    assert worker.cancelled


@pytest.mark.parametrize(
    ("eager", "param"), [({"max_turns": 2}, "eager.max_turns"), ({"on_error": "repair"}, "eager.on_error")]
)
async def test_turns_that_nobody_would_push_are_refused(gateway: Served, eager: dict[str, Any], param: str) -> None:
    async with connection(gateway) as app:
        app.send({"eager": eager})
        error = (await app.wait_for("error"))["error"]
        assert await app.close_code() == 1008
    assert (error["code"], error["param"]) == ("unsupported_parameter", param)


@pytest.mark.parametrize(
    ("opening", "param"),
    [
        ("not json", None),
        ("[]", None),
        ({"eager": {"mode": "lazy"}}, "eager.mode"),
        ({"language": "perl"}, "language"),
        ({"colour": 1}, "colour"),
    ],
)
async def test_an_opening_that_is_none_is_refused(gateway: Served, opening: Any, param: str | None) -> None:
    async with connection(gateway) as app:
        app.send(opening)
        told = await app.wait_for("error")
        assert await app.close_code() == 1008
    error = told["error"]
    assert told["seq"] == 0
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


async def test_a_half_character_in_the_opening_is_replaced(gateway: Served) -> None:
    async with connection(gateway) as app:
        app.send({"model": "m\ud83d"}, {"end": True})
        assert (await app.wait_for("start"))["model"] == "m\ufffd"
        assert await app.close_code() == 1000


async def test_a_message_that_says_nothing_known_ends_the_request(gateway: Served) -> None:
    async with connection(gateway) as app:
        app.send({}, {"code": "x = 1\n"}, {"text": "?"})
        assert (await app.wait_for("error"))["error"]["code"] == "invalid_value"
        await app.close_code()
    assert app.events[-1]["type"] == "done"


async def test_an_unknown_session_is_an_error(gateway: Served) -> None:
    async with connection(gateway) as app:
        app.send({"eager": {"session": "ses_x"}}, {"code": "x"})
        assert (await app.wait_for("error"))["error"]["code"] == "session_not_found"
        assert await app.close_code() == 1008


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"host", b"gateway")], 401),
        ([(b"host", b"gateway"), (b"authorization", b"Bearer wrong")], 401),
        ([*KEY, (b"origin", b"https://evil.example")], 403),
        ([*KEY, (b"origin", b"null")], 403),
    ],
)
async def test_strangers_and_pages_of_other_origins_are_refused(gateway: Served, headers: Headers, status: int) -> None:
    async with connection(gateway, headers) as app:
        assert (await app.wait_for("websocket.http.response.start"))["status"] == status
        answer = await app.wait_for("websocket.http.response.body")
    assert json.loads(answer["body"])["error"].keys() == {"message", "type", "param", "code"}


async def test_a_page_of_the_gateways_own_origin_may_connect(gateway: Served) -> None:
    async with connection(gateway, [*KEY, (b"origin", b"http://gateway")]) as app:
        app.send({}, {"end": True})
        assert await app.close_code() == 1000
