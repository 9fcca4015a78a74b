from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from app.render.fenced import FencedText

PARSER = MarkdownIt("commonmark")
#: What fences are made of, and what ends lines.
TEXTS = st.text(alphabet="`~ \t\nab\r<>#-|[]\x00\x1b\u2028", max_size=60)


def shown(fragments: list[str]) -> str:
    fence = FencedText("python")
    return fence.open() + "".join(fence.feed(fragment) for fragment in fragments) + fence.close()


def lines(text: str) -> list[str]:
    """Of a text as it is shown: one kind of line end, and no control characters."""
    text = text.replace("\r\n", "\n")
    for end in "\r\u2028":
        text = text.replace(end, "\n")
    return text.replace("\x00", "\ufffd").replace("\x1b", "\u241b").split("\n")


@given(st.lists(TEXTS, max_size=6))
def test_a_parser_finds_the_text_in_fences_and_nothing_else(fragments: list[str]) -> None:
    tokens = PARSER.parse(shown(fragments) + "\n\nafter\n")
    *blocks, opening, inline, closing = tokens
    assert (opening.type, inline.content, closing.type) == ("paragraph_open", "after", "paragraph_close")
    assert {(token.type, token.info) for token in blocks} == {("fence", "python")}
    found = "".join(token.content for token in blocks)
    assert found.rstrip("\n").split("\n") == "\n".join(lines("".join(fragments))).rstrip("\n").split("\n")


@given(TEXTS)
def test_every_split_says_the_same(text: str) -> None:
    whole = shown([text])
    assert {shown([text[:at], text[at:]]) for at in range(len(text) + 1)} == {whole}
    assert shown(list(text)) == whole


def test_plain_text_passes_as_it_comes() -> None:
    fence = FencedText("")
    assert [fence.feed(text) for text in ("a `b`", " c\n", "  d")] == ["a `b`", " c\n", "  d"]


def test_a_line_that_would_close_the_block_begins_a_longer_fence() -> None:
    assert shown(["a\n```\nb"]) == "```python\na\n```\n\n````python\n```\nb\n````"


def test_a_file_of_backticks_is_read_in_one_pass() -> None:
    fence = FencedText("")
    assert len("".join(fence.feed("`") for _ in range(100_000)) + fence.close()) < 400_000
