"""The states of a sandbox, and which of the things it says leads from one to the other (pure).

starting ──ready──▶ idle ──execute──▶ executing ──done──▶ idle
                     │                    │ stop (timeout, output limit, interrupt, cancelled call)
                     │                    ▼
                     │                stopping ──done──▶ idle
                     │                    │ not ended after grace_s
                     ▼                    ▼
  reset()  ───▶  resetting  ◀─────────────┘      (``reset`` was sent; whatever is said before its ``lost`` is late)
                     │ lost
                     ▼
                 recovering ──ready──▶ idle      (also from idle, executing, stopping, when the interpreter dies)

any state ── violation, end of stream, or nothing heard when a timer of stopping/resetting/recovering fires ──▶ dead
"""

from __future__ import annotations

import enum
from typing import Final

from sandbox_image.protocol import ProtocolError


class State(enum.Enum):
    STARTING = "starting"
    IDLE = "idle"
    EXECUTING = "executing"
    STOPPING = "stopping"
    RESETTING = "resetting"
    RECOVERING = "recovering"
    DEAD = "dead"


#: (state, what the sandbox says) -> next state. Whatever is not here is a violation. "reset" is a ``lost`` with that
#: reason; "lost before" one that does not name the execution in flight (worker.py, rule 6).
TRANSITIONS: Final[dict[tuple[State, str], State]] = {
    (State.STARTING, "step"): State.STARTING,
    (State.STARTING, "ready"): State.IDLE,
    (State.IDLE, "lost"): State.RECOVERING,
    (State.EXECUTING, "say"): State.EXECUTING,
    (State.EXECUTING, "done"): State.IDLE,
    (State.EXECUTING, "lost"): State.RECOVERING,
    (State.EXECUTING, "lost before"): State.RESETTING,
    (State.STOPPING, "say"): State.STOPPING,
    (State.STOPPING, "done"): State.IDLE,
    (State.STOPPING, "lost"): State.RECOVERING,
    (State.STOPPING, "lost before"): State.RESETTING,
    (State.RESETTING, "say"): State.RESETTING,
    (State.RESETTING, "done"): State.RESETTING,
    (State.RESETTING, "lost"): State.RESETTING,
    (State.RESETTING, "ready"): State.RESETTING,
    (State.RESETTING, "reset"): State.RECOVERING,
    (State.RECOVERING, "ready"): State.IDLE,
}
#: States in which something must be heard for anything to go on.
HURRIED: Final = frozenset({State.STARTING, State.STOPPING, State.RESETTING, State.RECOVERING})


def next_state(state: State, event: str) -> State:
    """
    Raises:
        ProtocolError: the sandbox may not say this now.
    """
    following = TRANSITIONS.get((state, event))
    if following is None:
        raise ProtocolError(f"{event!r} in state {state.value}")
    return following
