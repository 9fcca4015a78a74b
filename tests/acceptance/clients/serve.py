"""What the programs of this folder have in common: they do what standard input says, a line of JSON at a time.

    {"do": "chat", "model": "up-openai", "prompt": "Compute 6*7.", "stream": true}

Each line is answered by one line on standard output: what the operation returned, or ``{"error": ...}``. The programs
run in an environment of their own and import nothing of this project. The operations, of which an SDK may lack some:

    chat(model, prompt, stream)     the code tool is declared; ``{"text", "calls": [{"name", "arguments"}], "tokens"}``
    converse(model, prompt, stream) beside it ``get_weather``, which the client runs itself: ``{"text", "cities"}``
    leave(model, prompt)            a stream that is left at its first text: ``{"text"}``
    respond(model, prompt, stream)  Responses with ``code_interpreter``: ``{"text", "code", "logs", "files"}``, the
                                    files being those cited, by name; their content where the SDK can fetch it

Each takes ``key``, to be asked with a wrong one.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import sys
from collections.abc import Callable
from typing import IO, Any

URL = os.environ["GATEWAY_URL"]
PYTHON = {
    "type": "function",
    "function": {
        "name": "python",
        "description": "Run Python.",
        "parameters": {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]},
    },
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
INTERPRETER = {"type": "code_interpreter", "container": {"type": "auto"}}
OUTPUTS = "code_interpreter_call.outputs"


def serve(*operations: Callable[..., Any]) -> None:
    """Run operations, each by its name, until standard input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # SDKs print
    asyncio.run(_serve({operation.__name__: operation for operation in operations}, answers))


async def _serve(operations: dict[str, Callable[..., Any]], answers: IO[str]) -> None:
    """As in an app the loop goes on between requests: what an SDK leaves to it, such as closing a stream, gets done."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        request = json.loads(line)
        operation = operations[request.pop("do")]
        try:
            if inspect.iscoroutinefunction(operation):
                answer = await operation(**request)
            else:
                answer = await asyncio.to_thread(operation, **request)
        except Exception as error:
            answer = {"error": _described(error)}
        print(json.dumps(answer), file=answers, flush=True)


def _described(error: Exception) -> dict[str, Any]:
    return {
        "classes": [kind.__name__ for kind in type(error).__mro__],
        "status": getattr(error, "status_code", None),
        "code": getattr(error, "code", None),
        "message": str(error),
    }
