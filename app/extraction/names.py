"""Which tools run code, and in which language (PROTOCOL.md 3.1)."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

#: Tools whose calls are run here unless a request says otherwise.
CODE_TOOLS = frozenset(
    {
        "python",
        "code_interpreter",
        "execute_code",
        "run_python",
        "ipython",
        "execute_python",
        "execute_python_code",
        "run_code",
        "run_python_code",
        "python_interpreter",
        "execute_ipython_cell",
        "python_repl",
        "python_repl_ast",
        "code_execution",
        "codeexecutor",
        "execute",
        "litellm_code_execution",
    }
)

_LANGUAGES = {
    **dict.fromkeys(("", "python", "py", "python3", "ipython", "ipython3", "tool_code"), "python"),
    **dict.fromkeys(("bash", "sh", "shell"), "bash"),
}


#: A recipient in the midst of a header: ``assistant<|channel|>commentary to=functions.python`` (gpt-oss).
_RECIPIENT = re.compile(r"\bto=([^\s<]+)")
#: What servers leave around a name. Where the model's own markup begins (``python<|channel|>commentary`` of gpt-oss,
#: ``python<｜tool▁sep｜>`` of DeepSeek) the name is over; ``:0`` counts calls (Kimi); quotes and ``()`` are habits.
_BEHIND = re.compile(r"(?:<.*|[:#]\d+|\(.*\)|[\s\"'`(){},;:]+)\Z", re.DOTALL)
_BEFORE = re.compile(r"[\s\"'`]+")
#: Namespaces that chat templates put their functions into: ``functions.`` (gpt-oss, Kimi), ``default_api.`` (Gemini).
_NAMESPACE = re.compile(
    r"(?:functions?|tools?|default_api|default|api|assistant|commentary|analysis|multi_tool_use|tool_call|builtin|root)"
    r"(?:\.|::?|/|__)(?=.)"
)
_ANY_NAMESPACE = re.compile(r".*[./:](?=.)", re.DOTALL)
#: Longest name that is looked at; OpenAI allows 64 characters.
_MAX_NAME_CHARS = 256
_MAX_DECORATIONS = 8


def bare_tool(name: str) -> str:
    """The name without what an upstream's chat template has left around it."""
    if len(name) > _MAX_NAME_CHARS:
        return name
    if recipient := _RECIPIENT.search(name):
        name = recipient[1]
    for _ in range(_MAX_DECORATIONS):
        shorter = name
        for decoration in (_BEFORE, _NAMESPACE):
            if match := decoration.match(shorter):
                shorter = shorter[match.end() :]
        if match := _BEHIND.search(shorter):
            shorter = shorter[: match.start()]
        if shorter in ("", name):
            break
        name = shorter
    return name


def canonical_tool(name: str) -> str:
    return bare_tool(name).lower()


def is_code_tool(name: str, tools: Collection[str] = CODE_TOOLS) -> bool:
    """Whether a call of ``name`` is code. ``tools`` holds canonical names."""
    return canonical_tool(name) in tools


def meant_tool(name: str, declared: Collection[str], tools: Collection[str] = CODE_TOOLS) -> str:
    """The tool that a call of ``name`` means: one of those that were ``declared`` to the model, if what differs is
    decoration (whatever the namespace); else the name as it came."""
    if name in declared or len(name) > _MAX_NAME_CHARS:
        return name
    bare = bare_tool(name)
    for candidate in (bare, _ANY_NAMESPACE.sub("", bare)) if declared else (bare,):
        if candidate in declared:
            return candidate
        if (plain := candidate.lower()) in tools:
            return next((known for known in declared if known.lower() == plain), candidate)
    return name


def declared_tools(tools: Any) -> frozenset[str]:
    """The names of a request's tools, as the model is told them."""
    named = (tool.get(tool.get("type")) for tool in tools if _has_type(tool)) if isinstance(tools, list) else ()
    names = (inner.get("name") for inner in named if isinstance(inner, dict))
    return frozenset(name for name in names if isinstance(name, str))


def _has_type(tool: Any) -> bool:
    return isinstance(tool, dict) and isinstance(tool.get("type"), str)


def canonical_language(name: str) -> str:
    """``python``, ``bash``, or the name as it came, in lower case. No name at all is Python."""
    name = name.strip().lower()
    return _LANGUAGES.get(name, name)


def runs_here(language: str) -> bool:
    return language in ("python", "bash")
