"""``/v1/sessions``: interpreters that outlive a request, for ``eager.session`` and for code without a model."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api.eager.wire import EagerWire, execution_document
from app.api.edge.auth import AuthenticatedCaller
from app.api.edge.openapi import STREAMED
from app.api.event_stream import EventDocument, EventStream, while_client_stays
from app.api.own_sessions import describe, describe_elsewhere, end_session, own_sessions
from app.api.schemas import ExecuteRequest
from app.api.services import InjectedServices
from app.ids import new_id
from app.pipeline.emitter import SendEvent
from app.pipeline.place import AtHand
from app.pipeline.program import run_program

router = APIRouter(prefix="/v1/sessions")


@router.post("")
async def create_session(request: Request, caller: AuthenticatedCaller, services: InjectedServices) -> dict[str, Any]:
    """A fresh session. It expires after the deployment's idle time without use."""
    gateway = services.gateway
    creating = gateway.registry.create(owner=caller.name, deadline_s=gateway.checkout_timeout_s)
    return describe(await while_client_stays(request.receive, creating))


@router.get("")
async def list_sessions(caller: AuthenticatedCaller, services: InjectedServices) -> dict[str, Any]:
    """The caller's sessions. Containers, which are sessions too, have a list of their own."""
    return {"object": "list", "data": await own_sessions(services, owner=caller.name)}


@router.get("/{session_id}")
async def get_session(caller: AuthenticatedCaller, services: InjectedServices, session_id: str) -> dict[str, Any]:
    gateway, owner = services.gateway, caller.name
    here = gateway.registry.is_alive(session_id, owner=owner)
    found = None if here else await gateway.instance.find_elsewhere(session_id, owner=owner)
    return describe_elsewhere(found) if found else describe(await gateway.registry.get(session_id, owner=owner))


@router.delete("/{session_id}")
async def delete_session(caller: AuthenticatedCaller, services: InjectedServices, session_id: str) -> dict[str, Any]:
    """Ends the session at once, whatever it runs, and the links to what was made in it."""
    await end_session(services, session_id, owner=caller.name)
    return {"id": session_id, "object": "session.deleted", "deleted": True}


@router.post("/{session_id}/execute", responses=STREAMED)
async def execute(
    caller: AuthenticatedCaller, services: InjectedServices, session_id: str, body: ExecuteRequest
) -> Response:
    """Run code as one program: streamed as events, or answered with one object."""
    gateway, owner = services.gateway, caller.name

    async def pipeline(send: SendEvent) -> None:
        async with gateway.registry.use(session_id, owner=owner) as worker:
            await run_program(
                body.code,
                call_id=new_id("exec"),
                language=body.language,
                timeout_s=min(body.timeout_s or gateway.timeout_s, gateway.timeout_s),
                place=AtHand(worker, session_id),
                send=send,
            )

    return EventStream(pipeline, EagerWire()) if body.stream else EventDocument(pipeline, execution_document)


@router.post("/{session_id}/interrupt")
async def interrupt(caller: AuthenticatedCaller, services: InjectedServices, session_id: str) -> dict[str, Any]:
    """Stop what the session runs: its execution ends with ``interrupted``. Does nothing to an idle session."""
    await services.gateway.registry.interrupt(session_id, owner=caller.name)
    return {"id": session_id, "object": "session.interrupted"}
