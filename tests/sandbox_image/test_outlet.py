import os
import select
from collections.abc import Iterator

import pytest

from sandbox_image.outlet import Outlet, StreamEnded


class Pipe:
    def __init__(self) -> None:
        self.read_fd, write_fd = os.pipe()
        os.set_blocking(write_fd, False)
        self.epoll = select.epoll()
        self.outlet = Outlet(write_fd, self.epoll)

    def writable(self) -> bool:
        return self.epoll.poll(0) == [(self.outlet.fd, select.EPOLLOUT)]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.outlet.drop()
    os.close(pipe.outlet.fd)
    pipe.epoll.close()


def test_what_fits_is_written_at_once(pipe: Pipe) -> None:
    pipe.outlet.write(b"abc")
    assert os.read(pipe.read_fd, 10) == b"abc"
    assert pipe.outlet.pending == 0
    assert not pipe.writable()
    os.close(pipe.read_fd)


def test_the_rest_is_kept_and_comes_in_order(pipe: Pipe) -> None:
    sent = [b"a" * 50_000, b"b" * 50_000, b"c" * 100_000]
    for data in sent:
        pipe.outlet.write(data)
    assert pipe.outlet.pending > 0
    received = b""
    while pipe.outlet.pending:
        received += os.read(pipe.read_fd, 4096)
        if pipe.writable():
            pipe.outlet.flush()
    os.set_blocking(pipe.read_fd, False)
    while len(received) < 200_000:
        received += os.read(pipe.read_fd, 65536)
    assert received == b"".join(sent)
    assert not pipe.writable()
    os.close(pipe.read_fd)


def test_what_was_dropped_is_not_written(pipe: Pipe) -> None:
    pipe.outlet.write(bytes(200_000))
    pipe.outlet.drop()
    assert pipe.outlet.pending == 0
    assert len(os.read(pipe.read_fd, 200_000)) == 65536
    assert not pipe.writable()
    os.close(pipe.read_fd)


def test_a_reader_that_left_is_reported(pipe: Pipe) -> None:
    os.close(pipe.read_fd)
    with pytest.raises(StreamEnded):
        pipe.outlet.write(b"abc")
