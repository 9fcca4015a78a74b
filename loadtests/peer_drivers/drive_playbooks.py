"""playbooks, ``StreamingPythonExecutor``: the executor its agents feed with what the model streams, without an agent.

A statement begins when the executor comes to it, in ``_execute_statement``.
"""

from __future__ import annotations

import contextlib
import io
from types import SimpleNamespace
from typing import Any

from pace import Job, Told, clock, cpu_of, paced, serve, tokens_of
from playbooks.execution.streaming_python_executor import StreamingPythonExecutor


async def run(job: Job) -> Told:
    tokens, tps = tokens_of(str(job["code"]), int(str(job["chars"]))), float(str(job["tps"]))
    return await (_paced(tokens, tps) if tps else _unpaced(tokens, float(str(job["limit_s"]))))


def _agent() -> Any:
    """What the executor asks of an agent."""
    frame = SimpleNamespace(locals={}, executor=None)
    stack = SimpleNamespace(peek=lambda: frame)
    return SimpleNamespace(program=None, call_stack=stack, get_current_meeting=lambda: None, klass="Agent", id="agent")


async def _paced(tokens: list[str], tps: float) -> Told:
    sent_s: list[float] = []
    starts: list[float] = []

    class Observed(StreamingPythonExecutor):
        async def _execute_statement(self, stmt: Any) -> None:
            starts.append(clock())
            await super()._execute_statement(stmt)

    executor = Observed(_agent())
    error = None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            async for token in paced(tokens, tps, sent_s):
                await executor.add_chunk(token)
            await executor.finalize()
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"[:500]
    return {"sent_s": sent_s, "starts": starts, "end_s": clock(), "stdout": printed.getvalue(), "error": error}


async def _unpaced(tokens: list[str], limit_s: float) -> Told:
    class Silent(StreamingPythonExecutor):
        async def _execute_statement(self, stmt: Any) -> None:
            pass

    executor = Silent(_agent())
    return await cpu_of(tokens, executor.add_chunk, limit_s)


if __name__ == "__main__":
    serve(run)
