"""Repair and rollback together: a model that believes what it is told does everything exactly once.

The model writes the steps of a program, in calls of some length. Some steps fail at the first try, in various ways;
after a failure it is told what of its code holds, and writes the steps that, by this, are still to be done.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from app.detection.chunk import Chunk
from app.events import ChatMessage, Done, Event
from app.pipeline.place import AtHand
from app.pipeline.run import RunOptions, run
from app.sandbox.session import Session
from app.sandbox.worker.execution import Execution, Sink
from app.sandbox.worker.messages import Failure
from tests.backends import require_backend
from tests.fakes.session import FakeSession
from tests.sandbox.backends import open_local

Mistake = Literal["error", "lost", "timeout", "syntax"]
MISTAKES: tuple[Mistake, ...] = ("error", "lost", "timeout", "syntax")
NUMBER = re.compile(r"step\((\d+)")
#: How a step is written, with this mistake or none.
Write = Callable[[int, "Mistake | None"], str]
RAN = re.compile(r"(\d+) statements? ran to the end\. The next one failed, and nothing after it was run")
NEVER = "The first statement failed, and nothing after it was run"


def plain(step: int, mistake: Mistake | None) -> str:
    return f"step({step}]\n" if mistake == "syntax" else f"step({step})\n"


def real(step: int, mistake: Mistake | None) -> str:
    """Steps that a real sandbox can do and undo: a line in a file. Its mistakes are in the code."""
    wrong = {"error": "1 / 0, ", "lost": "__import__('os')._exit(3), ", "syntax": "], "}.get(mistake or "", "")
    return f"_ = [{wrong}print('step({step})', file=open('log', 'a'))]\n"


class World(FakeSession):
    """``effects``: the steps that were done and not undone, in order."""

    def __init__(self, mistakes: Mapping[int, Mistake]) -> None:
        super().__init__()
        self.effects: list[int] = []
        self._mistakes = dict(mistakes)
        self._saved: list[int] | None = None

    async def execute(self, chunks: Sequence[Chunk], *, sink: Sink, **_: Any) -> Execution:
        for ran, chunk in enumerate(chunks):
            found = NUMBER.search(chunk.source)
            assert found
            await asyncio.sleep(0)
            mistake = self._mistakes.pop(int(found[1]), None)
            if mistake in ("error", "lost", "timeout"):
                return Execution(mistake, ran, [1000] * ran, Failure(1, chunk.index, "Oops", "", "Oops\n"))
            self.effects.append(int(found[1]))
        return Execution("ok", len(chunks), [1000] * len(chunks))

    async def checkpoint(self) -> str | None:
        if self.refuses_checkpoint is None:
            assert self._saved is None
            self._saved = list(self.effects)
        return self.refuses_checkpoint

    async def commit(self) -> None:
        self._saved = None

    async def rollback(self) -> str | None:
        assert self._saved is not None
        if self.refuses_rollback is None:
            self.effects = self._saved
        self._saved = None
        return self.refuses_rollback


class Model:
    """An upstream. ``pace`` says how often others run before each piece of its answers."""

    def __init__(
        self,
        steps: int,
        mistakes: Mapping[int, Mistake],
        *,
        call_steps: int,
        pace: Sequence[int] = (0,),
        write: Write = plain,
    ) -> None:
        self.done: set[int] = set()
        self._steps = steps
        self._mistakes = dict(mistakes)
        self._write = write
        self._call_steps = call_steps
        self._pace = pace
        self._pieces = 0
        self._calls: dict[str, list[int]] = {}

    @asynccontextmanager
    async def stream(
        self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[AsyncIterator[Sequence[str]]]:
        answer = self._answer(body["messages"])
        try:
            yield answer
        finally:
            await answer.aclose()  # type: ignore[attr-defined]

    async def _answer(self, messages: Sequence[ChatMessage]) -> AsyncIterator[Sequence[str]]:
        self._read(messages)
        left = [step for step in range(self._steps) if step not in self.done]
        for start in range(0, len(left), self._call_steps):
            steps = left[start : start + self._call_steps]
            id = f"call_{len(self._calls)}"
            self._calls[id] = steps
            head = {"index": start, "id": id, "function": {"name": "python", "arguments": '{"code": "'}}
            yield [await self._delta({"tool_calls": [head]})]
            for step in steps:
                yield [await self._arguments(start, self._write(step, self._mistakes.pop(step, None)))]
            yield [await self._arguments(start, None)]
        yield [await self._delta({} if left else {"content": "Done."}, "tool_calls" if left else "stop")]

    def _read(self, messages: Sequence[ChatMessage]) -> None:
        """What the last turn's calls have done. Those that are not there any more have done nothing."""
        turn = max((at for at, message in enumerate(messages) if message.get("tool_calls")), default=len(messages))
        for message in messages[turn + 1 :]:
            assert message["role"] == "tool"
            steps, told = self._calls[message["tool_call_id"]], message["content"]
            written = json.loads(self._code_of(messages[turn], message["tool_call_id"]))["code"]
            if "was undone" in told or "Not run" in told or NEVER in told:
                continue
            if (ran := RAN.search(told)) is not None:
                steps = steps[: int(ran[1])]
            else:
                assert told.startswith("(no output)")
            assert [int(number) for number in NUMBER.findall(written)][: len(steps)] == steps
            assert self.done.isdisjoint(steps)
            self.done.update(steps)

    def _code_of(self, message: ChatMessage, id: str) -> str:
        return next(str(call["function"]["arguments"]) for call in message["tool_calls"] if call["id"] == id)

    async def _arguments(self, index: int, code: str | None) -> str:
        text = '"}' if code is None else json.dumps(code)[1:-1]
        return await self._delta({"tool_calls": [{"index": index, "function": {"arguments": text}}]})

    async def _delta(self, delta: dict[str, Any], finish: str | None = None) -> str:
        for _ in range(self._pace[self._pieces % len(self._pace)]):
            await asyncio.sleep(0)
        self._pieces += 1
        return json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


