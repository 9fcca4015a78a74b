import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from app.render.open_ends import closer

PARSER = MarkdownIt("commonmark")
LINES = st.lists(
    st.sampled_from(
        ["```", "````py", "~~~", "  ```", "- ```", "> ```", "1. a", "   ```", "text", "", "<!-- x", "<pre>", "<div>",
         "</div>", "<script>", "<?php", "<![CDATA[", "<!DOCTYPE", "-->", "    code", "- - ~~~~", "[a]: b", "\t```"]
    ),
    max_size=8,
)  # fmt: skip


@given(LINES)
def test_a_paragraph_behind_it_is_one(lines: list[str]) -> None:
    text = "\n".join(lines)
    tokens = PARSER.parse(f"{text}{closer(text)}\n\n[//]: # (x)\n\nafter")
    assert (tokens[-2].content, tokens[-3].type, tokens[-3].level) == ("after", "paragraph_open", 0)


@pytest.mark.parametrize("text", ["", "Plain words", "```py\nx\n```", "- a\n- ```\n  x", "a `b", "1 < 2"])
def test_mostly_nothing_is_open(text: str) -> None:
    assert closer(text) == ""


def test_an_open_fence_is_closed_by_its_own_kind() -> None:
    assert closer("a\n~~~~ py\nx") == "\n~~~~"
