from typing import Any

import pytest

from app.detection.prompts import PromptedDetector
from app.detection.python import PythonDetector
from app.extraction.arguments import CodeArguments
from app.extraction.assistant_message import AssistantMessage
from app.extraction.fence import FenceReader
from app.extraction.half_characters import HalfCharacters
from app.extraction.json_object import JsonObject
from app.extraction.json_string import JsonString
from app.extraction.object_extent import ObjectExtent
from app.extraction.python_strings import PythonStrings
from app.extraction.repetition import Repetition
from app.extraction.tags import TagReader
from app.extraction.thoughts import WithoutThoughts
from app.extraction.tool_calls import ToolCallAssembler
from app.extraction.turn import TurnReader
from app.sse.decoder import SSEDecoder


@pytest.mark.parametrize(
    "core",
    [
        SSEDecoder(), CodeArguments(), FenceReader(), HalfCharacters(), JsonObject(), JsonString(), ObjectExtent(),
        PythonStrings(), AssistantMessage(), Repetition("{}"), TagReader(), ToolCallAssembler(str),
        TurnReader(new_id=str), WithoutThoughts(),
        PromptedDetector(PythonDetector((3, 11))),
    ],
    ids=lambda core: type(core).__name__,
)  # fmt: skip
def test_a_core_shows_what_it_is_doing(core: Any) -> None:
    shown = repr(core)
    assert shown.startswith(f"<{type(core).__name__} ")
    assert " object at 0x" not in shown
