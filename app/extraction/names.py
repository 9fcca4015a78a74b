"""Which tools run code, and in which language (PROTOCOL.md 3.1)."""

from __future__ import annotations

from collections.abc import Collection

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


def canonical_tool(name: str) -> str:
    return name.strip().removeprefix("functions.").lower()


def is_code_tool(name: str, tools: Collection[str] = CODE_TOOLS) -> bool:
    """Whether a call of ``name`` is code. ``tools`` holds canonical names."""
    return canonical_tool(name) in tools


def canonical_language(name: str) -> str:
    """``python``, ``bash``, or the name as it came, in lower case. No name at all is Python."""
    name = name.strip().lower()
    return _LANGUAGES.get(name, name)


def runs_here(language: str) -> bool:
    return language in ("python", "bash")
