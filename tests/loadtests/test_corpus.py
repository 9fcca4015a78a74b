from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from loadtests.corpus import OWN_CORPUS, read_corpus, sample


def test_the_corpus_of_the_repository_is_whole() -> None:
    programs = read_corpus(OWN_CORPUS)
    assert {program.kind for program in programs} == {"ok", "error", "syntax_error"}
    assert {program.id for program in programs} == {path.stem for path in (OWN_CORPUS / "programs").glob("*.py")}
    assert all(file.is_file() for program in programs for file in program.data)


def test_a_sample_has_the_middling_programs_of_each_benchmark() -> None:
    one = read_corpus(OWN_CORPUS)[0]
    lengths = {"a": [5, 1, 3], "b": [2]}
    programs = [
        replace(one, id=f"{name}{chars}", benchmark=name, chars=chars) for name in lengths for chars in lengths[name]
    ]
    assert [program.id for program in sample(programs, 1)] == ["a3", "b2"]
    assert [program.id for program in sample(programs, 9)] == ["a5", "a1", "a3", "b2"]


def test_a_folder_without_a_manifest_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="manifest"):
        read_corpus(tmp_path)
