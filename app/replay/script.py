"""What one request is answered with: a pure function of its body.

A *script* is a list of deltas of about one token each. The code rides in a tool call if the request offers a tool for
code, else in a fenced block; a conversation that ends in a tool's answer gets a sentence that quotes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec

from app.replay.catalog import DEFAULT_PROGRAM

AnswerForm = Literal["tool", "fence", "text"]

#: Tools whose argument is code to run (PROTOCOL.md 3.1), lower case.
CODE_TOOLS: Final = frozenset(
    (
        *("python", "code_interpreter", "execute_code", "run_python", "ipython", "execute_python", "run_code"),
        *("execute_python_code", "run_python_code", "python_interpreter", "execute_ipython_cell", "python_repl"),
        *("execute", "litellm_code_execution"),
    )
)
CODE_KEYS: Final = ("code", "source", "input", "script", "python_code", "query", "content")

_FENCE: Final = re.compile(r"^```(?:python|py)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL | re.IGNORECASE)
_QUOTED_CHARS: Final = 2000

_NotNegative = Annotated[int, msgspec.Meta(ge=0)]
_Amount = Annotated[float, msgspec.Meta(ge=0)]


class BadRequest(Exception):
    """The request cannot be answered; the message says why."""


class ReplayOptions(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, rename={"form": "as"}):
    """The field ``replay`` of a request body.

    Attributes:
        tps: tokens per second, 0 for as fast as possible.
        ttft_ms: time to the first token.
        form: on the wire ``as``; None leaves it to the request's tools.
        chars: characters per token.
        status: answer with this HTTP error instead.
        error_after: send an error object after that many tokens, and end.
        stall_after: say nothing more after that many tokens.
        cut_after: cut the connection after that many tokens.
        fail_after: end the stream in good form, but without a finish reason, after that many tokens.
        finish: finish reason to claim, null for none.
    """

    tps: _Amount
    ttft_ms: _Amount
    chars: Annotated[int, msgspec.Meta(ge=1)]
    form: AnswerForm | None = None
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] | None = None
    error_after: _NotNegative | None = None
    stall_after: _NotNegative | None = None
    cut_after: _NotNegative | None = None
    fail_after: _NotNegative | None = None
    finish: str | msgspec.UnsetType | None = msgspec.UNSET

    @property
    def breaks_after(self) -> int | None:
        """Tokens sent before the first of the asked failures."""
        failures = (self.error_after, self.stall_after, self.cut_after, self.fail_after)
        return min((after for after in failures if after is not None), default=None)


@dataclass(frozen=True, slots=True)
class Script:
    """The deltas of an answer. ``opening`` carries the role and the head of a tool call, and is no token."""

    opening: dict[str, Any]
    tokens: list[dict[str, Any]]
    finish_reason: str | None
    prompt_tokens: int


def options_of(body: Mapping[str, Any], *, defaults: ReplayOptions) -> ReplayOptions:
    """Defaults, overridden by the suffix of the model name (``NAME@TPS``), overridden by the field ``replay``.

    Raises:
        BadRequest: one of them cannot be understood.
    """
    fields: dict[str, Any] = {"tps": defaults.tps, "ttft_ms": defaults.ttft_ms, "chars": defaults.chars}
    _, at, suffix = str(body.get("model", "")).partition("@")
    if at:
        try:
            fields["tps"] = float(suffix)
        except ValueError:
            raise BadRequest(f"model: {suffix!r} after the @ is not a number of tokens per second") from None
    wanted = body.get("replay") or {}
    if not isinstance(wanted, dict):
        raise BadRequest("replay: an object is needed")
    try:
        return msgspec.convert(fields | wanted, ReplayOptions)
    except msgspec.ValidationError as error:
        raise BadRequest(f"replay: {error}") from None


def script_of(body: Mapping[str, Any], programs: Mapping[str, str], options: ReplayOptions) -> Script:
    """The answer to a chat-completions body.

    Raises:
        BadRequest: no messages.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages) or not messages:
        raise BadRequest("messages: a list of objects is needed")
    if messages[-1].get("role") == "tool":
        answer = f"The tool said: {_text_of(messages[-1])[:_QUOTED_CHARS].strip() or '(nothing)'}"
        return _script(messages, {"content": ""}, _content_tokens(answer, options.chars), "stop", options)
    program = _program_of(str(body.get("model", "")), messages, programs)
    tool = _code_tool_of(body.get("tools"))
    form = options.form or ("tool" if tool else "fence")
    if form == "tool":
        name, key = tool or ("python", "code")
        head = {"index": 0, "id": "call_replay", "type": "function", "function": {"name": name, "arguments": ""}}
        tokens = _argument_tokens(key, program, options.chars)
        return _script(messages, {"content": None, "tool_calls": [head]}, tokens, "tool_calls", options)
    tokens = _content_tokens(program, options.chars)
    if form == "fence":
        # The fence rides on the first and the last token: a program has as many tokens in either form.
        tokens[0]["content"] = "```python\n" + tokens[0]["content"]
        tokens[-1]["content"] += "```\n" if program.endswith("\n") else "\n```\n"
    return _script(messages, {"content": ""}, tokens, "stop", options)


def _script(
    messages: list[dict[str, Any]],
    opening: dict[str, Any],
    tokens: list[dict[str, Any]],
    reason: str,
    options: ReplayOptions,
) -> Script:
    finish = reason if options.finish is msgspec.UNSET else options.finish
    prompt_tokens = sum(len(_text_of(message)) for message in messages) // options.chars
    return Script({"role": "assistant"} | opening, tokens, finish, prompt_tokens)


def _program_of(model: str, messages: list[dict[str, Any]], programs: Mapping[str, str]) -> str:
    """By name; else the fenced block of the last user message; else the default."""
    name = model.rpartition("/")[2].partition("@")[0]
    if name in programs:
        return programs[name]
    users = [message for message in messages if message.get("role") == "user"]
    block = _FENCE.search(_text_of(users[-1])) if users else None
    return block[1] if block else programs[DEFAULT_PROGRAM]


def _code_tool_of(tools: object) -> tuple[str, str] | None:
    """Name and argument key of the first tool that takes code."""
    for tool in tools if isinstance(tools, list) else []:
        if not isinstance(tool, dict):
            continue
        if tool.get("type") == "code_interpreter":
            return "code_interpreter", "code"
        function = tool.get("function")
        if isinstance(function, dict) and str(function.get("name", "")).lower() in CODE_TOOLS:
            properties = (function.get("parameters") or {}).get("properties") or {}
            return function["name"], next((key for key in CODE_KEYS if key in properties), "code")
    return None


def _text_of(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _split(text: str, chars: int) -> list[str]:
    """Pieces of ``chars`` characters; one, empty, of no text."""
    return [text[i : i + chars] for i in range(0, len(text), chars)] or [""]


def _content_tokens(text: str, chars: int) -> list[dict[str, Any]]:
    return [{"content": piece} for piece in _split(text, chars)]


def _argument_tokens(key: str, program: str, chars: int) -> list[dict[str, Any]]:
    """The JSON object ``{key: program}`` in fragments that each hold ``chars`` characters of the program."""
    # ensure_ascii: what most servers send, and the harder form to decode.
    fragments = [json.dumps(piece)[1:-1] for piece in _split(program, chars)]
    fragments[0] = f'{{"{key}": "' + fragments[0]
    fragments[-1] += '"}'
    return [{"tool_calls": [{"index": 0, "function": {"arguments": fragment}}]} for fragment in fragments]
