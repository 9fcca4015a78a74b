"""What the model is told of what programs print, show and write, as text: in eager and serial runs, and what a client
of a session sees of them, over the backends that have the libraries. One sandbox of each serves all programs."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
import pytest_asyncio

from app.events import CodeEnd, Event, ExecError, ExecOutput, ExecResult
from app.pipeline.place import AtHand
from app.pipeline.program import run_program
from app.pipeline.run import RunOptions, run
from app.sandbox.backend import Backend
from app.sandbox.docker.backend import DockerBackend
from app.sandbox.jupyter.backend import JupyterBackend
from app.sandbox.jupyter.local_kernels import LocalKernels
from app.sandbox.local.backend import LocalBackend
from app.sandbox.local.environment import inspect_python
from app.sandbox.worker.worker import Worker
from tests.backends import SANDBOX_ENV, SANDBOX_IMAGE, require_backend
from tests.pipeline.shown_programs import ROWS

pytestmark = pytest.mark.asyncio(loop_scope="module")
Mode = Literal["eager", "serial"]
#: What of a kernel is another's: pip is that of its environment, which may have a network, and what child processes
#: print has no order there. It runs Python alone.
NOT_IN_KERNELS = ("A7", "A10 a shell", "A10 an indented magic")
MODES: tuple[Mode, ...] = ("eager", "serial")
#: Characters of code in one piece of the upstream's answer.
PIECE_CHARS = 9


class Model:
    """Writes one piece of code, and keeps what it is told of it."""

    def __init__(self, code: str, language: str = "python") -> None:
        self.told = ""
        self._arguments = ({} if language == "python" else {"language": language}) | {"code": code}

    @asynccontextmanager
    async def stream(
        self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[AsyncIterator[Sequence[str]]]:
        yield self._answer(body["messages"])

    async def _answer(self, messages: Sequence[Mapping[str, Any]]) -> AsyncIterator[Sequence[str]]:
        if messages[-1]["role"] == "tool":
            self.told = messages[-1]["content"]
            yield [_delta({"content": "Done."}, "stop")]
            return
        yield [_delta({"tool_calls": [{"index": 0, "id": "call", "function": {"name": "python", "arguments": ""}}]})]
        text = json.dumps(self._arguments)
        for at in range(0, len(text), PIECE_CHARS):
            function = {"arguments": text[at : at + PIECE_CHARS]}
            yield [_delta({"tool_calls": [{"index": 0, "function": function}]})]
        yield [_delta({}, "tool_calls")]


def _delta(delta: dict[str, Any], finish: str | None = None) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("local", "docker", "jupyter")],
)
async def worker(request: pytest.FixtureRequest) -> AsyncIterator[Worker]:
    require_backend("local")
    require_backend(request.param)
    backend: Backend
    if request.param == "local":
        backend = LocalBackend(inspect_python(SANDBOX_ENV))
    elif request.param == "docker":
        backend = DockerBackend(image=SANDBOX_IMAGE)
    else:
        backend = JupyterBackend(LocalKernels("python3", environment=SANDBOX_ENV.parents[1]))
    try:
        worker = await backend.start()
        try:
            yield worker
        finally:
            await worker.close()
    finally:
        await backend.close()


async def told(worker: Worker, code: str, mode: Mode, language: str = "python") -> tuple[str, list[Event]]:
    model, events = Model(code, language), []

    async def send(said: Event) -> None:
        events.append(said)

    await run(
        {"model": "m", "messages": [{"role": "user", "content": "Go."}]},
        RunOptions(mode=mode, on_error="repair", max_repairs=1, max_turns=2),
        request_id="req",
        upstream=model,
        place=AtHand(worker, ""),
        send=send,
    )
    return plainly(model.told), events


async def executed(worker: Worker, code: str, language: str) -> list[Event]:
    """By the endpoint of sessions."""
    events = []

    async def send(said: Event) -> None:
        events.append(said)

    place = AtHand(worker, "")
    await run_program(code, call_id="call", language=language, timeout_s=60, place=place, send=send)
    return events


def plainly(text: str) -> str:
    """Without the folders of programs and libraries, the numbers of programs, and the sizes of pictures."""
    text = re.sub(r'[^\s"]*main(?:_\d+)?\.(py|sh)', r"main.\1", text)
    text = re.sub(r" at 0x[0-9a-f]+", "", text)
    text = re.sub(r"satisfied: (\S+) in \S+ \(\S+\)", r"satisfied: \1", text)
    return re.sub(r"(\.(?:png|gif|jpg)) \([^)]*\)", r"\1", text)


def seen(events: list[Event]) -> dict[str, Any]:
    """What a client gets of a program, however it runs."""
    output = {"stdout": "", "stderr": ""}
    for event in events:
        if isinstance(event, ExecOutput):
            output[event.stream] += event.text
    shown = [event for event in events if isinstance(event, ExecResult)]
    errors = [(event.ename, event.evalue, event.line) for event in events if isinstance(event, ExecError)]
    (end,) = [event for event in events if isinstance(event, CodeEnd)]
    return {
        "output": {stream: plainly(text) for stream, text in output.items()},
        "shown": [(event.display, plainly(event.repr or ""), sorted(event.data), len(event.images)) for event in shown],
        "errors": errors,
        "files": [(file.change, file.path) for file in end.files] if end.files else [],
    }


#: All programs of one mode begin alike.
CLEAN = """
import os, shutil, sys
for name in os.listdir(os.fsencode(".")):
    os.remove(name) if os.path.isfile(name) else shutil.rmtree(name)
