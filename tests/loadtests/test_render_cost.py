from __future__ import annotations

import pytest

from app.events import Token
from app.render.code_blocks import Style
from loadtests import render_cost
from loadtests.render_cost import STYLES, RenderCost, render_table


@pytest.mark.parametrize("style", STYLES)
def test_what_is_measured_is_an_answer_with_code_and_output_in_its_text(style: Style) -> None:
    answer = render_cost._answer(style)
    shown = [shown for event in render_cost._events() for shown in answer.feed(event)]
    text = "".join(event.text for event in shown if isinstance(event, Token) and event.channel == "content")
    assert text.count("compute(") == 60
    assert text.count("is done") == 10


def test_a_row_tells_what_rendering_adds() -> None:
    row = RenderCost(style="markdown", streams=64, added_us=3.84, plain_us=0.61)
    assert render_table([row]).splitlines()[2] == "| markdown | 64 | 0.6 | 3.8 |"
