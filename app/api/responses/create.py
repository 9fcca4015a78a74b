"""``POST /v1/responses``: code calls run in a container while they are written, the client sees OpenAI's events."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.api.auth import Caller, authenticate
from app.api.containers.open_container import OpenContainer
from app.api.containers.routes import file_names, find_files
from app.api.event_stream import EventDocument, EventStream
from app.api.idempotency import idempotent
from app.api.openapi import STREAMED
from app.api.options import drop_in_options, session_id, with_headers
from app.api.responses.answer import Answer
from app.api.responses.history import load_history
from app.api.responses.place import NoPlace, container_place
from app.api.responses.request import file_ids, require_supported, tools_of, upstream_body
from app.api.responses.schemas import ResponsesRequest
from app.api.responses.tools import ContainerChoice
from app.api.schemas import EagerOptions
from app.api.tools import code_keys, code_tool_names
from app.errors import RequestError
from app.events import Event
from app.gateway import Gateway
from app.pipeline.emitter import Send
from app.pipeline.place import Place
from app.pipeline.run import run

router = APIRouter()


@router.post("/v1/responses", responses=STREAMED)
async def create_response(
    request: Request, caller: Annotated[Caller, Depends(authenticate)], body: ResponsesRequest
) -> Response:
    state = request.app.state
    gateway: Gateway = state.gateway
    upstream = gateway.require_upstream()
    caller.require_model(body.model)
    require_supported(body)
    tools = tools_of(body)
    asked = with_headers(body.eager, request.headers)
    _require_no_session(asked)
    options = drop_in_options(asked, gateway, request.headers)
    choice = tools.container
    if choice is None and not options.sources <= {"tool"}:
        choice = ContainerChoice()  # code in the text, which was asked for, needs no tool
    own_tools = code_tool_names(asked.tools) if isinstance(asked.tools, list) and choice else frozenset()
    options = replace(options, tools=own_tools | ({tools.code_tool} if tools.code_tool else frozenset()))
    history = await load_history(body, state.store, owner=caller.name)
    attached = file_ids(history.items)
    if attached and choice is None:
        raise RequestError("Files can only be read by code: add the tool code_interpreter.", param="tools")
    records = await find_files(
        state.store, caller, [*attached, *(choice.file_ids if choice else ())], param="tools.file_ids"
    )
    names = file_names(records)
    chat = upstream_body(body, tools, history.items, file_names=names)
    options = replace(options, code_keys=code_keys(chat, options.tools))
    answer = Answer(
        f"resp_{uuid4().hex}",
        body,
        owner=caller.name,
        own_items=history.own,
        store=state.store,
        carry_events=gateway.events if asked.events is None else asked.events,
        created_at=time.time(),
    )

    async def fill(container: OpenContainer) -> None:
        await container.add_files(names, records)

    @asynccontextmanager
    async def place() -> AsyncIterator[Place]:
        if choice is None:
            yield NoPlace()
            return
        async with container_place(
            choice,
            state.containers,
            owner=caller.name,
            used_before=history.container_id,
            keep_as=session_id(body.metadata),
            fill=fill,
        ) as answer.place:
            yield answer.place

    async def pipeline(send: Send) -> None:
        async def relay(event: Event) -> None:
            await answer.relay(event, send)

        async with place() as found:
            await run(
                chat,
                options,
                request_id=answer.id,
                upstream=upstream,
                place=found,
                send=relay,
            )

    response = EventStream(pipeline, answer) if body.stream else EventDocument(pipeline, answer.document)
    return idempotent(
        request,
        caller,
        await request.body(),
        response,
        keys=state.store.idempotency_keys,
        streaming=bool(body.stream),
    )


def _require_no_session(asked: EagerOptions) -> None:
    """
    Raises:
        RequestError: a session was named.
    """
    if asked.session is not None:
        raise RequestError(
            "Code of a response runs in its container: name that in the tool.",
            param="eager.session",
            code="unsupported_parameter",
        )
