"""The egress proxy over real sockets; what would be the sandbox is the test itself."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest

from app.errors import SandboxStartError
from app.sandbox.egress.exchange import EgressLimits
from app.sandbox.egress.proxy import Egress, Exit
from app.sandbox.egress.rules import Address, Rules

QUICK = EgressLimits(head_s=5, idle_s=5, connect_s=5, least_s=0)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Kept: yes\r\nConnection: x-private\r\nX-Private: no\r\n\r\nok"


@dataclass
class Target:
    """A server that notes what comes and answers each connection with ``answer``, once ``until`` has come."""

    answer: bytes = OK
    until: bytes = b"\r\n\r\n"
    port: int = 0
    received: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got = b""
        try:
            while self.until not in got and (piece := await reader.read(1 << 16)):
                got += piece
            self.received.append(got)
            writer.write(self.answer)
            await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


@dataclass
class Proxy:
    exit: Exit
    egress: Egress
    port: int
    target: Target

    async def say(self, *pieces: bytes, end: bool = False) -> bytes:
        """Send, and read to the end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for piece in pieces:
                writer.write(piece.replace(b"@PORT", str(self.target.port).encode()))
                await writer.drain()
            if end:
                writer.write_eof()
            async with asyncio.timeout(20):
                return await reader.read()
        finally:
            writer.close()

    async def get(self, url: str, headers: str = "") -> bytes:
        return await self.say(f"GET {url} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())

    async def refused(self, *pieces: bytes) -> int:
        """The status of an answer that is the proxy's own; nothing has reached the target."""
        answer = await self.say(*pieces)
        assert b"Eager's egress proxy" in answer
        assert self.target.received == []
        return int(answer.split()[1])


@asynccontextmanager
async def proxy(
    *rules: str,
    target: Target | None = None,
    limits: EgressLimits = QUICK,
    names: dict[str, str] | None = None,
) -> AsyncIterator[Proxy]:
    """A proxy that may reach ``service.test``, which is at 127.0.0.1, and what else the rules say (@PORT: its port)."""
    target = target or Target()
    known = {"service.test": "127.0.0.1", **(names or {})}

    async def resolve(name: str, port: int) -> list[Address]:
        if name not in known:
            raise OSError("no such name")
        return [ip_address(text) for text in known[name].split()]

    async with await asyncio.start_server(target.serve, "127.0.0.1", 0) as server:
        target.port = server.sockets[0].getsockname()[1]
        listed = ["service.test:@PORT", "127.0.0.1:@PORT", *rules]
        egress = Egress(
            Rules.parse([rule.replace("@PORT", str(target.port)) for rule in listed]), limits=limits, resolve=resolve
        )
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        listener.setblocking(False)
        way_out = Exit(egress, "test", listener)
        try:
            yield Proxy(way_out, egress, listener.getsockname()[1], target)
        finally:
            await way_out.close()
            assert egress.statistics.open == 0


async def test_a_request_is_forwarded_without_what_belongs_to_one_hop() -> None:
    async with proxy() as p:
        headers = "Proxy-Authorization: secret\r\nConnection: X-Named\r\nX-Named: 1\r\nTE: gzip\r\nAccept: */*\r\n"
        answer = await p.get("http://service.test:@PORT/path?a=b#fragment", headers)
        (request,) = p.target.received
        assert request.split(b"\r\n") == [
            b"GET /path?a=b HTTP/1.1",
            f"host: service.test:{p.target.port}".encode(),
            b"connection: close",
            b"accept: */*",
            b"",
            b"",
        ]
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\nok")
        assert b"x-kept: yes" in answer
        assert b"private" not in answer.lower()
        statistics = p.egress.statistics
        assert (statistics.connections, statistics.allowed, statistics.denied) == (1, 1, 0)
        assert (statistics.bytes_out, statistics.bytes_in) == (len(request), len(OK))


async def test_the_host_header_of_the_sandbox_does_not_count() -> None:
    async with proxy() as p:
        await p.say(b"GET http://service.test:@PORT HTTP/1.1\r\nHost: internal.example\r\n\r\n")
        (request,) = p.target.received
        assert request.startswith(b"GET / HTTP/1.1\r\nhost: service.test:")
        assert b"internal" not in request


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Content-Length: 5\r\n", b"hello"),
        (b"Transfer-Encoding: chunked\r\n", b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        (b"Expect: 100-continue\r\nContent-Length: 5\r\n", b"hello"),
    ],
)
async def test_bodies_go_through_both_ways(head: bytes, body: bytes) -> None:
    until = b"\r\n0\r\n\r\n" if b"chunked" in head else b"hello"
    target = Target(answer=b"HTTP/1.1 200 OK\r\n\r\nuntil the end", until=until)
    async with proxy(target=target) as p:
        answer = await p.say(b"POST http://service.test:@PORT/ HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n", body)
        assert b"until the end" in answer
        assert b"hello" in target.received[0] or b"he\r\n3\r\nllo" in target.received[0]
        assert (b"100 \r\n" in answer) is (b"Expect" in head)


