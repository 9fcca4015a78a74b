"""The life of one sandbox: from its start through resets to its death.

Nothing outside this file assigns ``state``; ``dead`` is final. Timers, not tasks, drive the escalation interrupt ->
reset -> dead, so it depends neither on slow sinks nor on who is cancelled. Death only closes the stream and tells the
owner (``on_death``). The owner calls ``close()``, which kills.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Final, Self

from app.errors import SandboxError, SandboxGone, SandboxSilent, SandboxStartError
from app.sandbox.worker.messages import Ready, Step
from app.sandbox.worker.states import State, next_state
from app.sandbox.worker.transport import Channel
from sandbox_image.protocol import CONTROL, PROTOCOL_VERSION, ProtocolError, encode_message

#: Of one start: each module is one.
_MAX_STEPS: Final = 1000


class Life(ABC):
    """
    Attributes:
        on_death: called in the moment of death, from a callback: it must not wait.
        on_closed: called once ``kill`` has been tried.
    """

    def __init__(
        self, channel: Channel, *, id: str, kill: Callable[[], Awaitable[None]], reset_s: float, ready_s: float
    ) -> None:
        self.on_death: Callable[[Self], None] | None = None
        self.on_closed: Callable[[Self], None] | None = None
        self._id = id
        self._channel = channel
        self._kill = kill
        self._reset_s, self._ready_s = reset_s, ready_s
        self._state = State.STARTING
        self._ready: Ready | None = None
        self._has_interpreter = asyncio.Event()
        self._step, self._steps = "", 0  # of its start
        self._waiting_for_steps: tuple[asyncio.Timeout, float] | None = None
        self._timer: asyncio.TimerHandle | None = None  # of the escalation
        self._death: str | None = None
        self._closing = asyncio.Lock()
        self._killed = False

    @abstractmethod
    def _is_abandoned(self) -> bool:
        """A caller that was cancelled waits for us."""

    @abstractmethod
    def _on_change(self) -> None:
        """The state is another one."""

    @abstractmethod
    def _settle(self) -> None:
        """Nothing runs any more: it is idle, or dead."""

    @property
    def id(self) -> str:
        return self._id

    @property
    def state(self) -> State:
        return self._state

    @property
    def python_version(self) -> tuple[int, int]:
        assert self._ready is not None, "wait_ready() comes first"
        return self._ready.python[0], self._ready.python[1]

    @property
    def languages(self) -> tuple[str, ...]:
        assert self._ready is not None, "wait_ready() comes first"
        return tuple(self._ready.languages)

    @property
    def death(self) -> str | None:
        """Why it is dead, or None while it lives."""
        return self._death

    async def wait_ready(self, timeout_s: float) -> None:
        """Wait for an interpreter that can be given code. While the sandbox starts, the time counts from the latest
        step that it has told.

        Raises:
            SandboxSilent: the first one did not come in time.
            SandboxStartError: the sandbox died before.
            SandboxGone: the same, later in its life.
        """
        error: type[SandboxError] = SandboxGone if self._ready else SandboxStartError
        try:
            async with asyncio.timeout(timeout_s) as limit:
                self._waiting_for_steps = limit, timeout_s
                await self._has_interpreter.wait()
        except TimeoutError:
            error = SandboxGone if self._ready else SandboxSilent
            behind = f" behind '{self._step}'" if self._step else ""
            self._die(f"not ready: it said nothing for {timeout_s:g} s{behind}")
        finally:
            self._waiting_for_steps = None
        if self._death is not None:
            raise error(f"sandbox {self._id}: {self._death}")

    async def reset(self) -> None:
        """Kill the interpreter and all it started; a fresh one takes over. Running code ends with ``lost``."""
        self._check_alive()
        self._force_reset()
        await self.wait_ready(self._ready_s)

    async def close(self: Self) -> None:
        """Kill the sandbox. A second call waits for the first, and does what that left undone."""
        self._die("closed")
        async with self._closing:
            if not self._killed:
                try:
                    await self._kill()
                    self._killed = True
                finally:
                    if self.on_closed is not None:
                        self.on_closed(self)

    def give_up(self, why: str) -> None:
        """It cannot be reached any more, whatever its stream says: it is dead from now on."""
        self._die(why)

    def _on_ready(self, message: Ready) -> None:
        if message.protocol != PROTOCOL_VERSION:
            raise ProtocolError(f"it speaks version {message.protocol}, we {PROTOCOL_VERSION}")
        self._ready = message
        self._follow("ready")

    def _on_step(self, step: Step) -> None:
        self._follow("step")
        self._step = step.what
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise ProtocolError(f"more than {_MAX_STEPS} steps of its start")
        if self._waiting_for_steps is not None:
            limit, silence_s = self._waiting_for_steps
            limit.reschedule(asyncio.get_running_loop().time() + silence_s)

    def _follow(self, event: str) -> None:
        """Take the transition that something said by the sandbox leads to.

        Raises:
            ProtocolError: there is none.
        """
        state = next_state(self._state, event)
        self._enter(state)
        if state is State.IDLE:
            self._settle()

    def _enter(self, state: State) -> None:
        if state is self._state:
            return
        self._state = state
        if self._timer is not None and state in (State.IDLE, State.DEAD):
            self._timer.cancel()
            self._timer = None
        if state in (State.RESETTING, State.RECOVERING):
            self._has_interpreter.clear()
        else:
            self._has_interpreter.set()
        self._on_change()

    def _force_reset(self) -> None:
        if self._state not in (State.RESETTING, State.RECOVERING):
            self._enter(State.RESETTING)
            self._send_control({"op": "reset"})
        self._arm(self._patience_s(), self._die, "it does not answer a reset")

    def _expect_interpreter(self) -> None:
        """The supervisor is to fork a new one."""
        self._arm(self._patience_s(), self._die, "no new interpreter in time")

    def _patience_s(self) -> float:
        """How long a new interpreter may take."""
        return self._reset_s if self._is_abandoned() else self._ready_s

    def _arm(self, delay_s: float, step: Callable[..., None], *arguments: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, step, *arguments)

    def _send_control(self, message: dict[str, Any]) -> None:
        self._channel.send(encode_message(CONTROL, message))

    def _check_alive(self) -> None:
        if self._death is not None:
            raise SandboxGone(f"sandbox {self._id} is gone: {self._death}")

    def _die(self: Self, why: str) -> None:
        if self._death is not None:
            return
        self._death = why
        self._enter(State.DEAD)
        self._channel.abort(why)
        self._settle()
        if self.on_death is not None:
            self.on_death(self)
