"""``POST /mcp``: streamable HTTP. The package ``mcp`` is an extra, and imported when it is first asked for: it takes
some 26 MB and 0.7 s, which most gateways need not spend."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from app.api.edge.auth import AuthenticatedCaller, Caller
from app.api.event_stream import until_client_leaves
from app.api.mcp.tools import McpTools
from app.api.services import InjectedServices, Services
from app.errors import RequestError

router = APIRouter()
_SERVER = "app.api.mcp.server"


@router.post("/mcp", include_in_schema=False)
@router.post("/mcp/", include_in_schema=False)
async def serve_mcp(caller: AuthenticatedCaller, services: InjectedServices) -> Response:
    """
    Raises:
        RequestError: 404, the gateway was installed without it.
    """
    if importlib.util.find_spec("mcp") is None:
        raise RequestError(
            "This gateway has no MCP server: it was installed without eager[mcp].", code="not_installed", status=404
        )
    return _McpResponse(services, caller)


class _McpResponse(Response):
    """Hands the request to the protocol, which writes the answer. Its client's leaving ends it."""

    def __init__(self, services: Services, caller: Caller) -> None:
        self._tools = McpTools(services, owner=caller.name)
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        server = await asyncio.to_thread(importlib.import_module, _SERVER)
        body = b"".join([piece async for piece in Request(scope, receive).stream()])
        sent = iter([body])

        async def receive_body() -> Message:
            for piece in sent:
                return {"type": "http.request", "body": piece}
            return await asyncio.Future()  # whether the client has left is watched here

        await until_client_leaves(receive, server.serve(self._tools, scope, receive_body, send))
