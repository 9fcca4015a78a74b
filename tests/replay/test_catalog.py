from __future__ import annotations

import ast
from pathlib import Path

import pytest

from app.replay.catalog import DEFAULT_PROGRAM, built_in_programs, read_programs


def test_the_built_in_programs_compile_and_hold_the_default() -> None:
    programs = built_in_programs()
    assert DEFAULT_PROGRAM in programs
    assert len(programs) >= 3
    for source in programs.values():
        assert len(ast.parse(source).body) > 5


def test_a_corpus_is_read_from_its_programs_folder_byte_for_byte(tmp_path: Path) -> None:
    (tmp_path / "stray.py").write_text("1")
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "dev-01.py").write_bytes("x = 'é'\r\n".encode())
    assert read_programs(tmp_path) == {"dev-01": "x = 'é'\r\n"}


def test_a_plain_folder_of_programs_will_do(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("1\n")
    assert read_programs(tmp_path) == {"one": "1\n"}


def test_a_folder_without_programs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no programs"):
        read_programs(tmp_path)
