"""A server with scripted models, which says its part of the conversation at the pace of a model and remembers what it
was asked.

    sales        calls tools
    sales-words  knows no tools, and refuses requests that have some
"""

from __future__ import annotations

import json
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.fronts.conversation import Turn, turn_for

MODEL, MODEL_IN_WORDS = "sales", "sales-words"
_TOKEN_CHARS = 4
_USAGE = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}


class Model(ThreadingHTTPServer):
    """``asked`` has the body of each request. ``token_s`` is the time that a token takes."""

    daemon_threads = True

    def __init__(self, token_s: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token_s = token_s
        self.asked: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


@contextmanager
def running(token_s: float = 0) -> Iterator[Model]:
    with Model(token_s) as model:
        thread = threading.Thread(target=model.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield model
        finally:
            model.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Model

    def do_GET(self) -> None:
        models = [{"id": name, "object": "model", "owned_by": "tests"} for name in (MODEL, MODEL_IN_WORDS)]
        self._send_json(200, {"object": "list", "data": models})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(body)
        if body.get("tools") and body["model"] == MODEL_IN_WORDS:
            told = {"message": f"{MODEL_IN_WORDS} does not support tools", "type": "invalid_request_error"}
            self._send_json(400, {"error": told})
            return
        turn = turn_for(body)
        if not body.get("tools") and turn.code:
            turn = Turn(f"{turn.words}\n\n```python\n{turn.code}```\n")
        if body.get("stream"):
            self._play(turn, f"call_{len(self.server.asked)}")
        else:
            self._send_json(200, _document(turn, f"call_{len(self.server.asked)}"))

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def _send_json(self, status: int, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _play(self, turn: Turn, call_id: str) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for chunk in chunks(turn, call_id):
            if select.select([self.connection], [], [], self.server.token_s)[0]:
                return  # the client has left
            self.wfile.write(b"data: %b\n\n" % json.dumps(chunk).encode())
            self.wfile.flush()
        self.wfile.write(b"data: [DONE]\n\n")


def chunks(turn: Turn, call_id: str) -> Iterator[dict[str, Any]]:
    """A turn as a stream of tokens."""
    for delta in _deltas(turn, call_id):
        yield _chunk(delta)
    yield _chunk({}, "tool_calls" if turn.code else "stop")
    yield {**_chunk({}), "choices": [], "usage": _USAGE}


def _deltas(turn: Turn, call_id: str) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": ""}
    for piece in _tokens(turn.words):
        yield {"content": piece}
    if turn.code:
        yield {"tool_calls": [{"index": 0, **_call("", call_id)}]}
        for piece in _tokens(json.dumps({"code": turn.code})):
            yield {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}


def _document(turn: Turn, call_id: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": turn.words}
    if turn.code:
        message["tool_calls"] = [_call(json.dumps({"code": turn.code}), call_id)]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if turn.code else "stop"}
    return {**_chunk({}), "object": "chat.completion", "choices": [choice], "usage": _USAGE}


def _call(arguments: str, id: str) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": "python", "arguments": arguments}}


def _tokens(text: str) -> list[str]:
    return [text[start : start + _TOKEN_CHARS] for start in range(0, len(text), _TOKEN_CHARS)]


def _chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "up-1", "object": "chat.completion.chunk", "created": 1, "model": "sales", "choices": choices}
