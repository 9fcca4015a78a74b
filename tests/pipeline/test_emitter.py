import asyncio
import itertools

from app.events import Event, Token
from app.pipeline.emitter import Emitter


async def test_the_order_of_stamps_is_the_order_of_sends_when_two_tasks_emit_to_a_slow_client() -> None:
    sent: list[Event] = []

    async def slow_send(event: Event) -> None:
        await asyncio.sleep(0)
        sent.append(event)

    emitter = Emitter(slow_send)

    async def say(channel: str) -> None:
        for number in range(20):
            await emitter.emit(Token(turn=0, channel="content", text=f"{channel}{number}"))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(say("a"))
        tasks.create_task(say("b"))

    assert [event.seq for event in sent] == list(range(40))
    assert all(before.t_ms <= after.t_ms for before, after in itertools.pairwise(sent))
    assert emitter.count == 40


async def test_while_the_client_holds_one_event_up_the_next_is_neither_stamped_nor_sent() -> None:
    sent: list[Event] = []
    held, go_on = asyncio.Event(), asyncio.Event()

    async def send(event: Event) -> None:
        if not sent and not held.is_set():
            held.set()
            await go_on.wait()
        sent.append(event)

    emitter = Emitter(send)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(emitter.emit(Token(turn=0, channel="content", text="first")))
        await held.wait()
        second = tasks.create_task(emitter.emit(Token(turn=0, channel="content", text="second")))
        await asyncio.sleep(0)  # it has begun, and waits
        assert (emitter.count, sent, second.done()) == (1, [], False)
        go_on.set()
    assert [(event.seq, event.text) for event in sent if isinstance(event, Token)] == [(0, "first"), (1, "second")]
