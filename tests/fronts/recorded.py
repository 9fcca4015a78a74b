"""What front ends have sent, as test data: each of our answers, which are new in each run, is a place (pure).

A place stands where the text of the answer did, as the front end had kept it: whole, or trimmed. Of a front end's own
instructions and tools only the beginning is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.fronts.recorder import Exchange

FOLDER = Path(__file__).with_name("requests")
_TOOLS = 3
_DESCRIPTION_CHARS = 20
#: What tells a model how to make a title, before what it is made of.
_INSTRUCTIONS = re.compile(r"(?<=### Task:).*?(?=### (?:Output|Chat History))|(?<=### Examples:).*?(?=### )", re.DOTALL)
FRONTS = ("open_webui", "chainlit")


def placed(exchanges: Sequence[Exchange]) -> list[dict[str, Any]]:
    """The bodies, with places."""
    bodies = []
    for number, exchange in enumerate(exchanges):
        text = json.dumps(exchange.body)
        for place, earlier in enumerate(exchanges[:number]):
            for kept, mark in ((earlier.answer, "WHOLE"), (earlier.answer.strip(), "TRIMMED")):
                if kept.count("\n") > 2:
                    text = text.replace(json.dumps(kept)[1:-1], f"{mark}-ANSWER-{place:03}")
        bodies.append(_shortened(json.loads(text)))
    return bodies


def _shortened(told: Any, name: str = "") -> Any:
    match told:
        case dict():
            return {key: _shortened(value, key) for key, value in told.items()}
        case list():
            return [_shortened(value) for value in (told[:_TOOLS] if name == "tools" else told)]
        case str() if name == "description":
            return told[:_DESCRIPTION_CHARS]
        case str():
            return _INSTRUCTIONS.sub("\n", told)
    return told


def filled(body: dict[str, Any], answers: Sequence[str]) -> dict[str, Any]:
    """A body, with these answers in its places."""
    text = json.dumps(body)
    for place, answer in enumerate(answers):
        for kept, mark in ((answer, "WHOLE"), (answer.strip(), "TRIMMED")):
            text = text.replace(f"{mark}-ANSWER-{place:03}", json.dumps(kept)[1:-1])
    filled_body: dict[str, Any] = json.loads(text)
    return filled_body


def requests_of(front: str) -> list[dict[str, Any]]:
    bodies: list[dict[str, Any]] = json.loads((FOLDER / f"{front}.json").read_text())
    return bodies
