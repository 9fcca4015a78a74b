"""``POST /v1/chat/completions``: the drop-in. With a code tool the agent loop runs here; without one this is a proxy."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from app.api.auth import Caller
from app.api.chat_wire import ChatWire, chat_document
from app.api.event_stream import EventDocument, EventStream, ProxyStream
from app.api.options import pipeline_options, with_headers
from app.api.schemas import CompletionRequest
from app.api.tools import for_upstream, has_code_tool
from app.events import Event
from app.gateway import Gateway, new_id
from app.pipeline.emitter import Send
from app.pipeline.run import run

router = APIRouter()


@router.post("/v1/chat/completions")
async def create_chat_completion(request: Request, body: CompletionRequest) -> Response:
    gateway: Gateway = request.app.state.gateway
    caller: Caller = request.state.caller
    caller.require_model(body.model)
    upstream = gateway.require_upstream()
    asked = with_headers(body.eager, request.headers)
    options = pipeline_options(asked, gateway, request.headers, sources=("tool",), max_turns=gateway.turn_limit)
    upstream_body = body.upstream_body()
    if options.sources <= {"tool"} and not has_code_tool(upstream_body, options.tools):
        if body.stream:
            return ProxyStream(upstream.stream(upstream_body, options.headers))
        return JSONResponse(await upstream.complete(upstream_body, options.headers))
    body.require_one_choice()
    id, created = new_id("chatcmpl"), int(time.time())

    async def pipeline(send: Send) -> None:
        async with gateway.session(asked.session, owner=caller.name) as lease:
            await run(
                for_upstream(upstream_body),
                options,
                request_id=id,
                upstream=upstream,
                session=lease.session,
                session_name=lease.name,
                send=send,
            )

    if not body.stream:

        def render(events: list[Event]) -> bytes:
            return chat_document(events, id=id, created=created, model=body.model, carry=asked.events is True)

        return EventDocument(pipeline, render)
    wire = ChatWire(
        id=id,
        created=created,
        model=body.model,
        include_usage=body.wants_usage,
        events=asked.events is True,
    )
    return EventStream(pipeline, wire)
