"""An OpenAI-compatible server that replays programs at a set pace, and notices at once when its client leaves.

``GET /__requests`` tells what was sent to whom, ``DELETE /__requests`` forgets it; ``?model=`` of one model name only.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final
from uuid import uuid4

import msgspec
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from app.replay.script import BadRequest, ReplayOptions, Script, options_of, script_of

#: Older records are forgotten.
_RECORDS_KEPT: Final = 10_000


@dataclass(slots=True)
class Record:
    """What became of one request."""

    id: str
    model: str
    tokens_total: int
    tokens_sent: int = 0
    finished: bool = False
    client_left: bool = False


class _Disconnected(Exception):
    """The connection is closed: nobody reads any more."""


class _Replay(Response):
    """A script being played. Token n (from 1) of a request that came at t is due at t + TTFT + n / tps (EAGER Eq. 3):
    the schedule is absolute, so that lateness of one token does not add up."""

    def __init__(self, script: Script, options: ReplayOptions, record: Record, *, stream: bool, usage: bool) -> None:
        super().__init__()
        self._script, self._options, self._record = script, options, record
        self._stream, self._usage = stream, usage
        self._created = int(time.time())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                watcher = group.create_task(self._watch(receive))
                await (self._play(send) if self._stream else self._answer(send))
                watcher.cancel()
        except* _Disconnected:
            self._record.client_left = not self._record.finished

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        raise _Disconnected

    async def _play(self, send: Send) -> None:
        started = asyncio.get_running_loop().time()
        script, options, record = self._script, self._options, self._record
        await self._start(send, b"text/event-stream; charset=utf-8")
        await self._wait_due(started, 0)
        await self._send_chunk(send, script.opening)
        for n, delta in enumerate(script.tokens[: options.breaks_after], 1):
            await self._wait_due(started, n)
            await self._send_chunk(send, delta)
            record.tokens_sent = n
        if record.tokens_sent == options.breaks_after:
            await self._break(send)
            return
        if script.finish_reason is not None:
            await self._send_chunk(send, {}, script.finish_reason)
        if self._usage:
            await self._send(send, self._envelope([]) | {"usage": self._usage_object()})
        record.finished = True
        await self._end(send, b"data: [DONE]\n\n")

    async def _break(self, send: Send) -> None:
        options, after = self._options, self._options.breaks_after
        if after == options.error_after:
            await self._send(send, {"error": _error_object("failing on purpose", "server_error", "replay_error")})
            await self._end(send, b"data: [DONE]\n\n")
        elif after == options.stall_after:
            await asyncio.Event().wait()
        elif after == options.fail_after:
            await self._end(send, b"")
        # cut_after: the server closes the connection of a response that was not completed.

    async def _answer(self, send: Send) -> None:
        """The whole answer at the time of its last token."""
        script, record = self._script, self._record
        await self._wait_due(asyncio.get_running_loop().time(), len(script.tokens))
        choice = {"index": 0, "message": _message_of(script), "logprobs": None, "finish_reason": script.finish_reason}
        record.tokens_sent, record.finished = len(script.tokens), True
        answer = self._envelope([choice]) | {"object": "chat.completion", "usage": self._usage_object()}
        await self._start(send, b"application/json")
        await self._end(send, msgspec.json.encode(answer))

    async def _wait_due(self, started: float, token: int) -> None:
        options = self._options
        due = started + options.ttft_ms / 1000 + (token / options.tps if options.tps else 0)
        # Also when late: a round of the loop lets the watcher speak.
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))

    def _envelope(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._record.id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._record.model,
            "choices": choices,
        }

    def _usage_object(self) -> dict[str, int]:
        prompt, completion = self._script.prompt_tokens, self._record.tokens_sent
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    async def _send_chunk(self, send: Send, delta: dict[str, Any], finish_reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        await self._send(send, self._envelope([choice]))

    async def _send(self, send: Send, payload: dict[str, Any]) -> None:
        frame = b"data: " + msgspec.json.encode(payload) + b"\n\n"
        await send({"type": "http.response.body", "body": frame, "more_body": True})

    async def _start(self, send: Send, content_type: bytes) -> None:
        headers = [(b"content-type", content_type), (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _end(self, send: Send, body: bytes) -> None:
        await send({"type": "http.response.body", "body": body, "more_body": False})


def create_app(
    programs: Mapping[str, str], *, tps: float = 50, ttft_ms: float = 200, chars_per_token: int = 4
) -> FastAPI:
    """The server. ``tps`` 0 means as fast as possible; requests may override all three."""
    defaults = ReplayOptions(tps=tps, ttft_ms=ttft_ms, chars=chars_per_token)
    records: deque[Record] = deque(maxlen=_RECORDS_KEPT)
    app = FastAPI(title="Eager replay upstream", openapi_url=None)

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Response:
        body = await _json_object_of(request)
        options = options_of(body, defaults=defaults)
        script = script_of(body, programs, options)
        record = Record(f"chatcmpl-{uuid4().hex}", str(body.get("model", "")), len(script.tokens))
        records.append(record)
        if options.status is not None:
            return _error(options.status, "failing on purpose", "replay_error")
        usage = bool((body.get("stream_options") or {}).get("include_usage"))
        return _Replay(script, options, record, stream=bool(body.get("stream")), usage=usage)

    @app.get("/v1/models")
    async def models() -> Response:
        return JSONResponse({"object": "list", "data": [_model(name) for name in programs]})

    @app.get("/__requests")
    async def requests(model: str | None = None) -> Response:
        return JSONResponse([asdict(record) for record in records if model in (None, record.model)])

    @app.delete("/__requests", status_code=204)
    async def forget_requests(model: str | None = None) -> None:
        for record in [record for record in records if model in (None, record.model)]:
            records.remove(record)

    @app.exception_handler(BadRequest)
    async def bad_request(request: Request, error: BadRequest) -> Response:
        return _error(400, str(error), "invalid_value")

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        return _error(error.status_code, error.detail, "unknown_url" if error.status_code == 404 else None)

    return app


async def _json_object_of(request: Request) -> dict[str, Any]:
    try:
        return msgspec.json.decode(await request.body(), type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise BadRequest(f"body: {error}") from None


def _message_of(script: Script) -> dict[str, Any]:
    """The deltas of a script put together."""
    message = dict(script.opening)
    if "tool_calls" in message:
        arguments = "".join(token["tool_calls"][0]["function"]["arguments"] for token in script.tokens)
        head = {key: value for key, value in message["tool_calls"][0].items() if key != "index"}
        message["tool_calls"] = [head | {"function": head["function"] | {"arguments": arguments}}]
    else:
        message["content"] = "".join(token["content"] for token in script.tokens)
    return message


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "eager-replay"}


def _error_object(message: str, type: str, code: str | None) -> dict[str, Any]:
    return {"message": message, "type": type, "param": None, "code": code}


def _error(status: int, message: str, code: str | None) -> Response:
    type = "invalid_request_error" if status < 500 else "server_error"
    return JSONResponse({"error": _error_object(message, type, code)}, status)
