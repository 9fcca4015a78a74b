"""The tools of a request: which run here, and what the upstream is told of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from app.extraction.arguments import code_key
from app.extraction.names import CODE_TOOLS, canonical_tool, is_code_tool

#: What an upstream that only knows functions is told instead of ``{"type": "code_interpreter"}``.
INTERPRETER_NAME = "python"
INTERPRETER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": INTERPRETER_NAME,
        "description": "Runs Python in a persistent interpreter. The value of a last expression and everything printed "
        "come back. Files live in /mnt/data; do not count on a network.",
        "parameters": {
            "type": "object",
            "properties": {"code": {"type": "string", "description": "Python source code."}},
            "required": ["code"],
        },
    },
}


def code_tool_names(asked: Collection[str] | None) -> frozenset[str]:
    """The canonical names of the tools that run here; None means the usual ones."""
    return CODE_TOOLS if asked is None else frozenset(canonical_tool(name) for name in asked)


def has_code_tool(body: dict[str, Any], names: Collection[str]) -> bool:
    """Whether the model may call code that runs here; without ``names`` nothing does."""
    return bool(names) and any(_is_interpreter(tool) or _is_code_function(tool, names) for tool in _tools(body))


def code_keys(body: dict[str, Any], names: Collection[str]) -> dict[str, str]:
    """Which argument holds the code, by canonical name of those tools whose schema tells."""
    functions = [tool["function"] for tool in _tools(body) if _is_code_function(tool, names)]
    schemas = {canonical_tool(function["name"]): function.get("parameters") for function in functions}
    keys = {name: code_key(schema) for name, schema in schemas.items() if isinstance(schema, dict)}
    return {name: key for name, key in keys.items() if key is not None}


def for_upstream(body: dict[str, Any], names: frozenset[str]) -> tuple[dict[str, Any], frozenset[str]]:
    """The body with ``code_interpreter`` tools and choices replaced by a function (PROTOCOL.md 3.1), and ``names``
    with that function's."""
    tools = _tools(body)
    if not names or not any(_is_interpreter(tool) for tool in tools):
        return body, names
    declared = {_function_name(tool) for tool in tools}
    name = INTERPRETER_NAME
    if name in declared and name not in names:  # one that the client runs itself
        name = "code_interpreter"
    replaced = [tool for tool in tools if not _is_interpreter(tool)]
    if name not in declared:
        replaced.append({**INTERPRETER, "function": {**INTERPRETER["function"], "name": name}})
    body = {**body, "tools": replaced}
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and _is_interpreter(choice):
        body["tool_choice"] = {"type": "function", "function": {"name": name}}
    return body, names | {name}


def _tools(body: dict[str, Any]) -> list[dict[str, Any]]:
    tools = body.get("tools")
    return [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []


def _is_interpreter(tool: dict[str, Any]) -> bool:
    return tool.get("type") == "code_interpreter"


def _is_code_function(tool: dict[str, Any], names: Collection[str]) -> bool:
    name = _function_name(tool)
    return name is not None and is_code_tool(name, names)


def _function_name(tool: dict[str, Any]) -> str | None:
    function = tool.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None
