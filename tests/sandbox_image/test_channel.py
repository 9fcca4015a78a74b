"""What the interpreter does between messages; messages themselves are in test_interpreter.py."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from sandbox_image.channel import SupervisorChannel
from sandbox_image.interrupts import Interrupts
from sandbox_image.protocol import INTERPRETER, encode_message

FIRST, SECOND = ({"op": "execute", "id": number} for number in (1, 2))


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, SupervisorChannel]]:
    ours, theirs = socket.socketpair()
    interrupts = Interrupts()
    try:
        with ours, theirs:
            yield ours, SupervisorChannel(theirs, interrupts)
    finally:
        interrupts.enter()  # the handlers are pytest's again


def test_what_is_done_meanwhile_ends_with_the_first_message(ends: tuple[socket.socket, SupervisorChannel]) -> None:
    supervisor, channel = ends
    done = []

    def meanwhile() -> Iterator[None]:
        for number in range(10):
            done.append(number)
            if number == 3:
                supervisor.sendall(encode_message(INTERPRETER, FIRST))
            yield

    channel.meanwhile = meanwhile()
    messages = channel.receive()
    assert next(messages) == FIRST
    supervisor.sendall(encode_message(INTERPRETER, SECOND))
    assert next(messages) == SECOND
    assert done == [0, 1, 2, 3]


def test_a_message_that_is_there_comes_first(ends: tuple[socket.socket, SupervisorChannel]) -> None:
    supervisor, channel = ends
    supervisor.sendall(encode_message(INTERPRETER, FIRST))
    meanwhile = channel.meanwhile = iter([1])
    assert next(channel.receive()) == FIRST
    assert list(meanwhile) == [1]


def test_messages_are_waited_for_when_nothing_is_left_to_do(ends: tuple[socket.socket, SupervisorChannel]) -> None:
    supervisor, channel = ends

    def meanwhile() -> Iterator[None]:
        yield
        supervisor.sendall(encode_message(INTERPRETER, FIRST))

    channel.meanwhile = meanwhile()
    messages = channel.receive()
    assert next(messages) == FIRST
    supervisor.shutdown(socket.SHUT_WR)
    assert list(messages) == []
