"""``POST /v1/chat/completions``: with a code tool the agent loop runs here; without one this is a proxy."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api.chat.hidden_calls import keeper, restored
from app.api.chat.legacy_functions import keeping_one, uses_functions, with_tools
from app.api.chat.proxy import ProxyDocument, ProxyStream
from app.api.chat.render_choice import RenderChoice, choose
from app.api.chat.rendering import (
    PlainAnswer,
    Remembered,
    RenderedAnswer,
    markdown_answer,
    remembered,
    session_of,
)
from app.api.chat.wire import ChatWire, chat_document
from app.api.edge.auth import AuthenticatedCaller
from app.api.edge.long_bodies import LongBodyRoute
from app.api.edge.openapi import STREAMED
from app.api.event_stream import EventDocument, EventStream
from app.api.model_requests import ModelRequest
from app.api.options import session_id
from app.api.schemas import CompletionRequest
from app.api.services import InjectedServices
from app.api.tools import HINT, IN_WORDS, for_upstream, has_code_tool, undeclared, with_interpreter
from app.events import Event
from app.pipeline.emitter import SendEvent
from app.pipeline.run import RunOptions
from app.upstream.completions import Completions
from app.upstream.without_tools import ToolsOrWords

router = APIRouter(route_class=LongBodyRoute)


@router.post("/v1/chat/completions", responses=STREAMED)
async def create_chat_completion(
    request: Request, caller: AuthenticatedCaller, services: InjectedServices, body: CompletionRequest
) -> Response:
    """OpenAI's chat completions. Calls of code tools are run here while they are written, and answered to the model;
    those of other tools are the client's."""
    asked = ModelRequest.of(request, services, caller, model=body.model, options=body.eager, others=body.model_extra)
    choice = choose(body, asked)
    options = asked.drop_in_options(whole=not body.stream, sources=choice.sources)
    legacy = uses_functions(body, options.tools)
    if options.sources <= {"tool"} and not (
        legacy or choice.code_tool or has_code_tool(body.upstream_body(), options.tools)
    ):
        response = _proxied(asked, body, options)
    else:
        response = _run_here(asked, with_tools(body) if legacy else body, choice, options, legacy=legacy)
    return await asked.answer(request, response, streaming=bool(body.stream))


def _proxied(asked: ModelRequest, body: CompletionRequest, options: RunOptions) -> Response:
    upstream = asked.services.gateway.require_upstream()

    async def whole() -> dict[str, Any]:
        """An agent may ask for its last answer without tools: the code before it counts all the same."""
        conversation = await _conversation(asked, body)
        return {**body.upstream_body(), "model": asked.model, "messages": conversation.messages}

    @asynccontextmanager
    async def stream() -> AsyncIterator[AsyncIterator[Sequence[str]]]:
        async with upstream.stream(await whole(), options.headers) as events:
            yield events

    async def complete() -> Any:
        return await upstream.complete(await whole(), options.headers)

    return ProxyStream(stream()) if body.stream else ProxyDocument(complete)


def _run_here(
    asked: ModelRequest, body: CompletionRequest, choice: RenderChoice, options: RunOptions, *, legacy: bool
) -> Response:
    store = asked.services.store.hidden_calls
    body.require_one_choice()
    upstream: Completions = asked.services.gateway.require_upstream()
    declared = {**body.upstream_body(), "model": asked.model}
    if choice.code_tool and not has_code_tool(declared, options.tools):
        # A person in front of it is better served without the front end's tools than with a refusal.
        may_drop = choice.style is not None and declared.get("tool_choice", "auto") in ("auto", "none")
        if may_drop or not declared.get("tools"):
            upstream = ToolsOrWords(upstream, IN_WORDS + HINT if choice.hint else IN_WORDS)
        declared = with_interpreter(declared, options.tools)
    upstream_body, tools = for_upstream(declared, options.tools, hint=choice.hint)
    options = replace(options, tools=tools, own_tools=undeclared(tools, body.upstream_body()))
    id, created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())

    async def pipeline(send: SendEvent) -> None:
        conversation = await _conversation(asked, body)
        await asyncio.sleep(0)
        keep = keeper(body.messages, store, owner=asked.caller.name)
        keep_as = session_id(body.metadata)
        if choice.style is not None and keep_as is None:
            keep_as = await session_of(conversation, asked.services.gateway, owner=asked.caller.name)
        async with asked.place(keep_as=keep_as) as place:
            shown: PlainAnswer | RenderedAnswer
            if choice.style is None:
                shown = PlainAnswer(send, body.response_format)
            else:
                shown = RenderedAnswer(
                    send=send,
                    links=asked.links(place),
                    store=store,
                    owner=asked.caller.name,
                    session=keep_as or "",
                    answer=markdown_answer(choice.style, options),
                )
            await asked.run(
                {**upstream_body, "messages": conversation.messages},
                options,
                id=id,
                upstream=upstream,
                place=place,
                send=shown.show,
                keep_hidden=keeping_one(keep, body.messages) if legacy else keep,
                keep_turn=shown.keep_turn,
            )

    carry = asked.carries_events

    def document(events: list[Event]) -> bytes:
        return chat_document(events, id=id, created=created, model=body.model, carry=carry, legacy=legacy)

    if not body.stream:
        return EventDocument(pipeline, document, joined=True)
    usage = body.wants_usage
    wire = ChatWire(id=id, created=created, model=body.model, include_usage=usage, events=carry, legacy=legacy)
    return EventStream(pipeline, wire)


async def _conversation(asked: ModelRequest, body: CompletionRequest) -> Remembered:
    """What the client sent, with what it was not shown, or was shown in other words, put back."""
    store, owner = asked.services.store.hidden_calls, asked.caller.name
    whole = await restored(body.messages, store, owner=owner)
    await asyncio.sleep(0)  # it may be long: other requests come in between
    return await remembered(whole, store, owner=owner)