async def test_a_tunnel_carries_bytes_and_the_end_of_each_side() -> None:
    async with proxy(target=Target(answer=b"pong", until=b"NEVER")) as p:
        answer = await p.say(b"CONNECT service.test:@PORT HTTP/1.1\r\nHost: x\r\n\r\nping", b"-pong", end=True)
        assert answer == b"HTTP/1.1 200 \r\n\r\npong"
        assert p.target.received == [b"ping-pong"]


async def test_a_client_of_http_1_0_can_tunnel() -> None:
    async with proxy(target=Target(answer=b"pong", until=b"ping")) as p:
        assert (await p.say(b"CONNECT service.test:@PORT HTTP/1.0\r\n\r\n", b"ping")).endswith(b"\r\n\r\npong")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"CONNECT other.test:443 HTTP/1.1", 403),
        (b"CONNECT service.test:22 HTTP/1.1", 403),
        (b"CONNECT 127.0.0.1:22 HTTP/1.1", 403),
        (b"CONNECT 169.254.169.254:80 HTTP/1.1", 403),
        (b"CONNECT [::1]:@PORT HTTP/1.1", 403),
        (b"CONNECT localhost:@PORT HTTP/1.1", 403),
        (b"CONNECT 2130706433:@PORT HTTP/1.1", 400),
        (b"CONNECT 127.1:@PORT HTTP/1.1", 400),
        (b"CONNECT service.test HTTP/1.1", 400),
        (b"CONNECT service.test:@PORT:80 HTTP/1.1", 400),
        (b"CONNECT x@service.test:@PORT HTTP/1.1", 400),
        (b"CONNECT service.test:@PORT HTTP/1.1\r\nContent-Length: 4", 400),
        (b"GET http://other.test/ HTTP/1.1", 403),
        (b"GET http://service.test/ HTTP/1.1", 403),
        (b"GET http://other.test@service.test:@PORT/ HTTP/1.1", 400),
        (b"GET http://service.test:@PORT@other.test/ HTTP/1.1", 400),
        (b"GET http://service.test:@PORT\\@other.test/ HTTP/1.1", 400),
        (b"GET https://service.test:@PORT/ HTTP/1.1", 400),
        (b"GET ftp://service.test:@PORT/ HTTP/1.1", 400),
        (b"GET /etc/passwd HTTP/1.1", 400),
        (b"GET * HTTP/1.1", 400),
        (b"GET http:///path HTTP/1.1", 400),
        (b"GET http://" + b"a" * 5000 + b"/ HTTP/1.1", 400),
    ],
)
async def test_what_is_not_on_the_list_is_refused(request_: bytes, status: int) -> None:
    async with proxy() as p:
        assert await p.refused(request_ + b"\r\nHost: x\r\n\r\n") == status
        statistics = p.egress.statistics
        assert (statistics.denied, statistics.malformed) == ((1, 0) if status == 403 else (0, 1))


