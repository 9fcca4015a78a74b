from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.store import Conditions, ResultStore
from tests.loadtests.runs import measurement, run

CONDITIONS = Conditions(commit="abc", corpus="corpus", ttft_ms=0)
FIRST, SECOND = measurement(run(repeat=0)), measurement(run(repeat=1))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "results" / "raw.jsonl"
    store = ResultStore(path, CONDITIONS)
    store.add(FIRST)
    store.add(SECOND)
    return path


def test_an_evaluation_goes_on_where_it_stopped(path: Path) -> None:
    store = ResultStore(path, CONDITIONS)
    assert store.measurements == [FIRST, SECOND]
    assert FIRST.run in store
    assert run("warm") not in store


def test_a_line_that_was_cut_short_is_written_again(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-10])
    store = ResultStore(path, CONDITIONS)
    assert store.measurements == [FIRST]
    store.add(SECOND)
    assert path.read_bytes() == content


def test_results_of_another_commit_are_put_aside(path: Path) -> None:
    content = path.read_bytes()
    store = ResultStore(path, Conditions(commit="def", corpus="corpus", ttft_ms=0))
    assert store.measurements == []
    (aside,) = path.parent.glob("raw-*.jsonl")
    assert aside.read_bytes() == content


def test_a_file_that_is_none_of_ours_is_put_aside(path: Path) -> None:
    path.write_text("notes\n")
    assert ResultStore(path, CONDITIONS).measurements == []
    assert ResultStore(path, CONDITIONS).measurements == []
    assert len(list(path.parent.iterdir())) == 2
