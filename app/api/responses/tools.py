"""The tools of a Responses request: which is ours, and what a chat-completions upstream is told of the rest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from app.api.responses.client_tools import MAX_NAME_CHARS, ClientTool, ClientTools, declarations
from app.api.schemas import MAX_TOOLS
from app.api.tools import INTERPRETER_NAMES, allowed_tools, interpreter, is_allowed_tools, undeclared
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
        clients: those that the client runs.
        warnings: what was left out, for the client to see.
    """

    upstream: list[dict[str, Any]]
    choice: str | dict[str, Any] | None
    code_tool: str | None
    container: ContainerChoice | None
    clients: ClientTools = field(default_factory=ClientTools)
    warnings: tuple[dict[str, Any], ...] = ()

    def undeclared(self, names: frozenset[str]) -> frozenset[str]:
        """Those of ``names`` that are no functions of the client's."""
        return undeclared(
            names, {"tools": [tool for tool in self.upstream if tool["function"]["name"] != self.code_tool]}
        )


def translate_tools(
    tools: list[dict[str, Any]],
    choice: str | dict[str, Any],
    *,
    loaded: Iterable[tuple[str, Any]] = (),
    refuse: bool = False,
    hint: bool = False,
) -> Tools:
    """Of ``allowed_tools`` the upstream is told of the allowed ones only (``app.api.tools.for_upstream``).

    Args:
        loaded: tools of the client's that came later, and where.
        refuse: services that are not here, in place of leaving them out with a warning.
        hint: the interpreter's description tells how to write code that runs early.

    Raises:
        RequestError: a tool that cannot be had here, or that is not well formed.
    """
    functions = (tool for tool in tools if tool.get("type") == "function")
    reader = _ToolReader(refuse, kept=frozenset(str(tool.get("name")) for tool in functions))
    for position, tool in enumerate(tools):
        reader.add(tool, f"tools.{position}")
    for param, tool in loaded:
        reader.add(tool, param)
    upstream, clients = reader.upstream, ClientTools(reader.clients)
    code_tool = None
    if reader.container is not None:
        code_tool = next((name for name in INTERPRETER_NAMES if name not in clients.by_name), None)
        if code_tool is None:
            raise RequestError("The functions leave no name for the code interpreter.", param="tools")
        upstream.append(interpreter(code_tool, hint=hint))
    if is_allowed_tools(choice):
        kept, choice = allowed_tools(tools, choice)
        names = {name for tool in kept for name in reader.names.get(id(tool), (code_tool,))}
        upstream = [tool for tool in upstream if tool["function"]["name"] in names]
    return Tools(
        upstream,
        _choice(choice, upstream, code_tool, clients),
        code_tool,
        reader.container,
        clients,
        tuple(reader.warnings),
    )


class _ToolReader:
    """Reads a request's tools, one after the other. ``kept``: names of functions, which stay theirs.

    Attributes:
        names: what the upstream calls the tools in one of the request's, by its identity.
    """

    def __init__(self, refuse: bool, *, kept: frozenset[str]) -> None:
        self.upstream: list[dict[str, Any]] = []
        self.clients: dict[str, ClientTool] = {}
        self.container: ContainerChoice | None = None
        self.warnings: list[dict[str, Any]] = []
        self.names: dict[int, list[str]] = {}
        self._refuse = refuse
        self._kept = kept

    def add(self, tool: Any, param: str) -> None:
        match tool:
            case {"type": "code_interpreter"}:
                self.container = _container(tool.get("container"), f"{param}.container")
            case {"type": str(kind)}:
                declared = declarations(tool, param)
                if declared is None:
                    self._leave_out(kind, param)
                self.names[id(tool)] = [self._declare(client, fields) for client, fields in declared or ()]
            case _:
                raise _missing(f"{param}.type")
        if len(self.upstream) > MAX_TOOLS:
            raise RequestError(f"There are more than {MAX_TOOLS} tools.", param="tools")

    def _declare(self, client: ClientTool, fields: dict[str, Any]) -> str:
        """Functions keep their names, as their clients know them; of others one that is taken gets a number."""
        name = client.flat_name
        if client.kind != "function" or client.namespace is not None:
            if self.clients.get(name) == client:
                return name  # said again
            taken = self._kept | self.clients.keys()
            numbered = (f"{name[: MAX_NAME_CHARS - 3]}_{number}" for number in range(2, 99))
            name = next((each for each in (name, *numbered) if each not in taken), name)
        self.clients[name] = client
        self.upstream.append({"type": "function", "function": {"name": name, **fields}})
        return name

    def _leave_out(self, kind: str, param: str) -> None:
        message = f"Tools of type '{kind[:MAX_NAME_CHARS]}' are not available here."
        if self._refuse:
            raise RequestError(message, param=f"{param}.type", code="unsupported_parameter")
        told = f"{message} The model was not told of it."
        self.warnings.append({"type": "warning", "code": "tool_unavailable", "param": param, "message": told})


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
    choice: str | dict[str, Any], upstream: list[dict[str, Any]], code_tool: str | None, clients: ClientTools
) -> str | dict[str, Any] | None:
    match choice:
        case "auto":
            return None
        case "none" | "required":
            return choice if upstream else None
        case {"type": "function" | "custom" as kind, "name": str(name), **rest}:
            namespace = rest.get("namespace")
            chosen = _known(ClientTool(kind, name, namespace if isinstance(namespace, str) else None), clients)
        case {"type": "apply_patch" | "local_shell" | "shell" as kind}:
            chosen = _known(ClientTool(kind, kind), clients)
        case {"type": "code_interpreter"}:
            chosen = code_tool
        case _:
            chosen = None
    if not any(tool["function"]["name"] == chosen for tool in upstream):
        raise RequestError("'tool_choice' names no tool of this request.", param="tool_choice")
    return {"type": "function", "function": {"name": chosen}}


def _known(tool: ClientTool, clients: ClientTools) -> str | None:
    """What the upstream calls the tool, if it is one of the request's."""
    name = clients.name_of(tool)
    return name if clients.by_name.get(name) == tool else None


def _missing(param: str) -> RequestError:
    return RequestError(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
