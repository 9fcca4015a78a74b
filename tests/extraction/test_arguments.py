import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.extraction.arguments import CodeArguments
from tests.extraction.splits import cut_lists, pieces, plain_splits

CODE = 'x = 6\ny = "é😀\\n"\nprint(f"{x}", {"code": "no"})\n'


def read(fragments: list[str], **options: object) -> tuple[str, str | None, bool]:
    """Code, language, and whether it was known to be complete before the end."""
    arguments = CodeArguments(**options)  # type: ignore[arg-type]
    code = "".join(map(arguments.feed, fragments))
    complete = arguments.complete
    return code + arguments.flush(), arguments.language, complete


FORMS = {
    "object": (json.dumps({"code": CODE}), (CODE, None, True)),
    "object, not ascii": (json.dumps({"code": CODE}, ensure_ascii=False), (CODE, None, True)),
    "object, indented": (json.dumps({"timeout": 3, "code": CODE}, indent=2), (CODE, None, True)),
    "other keys first": (json.dumps({"note": 'say "code": 1', "n": [{"code": 1}], "source": CODE}), (CODE, None, True)),
    "language first": (json.dumps({"language": "Bash", "code": "ls"}), ("ls", "bash", True)),
    "language last": (json.dumps({"code": "x", "lang": "js"}), ("x", "js", True)),
    "list of lines": (json.dumps({"code": CODE.splitlines(keepends=True)}), (CODE, None, True)),
    "list of bare lines": (json.dumps({"code": ["a", "b"]}), ("a\nb", None, True)),
    "best key of several": ('{"query": "q", "input": "i", "content": "c"}', ("i", None, True)),
    "certain key beats an earlier one": ('{"input": "i", "script": "s"}', ("s", None, True)),
    "wanted key is null": ('{"code": null, "source": "s"}', ("s", None, True)),
    "only string": ('{"whatever": "x", "n": 1}', ("x", None, False)),
    "empty code": ('{"code": ""}', ("", None, True)),
    "no code": ("{}", ("", None, False)),
    "no arguments": ("", ("", None, False)),
    "fence in an object is code": (json.dumps({"code": "```python\nx\n```"}), ("```python\nx\n```", None, True)),
    "raw newlines": ('{"code": "a\nb\tc"}', ("a\nb\tc", None, True)),
    "the key comes twice": ('{"code": "a", "code": "b"}', ("a", None, True)),
    "brace is missing": (json.dumps({"code": CODE})[:-1], (CODE, None, False)),
    "quote is missing": (json.dumps({"code": CODE})[:-2], (CODE, None, False)),
    "quote of another key is missing": ('{"query": "x', ("x", None, False)),
    "cut in a surrogate pair": ('{"code": "x\\ud83d', ("x\ufffd", None, False)),
    "JSON string": (json.dumps(CODE), (CODE, None, True)),
    "JSON string, one line": ('"print(1)"', ("print(1)", None, False)),
    "JSON string, open": (json.dumps(CODE)[:-1], (CODE, None, False)),
    "double encoded": (json.dumps(json.dumps({"code": CODE})), (CODE, None, True)),
    "fence in a JSON string": (json.dumps(f"```python\n{CODE}```"), (CODE, "python", True)),
    "fence without a language": (f"```\n{CODE}```\n", (CODE, "python", False)),
    "fence of another language": ("```js\nx\n```\n", ("x\n", "js", False)),
    "bare": (CODE, (CODE, None, False)),
    "bare, indented": ("\n  x", ("\n  x", None, False)),
    "bare docstring": ('"""doc"""\nx', ('"""doc"""\nx', None, False)),
    "bare string expression": ('"a".upper()\n', ('"a".upper()\n', None, False)),
    "set": ("{1, 2}", ("{1, 2}", None, False)),
    "dict, used": ('{"a": 1}["a"]', ('{"a": 1}["a"]', None, False)),
    "dict that holds code": ("{'code': 'x\\ny'}", ("x\ny", None, False)),
    "set, and more": ("{1}\nx = 2\n", ("{1}\nx = 2\n", None, False)),
    "set of names": ("{x for x in y}", ("{x for x in y}", None, False)),
    "dict without code": ("{'a': 1}", ("{'a': 1}", None, False)),
    "a long set": ("{1," + " " * 20_000 + "2}", ("", None, False)),
    "text behind a JSON string": (json.dumps(CODE) + " x", (CODE, None, True)),
    "neither JSON nor Python": ("{a b c", ("", None, False)),
}


@pytest.mark.parametrize(("text", "expected"), FORMS.values(), ids=FORMS.keys())
def test_forms_of_arguments(text: str, expected: tuple[str, str | None, bool]) -> None:
    for fragments in plain_splits(text):
        assert read(fragments) == expected


@given(st.sampled_from(list(FORMS.values())), cut_lists)
def test_any_cut_gives_the_same_code(form: tuple[str, tuple[str, str | None, bool]], cuts: list[int]) -> None:
    text, expected = form
    assert read(pieces(text, cuts)) == expected


@given(st.text(), st.booleans(), cut_lists)
def test_any_code_in_an_object_is_given_exactly(code: str, ascii: bool, cuts: list[int]) -> None:
    text = json.dumps({"n": {"code": 1}, "code": code}, ensure_ascii=ascii)
    assert read(pieces(text, cuts)) == (code, None, True)


@given(st.text(), cut_lists)
def test_any_text_at_all_is_read_without_an_error(text: str, cuts: list[int]) -> None:
    assert read(pieces("{" + text, cuts)) == read(["{" + text])
    assert read(pieces('"' + text, cuts))[0] == read(['"' + text])[0]


def test_code_comes_as_soon_as_it_is_decoded() -> None:
    arguments = CodeArguments()
    fragments = ['{"co', 'de"', ':"a\\', "nb", '"', "}"]
    assert [arguments.feed(fragment) for fragment in fragments] == ["", "", "a", "\nb", "", ""]
    assert arguments.complete


def test_failed_says_that_there_is_no_code() -> None:
    arguments = CodeArguments()
    arguments.feed("{a b c")
    arguments.flush()
    assert arguments.failed


def test_a_string_without_code_has_failed() -> None:
    arguments = CodeArguments()
    assert not arguments.failed
    arguments.feed(json.dumps("{}"))
    assert arguments.flush() == ""
    assert arguments.failed


def test_the_first_of_the_given_keys_is_streamed() -> None:
    arguments = CodeArguments(keys=("query", "code"))
    assert arguments.feed('{"query": "x') == "x"


def test_code_is_over_when_only_keys_that_do_not_matter_follow() -> None:
    arguments = CodeArguments()
    arguments.feed('{"code": "x", "la')
    assert not arguments.complete
    arguments.feed('ng": "python", "timeout":')
    assert arguments.complete
