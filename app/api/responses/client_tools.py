"""Tools that their client runs, of all kinds that Responses know: functions for a chat upstream, whose calls become
items of the right kind again.

    tool                                          upstream                     a call of it
    function                                      as it is                     function_call
    custom, with a grammar or without             a function of one text       custom_tool_call
    a namespace's functions and custom tools      NAMESPACE__NAME              the same, with ``namespace``
    apply_patch, local_shell, shell               a function of their fields   apply_patch_call, local_shell_call, ...
    tool_search, where its client executes it     a function of its own        tool_search_call

Others are services of OpenAI's (``file_search``, ``web_search``, ``mcp``, a shell in a container): nobody runs those.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from app.api.responses.items import Draft, function_call
from app.errors import RequestError
from app.events import ToolCall

ToolKind = Literal["function", "custom", "apply_patch", "local_shell", "shell", "tool_search"]

#: OpenAI's own bound of a function's name, and the characters it may have.
MAX_NAME_CHARS = 64
_NO_NAME_CHARACTER = re.compile(r"[^A-Za-z0-9_-]")
_SEPARATORS = re.compile(r"\.|::?|/|__")


@dataclass(frozen=True, slots=True)
class ClientTool:
    """A tool as its client calls it."""

    kind: ToolKind
    name: str
    namespace: str | None = None

    @property
    def flat_name(self) -> str:
        """What the upstream calls it, if nothing else is called so."""
        if self.namespace is None:
            return self.name
        joined = f"{self.namespace.removesuffix('__')}__{self.name}"
        plain = _NO_NAME_CHARACTER.sub("_", joined)
        if plain == joined and len(joined) <= MAX_NAME_CHARS:
            return joined
        digest = hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        return f"{plain[: MAX_NAME_CHARS - 9]}_{digest}"


#: A tool, and the description and parameters of its function.
Declaration = tuple[ClientTool, dict[str, Any]]


def declarations(tool: Mapping[str, Any], param: str) -> list[Declaration] | None:
    """What the upstream is told of a request's tool; None if it is a service that is not here.

    Raises:
        RequestError: it is not well formed.
    """
    match tool:
        case {"type": "namespace"}:
            namespace, tools = _name(tool, param), tool.get("tools")
            if not isinstance(tools, list):
                raise RequestError("A namespace has a list of tools.", param=f"{param}.tools")
            places = [f"{param}.tools.{position}" for position in range(len(tools))]
            return [_member(each, namespace, place) for each, place in zip(tools, places, strict=True)]
        case {"type": "function" | "custom"}:
            return [_member(tool, None, param)]
        case {"type": "shell"} if not _is_local(tool.get("environment")):
            return None
        case {"type": "apply_patch" | "local_shell" | "shell" as kind}:
            return [(ClientTool(kind, kind), _OWN_FUNCTIONS[kind])]
        case {"type": "tool_search", "execution": "client"}:
            fields = {name: tool[name] for name in ("description", "parameters") if tool.get(name) is not None}
            return [(ClientTool("tool_search", "tool_search"), fields)]
    return None


def _member(tool: Any, namespace: str | None, param: str) -> Declaration:
    match tool:
        case {"type": "function"}:
            fields = {
                name: tool[name] for name in ("description", "parameters", "strict") if tool.get(name) is not None
            }
            return ClientTool("function", _name(tool, param), namespace), fields
        case {"type": "custom"}:
            return ClientTool("custom", _name(tool, param), namespace), _one_text(tool)
    raise RequestError("A namespace holds functions and custom tools.", param=f"{param}.type")


def _name(tool: Mapping[str, Any], param: str) -> str:
    name = tool.get("name")
    if not isinstance(name, str) or not name:
        raise RequestError(
            f"Missing required parameter: '{param}.name'.", param=f"{param}.name", code="missing_required_parameter"
        )
    return name


def _is_local(environment: object) -> bool:
    return environment is None or (isinstance(environment, dict) and environment.get("type") == "local")


def _one_text(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A custom tool takes any text, which a function has to have a field for. A grammar binds OpenAI's models alone;
    others are told of it."""
    description = _string(tool.get("description"))
    match tool.get("format"):
        case {"type": "grammar", "definition": str(definition), **rest}:
            syntax = rest.get("syntax") or "given"
            told = f"{description}\n\nThe input follows this grammar ({syntax}):\n{definition}".strip()
        case _:
            told = description
    described = {"description": told} if told else {}
    text = _text("The input of the tool, as it is: no JSON, no quotes, no fence.")
    return {**described, "parameters": _object({"input": text}, ["input"])}


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _text(description: str) -> dict[str, str]:
    return {"type": "string", "description": description}


