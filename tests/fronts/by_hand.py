"""What the programs that drive a front end have in common: arguments, the stack, and what is done with the record."""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.fronts.conversation import check_known
from tests.fronts.model import MODEL, MODEL_IN_WORDS
from tests.fronts.recorded import FOLDER as RECORDED
from tests.fronts.recorded import placed
from tests.fronts.stack import Stack, running

TOKENS_PER_S = 30


@dataclass(frozen=True)
class Run:
    """``installed`` is the environment of the front end, ``folder`` takes what it and we leave."""

    installed: Path
    folder: Path
    model: str
    stack: Stack

    @property
    def in_words(self) -> bool:
        return self.model == MODEL_IN_WORDS


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def main(name: str, run: Callable[[Run], None]) -> None:
    parser = argparse.ArgumentParser(prog=f"tests.fronts.{name}")
    parser.add_argument("installed", type=Path, help="environment that it is installed in")
    parser.add_argument("--model", default=MODEL, help="sales, or sales-words, which calls no tools")
    parser.add_argument("--folder", type=Path, help="for screenshots and logs; default a new one in /tmp")
    parser.add_argument("--record", action="store_true", help=f"write {RECORDED.name}/{name}.json")
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix=f"{name}-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"screenshots and logs: {folder}", flush=True)
    with running(folder / "gateway", tokens_per_s=TOKENS_PER_S) as stack:
        try:
            run(Run(asked.installed.absolute(), folder, asked.model, stack))
        finally:
            sent = [exchange.body for exchange in stack.recorder.exchanges]
            _write(folder / "sent.json", sent)
            _write(folder / "asked.json", stack.model.asked)
        for body in stack.model.asked:
            check_known(body["messages"])
        if asked.record:
            _write(RECORDED / f"{name}.json", placed(stack.recorder.exchanges))


@contextmanager
def serving(command: Sequence[str | Path], url: str, folder: Path, **environment: str) -> Iterator[None]:
    """Run the server of a front end in ``folder``, from when ``url`` answers."""
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env={**os.environ, **environment}, cwd=folder, stdout=log, stderr=log)
        try:
            while not _answers(url):
                assert process.poll() is None, (folder / "log").read_text()[-2000:]
                time.sleep(0.5)
            yield
        finally:
            process.terminate()
            process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def _write(file: Path, told: object) -> None:
    file.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
