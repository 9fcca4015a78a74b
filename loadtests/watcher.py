"""How a gateway does while something is done to it: how long ``/healthz`` takes, and its memory."""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from loadtests.processes import Server

_EVERY_S: Final = 0.02
_PATIENCE_S: Final = 60.0


@dataclass
class Watch:
    """Attributes: ``waits_s`` of each look; ``rss`` in bytes: before, the most, and after."""

    waits_s: list[float] = field(default_factory=list)
    before: int = 0
    most: int = 0
    after: int = 0


class Watcher:
    """``with Watcher(server) as watch``: looks in a thread of its own, some fifty times a second."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._watch = Watch()

    def __enter__(self) -> Watch:
        self._watch.before = self._watch.most = self._rss()
        self._thread.start()
        return self._watch

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        self._thread.join()
        self._watch.after = self._rss()

    def _look(self) -> None:
        address = self._server.url.removeprefix("http://")
        while not self._over.is_set():
            begun = time.monotonic()
            connection = http.client.HTTPConnection(address, timeout=_PATIENCE_S)
            try:
                connection.request("GET", "/healthz")
                connection.getresponse().read()
            except OSError:
                self._watch.waits_s.append(_PATIENCE_S)
                return
            finally:
                connection.close()
            self._watch.waits_s.append(time.monotonic() - begun)
            self._watch.most = max(self._watch.most, self._rss())
            self._over.wait(_EVERY_S)

    def _rss(self) -> int:
        try:
            status = Path(f"/proc/{self._server.pid}/status").read_text()
        except OSError:
            return 0
        return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0)


def worst_ms(watch: Watch) -> float:
    return max(watch.waits_s, default=0.0) * 1e3
