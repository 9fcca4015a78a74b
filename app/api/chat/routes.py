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
from app.api.chat.legacy_functions import keeping_one, uses_functions, with_tools
from app.api.chat.proxy import ProxyDocument, ProxyStream
from app.api.chat.render_choice import RenderChoice, choose
from app.api.chat.rendering import RenderedAnswer, markdown_answer, new_conversation, remembered
from app.api.chat.wire import ChatWire, chat_document
from app.api.edge.auth import AuthenticatedCaller, Caller
from app.api.edge.openapi import STREAMED
from app.api.event_stream import EventDocument, EventStream
from app.api.idempotency import idempotent
from app.api.options import drop_in_options, session_id, with_headers
from app.api.schemas import CompletionRequest, EagerOptions
from app.api.services import InjectedServices, Services
from app.api.shared.links import Links
from app.api.tools import HINT, IN_WORDS, code_keys, for_upstream, has_code_tool, undeclared, with_interpreter
from app.api.turn_texts import OnlyJson, Paragraphs, TurnTexts, is_parsed
from app.events import Event
from app.pipeline.emitter import SendEvent
from app.pipeline.place import Place
from app.pipeline.run import RunOptions, run
from app.render.answer import MarkdownAnswer
from app.upstream.completions import Completions
from app.upstream.without_tools import ToolsOrWords

router = APIRouter()


@router.post("/v1/chat/completions", responses=STREAMED)
async def create_chat_completion(
    request: Request, caller: AuthenticatedCaller, services: InjectedServices, body: CompletionRequest
) -> Response:
    """OpenAI's chat completions. Calls of code tools are run here while they are written, and answered to the model;
    those of other tools are the client's."""
    gateway, store = services.gateway, services.store
    asked = with_headers(body.eager, request.headers)
    choice = choose(body, asked, gateway, caller)
    caller.require_model(choice.model)
    caller.require_models(body.model_extra or {})
    options = drop_in_options(asked, gateway, request.headers, sources=choice.sources)
    legacy = uses_functions(body, options.tools)
    if options.sources <= {"tool"} and not (
        legacy or choice.code_tool or has_code_tool(body.upstream_body(), options.tools)
    ):
        response = _proxied(services, caller, body, choice, options)
    else:
        response = _run_here(
            request, services, caller, with_tools(body) if legacy else body, asked, choice, options, legacy
        )
    return idempotent(
        request,
        caller,
        await request.body(),
        response,
        keys=store.idempotency_keys,
        instance=gateway.instance.id,
        streaming=bool(body.stream),
    )


def _proxied(
    services: Services,
    caller: Caller,
    body: CompletionRequest,
    choice: RenderChoice,
    options: RunOptions,
) -> Response:
    upstream, store = services.gateway.require_upstream(), services.store

    async def whole() -> dict[str, Any]:
        """An agent may ask for its last answer without tools: the code before it counts all the same."""
        messages = await restored(body.messages, store.hidden_calls, owner=caller.name)
        conversation = await remembered(messages, store.hidden_calls, owner=caller.name)
        return {**body.upstream_body(), "model": choice.model, "messages": conversation.messages}

    @asynccontextmanager
    async def stream() -> AsyncIterator[AsyncIterator[Sequence[str]]]:
        async with upstream.stream(await whole(), options.headers) as events:
            yield events

    async def complete() -> Any:
        return await upstream.complete(await whole(), options.headers)

    return ProxyStream(stream()) if body.stream else ProxyDocument(complete)


def _run_here(
    request: Request,
    services: Services,
    caller: Caller,
    body: CompletionRequest,
    asked: EagerOptions,
    choice: RenderChoice,
    options: RunOptions,
    legacy: bool,
) -> Response:
    gateway, store = services.gateway, services.store
    body.require_one_choice()
    upstream: Completions = gateway.require_upstream()
    declared = {**body.upstream_body(), "model": choice.model}
    if choice.code_tool and not has_code_tool(declared, options.tools):
        if not declared.get("tools"):
            upstream = ToolsOrWords(upstream, IN_WORDS + HINT if choice.hint else IN_WORDS)
        declared = with_interpreter(declared, options.tools)
    upstream_body, tools = for_upstream(declared, options.tools, hint=choice.hint)
    own_tools = undeclared(tools, body.upstream_body())
    id, created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())
    carry = gateway.events if asked.events is None else asked.events

    async def pipeline(send: SendEvent) -> None:
        texts: TurnTexts = OnlyJson() if is_parsed(body.response_format) else Paragraphs()

        async def show(event: Event) -> None:
            for shown in texts.feed(event):
                await send(shown)

        messages = await restored(body.messages, store.hidden_calls, owner=caller.name)
        conversation = await remembered(messages, store.hidden_calls, owner=caller.name)
        run_options = replace(
            options,
            tools=tools,
            own_tools=own_tools,
            code_keys=code_keys(upstream_body, tools),
            whole=not body.stream,
        )
        keep = keeper(body.messages, store.hidden_calls, owner=caller.name)
        keep_as = session_id(body.metadata)
        if choice.style is not None and keep_as is None:
            keep_as = conversation.session or new_conversation()
        async with gateway.place(asked.session, owner=caller.name, keep_as=keep_as) as place:
            rendered = None
            if choice.style is not None:
                answer = markdown_answer(choice.style, run_options)
                rendered = _rendered(request, services, caller, place, answer, session=keep_as or "", send=send)
            await run(
                {**upstream_body, "messages": conversation.messages},
                run_options,
                request_id=id,
                upstream=upstream,
                place=place,
                send=show if rendered is None else rendered.show,
                keep_hidden=keeping_one(keep, body.messages) if legacy else keep,
                keep_turn=None if rendered is None else rendered.keep_turn,
            )

    def render(events: list[Event]) -> bytes:
        return chat_document(events, id=id, created=created, model=body.model, carry=carry, legacy=legacy)

    if not body.stream:
        return EventDocument(pipeline, render)
    usage = body.wants_usage
    wire = ChatWire(id=id, created=created, model=body.model, include_usage=usage, events=carry, legacy=legacy)
    return EventStream(pipeline, wire)


def _rendered(
    request: Request,
    services: Services,
    caller: Caller,
    place: Place,
    answer: MarkdownAnswer,
    *,
    session: str,
    send: SendEvent,
) -> RenderedAnswer:
    gateway, store = services.gateway, services.store
    links = Links(
        store,
        services.blobs,
        owner=caller.name,
        base_url=gateway.public_url or str(request.base_url).rstrip("/"),
        place=place,
        ttl_s=gateway.shared_s,
    )
    return RenderedAnswer(
        send=send, links=links, store=store.hidden_calls, owner=caller.name, session=session, answer=answer
    )
