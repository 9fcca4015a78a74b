"""What an evaluation asks of a gateway: a session with files in it, and the events of one request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from loadtests.measurement import JsonEvent, RunFailed

PYTHON_TOOL: Final = {
    "type": "function",
    "function": {
        "name": "python",
        "parameters": {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]},
    },
}


#: Leaves nothing in the work folder, and then the interpreter.
_END: Final = """\
import os, shutil
for entry in os.scandir():
    shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
os._exit(0)
"""


class GatewayClient:
    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self.url = url

    async def open_session(self) -> str:
        """A fresh kept session."""
        return str((await self._post("/v1/sessions", {}))["id"])

    @asynccontextmanager
    async def session(self, files: Sequence[Path] = ()) -> AsyncIterator[str]:
        """A fresh kept session with files in its work folder, until the block ends."""
        id = await self.open_session()
        try:
            for file in files:
                await self._put(id, file)
            yield id
        finally:
            async with self._http.delete(f"{self.url}/v1/sessions/{id}") as answer:
                await answer.read()

    async def renew(self, session: str, files: Sequence[Path] = ()) -> None:
        """End its interpreter: another one takes its place, in a work folder that has these files and no others.

        Raises:
            RunFailed: it did not come back.
        """
        ended = await self._post(f"/v1/sessions/{session}/execute", {"code": _END})
        if (ended["exec_error"] or {}).get("ename") != "InterpreterExit":
            raise RunFailed(f"the session was not renewed: {ended['status']}: {ended['exec_error']}")
        for file in files:
            await self._put(session, file)
        # Answered when there is an interpreter. Code would keep it from what a fresh one does ahead of its first.
        async with self._http.get(f"{self.url}/v1/sessions/{session}/files") as answer:
            if answer.status != 200:
                raise RunFailed(f"the session did not come back: {await answer.text()}")

    async def execute(self, session: str, code: str) -> dict[str, Any]:
        """
        Raises:
            RunFailed: the code, or the request.
        """
        done = await self._post(f"/v1/sessions/{session}/execute", {"code": code})
        if done["status"] != "ok":
            raise RunFailed(f"{done['status']}: {done['exec_error']}")
        return done

    async def complete(self, body: dict[str, Any]) -> tuple[list[JsonEvent], float]:
        """The events of a streamed request, and the milliseconds from sending it to receiving the last of them.

        Raises:
            RunFailed: it was refused.
        """
        events: list[JsonEvent] = []
        ended = started = time.perf_counter()
        rest = b""
        async with self._http.post(f"{self.url}/v1/eager/completions", json=body) as answer:
            if answer.status != 200:
                raise RunFailed(f"HTTP {answer.status}: {(await answer.text())[:1000]}")
            async for data in answer.content.iter_any():
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    if line.startswith(b"data: {"):
                        ended = time.perf_counter()
                        events.append(msgspec.json.decode(line.removeprefix(b"data: ")))
        return events, (ended - started) * 1e3

    async def readiness(self) -> dict[str, Any]:
        async with self._http.get(f"{self.url}/readyz") as answer:
            document: dict[str, Any] = await answer.json()
            return document

    async def _put(self, session: str, file: Path) -> None:
        url = f"{self.url}/v1/sessions/{session}/files/{file.name}"
        content = await asyncio.to_thread(file.read_bytes)
        async with self._http.put(url, data=content) as answer:
            if answer.status >= 300:
                raise RunFailed(f"PUT {file.name}: HTTP {answer.status}: {(await answer.text())[:1000]}")

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        async with self._http.post(f"{self.url}{path}", json=body) as answer:
            if answer.status != 200:
                raise RunFailed(f"POST {path}: HTTP {answer.status}: {(await answer.text())[:1000]}")
            document: dict[str, Any] = await answer.json()
            return document
