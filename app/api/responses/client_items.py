"""Calls of a client's tools in a conversation, and what they were answered, as ``function_call`` and
``function_call_output`` items: all that a chat upstream knows (``client_tools.py`` has the way there)."""

from __future__ import annotations

import json
from typing import Any

from app.api.responses.client_tools import ClientTool, ClientTools
from app.store.item_parts import Item

#: Items that are a result, by their type: the field with the text, or the parts.
_OUTPUTS = {
    "custom_tool_call_output": "output",
    "apply_patch_call_output": "output",
    "local_shell_call_output": "output",
    "shell_call_output": "output",
    "tool_search_output": "tools",
}


def as_function_item(item: Item, tools: ClientTools) -> Item:
    """The item, in the words of functions if it is of a client's tool of another kind. What is missing in it stays
    missing, for whoever reads it to refuse."""
    kind = item.get("type")
    match kind:
        case "function_call" if isinstance(namespace := item.get("namespace"), str):
            return {**item, "name": _called(tools, "function", item, namespace)}
        case "custom_tool_call":
            return _call(item, _called(tools, "custom", item, item.get("namespace")), {"input": item.get("input")})
        case "apply_patch_call":
            return _call(item, tools.name_of(ClientTool(kind="apply_patch", name="apply_patch")), item.get("operation"))
        case "shell_call":
            return _call(item, tools.name_of(ClientTool("shell", "shell")), _told(item.get("action")))
        case "local_shell_call":
            action = {name: value for name, value in _told(item.get("action")).items() if name != "type"}
            return _call(item, tools.name_of(ClientTool("local_shell", "local_shell")), action)
        case "tool_search_call" if item.get("execution") != "server":
            return _call(item, tools.name_of(ClientTool("tool_search", "tool_search")), item.get("arguments"))
        case str() if kind in _OUTPUTS and not (kind == "tool_search_output" and item.get("execution") == "server"):
            call_id = item.get("call_id") or (item.get("id") if kind == "local_shell_call_output" else None)
            return {"type": "function_call_output", "call_id": call_id, "output": _result(kind, item)}
    return item


def _called(tools: ClientTools, kind: Any, item: Item, namespace: Any) -> Any:
    name = item.get("name")
    if not isinstance(name, str):
        return name
    return tools.name_of(ClientTool(kind, name, namespace if isinstance(namespace, str) else None))


def _call(item: Item, name: Any, arguments: Any) -> Item:
    call_id = item.get("call_id") or (item.get("id") if item.get("type") == "local_shell_call" else None)
    told = json.dumps(_told(arguments), ensure_ascii=False)
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": told}


def _told(value: Any) -> dict[str, Any]:
    """Without what says nothing."""
    return {name: each for name, each in value.items() if each is not None} if isinstance(value, dict) else {}


def _result(kind: str, item: Item) -> Any:
    """A text, or parts, as functions answer with."""
    given = item.get(_OUTPUTS[kind])
    if kind == "apply_patch_call_output":
        status = item.get("status") if isinstance(item.get("status"), str) else None
        return "\n".join(text for text in (status, given) if isinstance(text, str)) or given
    if kind == "shell_call_output" and isinstance(given, list):
        return "\n".join(map(_shell_output, given))
    if kind == "tool_search_output":
        return json.dumps(given, ensure_ascii=False)
    return given


def _shell_output(output: Any) -> str:
    """What one command said, and how it ended."""
    if not isinstance(output, dict):
        return str(output)
    texts = [text.rstrip("\n") for name in ("stdout", "stderr") if isinstance(text := output.get(name), str) and text]
    match output.get("outcome"):
        case {"type": "timeout"}:
            texts.append("[The time limit was reached.]")
        case {"type": "exit", "exit_code": int(code)} if code != 0:
            texts.append(f"[exit code {code}]")
    return "\n".join(texts)