_MILLISECONDS = {"type": "integer", "description": "Time limit in milliseconds."}
_OWN_FUNCTIONS: dict[str, dict[str, Any]] = {
    "apply_patch": {
        "description": "Creates, updates or deletes one file of the user's.",
        "parameters": _object(
            {
                "type": {"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
                "path": _text("Path of the file."),
                "diff": _text(
                    "What changes, in V4A: for create_file each line of the file with '+' before it; for update_file "
                    "lines '@@' with the place, then lines with ' ', '-' or '+' before them. Nothing for delete_file."
                ),
            },
            ["type", "path"],
        ),
    },
    "local_shell": {
        "description": "Runs one command on the user's machine, and returns what it says.",
        "parameters": _object(
            {
                "command": {"type": "array", "items": {"type": "string"}, "description": "The program, its arguments."},
                "env": {"type": "object", "additionalProperties": {"type": "string"}},
                "working_directory": _text("Where it runs."),
                "timeout_ms": _MILLISECONDS,
            },
            ["command"],
        ),
    },
    "shell": {
        "description": "Runs shell commands on the user's machine, and returns what each says.",
        "parameters": _object(
            {
                "commands": {"type": "array", "items": {"type": "string"}},
                "timeout_ms": _MILLISECONDS,
                "max_output_length": {"type": "integer", "description": "Characters of each command's output."},
            },
            ["commands"],
        ),
    },
}


@dataclass(frozen=True)
class ClientTools:
    """Those of a request, by the names that the upstream knows."""

    by_name: Mapping[str, ClientTool] = field(default_factory=dict)

    def name_of(self, tool: ClientTool) -> str:
        """What the upstream calls it, also where it is not among the tools any more."""
        return next((name for name, known in self.by_name.items() if known == tool), tool.flat_name)

    def meant_by(self, name: str) -> ClientTool:
        """The tool of a call. Some models separate namespaces in ways of their own, or leave them out."""
        if (known := self.by_name.get(name)) is not None:
            return known
        spaced = _SEPARATORS.sub("__", name)
        if (known := self.by_name.get(spaced)) is not None:
            return known
        alike = [tool for tool in self.by_name.values() if tool.namespace is not None and tool.name == name]
        return alike[0] if len(alike) == 1 else ClientTool("function", name)

    def call_item(self, id: str, call: ToolCall) -> tuple[list[Draft], dict[str, Any]]:
        """A call that is the client's to run, all at once: its events but for ``output_item.done``, and the item.
        ``id`` is what makes the item's own, behind a prefix."""
        tool = self.meant_by(call.name)
        named = {"name": tool.name, **({"namespace": tool.namespace} if tool.namespace is not None else {})}
        if call.kind == "custom" or tool.kind == "custom":
            return _custom_call(f"ctc_{id}", call, named)
        if tool.kind == "function":
            return function_call(f"fc_{id}", call, named)
        prefix, type, fields = _special_call(tool.kind, _decoded(call.arguments), call.arguments)
        item = {"id": f"{prefix}_{id}", "type": type, "status": "completed", "call_id": call.id, **fields}
        return [("response.output_item.added", {"item": {**item, "status": "in_progress"}})], item


def _custom_call(id: str, call: ToolCall, named: dict[str, str]) -> tuple[list[Draft], dict[str, Any]]:
    text = call.arguments if call.kind == "custom" else _only_text(call.arguments)
    item = {"id": id, "type": "custom_tool_call", "status": "completed", "call_id": call.id, **named, "input": text}
    drafts: list[Draft] = [
        ("response.output_item.added", {"item": {**item, "status": "in_progress", "input": ""}}),
        ("response.custom_tool_call_input.delta", {"item_id": id, "delta": text}),
        ("response.custom_tool_call_input.done", {"item_id": id, "input": text}),
    ]
    return drafts, item


def _special_call(kind: str, given: dict[str, Any], arguments: str) -> tuple[str, str, dict[str, Any]]:
    """Prefix of the id, type and fields of the item. What a model has left out is empty: the client runs it, and tells
    the model what is wrong with it."""
    match kind:
        case "apply_patch":
            inner = given.get("operation")
            given = inner if isinstance(inner, dict) else given
            type = given.get("type")
            type = type if type in ("create_file", "delete_file") else "update_file"
            operation = {"type": type, "path": _string(given.get("path"))}
            if type != "delete_file":
                operation["diff"] = _string(given.get("diff")) if given else arguments
            return "apc", "apply_patch_call", {"operation": operation}
        case "shell":
            commands = _strings(given.get("commands") or given.get("command"))
            limits = {name: _number(given.get(name)) for name in ("timeout_ms", "max_output_length")}
            return "sh", "shell_call", {"action": {"commands": commands, **limits}, "environment": {"type": "local"}}
        case "local_shell":
            command = given.get("command")
            env = given.get("env")
            action: dict[str, Any] = {
                "type": "exec",
                "command": ["bash", "-lc", command] if isinstance(command, str) else _strings(command),
                "env": {name: _string(value) for name, value in env.items()} if isinstance(env, dict) else {},
                "timeout_ms": _number(given.get("timeout_ms")),
                "working_directory": _string(given.get("working_directory")) or None,
                "user": None,
            }
            return "lsh", "local_shell_call", {"action": action}
        case _:
            return "tsc", "tool_search_call", {"execution": "client", "arguments": given}


def _decoded(arguments: str) -> dict[str, Any]:
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _only_text(arguments: str) -> str:
    """The one text in the arguments; all of them where there is no JSON, as some models write."""
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    match value:
        case str(text) | {"input": str(text)}:
            return text
        case dict() if len(texts := [each for each in value.values() if isinstance(each, str)]) == 1 == len(value):
            return texts[0]
    return arguments


def _string(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _strings(value: object) -> list[str]:
    return [value] if isinstance(value, str) else list(map(_string, value)) if isinstance(value, list) else []


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def loaded_tools(items: Any) -> Iterator[tuple[str, Any]]:
    """Tools that came in the course of the conversation, and where each stands: what a client's search has found, and
    what it has added."""
    for position, item in enumerate(items if isinstance(items, list) else ()):
        if item.get("type") in ("tool_search_output", "additional_tools") and isinstance(item.get("tools"), list):
            for number, tool in enumerate(item["tools"]):
                yield f"input.{position}.tools.{number}", tool
