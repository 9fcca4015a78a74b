"""A model that repairs: the replay upstream, with an answer to the report of an error.

    python -m loadtests.repair_upstream PORT CORPUS

The first answer is the program of the corpus, which fails; the second its corrected continuation
(``repairs.jsonl``); the third a sentence. Pace and names of models are those of ``eager upstream``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import msgspec
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.replay.catalog import built_in_programs, read_programs
from app.replay.server import create_app
from loadtests.repairs import read_repairs

_REPAIRED: Final = "-repaired"


def create_repair_app(corpus: Path) -> ASGIApp:
    programs = built_in_programs() | read_programs(corpus)
    known = {id: repair for id, repair in read_repairs().items() if id in programs}
    programs |= {id + _REPAIRED: repair.continuation(programs[id]) for id, repair in known.items()}
    return _Repairing(create_app(programs, ttft_ms=0))


class _Repairing:
    """Makes of a conversation with one report the question for the continuation."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        rewritten = msgspec.json.encode(repaired(msgspec.json.decode(body)))
        told = False

        async def receive_rewritten() -> Message:
            nonlocal told
            if told:
                return await receive()
            told = True
            return {"type": "http.request", "body": rewritten, "more_body": False}

        await self._app(scope, receive_rewritten, send)


def repaired(body: dict[str, Any]) -> dict[str, Any]:
    """The body as it is to be answered: after one report of a tool, as the question for the continuation."""
    reports = sum(message.get("role") == "tool" for message in body["messages"])
    if reports != 1:
        return body
    name, at, rate = str(body["model"]).partition("@")
    messages = [message for message in body["messages"] if message.get("role") == "user"]
    return {**body, "model": f"{name}{_REPAIRED}{at}{rate}", "messages": messages}


if __name__ == "__main__":
    uvicorn.run(create_repair_app(Path(sys.argv[2])), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
