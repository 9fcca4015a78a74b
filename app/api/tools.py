"""The tools of a request: which run here, and what the upstream is told of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, TypeGuard

from app.errors import RequestError
from app.extraction.arguments import code_key
from app.extraction.names import CODE_TOOLS, canonical_tool, is_code_tool

#: What an upstream that only knows functions is told instead of ``{"type": "code_interpreter"}``.
INTERPRETER_NAME = "python"
#: The next one is taken where the client has a tool of that name.
INTERPRETER_NAMES = (INTERPRETER_NAME, "code_interpreter", "run_python", "execute_code")
DESCRIPTION = (
    "Runs Python in a persistent interpreter. The value of a last expression and everything printed come back. Files "
    "live in /mnt/data; do not count on a network."
)
#: Code that can run while it is being written.
HINT = (
    " Each statement runs as soon as you have written it, so write statements in order at the top level, without a "
    "main() function, and begin with imports, loading data and whatever takes long. Print what is known as soon as it "
    "is known. Call plt.show() once for each figure."
)
#: For a model that calls no tools.
IN_WORDS = (
    "You can run Python. Write the code in a Markdown block that begins with ```python; it runs while you write it, "
    "and you are shown its output. " + DESCRIPTION.partition(". ")[2]
)


def interpreter(name: str, *, hint: bool) -> dict[str, Any]:
    """The function that the upstream is told of. ``hint``: how to write code that runs early."""
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": DESCRIPTION + HINT if hint else DESCRIPTION,
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


def with_interpreter(body: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The body with the interpreter among its tools, unless one that runs here is."""
    if has_code_tool(body, names) or not names:
        return body
    return {**body, "tools": [*_tools(body), {"type": "code_interpreter"}]}


def code_keys(body: dict[str, Any], names: Collection[str]) -> dict[str, str]:
    """Which argument holds the code, by canonical name of those tools whose schema tells."""
    functions = [tool["function"] for tool in _tools(body) if _is_code_function(tool, names)]
    schemas = {canonical_tool(function["name"]): function.get("parameters") for function in functions}
    keys = {name: code_key(schema) for name, schema in schemas.items() if isinstance(schema, dict)}
    return {name: key for name, key in keys.items() if key is not None}


def for_upstream(
    body: dict[str, Any], names: frozenset[str], *, hint: bool = False
) -> tuple[dict[str, Any], frozenset[str]]:
    """The body with ``code_interpreter`` tools and choices replaced by a function (PROTOCOL.md 3.1), and ``names``
    with that function's. Of ``allowed_tools`` only the allowed ones are left: few upstreams know such a choice, and it
    holds for all turns of the loop. ``hint``: the function's description tells how to write code that runs early.

    Raises:
        RequestError: the choice allows no tool, or the tools leave ours no name.
    """
    if not names:
        return body, names
    if is_allowed_tools(choice := body.get("tool_choice")):
        kept, mode = allowed_tools(_tools(body), choice.get("allowed_tools"))
        body = {**body, "tools": kept, "tool_choice": mode}
    tools = _tools(body)
    if not any(_is_interpreter(tool) for tool in tools):
        return body, names
    declared = {_function_name(tool) for tool in tools}
    # Those that the client runs itself.
    foreign = {name for name in declared if name not in names} | {_custom_name(tool) for tool in tools}
    name = next((name for name in INTERPRETER_NAMES if name not in foreign), None)
    if name is None:
        raise RequestError("The tools leave no name for the code interpreter.", param="tools")
    replaced = [tool for tool in tools if not _is_interpreter(tool)]
    if name not in declared:
        replaced.append(interpreter(name, hint=hint))
    body = {**body, "tools": replaced}
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and _is_interpreter(choice):
        body["tool_choice"] = {"type": "function", "function": {"name": name}}
    return body, names | {name}


def is_allowed_tools(choice: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(choice, dict) and choice.get("type") == "allowed_tools"


def allowed_tools(tools: Sequence[dict[str, Any]], allowed: object) -> tuple[list[dict[str, Any]], str]:
    """Those of a request's tools that ``allowed`` (``{"mode", "tools"}``) names, and its mode: a ``tool_choice`` that
    every upstream knows.

    Raises:
        RequestError: it names none of them.
    """
    match allowed:
        case {"mode": "auto" | "required" as mode, "tools": list(named)}:
            identities = [_identity(tool) for tool in named if isinstance(tool, dict)]
            kept = [tool for tool in tools if _identity(tool) in identities]
            if kept:
                return kept, mode
    raise RequestError("'tool_choice' names no tool of this request.", param="tool_choice")


def _identity(tool: dict[str, Any]) -> tuple[Any, Any]:
    """What a choice calls a tool by. Chat completions have the name inside, Responses do not."""
    kind = tool.get("type")
    inner = tool.get(kind) if isinstance(kind, str) else None
    return kind, inner.get("name") if isinstance(inner, dict) else tool.get("name")


def undeclared(names: frozenset[str], body: dict[str, Any]) -> frozenset[str]:
    """Those of ``names`` that the client's ``body`` has no function for: it must not be shown their calls."""
    return names - {canonical_tool(name) for tool in _tools(body) if (name := _function_name(tool)) is not None}


def _tools(body: dict[str, Any]) -> list[dict[str, Any]]:
    tools = body.get("tools")
    return [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []


def _is_interpreter(tool: dict[str, Any]) -> bool:
    return tool.get("type") == "code_interpreter"


def _is_code_function(tool: dict[str, Any], names: Collection[str]) -> bool:
    name = _function_name(tool)
    return name is not None and is_code_tool(name, names)


def _function_name(tool: dict[str, Any]) -> str | None:
    return _inner_name(tool, "function")


def _custom_name(tool: dict[str, Any]) -> str | None:
    return _inner_name(tool, "custom")


def _inner_name(tool: dict[str, Any], kind: str) -> str | None:
    inner = tool.get(kind)
    name = inner.get("name") if isinstance(inner, dict) else None
    return name if isinstance(name, str) else None
