"""What a front end sends to the gateway, written down on its way."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Exchange:
    """A chat completion: what was asked, and the text of the answer."""

    body: dict[str, Any]
    answer: str = ""


_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


class Recorder(ThreadingHTTPServer):
    """Passes everything on to ``gateway``."""

    daemon_threads = True

    def __init__(self, gateway: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.gateway = urlsplit(gateway).netloc
        self.exchanges: list[Exchange] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def recording(gateway: str) -> Iterator[Recorder]:
    with Recorder(gateway) as recorder:
        thread = threading.Thread(target=recorder.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield recorder
        finally:
            recorder.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Recorder

    def do_GET(self) -> None:
        self._pass_on(b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path.endswith("/chat/completions"):
            exchange = Exchange(json.loads(body))
            self.server.exchanges.append(exchange)
            answer = self._pass_on(body)
            assert b'"error":' not in answer, answer
            exchange.answer = _text(answer)
        else:
            self._pass_on(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def _pass_on(self, body: bytes) -> bytes:
        """What was answered."""
        answered: list[bytes] = []
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        connection = http.client.HTTPConnection(self.server.gateway)
        try:
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("connection", "close")
            self.end_headers()
            while piece := answer.read1(65536):
                self.wfile.write(piece)
                answered.append(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the front end has left, and with our connection the gateway hears of it
        finally:
            connection.close()
        return b"".join(answered)


def _text(answer: bytes) -> str:
    """Of a stream, or of a whole answer."""
    if answer.startswith(b"{"):
        return json.loads(answer)["choices"][0]["message"]["content"] or ""
    events = [line[6:] for line in answer.decode(errors="replace").split("\n") if line.startswith("data: {")]
    choices = [json.loads(event)["choices"] for event in events if event.endswith("}")]
    return "".join(choice[0]["delta"].get("content") or "" for choice in choices if choice)
