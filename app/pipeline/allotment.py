"""What a request may spend over all of its turns: tokens that the model writes, and calls of code.

A client's limit of tokens is one of its answer, and the client does not see that it was written in several turns. So
each turn gets what the ones before have left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from app.extraction.names import canonical_tool
from app.pipeline.usage import Usage, count

#: Names of a limit of tokens, in requests to upstreams.
_TOKEN_LIMITS: Final = ("max_tokens", "max_completion_tokens")


class Allotment:
    """
    Attributes:
        calls: of code tools, that are left; None where they are not limited.
    """

    def __init__(self, body: Mapping[str, Any], *, calls: int | None) -> None:
        self.calls = calls
        given = {name: body.get(name) for name in _TOKEN_LIMITS}
        self._tokens = {name: value for name, value in given.items() if type(value) is int and value > 0}

    def __repr__(self) -> str:
        return f"<Allotment tokens={self._tokens} calls={self.calls}>"

    def spend(self, usage: Usage | None, *, deltas: int, calls: int) -> None:
        """A turn is over. About one token came with each delta, where the upstream has not counted."""
        tokens = deltas if usage is None else count(usage, "completion_tokens")
        self._tokens = {name: left - tokens for name, left in self._tokens.items()}
        if self.calls is not None:
            self.calls = max(self.calls - calls, 0)

    @property
    def has_tokens(self) -> bool:
        return all(left > 0 for left in self._tokens.values())

    def rest(self, body: dict[str, Any], code_tools: Collection[str]) -> dict[str, Any]:
        """The request of the next turn. Where no call is left the model is not told of tools for code any more."""
        body = {**body, **self._tokens}
        tools = body.get("tools")
        if self.calls != 0 or not tools:
            return body
        others = [tool for tool in tools if not _is_of(tool, code_tools)]
        return {**body, "tools": others} if others else {**body, "tool_choice": "none"}


def _is_of(tool: Any, code_tools: Collection[str]) -> bool:
    function = tool.get("function") if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return isinstance(name, str) and canonical_tool(name) in code_tools