@pytest.mark.parametrize(
    "request_",
    [
        b"GET http://service.test:@PORT/ HTTP/1.1\r\n",  # no Host
        b"GET http://service.test:@PORT/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
        b"GET http://service.test:@PORT/ HTTP/1.1\r\nHost : a\r\n",
        b"GET http://service.test:@PORT/\x00 HTTP/1.1\r\nHost: a\r\n",
        b"GET  http://service.test:@PORT/ HTTP/1.1\r\nHost: a\r\n",
        b"POST http://service.test:@PORT/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        b"POST http://service.test:@PORT/ HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n",
        b"POST http://service.test:@PORT/ HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n",
        b"POST http://service.test:@PORT/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n",
        b"POST http://service.test:@PORT/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, x\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS to a proxy that is not
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
async def test_ambiguous_and_foreign_requests_are_not_interpreted(request_: bytes) -> None:
    async with proxy() as p:
        assert await p.refused(request_ + b"\r\n") in (400, 501, 505)
        assert p.egress.statistics.malformed == 1


async def test_a_length_that_a_transfer_encoding_overrules_is_not_passed_on_and_no_second_request_is_seen() -> None:
    async with proxy(target=Target(until=b"0\r\n\r\n")) as p:
        smuggled = b"GET http://service.test:@PORT/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
        await p.say(
            b"POST http://service.test:@PORT/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled
        )
        (request,) = p.target.received
        assert b"content-length" not in request
        assert b"smuggled" not in request


async def test_headers_cannot_be_injected_by_the_path() -> None:
    async with proxy() as p:
        await p.get("http://service.test:@PORT/a%0d%0aX-Injected:%201")
        assert b"\r\nX-Injected" not in p.target.received[0]


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"]
)
async def test_a_name_on_the_list_that_leads_inside_is_refused(address: str) -> None:
    async with proxy("rebound.test:*", "*:*", names={"rebound.test": address}) as p:
        assert await p.refused(b"CONNECT rebound.test:6379 HTTP/1.1\r\nHost: x\r\n\r\n") == 403
        assert address.encode() not in await p.get("http://rebound.test:6379/")
        assert p.egress.statistics.denied == 2


async def test_of_several_addresses_only_the_permitted_are_tried() -> None:
    async with proxy(names={"service.test": "10.0.0.1 127.0.0.1"}) as p:
        assert (await p.get("http://service.test:@PORT/")).endswith(b"ok")


async def test_a_name_that_does_not_exist_and_a_port_that_is_closed_are_told() -> None:
    async with proxy("gone.test", "127.0.0.1:9") as p:
        assert await p.refused(b"CONNECT gone.test:443 HTTP/1.1\r\nHost: x\r\n\r\n") == 502
        assert await p.refused(b"CONNECT 127.0.0.1:9 HTTP/1.1\r\nHost: x\r\n\r\n") == 502
        assert p.egress.statistics.failed == 2


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX" * 3000]
)
async def test_a_target_that_speaks_no_http_is_told(answer: bytes) -> None:
    async with proxy(target=Target(answer=answer)) as p:
        assert b" 502 " in (await p.get("http://service.test:@PORT/")).split(b"\r\n")[0]
        assert p.egress.statistics.failed == 1


