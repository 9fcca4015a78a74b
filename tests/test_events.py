"""The page of the endpoint names the events that there are."""

import re
from pathlib import Path
from typing import get_args

import msgspec

from app.events import AnyEvent

PAGE = Path(__file__).parents[1] / "docs" / "api" / "eager.md"


def test_every_event_is_in_the_documentation() -> None:
    listed = re.search(r"The answer is a stream of events,(.*?); their\s+fields and order", PAGE.read_text(), re.DOTALL)
    assert listed is not None
    known = {msgspec.inspect.type_info(event).tag for event in get_args(AnyEvent)}
    assert set(re.findall(r"`([a-z._]+)`", listed[1])) >= known
