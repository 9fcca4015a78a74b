"""The real thing: ``eager serve`` and ``eager upstream`` as processes on loopback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

EAGER = Path(sys.executable).with_name("eager")
LISTENING = re.compile(r"running on (http://127\.0\.0\.1:\d+)")


@dataclass(frozen=True)
class Server:
    url: str
    pid: int


@contextmanager
def eager(*arguments: str, **environment: str) -> Iterator[Server]:
    """Run an ``eager`` server command on a free port, by default on data of its own: others run beside it. Its log is
    shown if it does not start."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"EAGER_DATA_DIR": folder, **environment}
        with _running(*arguments, **settings) as server:
            yield server


@contextmanager
def _running(*arguments: str, **environment: str) -> Iterator[Server]:
    process = subprocess.Popen(
        [EAGER, *arguments, "--host", "127.0.0.1", "--port", "0"],
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    log: list[str] = []
    reader = threading.Thread(target=lambda stream: log.extend(stream), args=(process.stderr,), daemon=True)
    try:
        for line in process.stderr:
            log.append(line)
            if found := LISTENING.search(line):
                break
        else:
            raise AssertionError("".join(log))
        reader.start()
        yield Server(found[1], process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        if reader.is_alive():
            reader.join()
        process.stderr.close()
