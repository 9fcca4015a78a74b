import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.extraction.fence import (
    MAX_CONTAINERS,
    MAX_CUTS,
    FenceReader,
    SnippetEnd,
    SnippetEvent,
    SnippetStart,
    SnippetText,
    first_word,
)
from tests.extraction.splits import cut_lists, pieces, plain_splits


def blocks(events: list[SnippetEvent]) -> list[str]:
    """The code of each block; checks that starts and ends alternate."""
    found: list[str] = []
    is_open = False
    for event in events:
        match event:
            case SnippetStart():
                assert not is_open
                is_open = True
                found.append("")
            case SnippetText(text):
                assert is_open
                assert text
                found[-1] += text
            case SnippetEnd():
                assert is_open
                is_open = False
    assert not is_open
    return found


def read(fragments: list[str]) -> list[str]:
    reader = FenceReader()
    events = [event for fragment in fragments for event in reader.feed(fragment)]
    return blocks(events + reader.flush())


CASES = {
    "plain": ("a\n```python\nx\n```\nb", ["x\n"]),
    "not closed": ("```python\nx", ["x"]),
    "empty": ("```py\n```\n", [""]),
    "never begun": ("```python", [""]),
    "tildes": ("~~~py\nx\n```\n~~~\n", ["x\n```\n"]),
    "longer": ("````python\n```\n````\n", ["```\n"]),
    "closed by a longer one": ("```python\nx\n`````  \ny", ["x\n"]),
    "text behind the closing fence": ("```python\nx\n``` y\n```\n", ["x\n``` y\n"]),
    "inline": ("```python print() ```\nx\n", []),
    "inline ticks before": ("`a` ```python\nx\n", []),
    "attributes": ('```python title="a b.py" {1,3}\nx\n```\n', ["x\n"]),
    "braces": ("```{.Python .x}\na\n```\n```{python}\nb\n```\n", ["a\n", "b\n"]),
    "tool_code": ("```tool_code\nx\n```\n", ["x\n"]),
    "other languages": ("```text\nx\n```\n```pycon\n>>> x\n```\n```\nx\n```\n```python-repl\nx\n```\n", []),
    "fence in another": ("````markdown\n```python\nx\n```\n````\n", []),
    "windows newlines": ("```python\r\nx\r\n```\r\n", ["x\r\n"]),
    "indented": ("  ```python\n  x\n   y\n z\n  ```\n", ["x\n y\nz\n"]),
    "indented too far": ("a\n\n    ```python\n    x\n", []),
    "closing indented too far": ("```python\n    ```\n```\n", ["    ```\n"]),
    "in a list": ("1. a\n   ```python\n   if x:\n       y\n\n   z\n   ```\n2. b\n", ["if x:\n    y\n\nz\n"]),
    "in a nested list": ("- a\n  - b\n\n    ```python\n    x\n    ```\n", ["x\n"]),
    "in a loose item": ("10. a\n\n    ```python\n    x\n    ```\n", ["x\n"]),
    "item is over": ("- ```python\n  x\ny\n", ["x\n"]),
    "on the line of the marker": ("- ```python\n  x\n  ```\n", ["x\n"]),
    "in a quote": ("> a\n> ```python\n> x\n>  y\n> ```\nb\n", ["x\n y\n"]),
    "quote without spaces": (">```python\n>x\n>```\n", ["x\n"]),
    "quote is over": ("> ```python\n> x\ny\n", ["x\n"]),
    "behind a lazy line": ("10. a\nlazy\n    ```python\n    x\n    ```\n", ["x\n"]),
    "tabs in the code": ("```python\n\tx\n\t\ty\n```\n", ["\tx\n\t\ty\n"]),
    "tab cut by the indent": ("  ```python\n\tx\n  ```\n", ["  x\n"]),
    "tabs in a list": ("-\t```python\n\tx\n\t\ty\n\t```\n", ["x\n\ty\n"]),
    "tab in a quote": ("> ```python\n>\tx\n> ```\n", ["  x\n"]),
    "line with too few columns": ("   ```python\n\t\n x\n   ```\n", [" \nx\n"]),
    "second item cannot interrupt a paragraph": ("a\n2. ```python\n   x\n", []),
    "behind an underlined heading": ("a\n==\n2. ```python\n   x\n", ["x\n"]),
    "tab that is too short": ("1000. ```python\n\t\n      x\n", ["\nx\n"]),
    "empty item": ("- \n  ```python\n  x\n  ```\n", ["x\n"]),
    "indented code in an item": ("-     ```python\n", []),
    "two": ("```python\na\n```\n```py\nb\n```", ["a\n", "b\n"]),
    "fence in an open string": ("```python\ns = '''\n```\na\n'''\nb\n```\nc\n", ["s = '''\n```\na\n'''\nb\n"]),
    "two fences in an open string": ("```python\ns = '''\n```\n```\n'''\n```\n", ["s = '''\n```\n```\n'''\n"]),
    "string never closed": ("```python\ns = '''\n```\na\n```python\nb\n```\n", ["s = '''\n", "b\n"]),
    "string never closed, in a list": ("- ```python\n  s = '''\n  ```\n  a\n\nb\n```py\nc\n", ["s = '''\n", "c\n"]),
    "string closed in another block": (
        "```python\ns='''\n```\n```python\nt='''\n```\n",
        ["s='''\n```\n```python\nt='''\n"],
    ),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES.keys())