async def test_an_answer_cut_short_does_not_look_whole() -> None:
    async with proxy(target=Target(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")) as p:
        with pytest.raises(ConnectionResetError):
            await p.get("http://service.test:@PORT/")
        assert p.egress.statistics.failed == 1


async def test_a_head_that_does_not_end_is_given_up() -> None:
    async with proxy(limits=EgressLimits(head_s=0.1)) as p:
        assert await p.refused(b"GET http://service.test:@PORT/ HTTP/1.1\r\n", b"X-Slow: ") == 504
        assert p.egress.statistics.exhausted == 1


async def test_a_head_of_absurd_length_is_given_up() -> None:
    async with proxy() as p:
        assert await p.refused(b"GET http://service.test:@PORT/ HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 40_000) == 431


async def test_a_tunnel_in_which_nothing_moves_is_closed() -> None:
    async with proxy(target=Target(until=b"NEVER"), limits=EgressLimits(idle_s=0.1)) as p:
        with pytest.raises(ConnectionResetError):
            await p.say(b"CONNECT service.test:@PORT HTTP/1.1\r\nHost: x\r\n\r\n")
        assert p.egress.statistics.exhausted == 1


async def test_bytes_are_counted_over_all_connections_of_a_sandbox() -> None:
    async with proxy(limits=EgressLimits(bytes=1000, least_s=0)) as p:
        assert (await p.get("http://service.test:@PORT/")).endswith(b"ok")
        answer = await p.say(b"GET http://service.test:@PORT/" + b"x" * 900 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 429 " in answer.split(b"\r\n")[0]
        assert b"xxx" not in b"".join(p.target.received)
        assert p.egress.statistics.exhausted == 1


async def test_a_thousand_connections_wait_for_each_other_and_not_the_gateway() -> None:
    async with proxy(limits=EgressLimits(connections=8, least_s=0)) as p:
        most = 0
        backlog = asyncio.Semaphore(64)  # above that, the kernel answers late

        async def one() -> None:
            nonlocal most
            async with backlog:
                assert b" 403 " in await p.get("http://other.test/")
            most = max(most, p.egress.statistics.open)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(1000):
                tasks.create_task(one())
        assert most <= 8
        assert p.egress.statistics.denied == 1000


@pytest.mark.parametrize("sender", ["sandbox", "target"])
async def test_chunks_of_a_byte_do_not_keep_the_gateway_from_its_other_work(sender: str) -> None:
    chunks = b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"
    target = Target(until=b"\r\n0\r\n\r\n")
    head = b"POST http://service.test:@PORT/ HTTP/1.1\r\nHost: a\r\n"
    pieces = [head + chunked, chunks]
    if sender == "target":
        target.answer, pieces = b"HTTP/1.1 200 OK\r\n" + chunked + chunks, [head + chunked, b"0\r\n\r\n"]
    turns = 0

    async def work() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with proxy(target=target) as p:
        working = asyncio.create_task(work())
        try:
            answer = await p.say(*pieces)
        finally:
            working.cancel()
        assert answer.startswith(b"HTTP/1.1 200")
        assert (answer + target.received[0]).count(b"x\r\n") >= 5000
        assert turns >= 5000


async def test_a_connection_counts_for_a_least_time() -> None:
    async with proxy(limits=EgressLimits(connections=1, least_s=3600)) as p:
        assert b" 403 " in await p.get("http://other.test/")
        _, writer = await asyncio.open_connection("127.0.0.1", p.port)  # the kernel has it; nobody accepts
        writer.write(b"GET http://other.test/ HTTP/1.1\r\nHost: x\r\n\r\n")
        await writer.drain()
        for _ in range(100):
            await asyncio.sleep(0)
        assert p.egress.statistics.connections == 1
        writer.close()


async def test_after_its_sandbox_nothing_goes_through() -> None:
    async with proxy(target=Target(until=b"NEVER")) as p:
        reader, writer = await asyncio.open_connection("127.0.0.1", p.port)
        writer.write(f"CONNECT service.test:{p.target.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        await p.exit.close()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", p.port)
        writer.close()


Hand = Callable[[socket.socket], None]


@pytest.mark.parametrize(
    "hand",
    [
        lambda sock: sock.close(),
        lambda sock: sock.send(b"\n"),
        lambda sock: send_sockets(sock, b"x", listen()),
        lambda sock: send_sockets(sock, b"\n", listen(), listen()),
        lambda sock: send_sockets(sock, b"\n", socket.socket()),
        lambda sock: send_sockets(sock, b"\n", listen_without_network()),
    ],
    ids=["nothing", "no socket", "another greeting", "two", "not listening", "of another family"],
)
async def test_something_else_than_a_listener_is_no_way_out(hand: Hand) -> None:
    await hand_over(hand, refused)


async def refused(opening: Awaitable[Exit]) -> None:
    with pytest.raises(SandboxStartError, match="handed over no way out"):
        await opening


async def test_frames_may_follow_the_listener_at_once() -> None:
    async def accepted(opening: Awaitable[Exit]) -> None:
        await (await opening).close()

    def hand(sock: socket.socket) -> None:
        send_sockets(sock, b"\n", listen())
        sock.send(b"frames")

    assert await hand_over(hand, accepted) == b"frames"


async def hand_over(hand: Hand, check: Callable[[Awaitable[Exit]], Awaitable[None]]) -> bytes:
    """What is left unread on the control stream."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        hand(theirs)
        await check(Egress(Rules.parse([])).open("test", ours))
        theirs.close()
        return ours.recv(100)


def listen() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def listen_without_network() -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("")  # the kernel gives it an abstract name
    listener.listen()
    return listener


def send_sockets(sock: socket.socket, greeting: bytes, *sockets: socket.socket) -> None:
    socket.send_fds(sock, [greeting], [each.fileno() for each in sockets])
    for each in sockets:
        each.close()


async def test_a_sandbox_reaches_what_its_owner_may_from_when_it_is_its_owners() -> None:
    async with proxy() as p:
        p.egress._exits["test"] = p.exit
        p.egress._rules_of = {"limited": Rules.parse([])}.get
        p.egress.assign("test", "somebody else")
        assert b"200 OK" in await p.get("http://service.test:@PORT/")
        p.target.received.clear()
        p.egress.assign("test", "limited")
        assert await p.refused(b"GET http://service.test:@PORT/ HTTP/1.1\r\nHost: x\r\n\r\n") == 403
        await p.exit.close()
        p.egress.assign("test", "somebody else")  # it is gone
