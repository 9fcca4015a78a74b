"""The least a Python proxy can do, to compare with: aiohttp on both sides, bytes passed on as they come.

python -m loadtests.pass_through PORT UPSTREAM_URL
"""

from __future__ import annotations

import sys

import aiohttp
import uvloop
from aiohttp import web


def create_app(upstream: str) -> web.Application:
    client = web.AppKey("client", aiohttp.ClientSession)

    async def completions(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        async with request.app[client].post(f"{upstream}/v1/chat/completions", data=body) as answer:
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            async for data in answer.content.iter_any():
                await response.write(data)
            await response.write_eof()
            return response

    async def health(request: web.Request) -> web.Response:
        return web.json_response({})

    async def open_client(app: web.Application):  # type: ignore[no-untyped-def]  # aiohttp's own type has no name
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
            app[client] = session
            yield

    app = web.Application()
    app.cleanup_ctx.append(open_client)
    app.add_routes([web.post("/v1/chat/completions", completions), web.get("/healthz", health)])
    return app


if __name__ == "__main__":
    web.run_app(
        create_app(sys.argv[2]),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        print=None,
        access_log=None,
        loop=uvloop.new_event_loop(),
    )
