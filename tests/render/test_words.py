from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.render.words import text_of_html, words

PLOTLY = {
    "data": [
        {
            "type": "bar",
            "x": ["a", "b"],
            "y": {"dtype": "i1", "bdata": base64.b64encode(bytes(2)).decode()},
            "name": "n",
        },
        {"mode": "lines", "y": [1, 2, 3]},
    ],
    "layout": {"title": {"text": "Sales"}, "xaxis": {"title": {"text": "month"}}, "yaxis": {"title": "EUR"}},
}
VEGA_LITE = {
    "title": "Cars",
    "data": {"name": "data-1"},
    "datasets": {"data-1": [{"a": 1}] * 3},
    "layer": [
        {
            "mark": {"type": "bar"},
            "encoding": {"x": {"field": "a", "type": "quantitative"}, "y": {"aggregate": "count"}},
        },
        {"mark": "rule"},
    ],
}
TABLE = (
    "<style>x</style><table><tr><th></th><th>a</th></tr><tr><th>0</th><td>1</td></tr></table><p>1 rows × 1 columns</p>"
)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"text/plain": "   a\n0  1", "text/html": "<table>"}, "   a\n0  1\n"),
        ({"text/plain": "<IPython.core.display.Markdown object>", "text/markdown": "# Title\n*x*"},
         "# Title\n*x*\n"),
        ({"text/plain": "<IPython.core.display.HTML object>", "text/html": "<h1>A&amp;B</h1>x <b>y</b>"},
         "A&B\nx y\n"),
        ({"text/plain": "<IPython.core.display.Latex object>", "text/latex": "$x^2$"}, "$x^2$\n"),
        ({"text/plain": "<folium.folium.Map object at 0x7f>", "text/html": "<iframe></iframe>"},
         "[folium.folium.Map is shown, as text/html]\n"),
        ({"text/plain": "<pandas.io.formats.style.Styler object at 0x7f1b>", "text/html": TABLE},
         "|  | a |\n| --- | --- |\n| 0 | 1 |\n\n*1 rows × 1 columns*\n"),
        ({"text/plain": "<IPython.core.display.JSON object>", "application/json": {"é": [1]}}, '{"é": [1]}\n'),
        ({"image/png": "..."}, "[image/png]\n"),
        ({"image/png": base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x05\0\0\0\x07").decode()},
         "[image/png, 5x7]\n"),
        ({"image/svg+xml": "<svg/>", "text/plain": "<IPython.core.display.SVG object>"}, "[image/svg+xml]\n"),
        ({"text/plain": "<Figure size 64x48 with 1 Axes>", "image/png": "..."}, "<Figure size 64x48 with 1 Axes>\n"),
        ({"text/plain": "<__main__.Thing object at 0x7f1b2c>"}, "<__main__.Thing object at 0x7f1b2c>\n"),
        ({"text/plain": "<function f at 0x7f1b2c>"}, "<function f>\n"),
        ({"application/vnd.plotly.v1+json": PLOTLY, "text/plain": "Figure({...})"},
         "[plotly chart 'Sales', shown where plotly's JSON can be drawn]\n"
         "- bar 'n': x: 2 values, y: 2 values\n- scatter (lines): y: 3 values\naxes: x: month, y: EUR\n"),
        ({"application/vnd.vegalite.v5.json": VEGA_LITE, "text/plain": "If you see this message, ..."},
         "[Vega-Lite chart 'Cars']\n- bar of 3 rows: x: a, y: count\n- rule of 3 rows\n"),
        ({}, ""),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_shown_is_told_in_words(data: dict[str, Any], told: str) -> None:
    assert words(data) == told


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*VEGA_LITE, *PLOTLY, "x"]), inner),
    max_leaves=12,
)
MIMES = st.sampled_from(
    [
        "application/vnd.plotly.v1+json",
        "application/vnd.vegalite.v5.json",
        "text/plain",
        "text/html",
        "image/png",
        "a/b",
    ]
)


@given(st.dictionaries(MIMES, JSON))
def test_anything_may_be_shown(data: dict[str, Any]) -> None:
    assert isinstance(words(data), str)


@pytest.mark.parametrize("piece", ["<script", "<!--", "<style>", "</p", "<a href='", "&lt", "<" * 8, "</script  "])
def test_html_is_read_in_linear_time(piece: str) -> None:
    text_of_html(piece * (1 << 16))  # if it were quadratic, the test's time would be up


def test_what_a_browser_hides_is_no_text() -> None:
    assert text_of_html("<script>var x</script>a<!-- b --><style>c</style><br>d&nbsp;e<script>unfinished") == "a\nd e"
