"""One connection to the egress proxy: one request, which is refused, tunnelled (CONNECT) or forwarded (http:// URL).

What is forwarded is not copied: h11 takes each message apart and writes it anew, so both sides agree on where it ends
whatever the sandbox or the target wrote. ``Connection: close`` on both sides: nothing of a second request is looked at.
RFC 9110 section 7.6.1 lists what belongs to one hop, RFC 9112 section 3.2 the forms of a request's target.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, NoReturn

import h11

from app.sandbox.egress.rules import Address, MalformedTargetError, Rules, Target, parse_target

log = logging.getLogger(__name__)

_PIECE_BYTES: Final = 1 << 16
_MAX_HEAD_BYTES: Final = 32 * 1024
_PARTING_S: Final = 1.0
_RESET: Final = struct.pack("ii", 1, 0)  # struct linger
#: Addresses of one name that are tried.
_MAX_ADDRESSES: Final = 4
_URL: Final = re.compile(rb"http://([^/?#@\\]+)([/?][^#]*)?(?:#.*)?", re.IGNORECASE)
_HOP_BY_HOP: Final = frozenset(
    {
        *(b"connection", b"proxy-connection", b"keep-alive", b"proxy-authorization", b"proxy-authenticate"),
        *(b"host", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"expect"),
    }
)

Resolve = Callable[[str, int], Awaitable[list[Address]]]


@dataclass(frozen=True, slots=True)
class EgressLimits:
    """Of one sandbox, but for the times, which are of one connection. A connection counts for ``least_s`` at least,
    which bounds how many can follow each other."""

    connections: int = 32
    bytes: int = 1 << 30
    head_s: float = 10.0
    idle_s: float = 60.0
    connection_s: float = 900.0
    connect_s: float = 10.0
    least_s: float = 0.25


@dataclass(slots=True)
class EgressStatistics:
    """``open`` connections now; the others only count up. ``failed`` are requests for what is on the list that had no
    (whole) answer, ``exhausted`` those that met a limit of bytes or time."""

    open: int = 0
    connections: int = 0
    allowed: int = 0
    denied: int = 0
    malformed: int = 0
    failed: int = 0
    exhausted: int = 0
    bytes_out: int = 0
    bytes_in: int = 0


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for the connections of one sandbox. ``spend`` raises when its bytes are used up."""

    sandbox: str
    rules: Rules
    limits: EgressLimits
    #: (name, port) -> its addresses, or OSError.
    resolve: Resolve
    statistics: EgressStatistics
    spend: Callable[[int], None]


class BudgetExhaustedError(Exception):
    """The sandbox has moved as many bytes as it may."""