def test_blocks(text: str, expected: list[str]) -> None:
    for fragments in plain_splits(text):
        assert read(fragments) == expected


@given(st.lists(st.sampled_from(list(CASES.values())), min_size=1, max_size=3), cut_lists)
def test_any_cut_gives_the_same_blocks(cases: list[tuple[str, list[str]]], cuts: list[int]) -> None:
    text = "\n".join(text for text, _ in cases)
    assert read(pieces(text, cuts)) == read([text])


# Without tabs, empty items, quotes that are indented too far, and code with strings: there markdown-it is not exact, or
# we differ on purpose.
_indents = st.sampled_from(["", "", "", " ", "  ", "   "])
_markers = st.sampled_from(
    ["", "", "", "> ", ">", "- ", "* ", "1. ", "2. ", "10) ", "-   ", "> - ", "- > ", "    ", "     "]
)
_bodies = st.sampled_from(
    [
        "```python",
        "```py",
        "```",
        "~~~",
        "````",
        "~~~py x",
        "``` python",
        "```text",
        "```a`b",
        "x",
        "y = 1",
        "# h",
        "***",
    ]
)
_lines = st.one_of(st.builds(lambda *parts: "".join(parts), _indents, _markers, _bodies), st.just(""))


@given(st.lists(_lines, min_size=1, max_size=8), cut_lists)
def test_finds_what_a_markdown_parser_finds(lines: list[str], cuts: list[int]) -> None:
    markdown_it = pytest.importorskip("markdown_it")
    text = "\n".join(lines)
    tokens = markdown_it.MarkdownIt("commonmark").parse(text)
    expected = [
        token.content for token in tokens if token.type == "fence" and first_word(token.info) in ("python", "py")
    ]
    assert [code.rstrip() for code in read(pieces(text, cuts))] == [code.rstrip() for code in expected]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_code_is_held_back_only_while_it_may_be_a_fence(size: int) -> None:
    reader = FenceReader()
    reader.feed("```python\n")
    assert reader.feed("x = ") == [SnippetText("x = ")]
    assert reader.feed("1\n``") == [SnippetText("1\n")]
    assert reader.feed("`") == []
    assert reader.feed(" y\n") == [SnippetText("``` y\n")]
    assert reader.feed("  ") == []
    assert reader.feed("z") == [SnippetText("  z")]


def test_a_long_line_is_not_held_back_for_ever() -> None:
    reader = FenceReader()
    reader.feed("```python\n")
    assert blocks([SnippetStart("python"), *reader.feed(" " * 5000), SnippetEnd()]) == [" " * 5000]
    for fragments in plain_splits("```python " + "x" * 5000 + "\ny\n```\n"):
        assert read(fragments) == []


def test_containers_are_followed_only_so_deep() -> None:
    for depth, expected in ((MAX_CONTAINERS, ["x\n"]), (MAX_CONTAINERS + 1, [])):
        for fragments in plain_splits("> " * depth + "```python\n" + "> " * depth + "x\n"):
            assert read(fragments) == expected


def test_blocks_with_strings_that_never_end_are_cut_only_so_often() -> None:
    block = "```python\ns = '''\n```\n```python\nt = \"\"\"\n```\n"
    found = read([block.replace("'''", "\\'''") * 40])
    assert len(found) > MAX_CUTS


def test_the_reader_tells_whether_it_is_in_a_fence() -> None:
    reader = FenceReader()
    for line, inside in (("a\n", False), ("```text\n", True), ("b\n", True), ("```\n", False)):
        reader.feed(line)
        assert reader.in_fence is inside
