import pytest

from app.extraction.python_strings import PythonStrings


@pytest.mark.parametrize(
    ("code", "in_triple", "closings"),
    [
        ("x = 1\n", False, 0),
        ("s = '''\n", True, 0),
        ("s = '''\na\n'''\n", False, 1),
        ("s = \"\"\"'''\n", True, 0),
        ("s = '''a''' + \"\"\"\n", True, 1),
        ("# '''\n", False, 0),
        ("s = '#' + '''\n", True, 0),
        ("s = '\\'''\n'''\n", True, 0),
        ("s = '''\\'''\n", True, 0),
        ("s = r'''\\'''\n", True, 0),
        ("s = 'unclosed\n'''\n", True, 0),
        ("s = 'a\\\n'''\n", False, 0),
        ("s = ''\n", False, 0),
        ("s = \"it's\"; t = '''\n", True, 0),
    ],
)
def test_strings_are_followed_from_line_to_line(code: str, in_triple: bool, closings: int) -> None:
    strings = PythonStrings()
    for line in code.splitlines(keepends=True):
        strings.feed(line)
    assert strings.in_triple is in_triple
    assert strings.closings == closings
