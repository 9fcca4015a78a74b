"""The protocol itself, by the official package: one server for each request, since all of them are without a state.

What a client has to remember, the session of its code, is in the tools' arguments. So any gateway can answer any
request, and clients of the releases with handshakes and of those without see the same.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from importlib import metadata
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INTERNAL_ERROR,
    BlobResourceContents,
    CallToolRequestParams,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)
from starlette.types import Receive, Scope, Send

from app.api.edge.errors import to_body
from app.api.mcp.arguments import TOOLS
from app.api.mcp.tools import McpTools, ToolAnswer
from app.errors import EagerError

#: Each request has a manager, which logs that it has begun and ended.
logging.getLogger("mcp").setLevel(logging.WARNING)

log = logging.getLogger(__name__)

_VERSION = metadata.version("eager")
#: Bodies are limited before they come here.
_ANY_SIZE = 2**40
_LISTED = [
    Tool(
        name=name,
        description=tool.text,
        input_schema=tool.arguments.model_json_schema(),
        annotations=ToolAnnotations(read_only_hint=tool.read_only, open_world_hint=False),
    )
    for name, tool in TOOLS.items()
]


async def serve(tools: McpTools, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one HTTP request.

    What a tool does is a task of its own, outside of the protocol's: that cancels again and again until its tasks have
    ended, and code that is stopped needs a moment to end well.
    """
    work: set[asyncio.Task[ToolAnswer]] = set()

    async def list_tools(_: Any, __: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=_LISTED)

    async def call_tool(context: ServerRequestContext[Any, Any], params: CallToolRequestParams) -> CallToolResult:
        count = itertools.count(1)

        async def progress(text: str) -> None:
            await context.session.report_progress(next(count), message=text)

        task = asyncio.create_task(tools.call(params.name, params.arguments or {}, progress))
        work.add(task)
        try:
            return _result(await asyncio.shield(task))
        except EagerError as error:
            return CallToolResult(content=[TextContent(text=to_body(error).message)], is_error=True)
        except Exception as error:
            # The package would tell the client all that the exception says.
            log.exception("the tool %r failed", params.name[:64])
            raise MCPError(INTERNAL_ERROR, to_body(error).message) from error

    server = Server("eager", version=_VERSION, on_list_tools=list_tools, on_call_tool=call_tool)
    manager = StreamableHTTPSessionManager(server, stateless=True, max_request_body_size=_ANY_SIZE)
    try:
        async with manager.run():
            await manager.handle_request(scope, receive, send)
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)


def _result(answer: ToolAnswer) -> CallToolResult:
    content: list[ContentBlock] = [TextContent(text=answer.text)]
    content += [ImageContent(data=picture.base64, mime_type=picture.mime_type) for picture in answer.pictures]
    if answer.bytes is not None:
        uri = f"file:///{answer.data['path']}"
        content.append(EmbeddedResource(resource=BlobResourceContents(uri=uri, blob=answer.bytes)))
    return CallToolResult(content=content, structured_content=answer.data, is_error=answer.failed)
