"""A program through the real detector and the real interpreter of one local sandbox, which is reset before each.

Without a gateway, so that hundreds of programs run in a minute: fragments of any size go to the detector, its chunks to
the confirmer, and what is complete to the sandbox, in batches of any size.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any

from app.detection import Chunk, Confirmer, SyntaxProblem, create_detector
from app.sandbox.local.backend import LocalBackend
from app.sandbox.local.environment import inspect_python
from app.sandbox.worker.execution import Execution
from app.sandbox.worker.messages import Display, Failure, Output, Result
from app.sandbox.worker.worker import Worker
from tests.sandbox_image.whole_file import DUMP

_PATIENCE_S = 120.0
_SHOW = DUMP + "dump('/dev/stdout')"


@dataclass
class Eager:
    """How a program went, as a script's run is told. ``ran``: chunks that finished; ``failure`` has the traceback."""

    stdout: str = ""
    stderr: str = ""
    exit_code: int = 0
    exited: bool = False
    shown: str | None = None
    ran: int = 0
    problem: SyntaxProblem | None = None
    failure: Failure | None = None
    namespace: dict[str, Any] = field(default_factory=dict)


class Sandbox:
    """One warm sandbox, driven by a test that knows no event loop. Use as a context manager."""

    def __init__(self, python: Path, preload: str = "", *, isolated: bool = True) -> None:
        options = ("--preload", preload) if preload else ()
        self._backend = LocalBackend(
            inspect_python(python),
            supervisor_options=options,
            start_timeout_s=_PATIENCE_S,
            unisolated=not isolated,
        )
        self._runner = asyncio.Runner()
        self._blocks = 0

    def __enter__(self) -> Sandbox:
        self._worker: Worker = self._runner.run(self._backend.start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._worker.close())
        self._runner.run(self._backend.close())
        self._runner.close()

    def reset(self) -> None:
        self._runner.run(self._worker.reset())

    def put(self, file: Path) -> None:
        self._runner.run(self._put(file))

    def run(self, code: str, random: Random) -> Eager:
        return self._runner.run(self._run(code, random))

    def namespace(self) -> dict[str, Any]:
        return self._runner.run(self._namespace())

    def checkpoint(self) -> str | None:
        return self._runner.run(self._worker.checkpoint())

    def rollback(self) -> str | None:
        return self._runner.run(self._worker.rollback())

    async def _put(self, file: Path) -> None:
        async def source() -> AsyncIterator[bytes]:
            yield file.read_bytes()

        reply = await self._worker.put_file(file.name, file.stat().st_size, source())
        assert reply.ok, reply

    async def _run(self, code: str, random: Random) -> Eager:
        block, found = self._next_block(), Eager()
        version = self._worker.python_version
        detector, confirmer = create_detector("python", version), Confirmer(version)
        waiting: list[Chunk] = []
        over = False
        seen = 0
        for fragment in [*_cut(code, random), None]:
            for chunk in detector.flush() if fragment is None else detector.feed(fragment):
                answer = None if found.problem else confirmer.confirm(chunk)
                if isinstance(answer, SyntaxProblem):
                    found.problem = answer
                if found.problem is None:
                    waiting.append(chunk)
                    seen += 1
            found.problem = found.problem or detector.problem
            final = fragment is None and found.problem is None and seen > 0
            if final or fragment is None or (waiting and random.random() < 0.7) or found.problem:
                if (waiting or final) and await self._execute(waiting, block, found, final=final):
                    over = True
                waiting = []
            if over or found.problem:
                break
        found.namespace = await self._namespace()
        return found

    async def _execute(self, chunks: list[Chunk], block: str, found: Eager, *, final: bool) -> bool:
        """Is the program over?"""

        async def sink(message: Output | Display | Result) -> None:
            if isinstance(message, Output) and message.stream == "stdout":
                found.stdout += message.text
            elif isinstance(message, Output):
                found.stderr += message.text
            elif isinstance(message, Result):
                found.shown = message.data["text/plain"]

        done: Execution = await self._worker.execute(chunks, block=block, final=final, sink=sink, timeout_s=_PATIENCE_S)
        found.ran += done.ran
        found.failure = done.failure
        assert done.status in ("ok", "error", "exit"), done
        if done.status == "exit":
            found.exited = True
            found.exit_code = done.exit_code or 0
        if done.failure is not None:
            found.stderr += done.failure.traceback
            found.exit_code = found.exit_code or 1
        return done.status != "ok"

    async def _namespace(self) -> dict[str, Any]:
        found = Eager()
        code = f"exec({_SHOW!r}, {{}})\n"
        chunk = Chunk(0, code, 0, len(code), 1, 0, "simple")
        await self._execute([chunk], self._next_block(), found, final=True)
        namespace: dict[str, Any] = json.loads(found.stdout)
        return namespace

    def _next_block(self) -> str:
        self._blocks += 1
        return f"call_{self._blocks}"


def _cut(code: str, random: Random) -> Iterable[str]:
    longest = random.choice((1, 4, 30, 300, len(code) or 1))
    start = 0
    while start < len(code):
        size = random.randint(1, longest)
        yield code[start : start + size]
        start += size
