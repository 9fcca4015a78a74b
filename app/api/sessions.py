"""``/v1/sessions``: interpreters that outlive a request, for ``eager.session`` and for code without a model."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api.event_stream import EventDocument, EventStream
from app.api.schemas import ExecuteRequest
from app.api.wire import EagerWire, execution_document
from app.gateway import Gateway, new_id
from app.pipeline.emitter import Send
from app.pipeline.program import run_program

router = APIRouter(prefix="/v1/sessions")


def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


@router.post("")
async def create_session(request: Request) -> dict[str, Any]:
    """A fresh session. It expires after the deployment's idle time without use."""
    return (await _gateway(request).registry.create()).describe()


@router.get("")
async def list_sessions(request: Request) -> dict[str, Any]:
    return {"object": "list", "data": [kept.describe() for kept in _gateway(request).registry.list()]}


@router.get("/{session_id}")
async def get_session(request: Request, session_id: str) -> dict[str, Any]:
    return _gateway(request).registry.get(session_id).describe()


@router.delete("/{session_id}")
async def delete_session(request: Request, session_id: str) -> dict[str, Any]:
    """Ends the session at once, whatever it runs."""
    await _gateway(request).registry.delete(session_id)
    return {"id": session_id, "object": "session.deleted", "deleted": True}


@router.post("/{session_id}/execute")
async def execute(request: Request, session_id: str, body: ExecuteRequest) -> Response:
    """Run code as one program: streamed as events, or answered with one object."""
    gateway = _gateway(request)
    gateway.registry.get(session_id)  # 404 before anything else

    async def pipeline(send: Send) -> None:
        async with gateway.session(session_id) as session:
            await run_program(
                body.code,
                call_id=new_id("exec"),
                language=body.language,
                timeout_s=min(body.timeout_s or gateway.timeout_s, gateway.timeout_s),
                session=session,
                send=send,
            )

    return EventStream(pipeline, EagerWire()) if body.stream else EventDocument(pipeline, execution_document)


@router.post("/{session_id}/interrupt")
async def interrupt(request: Request, session_id: str) -> dict[str, Any]:
    """Stop what the session runs: its execution ends with ``interrupted``. Does nothing to an idle session."""
    await _gateway(request).registry.interrupt(session_id)
    return {"id": session_id, "object": "session.interrupted"}
