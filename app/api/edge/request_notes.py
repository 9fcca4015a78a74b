"""What is noted of a request while it runs, for those that it passes on its way back."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import Scope


@dataclass(slots=True)
class RequestNotes:
    """
    Attributes:
        code_ran: a statement has run, so that a retry would run it again.
        failed: an answer that had begun ended with an error, which its status does not tell.
        counted: its end is in the metrics.
    """

    code_ran: bool = False
    failed: bool = False
    counted: bool = False


def notes_of(scope: Scope) -> RequestNotes:
    """Of the request of this ASGI scope."""
    notes: RequestNotes = scope.setdefault("state", {}).setdefault("notes", RequestNotes())
    return notes