class _RefusedError(Exception):
    """``status`` and the text are what the sandbox is told."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


async def exchange(terms: Terms, connection: socket.socket) -> None:
    """Serve an accepted connection to its end. What goes wrong on either side is told, counted and logged."""
    try:
        reader, writer = await asyncio.open_connection(sock=connection)
    except BaseException:
        connection.close()
        raise
    exchange = _Exchange(terms, reader, writer)
    statistics = terms.statistics
    try:
        async with asyncio.timeout(terms.limits.connection_s):
            await exchange.run()
        await exchange.part()
    except _RefusedError as refusal:
        await exchange.refuse(refusal.status, str(refusal))
    except h11.RemoteProtocolError as error:
        statistics.malformed += 1
        await exchange.refuse(error.error_status_hint, str(error))
    except (BudgetExhaustedError, TimeoutError) as error:
        statistics.exhausted += 1
        log.info("egress of %s: %s ended: %s", terms.sandbox, exchange.target, error or "too slow, or too long")
        await exchange.refuse(429 if isinstance(error, BudgetExhaustedError) else 504, str(error) or "timed out")
    except (OSError, h11.LocalProtocolError, _TargetError) as error:
        statistics.failed += exchange.target is not None
        log.debug("egress of %s: %s failed: %r", terms.sandbox, exchange.target, error)
        await exchange.refuse(502, f"the connection failed: {error}")
    finally:
        if not exchange.whole:  # what is cut short must not look like the end
            with contextlib.suppress(OSError):  # closed already
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()


class _TargetError(Exception):
    """What the target sends is no HTTP."""


class _Exchange:
    def __init__(self, terms: Terms, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.target: Target | None = None
        self.whole = False
        self._terms = terms
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD_BYTES)

    async def run(self) -> None:
        async with asyncio.timeout(self._terms.limits.head_s):
            request = await self._read_request()
        if request is None:
            return
        tunnel = request.method == b"CONNECT"
        self.target, path = self._parse(request)
        addresses = await self._decide(self.target)
        reader, writer = await self._connect(addresses, self.target.port)
        try:
            if tunnel:
                await self._tunnel(reader, writer)
            else:
                host = str(self.target).removesuffix(":80")
                await self._forward(request, host, path, reader, writer)
        finally:
            writer.transport.abort()

    async def refuse(self, status: int, text: str) -> None:
        """Say so, if nothing was said yet; else the sandbox sees that the connection breaks off."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = f"Eager's egress proxy: {text}\n".encode()
        length = str(len(body)).encode()
        headers = [(b"content-type", b"text/plain"), (b"content-length", length), (b"connection", b"close")]
        with contextlib.suppress(h11.LocalProtocolError, OSError, TimeoutError):
            async with asyncio.timeout(self._terms.limits.head_s):
                await self._say(h11.Response(status_code=status, headers=headers))
                await self._say(h11.Data(data=body))
                await self._say(h11.EndOfMessage())
            await self.part()

    async def part(self) -> None:
        """Let the sandbox read to the end: a socket closed with something unread in it takes the answer with it."""
        self.whole = True
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_PARTING_S):
                self._writer.write_eof()
                await self._writer.drain()
                while await self._reader.read(_PIECE_BYTES):
                    pass

    # -------------------------------------------------------------------- the request

    async def _read_request(self) -> h11.Request | None:
        """None if the sandbox closes without one."""
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(_PIECE_BYTES))
            elif isinstance(event, h11.Request):
                return event
            else:
                return None

    def _parse(self, request: h11.Request) -> tuple[Target, bytes]:
        try:
            if request.method == b"CONNECT":
                return parse_target(request.target.decode("ascii"), default_port=None), b""
            match = _URL.fullmatch(request.target)
            if match is None:
                raise MalformedTargetError("only http:// URLs and CONNECT are understood")
            path = match[2] or b"/"
            target = parse_target(match[1].decode("ascii"), default_port=80)
            return target, path if path.startswith(b"/") else b"/" + path
        except ValueError as error:
            self._terms.statistics.malformed += 1
            raise _RefusedError(400, str(error)) from None

    async def _decide(self, target: Target) -> list[Address]:
        """The addresses it may be reached at: they are connected to as they are, not looked up again."""
        terms = self._terms
        if not terms.rules.permit(target):
            self._deny(target, "it is not on the list of this deployment")
        if not isinstance(target.host, str):
            found = [target.host]
        else:
            try:
                async with asyncio.timeout(terms.limits.connect_s):
                    found = await terms.resolve(target.host, target.port)
            except (OSError, UnicodeError, TimeoutError) as error:
                terms.statistics.failed += 1
                raise _RefusedError(502, f"no address of {target.host} could be found") from error
        permitted = [address for address in found if terms.rules.permit_address(address, target.port)]
        if not permitted:
            self._deny(target, "its address is not public", f"{found[:_MAX_ADDRESSES]}")
        terms.statistics.allowed += 1
        log.info("egress of %s: %s allowed, at %s", terms.sandbox, target, permitted[0])
        return list(dict.fromkeys(permitted))[:_MAX_ADDRESSES]

    def _deny(self, target: Target, why: str, unsaid: str = "") -> NoReturn:
        self._terms.statistics.denied += 1
        log.info("egress of %s: %s denied: %s %s", self._terms.sandbox, target, why, unsaid)
        raise _RefusedError(403, f"{target} may not be reached: {why}")

    async def _connect(self, addresses: list[Address], port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        failure: Exception | None = None
        for address in addresses:
            try:
                async with asyncio.timeout(self._terms.limits.connect_s):
                    return await asyncio.open_connection(str(address), port)
            except (OSError, TimeoutError) as error:
                failure = error
        self._terms.statistics.failed += 1
        raise _RefusedError(502, f"{self.target} cannot be reached") from failure

    # -------------------------------------------------------------------- the way through

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not isinstance(self._http.next_event(), h11.EndOfMessage):
            raise h11.RemoteProtocolError("CONNECT has no body")
        await self._say(h11.Response(status_code=200, headers=[]))
        early, _ = self._http.trailing_data
        self._count_out(len(early))
        writer.write(early)
        async with asyncio.timeout(self._terms.limits.idle_s) as idle, _both_ways() as both:
            both.create_task(self._copy(self._reader, writer, idle, self._count_out))
            both.create_task(self._copy(reader, self._writer, idle, self._count_in))

    async def _copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        idle: asyncio.Timeout,
        count: Callable[[int], None],
    ) -> None:
        while piece := await reader.read(_PIECE_BYTES):
            count(len(piece))
            writer.write(piece)
            await writer.drain()
            self._moved(idle)
        writer.write_eof()

    async def _forward(
        self, request: h11.Request, host: str, path: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        far = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)

        async def tell(event: h11.Event) -> None:
            data = far.send(event) or b""
            self._count_out(len(data))
            with contextlib.suppress(ConnectionError):  # it has heard enough: what it answers is what counts
                writer.write(data)
                await writer.drain()

        headers = [(b"host", host.encode()), (b"connection", b"close"), *_end_to_end(request.headers)]
        if any(name == b"transfer-encoding" for name, _ in request.headers):
            headers.append((b"transfer-encoding", b"chunked"))
        await tell(h11.Request(method=request.method, target=path, headers=headers))
        async with asyncio.timeout(self._terms.limits.idle_s) as idle, _both_ways() as both:
            sending = both.create_task(self._forward_body(tell, idle))
            await self._forward_answer(far, reader, idle)
            sending.cancel()

    async def _forward_body(self, tell: Callable[[h11.Event], Awaitable[None]], idle: asyncio.Timeout) -> None:
        if self._http.they_are_waiting_for_100_continue:
            await self._say(h11.InformationalResponse(status_code=100, headers=[]))
        while True:
            await _let_others_work()
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(_PIECE_BYTES))
                self._moved(idle)
            elif isinstance(event, h11.Data):
                await tell(h11.Data(data=event.data))
            elif isinstance(event, h11.EndOfMessage):
                await tell(h11.EndOfMessage())
                return
            else:
                raise ConnectionResetError("the sandbox closed in the middle of its request")

    async def _forward_answer(self, far: h11.Connection, reader: asyncio.StreamReader, idle: asyncio.Timeout) -> None:
        while True:
            await _let_others_work()
            try:
                event = far.next_event()
                if event is h11.NEED_DATA:
                    far.receive_data(piece := await reader.read(_PIECE_BYTES))
                    self._count_in(len(piece))
                    self._moved(idle)
                    continue
            except h11.RemoteProtocolError as error:
                raise _TargetError(f"{self.target} does not speak HTTP: {error}") from error
            if isinstance(event, h11.Response):
                headers = [*_end_to_end(event.headers), (b"connection", b"close")]
                await self._say(h11.Response(status_code=event.status_code, headers=headers, reason=event.reason))
            elif isinstance(event, h11.Data):
                await self._say(h11.Data(data=event.data))
            elif isinstance(event, h11.EndOfMessage):
                await self._say(h11.EndOfMessage())
                return
            elif not isinstance(event, h11.InformationalResponse):
                raise _TargetError(f"{self.target} closed the connection")

    async def _say(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)
            await self._writer.drain()

    def _moved(self, idle: asyncio.Timeout) -> None:
        idle.reschedule(asyncio.get_running_loop().time() + self._terms.limits.idle_s)

    def _count_out(self, size: int) -> None:
        self._terms.statistics.bytes_out += size
        self._terms.spend(size)

    def _count_in(self, size: int) -> None:
        self._terms.statistics.bytes_in += size
        self._terms.spend(size)


@contextlib.asynccontextmanager
async def _both_ways() -> AsyncIterator[asyncio.TaskGroup]:
    """A TaskGroup that fails with the first error, not with a group of one."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _let_others_work() -> None:
    """Before each event: one read may hold ten thousand chunks of a byte, and neither reading what is there nor writing
    where there is room waits."""
    await asyncio.sleep(0)


def _end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Without the host and what belongs to one hop, the headers named by ``Connection`` included. A length that a
    transfer encoding overrules is a lie that the next hop might believe."""
    headers = list(headers)
    dropped = set(_HOP_BY_HOP)
    for name, value in headers:
        if name == b"connection":
            dropped |= {word.strip().lower() for word in value.split(b",")}
        elif name == b"transfer-encoding":
            dropped.add(b"content-length")
    return [(name, value) for name, value in headers if name not in dropped]
