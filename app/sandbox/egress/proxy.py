"""The egress proxy: what an operator lets sandboxes reach, and nothing else.

    code ──▶ 127.0.0.1:3128 in the sandbox's own network namespace ══▶ gateway: rules, name, address ──▶ the target

A sandbox has no network. Its supervisor has opened a listener on its loopback and handed it to us
(sandbox_image/egress.py): we accept what connects there. One ``Exit`` serves one sandbox and ends with it; each
connection carries one request (exchange.py).

What a sandbox can cost is bounded: connections at once, and how fast they follow each other (beyond that its own
``connect`` waits), bytes in both directions, time. Names are looked up in threads of their own, for a flood of slow
names must not keep the gateway's other lookups waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import ip_address
from typing import Final

from app.errors import SandboxStartError
from app.sandbox.egress.exchange import (
    BudgetExhaustedError,
    EgressLimits,
    EgressStatistics,
    Resolve,
    Terms,
    exchange,
)
from app.sandbox.egress.rules import Address, Rules
from sandbox_image.egress import GREETING

log = logging.getLogger(__name__)

DEFAULT_LIMITS: Final = EgressLimits()

_HAND_OVER_TIMEOUT_S: Final = 10.0
_RESOLVER_THREADS: Final = 8
#: When the process has no descriptor left.
_BREATHER_S: Final = 1.0


class Egress:
    """The proxy of one gateway: what its sandboxes share.

    Args:
        rules: of owners that have none of their own, and of sandboxes that nobody has yet.
        rules_of: those of one owner.
        resolve: (name, port) -> addresses; raises OSError. For tests; the default asks the system.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        limits: EgressLimits = DEFAULT_LIMITS,
        rules_of: Callable[[str], Rules | None] = lambda owner: None,
        resolve: Resolve | None = None,
    ) -> None:
        self.rules = rules
        self._rules_of = rules_of
        self._exits: dict[str, Exit] = {}
        self.limits = limits
        self.resolve = resolve or self._ask_system
        self.statistics = EgressStatistics()
        self._threads = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="egress-names")

    def __repr__(self) -> str:
        return f"<Egress {self.statistics.open} connections>"

    async def open(self, sandbox: str, control: socket.socket) -> Exit:
        """Take the listener that the supervisor sends before its first frame, and serve it.

        Raises:
            SandboxStartError: it sends something else, or nothing in time.
        """
        try:
            async with asyncio.timeout(_HAND_OVER_TIMEOUT_S):
                listener = await _receive_listener(control)
        except TimeoutError:
            raise SandboxStartError("the sandbox did not hand over its way out in time") from None
        way_out = self._exits[sandbox] = Exit(self, sandbox, listener)
        return way_out

    def assign(self, sandbox: str, owner: str) -> None:
        """From now on the sandbox reaches what its owner may."""
        way_out, rules = self._exits.get(sandbox), self._rules_of(owner)
        if way_out is not None and rules is not None:
            way_out.follow(rules)

    def forget(self, sandbox: str) -> None:
        """It is gone."""
        self._exits.pop(sandbox, None)

    def close(self) -> None:
        """After the last sandbox."""
        self._threads.shutdown(wait=False)

    async def _ask_system(self, name: str, port: int) -> list[Address]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        )
        return [ip_address(entry[4][0]) for entry in found]


class Exit:
    """The way out of one sandbox."""

    def __init__(self, egress: Egress, sandbox: str, listener: socket.socket) -> None:
        self._egress = egress
        self._sandbox = sandbox
        self._listener = listener
        self._limits, self._statistics = egress.limits, egress.statistics
        self._bytes_left = egress.limits.bytes
        self._terms = Terms(sandbox, egress.rules, egress.limits, egress.resolve, egress.statistics, self._spend)
        self._accepted: set[socket.socket] = set()  # whose tasks have not begun: cancelled, these never do
        self._slots = asyncio.Semaphore(egress.limits.connections)
        self._serving = asyncio.create_task(self._serve())

    def __repr__(self) -> str:
        return f"<Exit of {self._sandbox}: {self._bytes_left} bytes left>"

    def follow(self, rules: Rules) -> None:
        """For connections that come from now on."""
        self._terms = replace(self._terms, rules=rules)

    async def close(self) -> None:
        """End all that goes through. Idempotent."""
        self._egress.forget(self._sandbox)
        self._serving.cancel()
        try:
            await asyncio.wait([self._serving])
        finally:
            for sock in (self._listener, *self._accepted):
                sock.close()

    def _spend(self, size: int) -> None:
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise BudgetExhaustedError(f"the sandbox has moved {self._limits.bytes} bytes, which is its limit")

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as connections:
            while True:
                await self._slots.acquire()
                try:
                    connection, _ = await loop.sock_accept(self._listener)
                except ConnectionAbortedError:
                    self._slots.release()
                except OSError:
                    log.exception("the egress proxy of %s cannot accept", self._sandbox)
                    self._slots.release()
                    await asyncio.sleep(_BREATHER_S)
                else:
                    self._accepted.add(connection)
                    connections.create_task(self._handle(connection))

    async def _handle(self, connection: socket.socket) -> None:
        self._accepted.discard(connection)
        loop = asyncio.get_running_loop()
        until = loop.time() + self._limits.least_s
        self._statistics.connections += 1
        self._statistics.open += 1
        try:
            await exchange(self._terms, connection)
        except Exception:  # one connection must not end the others
            log.exception("the egress proxy of %s has failed", self._sandbox)
        finally:
            self._statistics.open -= 1
            loop.call_at(until, self._slots.release)


async def _receive_listener(control: socket.socket) -> socket.socket:
    loop = asyncio.get_running_loop()
    control.setblocking(False)
    readable = asyncio.Event()
    loop.add_reader(control, readable.set)
    try:
        await readable.wait()
        data, fds, _, _ = socket.recv_fds(control, len(GREETING), 4, socket.MSG_CMSG_CLOEXEC)
    except OSError as error:
        raise SandboxStartError(f"the sandbox's stream failed: {error}") from error
    finally:
        loop.remove_reader(control)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(fileno=fd)) for fd in fds]  # of our own supervisor: sockets
        if data != GREETING or len(sockets) != 1 or not _is_listener(sockets[0]):
            raise SandboxStartError("the sandbox handed over no way out")
        stack.pop_all()
    sockets[0].setblocking(False)
    return sockets[0]


def _is_listener(sock: socket.socket) -> bool:
    return (
        sock.family == socket.AF_INET
        and sock.type == socket.SOCK_STREAM
        and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    )
