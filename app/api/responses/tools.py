"""The tools of a Responses request: which is ours, and what a chat-completions upstream is told of the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from app.api.tools import INTERPRETER, INTERPRETER_NAMES, allowed_tools, is_allowed_tools, undeclared
from app.errors import RequestError
from app.ids import is_id

MEMORY_LIMITS = ("1g", "4g", "16g", "64g")


@dataclass(frozen=True, slots=True)
class ContainerChoice:
    """Where code runs. ``id`` is None for ``auto``: a live one of the conversation, else a new one."""

    id: str | None = None
    file_ids: tuple[str, ...] = ()
    memory_limit: str | None = None


@dataclass(frozen=True, slots=True)
class Tools:
    """
    Attributes:
        upstream: in the shape of chat completions.
        choice: None where the upstream need not be told.
        code_tool: name under which calls come back that run here; None if there is no code interpreter.
    """

    upstream: list[dict[str, Any]]
    choice: str | dict[str, Any] | None
    code_tool: str | None
    container: ContainerChoice | None

    def undeclared(self, names: frozenset[str]) -> frozenset[str]:
        """Those of ``names`` that are no functions of the client's."""
        return undeclared(
            names, {"tools": [tool for tool in self.upstream if tool["function"]["name"] != self.code_tool]}
        )


def translate_tools(tools: list[dict[str, Any]], choice: str | dict[str, Any]) -> Tools:
    """Of ``allowed_tools`` the upstream is told of the allowed ones only (``app.api.tools.for_upstream``).

    Raises:
        RequestError: a tool that cannot be had here, or that is not well formed.
    """
    if is_allowed_tools(choice):
        whole = translate_tools(tools, "auto")
        kept, mode = allowed_tools(tools, choice)
        names = {tool["name"] if tool["type"] == "function" else whole.code_tool for tool in kept}
        told = [tool for tool in whole.upstream if tool["function"]["name"] in names]
        return replace(whole, upstream=told, choice=_choice(mode, told, whole.code_tool))
    upstream: list[dict[str, Any]] = []
    container: ContainerChoice | None = None
    for position, tool in enumerate(tools):
        match tool:
            case {"type": "function", "name": str(name)} if name:
                fields = {
                    key: tool[key] for key in ("description", "parameters", "strict") if tool.get(key) is not None
                }
                upstream.append({"type": "function", "function": {"name": name, **fields}})
            case {"type": "function"}:
                raise _missing(f"tools.{position}.name")
            case {"type": "code_interpreter"}:
                container = _container(tool.get("container"), f"tools.{position}.container")
            case {"type": str(kind)}:
                raise RequestError(
                    f"Tools of type '{kind}' are not available here.",
                    param=f"tools.{position}.type",
                    code="unsupported_parameter",
                )
            case _:
                raise _missing(f"tools.{position}.type")
    if container is None:
        return Tools(upstream, _choice(choice, upstream, None), None, None)
    taken = {tool["function"]["name"] for tool in upstream}
    code_tool = next((name for name in INTERPRETER_NAMES if name not in taken), None)
    if code_tool is None:
        raise RequestError("The functions leave no name for the code interpreter.", param="tools")
    upstream.append({"type": "function", "function": {**INTERPRETER["function"], "name": code_tool}})
    return Tools(upstream, _choice(choice, upstream, code_tool), code_tool, container)


def _container(given: Any, param: str) -> ContainerChoice:
    match given:
        case None:
            return ContainerChoice()
        case str(id) if is_id(id):
            return ContainerChoice(id=id)
        case {"type": "auto"}:
            file_ids, memory_limit = given.get("file_ids") or [], given.get("memory_limit")
            if not isinstance(file_ids, list) or not all(map(is_id, file_ids)):
                raise RequestError("'file_ids' is a list of ids.", param=f"{param}.file_ids")
            if memory_limit is not None and memory_limit not in MEMORY_LIMITS:
                raise RequestError(f"One of {', '.join(MEMORY_LIMITS)}.", param=f"{param}.memory_limit")
            policy = given.get("network_policy")
            if policy is not None and (not isinstance(policy, dict) or policy.get("type") != "disabled"):
                raise RequestError(
                    "A container's network cannot be opened by a request.",
                    param=f"{param}.network_policy",
                    code="unsupported_parameter",
                )
            return ContainerChoice(None, tuple(file_ids), memory_limit)
        case _:
            raise RequestError("A container is an id, or an object with 'type': 'auto'.", param=param)


def _choice(
    choice: str | dict[str, Any], upstream: list[dict[str, Any]], code_tool: str | None
) -> str | dict[str, Any] | None:
    names = {tool["function"]["name"] for tool in upstream}
    match choice:
        case "auto":
            return None
        case "none" | "required":
            return choice if upstream else None
        case {"type": "function", "name": str(name)} if name in names and name != code_tool:
            return {"type": "function", "function": {"name": name}}
        case {"type": "code_interpreter"} if code_tool is not None:
            return {"type": "function", "function": {"name": code_tool}}
        case _:
            raise RequestError("'tool_choice' names no tool of this request.", param="tool_choice")


def _missing(param: str) -> RequestError:
    return RequestError(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
