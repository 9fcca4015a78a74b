"""``POST /v1/eager/completions``: a chat-completions request whose code runs while it is generated."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api.eager.wire import EagerWire, completion_document
from app.api.edge.auth import AuthenticatedCaller
from app.api.edge.long_bodies import LongBodyRoute
from app.api.edge.openapi import STREAMED
from app.api.event_stream import EventDocument, EventStream
from app.api.model_requests import ModelRequest
from app.api.schemas import CompletionRequest
from app.api.services import InjectedServices
from app.api.tools import for_upstream
from app.ids import new_id
from app.pipeline.emitter import SendEvent

router = APIRouter(route_class=LongBodyRoute)


@router.post("/v1/eager/completions", responses=STREAMED)
async def create_eager_completion(
    request: Request, caller: AuthenticatedCaller, services: InjectedServices, body: CompletionRequest
) -> Response:
    """Streams typed events (``stream: true``), or answers with all of them in one object."""
    upstream = services.gateway.require_upstream()
    asked = ModelRequest.of(request, services, caller, model=body.model, options=body.eager, others=body.model_extra)
    body.require_one_choice()
    # A repair is another turn, so who asks for repairs asks for turns.
    turns = services.gateway.turn_limit if asked.options.on_error == "repair" else 1
    options = asked.run_options(max_turns=turns, whole=not body.stream)
    declared = {**body.upstream_body(), "model": asked.model}
    upstream_body, tools = for_upstream(declared, options.tools, hint=asked.hints)
    options = replace(options, tools=tools)

    async def pipeline(send: SendEvent) -> None:
        async with asked.place() as place:
            await asked.run(upstream_body, options, id=new_id("eager"), upstream=upstream, place=place, send=send)

    response = EventStream(pipeline, EagerWire()) if body.stream else EventDocument(pipeline, completion_document)
    return await asked.answer(request, response, streaming=bool(body.stream))
