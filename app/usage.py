"""What the request that is being served has used, and where its executions are told. Whoever learns of some adds it;
who admitted the request reads it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class ExecutionRecord:
    """One execution.

    Attributes:
        key: name of the API key.
        request: the request's id.
        session: name of the kept session, empty if the sandbox is thrown away.
        sandbox: the sandbox's own id.
        sha256: of the statements that were sent, one behind the other, in UTF-8.
        seconds: of wall time.
        outcome: as of an ``Execution``; ``interrupted`` also if its client has left, ``failed`` if the sandbox has.
    """

    key: str
    request: str
    session: str
    sandbox: str
    language: str
    sha256: str
    seconds: float
    outcome: str


OnExecution: TypeAlias = Callable[[ExecutionRecord], None]


def forget(record: ExecutionRecord) -> None:
    """Nobody asks."""


@dataclass(slots=True)
class Used:
    """
    Attributes:
        tokens: of prompts and answers, as upstreams tell them; estimated where they do not.
        cpu_s: of its code.
        meters_cpu: somebody wants to know ``cpu_s``, which costs a question to the sandbox.
    """

    key: str = ""
    request: str = ""
    tokens: int = 0
    cpu_s: float = 0.0
    meters_cpu: bool = False
    on_execution: OnExecution = forget


_current: ContextVar[Used | None] = ContextVar("used", default=None)


def used_by_request() -> Used:
    """What this request has used so far; something that nobody reads outside of requests."""
    return _current.get() or Used()


def begin_counting(used: Used) -> None:
    """From now on, in this task and those it starts."""
    _current.set(used)
