"""How much one answer of an upstream may be: bytes, events, seconds, and seconds in which it says nothing.

Keep-alives, comments, empty deltas and reports of usage are bytes and events, but they say nothing. Time counts only
while the upstream is waited for: a slow client, or code that runs, is not its doing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.errors import UpstreamBroken

#: Some text, or a name, anywhere in what an event adds.
_SAYS = re.compile(
    r'"(?:content|reasoning\w*|thinking|refusal|text|arguments|input|name|signature|data|url)"\s*:\s*"(?!")'
)
_DELTA: Final = '"delta"'
#: Events are looked into only after so long without one that says something.
_LOOK_AFTER_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """``bytes`` count as they are after decompression. ``silence_s`` is the longest time without any new text."""

    bytes: int = 128 * 1024 * 1024
    events: int = 1_000_000
    seconds: float = 3_600
    silence_s: float = 600


class Allowance:
    """What of its limits one answer has used up."""

    def __init__(self, limits: AnswerLimits) -> None:
        self._limits = limits
        self._bytes = self._events = 0
        self._waited_s = self._quiet_s = 0.0

    def __repr__(self) -> str:
        return f"<Allowance {self._bytes} bytes, {self._events} events, {self._waited_s:.1f} s>"

    def note_bytes(self, count: int, waited_s: float) -> None:
        """So many came, after so long a wait.

        Raises:
            UpstreamBroken: that is more than one answer may be.
        """
        self._bytes += count
        self._waited_s += waited_s
        self._quiet_s += waited_s
        limits = self._limits
        if self._bytes > limits.bytes:
            raise UpstreamBroken(f"the upstream's answer is longer than {limits.bytes} bytes")
        if self._waited_s > limits.seconds:
            raise UpstreamBroken(f"the upstream's answer takes longer than {limits.seconds:g} s")
        if self._quiet_s > limits.silence_s:
            raise UpstreamBroken(f"the upstream has said nothing for {limits.silence_s:g} s")

    def note_events(self, events: Sequence[str]) -> None:
        """They are what of the answer is handed on.

        Raises:
            UpstreamBroken: that is more than one answer may be.
        """
        self._events += len(events)
        if self._events > self._limits.events:
            raise UpstreamBroken(f"the upstream's answer has more than {self._limits.events} events")
        if self._quiet_s > _LOOK_AFTER_S and any(_says_something(data) for data in events):
            self.note_text()

    def note_text(self) -> None:
        """What came says something."""
        self._quiet_s = 0.0


def _says_something(data: str) -> bool:
    """What stands before its delta is the same in every chunk."""
    return _SAYS.search(data, max(data.find(_DELTA), 0)) is not None
