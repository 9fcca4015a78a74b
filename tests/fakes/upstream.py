"""An upstream whose every delta the test decides."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any


class FakeUpstream:
    """Stands in for ``Upstream``: answers with what was ``say``-ed; notices when it is no longer read. ``refusal`` is
    raised instead of an answer."""

    def __init__(self) -> None:
        self.refusal: Exception | None = None
        #: Raised instead of the next answers, one each.
        self.refusals: list[Exception] = []
        self.requests: list[dict[str, Any]] = []
        #: The answer where none is streamed.
        self.document: Any = None
        self.model_list: Any = {"object": "list", "data": []}
        #: Of the last request for the models.
        self.headers: dict[str, str] | None = None
        self.closed = asyncio.Event()
        self._events: asyncio.Queue[str | Exception | None] = asyncio.Queue()

    @asynccontextmanager
    async def stream(
        self, body: dict[str, Any], headers: dict[str, str] | None = None
    ) -> AsyncIterator[AsyncIterator[Sequence[str]]]:
        self.requests.append(json.loads(json.dumps(body)))
        if self.refusals:
            raise self.refusals.pop(0)
        if self.refusal is not None:
            raise self.refusal
        try:
            yield self._read()
        finally:
            self.closed.set()

    async def _read(self) -> AsyncIterator[Sequence[str]]:
        while (event := await self._events.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield [event]

    async def complete(self, body: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
        return self.document

    async def models(self, headers: dict[str, str] | None = None) -> Any:
        self.headers = headers
        return self.model_list

    def delta(self, delta: dict[str, Any], finish: str | None = None, **extra: Any) -> None:
        chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **extra}
        self._events.put_nowait(json.dumps(chunk))

    def code(self, *fragments: str, id: str = "call_1", index: int = 0, name: str = "python") -> None:
        """Open a call (where ``id`` is given) and stream these fragments of its code."""
        if id:
            function: dict[str, Any] = {"name": name, "arguments": '{"code": "'}
            self.delta({"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]})
        for fragment in fragments:
            arguments = json.dumps(fragment)[1:-1]
            self.delta({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]})

    def end_code(self, index: int = 0) -> None:
        self.delta({"tool_calls": [{"index": index, "function": {"arguments": '"}'}}]})

    def finish(self, reason: str = "tool_calls", usage: dict[str, Any] | None = None) -> None:
        self.delta({}, finish=reason)
        if usage is not None:
            self._events.put_nowait(json.dumps({"choices": [], "usage": usage}))
        self._events.put_nowait(None)

    def fail(self, error: Exception) -> None:
        self._events.put_nowait(error)
