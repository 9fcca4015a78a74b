"""The events of one answer, a batch for each network read, and the end of the answer, which has many forms."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from typing import Protocol

import aiohttp

from app.deadline import Deadline
from app.errors import UpstreamBroken, UpstreamUnreachable
from app.extraction.deltas import is_error
from app.redaction import KeyHider, without_addresses
from app.sse.decoder import EventTooLarge, ServerSentEvent, SSEDecoder
from app.upstream.allowance import Allowance, AnswerLimits
from app.upstream.odd_events import is_end, understood

MAX_ANSWER_BYTES = 32 * 1024 * 1024
#: Longest wait for the end of a response behind its last event.
DRAIN_S = 0.1
#: Of what has arrived at once, before others come in between: a hundred events, some 10 ms of work.
STEP_BYTES = 16 * 1024
#: Of an error, in the log.
MAX_LOGGED_CHARS = 2_000
#: ``OSError`` is what a socket says that no library has put into its own words.
NETWORK_ERRORS = (aiohttp.ClientError, OSError)

#: Some upstreams say in a text that there is no reason yet: ``""`` (SGLang, Ollama), ``"null"`` (KoboldCpp).
_FINISH = re.compile(r'"finish_reason"\s*:\s*"(?!(?:null)?")')


log = logging.getLogger(__name__)


class Connection(Protocol):
    """The body of one response, as it comes."""

    async def read(self) -> bytes:
        """What has arrived; waits for the first byte of it. Empty at the end.

        Raises:
            NETWORK_ERRORS: the connection was cut, or closed by us.
        """
        ...

    def close(self) -> None:
        """Close the connection, unless the response was read to its end. A read that waits fails."""
        ...


class Turns:
    """Answers that come faster than they are read take turns, so that many of them hold the loop no more than one."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def wait(self) -> None:
        """Until it is this answer's turn, and others have come in between."""
        async with self._lock:
            await asyncio.sleep(0)


class EventBatches:
    """Iterates over the data of the events of one answer, a list per network read, or several of a large one.
    ``[DONE]`` is not among them.

    ``deadline`` (of the loop's clock) is for the first byte. Then ``idle_timeout_s`` is the longest wait in one read;
    ``limits`` are for all of the answer. ``turns`` are those of the upstream's answers together.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        is_json: bool,
        deadline: float,
        idle_timeout_s: float,
        key: KeyHider | None = None,
        limits: AnswerLimits | None = None,
        turns: Turns | None = None,
    ) -> None:
        self._connection = connection
        self._turns = turns or Turns()
        self._key = key or KeyHider(None)
        self._idle_timeout_s = idle_timeout_s
        self._allowance = Allowance(limits or AnswerLimits())
        self._clock = asyncio.get_running_loop().time
        self._decoder = SSEDecoder(MAX_ANSWER_BYTES) if is_json else SSEDecoder()
        self._read_bytes = b""  # of which so many are decoded
        self._at = 0
        self._late = False
        self._begun = False
        self._whole = False  # a finish reason or [DONE] was seen
        self._done = False  # [DONE] was seen
        self._over = False
        self._silence = Deadline(self._give_up)
        self._silence.set(deadline - asyncio.get_running_loop().time())

    def __aiter__(self) -> AsyncIterator[list[str]]:
        return self

    async def __anext__(self) -> list[str]:
        while not self._over:
            if data := await self._next_piece():
                events = self._decode(data)
            else:
                self._over = True
                events = self._decoder.flush()
            if batch := self._take(events):
                self._allowance.note_events(batch)
                return batch
        if not self._whole:
            raise UpstreamBroken("the upstream ended its answer without a finish reason")
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._silence.close()
        try:
            if self._done:
                # The end of the response follows, and is mostly here already: the connection can be used again.
                async with asyncio.timeout(DRAIN_S):
                    await self._connection.read()
        except NETWORK_ERRORS:
            pass
        finally:
            self._connection.close()

    def _give_up(self) -> None:
        """Too long a silence closes the connection, and with it ends the read that waits."""
        self._late = True
        self._connection.close()

    async def _next_piece(self) -> bytes:
        """Of what was read, or is read now; none at the end."""
        if self._at == len(self._read_bytes):
            self._read_bytes, self._at = await self._read(), 0
            if len(self._read_bytes) <= STEP_BYTES:
                self._at = len(self._read_bytes)
                return self._read_bytes
        await self._turns.wait()
        piece = self._read_bytes[self._at : self._at + STEP_BYTES]
        self._at += len(piece)
        return piece

    async def _read(self) -> bytes:
        """The next bytes; none at the end. What goes wrong behind a finish reason is an end, too."""
        if self._begun:
            self._silence.set(self._idle_timeout_s)
        began_at = self._clock()
        try:
            data = await self._connection.read()
        except NETWORK_ERRORS as error:
            if self._late and not self._begun:
                raise too_late() from None
            if self._whole:
                return b""
            raise UpstreamBroken("the upstream stalled" if self._late else "the upstream cut the connection") from error
        self._silence.lift()  # the time until the next read is not the upstream's
        # The wait for the first byte has a limit of its own.
        self._allowance.note_bytes(len(data), self._clock() - began_at if self._begun else 0.0)
        self._begun = True
        return data

    def _decode(self, data: bytes) -> list[ServerSentEvent]:
        try:
            return self._decoder.feed(data)
        except EventTooLarge as error:
            raise UpstreamBroken(f"the upstream's stream cannot be read: {error}") from error

    def _take(self, events: list[ServerSentEvent]) -> list[str]:
        """The events that are data, up to the end."""
        batch = []
        for event, data in events:
            if event is not None or '"delta"' not in data:  # no chunk as most are
                if is_end(data):
                    self._whole = self._done = self._over = True
                    break
                data = understood(data, event)
            if data:
                batch.append(self._without_secrets(data) if '"error"' in data else data)
                self._whole = self._whole or _FINISH.search(data) is not None
        return batch

    def _without_secrets(self, data: str) -> str:
        """Errors may quote the key, and name machines. What the model says is left as it is: many a key is a word
        (``sk-no-key-required``)."""
        if not is_error(data):
            return data
        data = self._key.hide(data)
        told = without_addresses(data, public_urls=True)
        if told != data:
            log.warning("an error of the upstream, of which its client is not told all: %s", data[:MAX_LOGGED_CHARS])
        return told


def too_late() -> UpstreamUnreachable:
    return UpstreamUnreachable("the upstream did not begin to answer in time", timed_out=True)
