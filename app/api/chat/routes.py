"""``POST /v1/chat/completions``: with a code tool the agent loop runs here; without one this is a proxy."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api.chat.hidden_calls import keeper, restored
from app.api.chat.proxy import ProxyDocument, ProxyStream
from app.api.chat.wire import ChatWire, chat_document
from app.api.edge.auth import Caller
from app.api.edge.openapi import STREAMED
from app.api.event_stream import EventDocument, EventStream
from app.api.idempotency import idempotent
from app.api.options import drop_in_options, session_id, with_headers
from app.api.schemas import CompletionRequest, EagerOptions
from app.api.tools import code_keys, for_upstream, has_code_tool, undeclared
from app.api.turn_texts import OnlyJson, Paragraphs, TurnTexts, is_parsed
from app.events import Event
from app.gateway import Gateway
from app.pipeline.emitter import SendEvent
from app.pipeline.run import RunOptions, run
from app.store.database import Store

router = APIRouter()


@router.post("/v1/chat/completions", responses=STREAMED)
async def create_chat_completion(request: Request, body: CompletionRequest) -> Response:
    """OpenAI's chat completions. Calls of code tools are run here while they are written, and answered to the model;
    those of other tools are the client's."""
    gateway: Gateway = request.app.state.gateway
    store: Store = request.app.state.store
    caller: Caller = request.state.caller
    caller.require_model(body.model)
    asked = with_headers(body.eager, request.headers)
    options = drop_in_options(asked, gateway, request.headers)
    if options.sources <= {"tool"} and not has_code_tool(body.upstream_body(), options.tools):
        response = _proxied(gateway, store, caller, body, options)
    else:
        response = _run_here(gateway, store, caller, body, asked, options)
    return idempotent(
        request,
        caller,
        await request.body(),
        response,
        keys=store.idempotency_keys,
        instance=gateway.instance.id,
        streaming=bool(body.stream),
    )


def _proxied(gateway: Gateway, store: Store, caller: Caller, body: CompletionRequest, options: RunOptions) -> Response:
    upstream = gateway.require_upstream()

    async def whole() -> dict[str, Any]:
        """An agent may ask for its last answer without tools: the code before it counts all the same."""
        messages = await restored(body.messages, store.hidden_calls, owner=caller.name)
        return {**body.upstream_body(), "messages": messages}

    @asynccontextmanager
    async def stream() -> AsyncIterator[AsyncIterator[Sequence[str]]]:
        async with upstream.stream(await whole(), options.headers) as events:
            yield events

    async def complete() -> Any:
        return await upstream.complete(await whole(), options.headers)

    return ProxyStream(stream()) if body.stream else ProxyDocument(complete)


def _run_here(
    gateway: Gateway, store: Store, caller: Caller, body: CompletionRequest, asked: EagerOptions, options: RunOptions
) -> Response:
    body.require_one_choice()
    upstream = gateway.require_upstream()
    upstream_body, tools = for_upstream(body.upstream_body(), options.tools)
    own_tools = undeclared(tools, body.upstream_body())
    id, created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())
    carry = gateway.events if asked.events is None else asked.events

    async def pipeline(send: SendEvent) -> None:
        texts: TurnTexts = OnlyJson() if is_parsed(body.response_format) else Paragraphs()

        async def show(event: Event) -> None:
            for shown in texts.feed(event):
                await send(shown)

        messages = await restored(body.messages, store.hidden_calls, owner=caller.name)
        async with gateway.place(asked.session, owner=caller.name, keep_as=session_id(body.metadata)) as place:
            await run(
                {**upstream_body, "messages": messages},
                replace(options, tools=tools, own_tools=own_tools, code_keys=code_keys(upstream_body, tools)),
                request_id=id,
                upstream=upstream,
                place=place,
                send=show,
                keep_hidden=keeper(body.messages, store.hidden_calls, owner=caller.name),
            )

    def render(events: list[Event]) -> bytes:
        return chat_document(events, id=id, created=created, model=body.model, carry=carry)

    if not body.stream:
        return EventDocument(pipeline, render)
    wire = ChatWire(id=id, created=created, model=body.model, include_usage=body.wants_usage, events=carry)
    return EventStream(pipeline, wire)
