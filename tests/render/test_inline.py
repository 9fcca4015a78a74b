import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from app.render.inline import code_span, escaped, one_line, size

PARSER = MarkdownIt("gfm-like", {"linkify": False})
TEXTS = st.text(alphabet="`*_[]()<>&|!~#$\\ab1. \n\u202e\u200b:/@'\"=-+", max_size=40)


@given(TEXTS)
def test_escaped_text_is_text(text: str) -> None:
    html = PARSER.renderInline(f"x{escaped(text)}x")
    assert "<" not in html
    assert MarkdownIt().parseInline(f"x{escaped(text)}x")[0].children is not None
    assert _plain(f"x{escaped(text)}x") == f"x{one_line(text)}x"


@given(TEXTS)
def test_a_code_span_holds_the_line(text: str) -> None:
    (inline,) = PARSER.parseInline(code_span(text))
    children = inline.children or []
    assert [child.type for child in children] == ["code_inline"]
    assert children[0].content.strip() == one_line(text)


def _plain(markdown: str) -> str:
    (inline,) = PARSER.parseInline(markdown)
    assert {child.type for child in inline.children or ()} <= {"text", "text_special"}
    return "".join(child.content for child in inline.children or ())


def test_what_turns_the_direction_of_writing_is_left_out() -> None:
    assert one_line("invoice\u202egpj.exe\r\n\x00next") == "invoice gpj.exe next"
    assert len(one_line("a" * 1000)) == 300


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2_000_000, "2.0 MB"), (3 * 10**12, "3000.0 GB")],
)
def test_sizes(count: int, told: str) -> None:
    assert size(count) == told