if "matplotlib" in sys.modules:
    sys.modules["matplotlib"].rcdefaults()
"""


@pytest.mark.timeout(300)
async def test_the_model_and_the_client_are_told(worker: Worker, request: pytest.FixtureRequest) -> None:
    in_kernel = request.node.callspec.params["worker"] == "jupyter"
    left_out = {name for name, row in ROWS.items() if name.startswith(NOT_IN_KERNELS) or row.language != "python"}
    rows = {name: row for name, row in ROWS.items() if not in_kernel or name not in left_out}
    wrong: dict[str, Any] = {}
    views: list[dict[str, Any]] = []
    for mode in MODES:
        await told(worker, CLEAN, mode)
        views.append({})
        for name, row in rows.items():
            text, events = await told(worker, row.code, mode, row.language)
            views[-1][name] = seen(events)
            pictures = sum(len(event.images) for event in events if isinstance(event, ExecResult))
            if row.fails:
                text = text.partition("\n[")[0]
            if (text, pictures, bool(views[-1][name]["errors"])) != (row.told, row.pictures, row.fails):
                wrong[f"{name}, {mode}"] = text, pictures
    await told(worker, CLEAN, "serial")
    by_session = {name: seen(await executed(worker, row.code, row.language)) for name, row in rows.items()}
    wrong |= {f"{name}, as seen": view for name, view in by_session.items() if [view] * 2 != [v[name] for v in views]}
    assert wrong == {}


@pytest.mark.parametrize(
    ("code", "message", "line"),
    [
        ("x = 1\n  y = 2\n", "unexpected indent", 2),
        ("x = 1\ny = = 2\n", "invalid syntax", 2),
        ("def f():\nreturn 1\n", "expected an indented block after function definition on line 1", 2),
    ],
)
async def test_a_syntax_error_is_told_in_the_same_words_in_both_modes(
    worker: Worker, code: str, message: str, line: int
) -> None:
    for mode in MODES:
        text, events = await told(worker, code, mode)
        (error,) = [event for event in events if isinstance(event, ExecError)]
        assert (error.evalue, error.line) == (message, line)
        assert f'File "main.py", line {line}\n' in text
        assert text.partition("Error: ")[2].startswith(message)
