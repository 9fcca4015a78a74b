from __future__ import annotations

import linecache
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from sandbox_image.block import BlockCode, SourcePiece


def block_with(*pieces: SourcePiece, folder: Path | None = None) -> tuple[BlockCode, list[Any]]:
    """A block after all pieces; what each compiled to, or the SyntaxError."""
    block = BlockCode("b", str(folder / "main.py") if folder else "/proc/nowhere/main.py")
    block.add(pieces)
    compiled: list[Any] = []
    for piece in pieces:
        try:
            compiled.append(block.compile(*piece))
        except SyntaxError as error:
            compiled.append(error)
    return block, compiled


@pytest.mark.parametrize(
    ("source", "quiet"),
    [
        ("x\n", False),
        ("x;\n", True),
        ("(x)  ; # c\n", True),
        ("f(\n  1\n)\t;\n", True),
        ("';'\n", False),
        ("x # ;\n", False),
        ("y = 1; x\n", False),
        ("y = 1; x;\n", True),
        ("é = 1; é;\n", True),
    ],
)
def test_a_semicolon_after_the_last_expression_makes_it_quiet(source: str, quiet: bool) -> None:
    _, [compiled] = block_with((1, 0, source))
    assert compiled.value is not None
    assert compiled.quiet is quiet


def test_quiet_after_a_semicolon_in_the_middle_of_a_line() -> None:
    _, [_, compiled] = block_with((1, 0, "é = 'ü';"), (1, 10, " é;\n"))
    assert compiled.quiet
    _, [_, compiled] = block_with((1, 0, "é = 'ü';"), (1, 10, " é\n"))
    assert not compiled.quiet


@pytest.mark.parametrize("trivia", ["# comment\n", "\n\n", "  # c\n", "\\\n\n"])
def test_comments_are_no_statement(trivia: str) -> None:
    _, [_, compiled] = block_with((1, 0, "x\n"), (2, 0, trivia))
    assert compiled.is_empty


def test_lines_and_columns_are_those_of_the_program(tmp_path: Path) -> None:
    _, [first, second, third] = block_with(
        (1, 0, "a = 1;"), (1, 6, " b = 2\n"), (2, 0, "\n# c\nc = f(3)\n"), folder=tmp_path
    )
    assert first.statements.co_firstlineno == 1
    assert next(position for position in second.statements.co_positions() if position[2])[:3] == (1, 1, 11)
    assert [line for *_, line in third.statements.co_lines() if line][-1] == 4


@pytest.mark.parametrize("with_file", [True, False])
def test_a_syntax_error_shows_the_real_line_and_its_columns(with_file: bool, tmp_path: Path) -> None:
    _, [_, error] = block_with((1, 0, "é = 'ü';"), (1, 10, " é = = 1 # why\n"), folder=tmp_path if with_file else None)
    assert isinstance(error, SyntaxError)
    assert (error.lineno, error.offset, error.end_offset) == (1, 14, 15)
    assert error.text == "é = 'ü'; é = = 1 # why\n"


def test_errors_found_after_parsing_have_columns_on_every_version(tmp_path: Path) -> None:
    _, [_, error] = block_with((1, 0, "x = 1\n"), (2, 0, "return 5\n"), folder=tmp_path)
    assert isinstance(error, SyntaxError)
    assert (error.lineno, error.offset) == (2, 1)


def test_only_the_first_statement_is_a_docstring() -> None:
    for pieces, doc in [
        ([(1, 0, "# c\n'doc'\n"), (3, 0, "'no'\n")], "doc"),
        ([(1, 0, "x = 1\n"), (2, 0, "'no'\n")], None),
        ([(1, 0, "'doc';"), (1, 6, " 'no'\n")], "doc"),
        ([(1, 0, "'doc'\n"), (2, 0, "from __future__ import annotations\n"), (3, 0, "'no'\n")], "doc"),
    ]:
        _, compiled = block_with(*pieces)
        namespace: dict[str, Any] = {"__doc__": None}
        for chunk in compiled:
            for code in (chunk.statements, chunk.value):
                if code is not None:
                    eval(code, namespace)
        assert namespace["__doc__"] == doc


def test_future_imports_are_allowed_in_the_head_only() -> None:
    future = "from __future__ import annotations\n"
    _, compiled = block_with((1, 0, "'doc'\n"), (2, 0, future), (3, 0, future), (4, 0, "x = 1\n"), (5, 0, future))
    assert [isinstance(chunk, SyntaxError) for chunk in compiled] == [False, False, False, False, True]
    namespace: dict[str, Any] = {}
    _, [_, function] = block_with((1, 0, future), (2, 0, "def f(x: Undefined): pass\n"))
    eval(function.statements, namespace)
    assert namespace["f"].__annotations__ == {"x": "Undefined"}


def test_sources_can_be_read_back(tmp_path: Path) -> None:
    block = BlockCode("b", str(tmp_path / "main.py"))
    block.add([(1, 0, "a = 1\r\nb = 2;"), (2, 6, " c = '\udc80'")])
    assert linecache.getlines(block.filename) == ["a = 1\n", "b = 2; c = '\udc80'"]
    linecache.checkcache()
    assert linecache.getline(block.filename, 1) == "a = 1\n"
    assert Path(block.filename).read_bytes() == b"a = 1\r\nb = 2; c = '?'"


def test_a_program_that_tidies_up_behind_it_can_be_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "session"
    block = BlockCode("b", str(folder / "main.py"))
    for number, remove in enumerate((lambda: None, lambda: rmtree(folder), Path(block.filename).unlink), 1):
        remove()
        block.add([(number, 0, f"x = {number}\n")])
    assert Path(block.filename).read_text() == "x = 1\nx = 2\nx = 3\n"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_byte_order_mark_is_no_part_of_the_program() -> None:
    _, [compiled] = block_with((1, 0, "\ufeffx = 1\n"))
    assert not isinstance(compiled, SyntaxError)


def test_an_expression_too_deep_for_a_tree_is_compiled_without_one() -> None:
    _, [compiled] = block_with((1, 0, "x = " + "+".join(["1"] * 2500) + "\n"))
    assert compiled.statements is not None
