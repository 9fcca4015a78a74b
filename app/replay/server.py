"""An OpenAI-compatible server that replays programs at a set pace, and notices at once when its client leaves.

``GET /__requests`` tells what was sent to whom, ``DELETE /__requests`` forgets it; ``?model=`` of one model name only.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final
from uuid import uuid4

import msgspec
from fastapi import FastAPI, Request
from sse_starlette import EventSourceResponse
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from app.api.event_stream import while_client_stays
from app.errors import ClientLeft
from app.replay.script import BadRequest, ReplayOptions, Script, options_of, script_of

#: Older records are forgotten.
_RECORDS_KEPT: Final = 10_000
_DONE: Final = b"data: [DONE]\n\n"


@dataclass(slots=True)
class Record:
    """What became of one request."""

    id: str
    model: str
    tokens_total: int
    tokens_sent: int = 0
    finished: bool = False
    client_left: bool = False


class _Replay:
    """A script being played. Token n (from 1) of a request that came at t is due at t + TTFT + n / tps (EAGER Eq. 3):
    the schedule is absolute, so that lateness of one token does not add up."""

    def __init__(self, script: Script, options: ReplayOptions, record: Record, *, usage: bool) -> None:
        self._script, self._options, self._record = script, options, record
        self._usage = usage
        self._created = int(time.time())
        self._began = asyncio.get_running_loop().time()

    async def frames(self) -> AsyncIterator[bytes]:
        """The stream, until it breaks if it is to."""
        script, options, record = self._script, self._options, self._record
        await self._wait_due(0)
        yield self._chunk(script.opening)
        for n, delta in enumerate(script.tokens[: options.breaks_after], 1):
            await self._wait_due(n)
            yield self._chunk(delta)
            record.tokens_sent = n
        if record.tokens_sent == options.breaks_after:
            if options.breaks_after == options.error_after:
                yield _frame({"error": _error_object("failing on purpose", "server_error", "replay_error")})
                yield _DONE
            elif options.breaks_after == options.stall_after:
                await asyncio.Event().wait()
            return
        if script.finish_reason is not None:
            yield self._chunk({}, script.finish_reason)
        if self._usage:
            yield _frame(self._envelope([]) | {"usage": self._usage_object()})
        record.finished = True
        yield _DONE

    async def answer(self) -> JSONResponse:
        """The whole answer at the time of its last token."""
        script, record = self._script, self._record
        await self._wait_due(len(script.tokens))
        choice = {"index": 0, "message": _message_of(script), "logprobs": None, "finish_reason": script.finish_reason}
        record.tokens_sent, record.finished = len(script.tokens), True
        return JSONResponse(self._envelope([choice]) | {"object": "chat.completion", "usage": self._usage_object()})

    async def _wait_due(self, token: int) -> None:
        options = self._options
        due = self._began + options.ttft_ms / 1000 + (token / options.tps if options.tps else 0)
        # Also when late: a round of the loop lets whoever watches for the client speak.
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

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        return _frame(self._envelope([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]))


class _ReplayStream(EventSourceResponse):
    """Sends the frames, and notices the moment its client leaves.

    With ``cut``, frames that break off leave the response without its end: then the server closes the connection.
    """

    def __init__(self, replay: _Replay, record: Record, *, cut: bool) -> None:
        super().__init__(
            replay.frames(),
            ping=0,
            headers={"cache-control": "no-cache"},
            client_close_handler_callable=self._note_left,
        )
        self._record, self._cut = record, cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_or_cut(message: Message) -> None:
            if message.get("more_body", True) or self._record.finished or not self._cut:
                await send(message)

        await super().__call__(scope, receive, send_or_cut)

    async def _note_left(self, message: Message) -> None:
        self._record.client_left = not self._record.finished


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
        replay = _Replay(script, options, record, usage=usage)
        if body.get("stream"):
            told = (None, options.error_after, options.stall_after, options.fail_after)
            return _ReplayStream(replay, record, cut=options.breaks_after not in told)
        try:
            return await while_client_stays(request.receive, replay.answer())
        except ClientLeft:
            record.client_left = True
            return Response()

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


def _frame(payload: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(payload) + b"\n\n"


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "eager-replay"}


def _error_object(message: str, type: str, code: str | None) -> dict[str, Any]:
    return {"message": message, "type": type, "param": None, "code": code}


def _error(status: int, message: str, code: str | None) -> Response:
    type = "invalid_request_error" if status < 500 else "server_error"
    return JSONResponse({"error": _error_object(message, type, code)}, status)
