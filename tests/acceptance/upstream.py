"""An OpenAI-compatible upstream in its own threads that answers by the name of the model, and remembers what it was
asked.

    NAME                  the stream tests/streams/NAME.sse, byte for byte; NAME/7 cuts it into pieces of 7 bytes
    status-429            that HTTP error
    program, program/50   the last user message as a call of ``python``, in tokens of 4 characters; at 50 a second
    gpt-5.5               the last user message as a call: a list of a function's name and its arguments
    prefaced              the same behind a sentence
    halting/50            the same, all at once, but after 50 tokens it waits until the client has left
    cut                   a connection that breaks in the middle of the program

A conversation that ends in the results of calls, or of code, is answered with a sentence that quotes them.
"""

from __future__ import annotations

import json
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

STREAMS = Path(__file__).parents[1] / "streams"
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


@dataclass
class Asked:
    """One request. ``tokens_sent`` counts those of a program; ``left`` is set when the client went before the end."""

    body: dict[str, Any]
    authorization: str | None
    tokens_sent: int = 0
    left: threading.Event = field(default_factory=threading.Event)


class Upstream(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[Asked] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def bodies(self) -> list[dict[str, Any]]:
        return [asked.body for asked in self.asked]


@contextmanager
def running() -> Iterator[Upstream]:
    with Upstream() as upstream:
        thread = threading.Thread(target=upstream.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield upstream
        finally:
            upstream.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Upstream

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked = Asked(body, self.headers["authorization"])
        self.server.asked.append(asked)
        model, _, detail = body["model"].partition("/")
        results = _results(body["messages"])
        if model.startswith("status-"):
            self._send_json(int(model.removeprefix("status-")), {"error": {"message": "on purpose", "type": "made_up"}})
        elif not body.get("stream"):
            self._send_json(200, _document(body))
        elif results is not None:
            self._send_stream(_sse(*_sentence(f"The tool said: {results}"), usage=True), 0)
        elif model == "gpt-5.5":
            name, arguments = json.loads(_text(body["messages"][-1]["content"]))
            self._send_stream(_sse(*_call(name, json.dumps(arguments)), usage=True), 0)
        elif model in ("program", "prefaced", "halting", "cut"):
            self._play(asked, model, float(detail or 0))
        else:
            self._send_stream((STREAMS / f"{model}.sse").read_bytes(), int(detail or 0))

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def _send_json(self, status: int, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _start_stream(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()

    def _send_stream(self, data: bytes, size: int) -> None:
        self._start_stream()
        size = size or len(data)
        for start in range(0, len(data), size):
            self.wfile.write(data[start : start + size])
            self.wfile.flush()

    def _play(self, asked: Asked, model: str, detail: float) -> None:
        self._start_stream()
        whole = model != "cut"
        opening, *tokens = _program(_text(asked.body["messages"][-1]["content"]))
        if model == "prefaced":
            self.wfile.write(_sse(_delta({"role": "assistant", "content": "Let me compute."}), usage=False, end=False))
        self.wfile.write(_sse(opening, usage=False, end=False))
        for token in tokens if whole else tokens[: len(tokens) // 2]:
            pause = 1 / detail if detail else 0
            if model == "halting":
                pause = 60 if asked.tokens_sent == detail else 0
            if select.select([self.connection], [], [], pause)[0]:
                asked.left.set()
                return
            self.wfile.write(_sse(token, usage=False, end=False))
            self.wfile.flush()
            asked.tokens_sent += 1
        if whole:
            self.wfile.write(_sse(_delta({}, "tool_calls"), usage=True))


def _results(messages: list[dict[str, Any]]) -> str | None:
    last = messages[-1]
    if last["role"] == "user" and str(last["content"]).startswith("Output of your code:"):
        return str(last["content"])
    results: list[str] = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        results.insert(0, _text(message["content"]).strip())
    return " | ".join(results) if results else None


def _text(content: str | list[dict[str, Any]]) -> str:
    """A message's content may be text, or parts with text."""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _document(body: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": "Whole answer.", "vendor_field": {"kept": True}}
    choices = [{"index": i, "message": message, "finish_reason": "stop"} for i in range(body.get("n") or 1)]
    return {"id": "up-1", "object": "chat.completion", "created": 1, "model": "up", "choices": choices, "usage": USAGE}


def _delta(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {
        "id": "up-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "up",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def _sentence(text: str) -> list[dict[str, Any]]:
    words = text.split(" ")
    pieces = [word + " " for word in words[:-1]] + words[-1:]
    return [*(_delta({"role": "assistant", "content": piece}) for piece in pieces), _delta({}, "stop")]


def _program(code: str) -> list[dict[str, Any]]:
    head = {"index": 0, "id": "call_p", "type": "function", "function": {"name": "python", "arguments": '{"code": "'}}
    pieces = [json.dumps(code[start : start + 4])[1:-1] for start in range(0, len(code), 4)]
    calls = [head, *({"index": 0, "function": {"arguments": piece}} for piece in [*pieces, '"}'])]
    return [_delta({"tool_calls": [call]}) for call in calls]


def _call(name: str, arguments: str) -> list[dict[str, Any]]:
    head = {"index": 0, "id": "call_c", "type": "function", "function": {"name": name, "arguments": ""}}
    calls = [head, {"index": 0, "function": {"arguments": arguments}}]
    return [*(_delta({"tool_calls": [call]}) for call in calls), _delta({}, "tool_calls")]


def _sse(*chunks: dict[str, Any], usage: bool, end: bool = True) -> bytes:
    sent = [json.dumps(chunk) for chunk in chunks]
    if usage:
        sent.append(json.dumps({**_delta({}), "choices": [], "usage": USAGE}))
    if end:
        sent.append("[DONE]")
    return "".join(f"data: {data}\n\n" for data in sent).encode()
