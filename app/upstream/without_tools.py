"""For models that know no tools: the interpreter that we declared is described in words instead.

Servers refuse such a request as a whole, each in its own words ("does not support tools"). It is sent once more, and
the model told to write its code in a fence. Tools of a front end, which cannot know what the model can, are left out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from app.errors import UpstreamRefused
from app.upstream.completions import Completions

_REFUSALS = frozenset({400, 404, 422, 500, 501})


class ToolsOrWords:
    """Sends ``instructions`` as a system message in the place of the tools, where these are refused."""

    def __init__(self, upstream: Completions, instructions: str) -> None:
        self._upstream = upstream
        self._instructions = instructions
        self._refused = False

    def __repr__(self) -> str:
        return f"<ToolsOrWords refused={self._refused}>"

    @asynccontextmanager
    async def stream(
        self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[AsyncIterator[Sequence[str]]]:
        async with AsyncExitStack() as opened:
            try:
                sent = self._in_words(body) if self._refused else body
                events = await opened.enter_async_context(self._upstream.stream(sent, headers))
            except UpstreamRefused as error:
                if self._refused or error.status not in _REFUSALS or "tool" not in error.message.lower():
                    raise
                self._refused = True
                events = await opened.enter_async_context(self._upstream.stream(self._in_words(body), headers))
            yield events

    def _in_words(self, body: Mapping[str, Any]) -> dict[str, Any]:
        body = {
            name: value for name, value in body.items() if name not in ("tools", "tool_choice", "parallel_tool_calls")
        }
        first, *rest = body["messages"]
        if first.get("role") == "system" and isinstance(first.get("content"), str):
            messages = [{**first, "content": f"{first['content']}\n\n{self._instructions}"}, *rest]
        else:
            messages = [{"role": "system", "content": self._instructions}, first, *rest]
        return {**body, "messages": messages}
