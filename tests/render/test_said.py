from __future__ import annotations

import pytest

from app.render.said import Said
from tests.render.told import PARSER


@pytest.mark.parametrize(
    "latex",
    ["$x^2$", "$$\\frac{a}{b}$$", "$\\displaystyle \\left[\\begin{matrix}1 & 2\\end{matrix}\\right]$", "2x_1 = y"],
)
def test_a_formula_is_shown_as_one(latex: str) -> None:
    shown = Said().value({"text/latex": latex}, ())
    inner = latex.strip("$").removeprefix("\\displaystyle ")
    assert shown == f"\n\n$$\n{inner}\n$$"


@pytest.mark.parametrize(
    "latex",
    [
        *(
            "$![x](http://foreign.example/1)$",
            "$![x][y]$",
            "$[x](javascript:y)$",
            "$<img src=x>$",
            "$http://foreign.example$",
        ),
        *(
            "$\\href{javascript:x}{y}$",
            "$\\includegraphics{http://foreign.example}$",
            "$\\htmlClass{x}{y}$",
            "$www.x.example$",
        ),
        *("$~~~$", "$===$", "$---$", "$# x$", "$- x$", "$1. x$", "$***$", "$a\n\nb$", "$`x`$"),
    ],
)
def test_what_is_more_than_a_formula_to_anybody_is_shown_as_text(latex: str) -> None:
    shown = Said()
    text = shown.value({"text/latex": latex}, ()) + shown.end_text()
    (fence,) = PARSER.parse(text)
    assert (fence.type, fence.content.strip()) == ("fence", latex)