@given(
    steps=st.integers(1, 12),
    mistakes=st.dictionaries(st.integers(0, 11), st.sampled_from(MISTAKES), max_size=5),
    call_steps=st.integers(1, 12),
    pace=st.lists(st.integers(0, 12), min_size=1, max_size=6),
    repair_from=st.sampled_from(["partial", "full"]),
    rollback=st.sampled_from(["off", "on_error", "on_syntax_error"]),
    refuses=st.sampled_from([None, "checkpoint", "rollback"]),
)
async def test_whatever_fails_and_is_undone_each_step_is_done_once(
    steps: int,
    mistakes: dict[int, Mistake],
    call_steps: int,
    pace: list[int],
    repair_from: Any,
    rollback: Any,
    refuses: str | None,
) -> None:
    mistakes = {step: mistake for step, mistake in mistakes.items() if step < steps}
    model, world = Model(steps, mistakes, call_steps=call_steps, pace=pace), World(mistakes)
    world.refuses_checkpoint = "no" if refuses == "checkpoint" else None
    world.refuses_rollback = "no" if refuses == "rollback" else None
    await repaired(model, world, repair_from=repair_from, rollback=rollback)
    event(f"{rollback}, {repair_from}, failures: {bool(mistakes)}")
    assert sorted(world.effects) == list(range(steps))
    assert model.done == set(range(steps))
    if repair_from == "partial":
        assert world.effects == list(range(steps))


async def repaired(model: Model, session: Session, **options: Any) -> None:
    events: list[Event] = []

    async def send(said: Event) -> None:
        events.append(said)

    await run(
        {"model": "m", "messages": [{"role": "user", "content": "Go."}]},
        RunOptions(on_error="repair", max_repairs=99, max_turns=99, **options),
        request_id="req",
        upstream=model,
        place=AtHand(session, ""),
        send=send,
    )
    done = events[-1]
    assert isinstance(done, Done)
    assert done.finish_reason == "stop"


@pytest.mark.local
@pytest.mark.parametrize("repair_from", ["partial", "full"])
@pytest.mark.parametrize("rollback", ["off", "on_error", "on_syntax_error"])
async def test_a_real_sandbox_does_each_step_once(repair_from: str, rollback: str) -> None:
    require_backend("local")
    mistakes: dict[int, Mistake] = {1: "error", 2: "syntax", 4: "lost", 5: "syntax", 7: "error"}
    async with open_local() as opened:
        model = Model(9, mistakes, call_steps=3, write=real)
        worker = await opened.backend.start()
        try:
            await repaired(model, worker, repair_from=repair_from, rollback=rollback)
            content = bytearray()

            async def keep(piece: bytes) -> None:
                content.extend(piece)

            await worker.get_file("log", limit_bytes=10_000, sink=keep)
        finally:
            await worker.close()
    assert sorted(int(number) for number in NUMBER.findall(content.decode())) == list(range(9))
    assert model.done == set(range(9))
