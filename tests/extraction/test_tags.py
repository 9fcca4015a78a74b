import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.extraction.fence import SnippetEvent, SnippetStart
from app.extraction.tags import TagReader
from tests.extraction.splits import cut_lists, pieces, plain_splits
from tests.extraction.test_fence import blocks

CODE = "x = 1\nprint(x<2, '</')\n"
CALL = json.dumps({"name": "python", "arguments": {"code": CODE}})


def read(fragments: list[str], *, fences: bool = True) -> list[str]:
    reader = TagReader(fences=fences)
    events: list[SnippetEvent] = [event for fragment in fragments for event in reader.feed(fragment)]
    events += reader.flush()
    sources = [event.source for event in events if isinstance(event, SnippetStart)]
    return [f"{source}: {code}" for source, code in zip(sources, blocks(events), strict=True)]


TAGGED = f"tag: {CODE}"
CASES = {
    "smolagents": (f"Thought.\n<code>\n{CODE}</code> bye", [TAGGED]),
    "stop sequence": (f"<code>\n{CODE}", [TAGGED]),
    "stop sequence in the closing tag": (f"<code>{CODE}</co", [f"{TAGGED}</co"]),
    "execute": (f"a <execute>{CODE}</execute>\n<execute_ipython>y</execute_ipython>", [TAGGED, "tag: y"]),
    "open webui": (f'<code_interpreter type="code" lang="python">\n{CODE}</code_interpreter>', [TAGGED]),
    "open webui without attributes": (f"<code_interpreter>{CODE}</code_interpreter>", [TAGGED]),
    "open webui, other language": ('<code_interpreter lang="js">x</code_interpreter>', []),
    "hermes": (f"<tool_call>\n{CALL}\n</tool_call>\n<tool_call>{CALL}</tool_call>", [TAGGED, TAGGED]),
    "hermes, not closed": (f"<tool_call>{CALL[:-3]}", [TAGGED]),
    "hermes, other order": (
        "<tool_call>" + json.dumps({"arguments": {"code": CODE}, "name": "python"}) + "</tool_call>",
        [TAGGED],
    ),
    "hermes, other order, not closed": ('<tool_call>{"arguments": {"code": "x"}, "name": "python"}', ["tag: x"]),
    "hermes, arguments as a string": (
        "<tool_call>" + json.dumps({"name": "python", "arguments": json.dumps({"code": CODE})}) + "</tool_call>",
        [TAGGED],
    ),
    "hermes, closing tag in the code": (
        "<tool_call>" + json.dumps({"name": "python", "arguments": {"code": "'</tool_call>'"}}) + "</tool_call>",
        ["tag: '</tool_call>'"],
    ),
    "hermes, other tool": (CALL.join(["<tool_call>", "</tool_call>"]).replace('"python"', '"weather"'), []),
    "hermes, other language": ('<tool_call>{"name": "run_code", "arguments": {"lang": "js", "code": "x"}}', []),
    "hermes, other order, other tool": ('<tool_call>{"arguments": {"code": "x"}, "name": "get"}</tool_call>', []),
    "hermes, other order, no code": ('<tool_call>{"arguments": {}, "name": "python"}</tool_call>', []),
    "hermes, not begun": ("<tool_call>", []),
    "hermes, only white space": ("<tool_call>" + "\n" * 500 + "<code>x", ["tag: x"]),
    "hermes, late arguments": (
        "<tool_call>" + json.dumps({"name": "python", "id": "x" * 500, "arguments": {"code": "x"}}) + "</tool_call>",
        ["tag: x"],
    ),
    "hermes, no JSON": ("<tool_call>{oops</tool_call> <code>x</code>", ["tag: x"]),
    "hermes, no call": ("<tool_call> nothing <code>x</code>", ["tag: x"]),
    "qwen": (
        "<tool_call>\n<function=python>\n<parameter=n>\n1\n</parameter>\n"
        f"<parameter=code>\n{CODE}</parameter>\n</function>\n</tool_call> <code>y",
        [TAGGED, "tag: y"],
    ),
    "openhands": (f"<function=execute_ipython_cell>\n<parameter=code>\n{CODE}</parameter>\n</function>", [TAGGED]),
    "openhands, cut off": (f"<function=python><parameter=code>{CODE}", [TAGGED]),
    "openhands, cut off before the code": ("<function=python><parameter=n>1", []),
    "openhands, other tool": ("<function=str_replace><parameter=code>x</parameter></function>", []),
    "qwen, other language": (
        "<function=execute><parameter=language>js</parameter><parameter=code>x</parameter></function>",
        [],
    ),
    "inside a fence": (f"```xml\n<code>{CODE}</code>\n```\n", []),
    "inside inline code": ("` <code>x</code> ` and `` <code>`x</code> ``", []),
    "behind a lone backtick": ("a ` b\n<code>x</code>", ["tag: x"]),
    "inside a word": ("x<code>y</code>", []),
    "fence besides": ("```python\na\n```\n<code>b</code>\n```python\nc\n```\n", ["fence: a\n", "tag: b", "fence: c\n"]),
    "fence inside a tag": ("<code>\n'''\n```python\nx\n```\n'''</code>", ["tag: '''\n```python\nx\n```\n'''"]),
    "structured": (' {"thought": "a <code>b", "code": "x\\ny"}', ["tag: x\ny"]),
    "structured, cut off": ('{"thought": "a", "code": "x', ["tag: x"]),
    "other JSON": ('{"code": "US"} <code>x</code>', ["tag: x"]),
    "hardly a tag": ("a <co", []),
    "nothing": ("", []),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES.keys())
def test_tagged_code(text: str, expected: list[str]) -> None:
    for fragments in plain_splits(text):
        assert read(fragments) == expected


@given(st.lists(st.sampled_from(list(CASES.values())), min_size=1, max_size=3), cut_lists)
def test_any_cut_gives_the_same_code(cases: list[tuple[str, list[str]]], cuts: list[int]) -> None:
    text = "\n".join(text for text, _ in cases)
    assert read(pieces(text, cuts)) == read([text])


def test_fences_can_be_left_out() -> None:
    assert read(["```python\na\n```\n<code>b</code>"], fences=False) == ["tag: b"]


def test_the_tools_can_be_chosen() -> None:
    reader = TagReader({"run"})
    assert reader.feed(f"<tool_call>{CALL}</tool_call>") == []
    assert blocks([*reader.feed(f"\n<tool_call>{CALL.replace('python', 'run')}"), *reader.flush()]) == [CODE]


def test_tags_are_found_in_a_long_text() -> None:
    assert read(["a <b> " * 3000 + "<code>x</code> " * 300]) == ["tag: x"] * 300
