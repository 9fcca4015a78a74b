"""Programs executed statement by statement against CPython's own run of the whole file."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.sandbox_image.fidelity_programs import PROGRAMS
from tests.sandbox_image.whole_file import DUMP, Outcome, run_whole, same_paths, stated_environment
from tests.sandbox_image.zygote import SANDBOX_PYTHON, Interpreter, Turn, Zygote
from tests.tricky.programs import CASES

CORPUS = Path(__file__).parents[1] / "corpus"
MANIFEST = {entry["id"]: entry for entry in map(json.loads, (CORPUS / "manifest.jsonl").read_text().splitlines())}

#: No whole-file run exists: see test_magics.
MAGICS = {"ipython_magic", "ipython_bang", "ipython_cell_magic"}


def run_in_chunks(session: Interpreter, code: str, folder: Path) -> tuple[Turn, Outcome]:
    turn = session.run(code)
    dump = folder / "dump.json"
    session.run(f"exec({DUMP + f'dump({str(dump)!r})'!r}, {{}})")
    stderr = turn.stderr + (turn.error["traceback"] if turn.error else "")
    return turn, Outcome(turn.stdout, stderr, turn.done["code"] or bool(turn.error), json.loads(dump.read_text()))


@pytest.mark.parametrize(("name", "code"), [*CASES, *PROGRAMS], ids=[name for name, _ in [*CASES, *PROGRAMS]])
def test_statement_by_statement_a_program_is_what_it_is_as_a_whole_file(
    name: str, code: str, zygote: Zygote, tmp_path: Path
) -> None:
    if name in MAGICS:
        pytest.skip("no Python program; in test_magics")
    work = tmp_path / "work"
    work.mkdir()
    with closing(zygote.start(work)) as session:
        turn, ours = run_in_chunks(session, code, tmp_path)
    whole = run_whole(zygote.python, code, tmp_path / "whole")
    assert ours.exit_code == max(whole.exit_code, -whole.exit_code // 2)  # KeyboardInterrupt: killed by SIGINT
    assert same_paths(ours.stderr) == same_paths(whole.stderr)
    if turn.error is not None and turn.error["phase"] == "compile":
        return  # a whole file does not run at all; chunk by chunk the error is found when its line is reached
    assert ours.stdout == whole.stdout
    assert ours.namespace == whole.namespace


@pytest.mark.parametrize("name", sorted(MANIFEST))
def test_corpus_program_prints_what_it_prints_as_a_whole_file(name: str, rich_zygote: Zygote, tmp_path: Path) -> None:
    entry = MANIFEST[name]
    shutil.copytree(CORPUS / "data", tmp_path / "work")
    code = (CORPUS / entry["program"]).read_text()
    with closing(rich_zygote.start(tmp_path / "work")) as session:
        turn = session.run(code)
    if entry["kind"] == "syntax_error":
        # What stands before the error is not seen as statements here: the splitter needs code that parses.
        assert turn.error is not None
        assert turn.error["phase"] == "compile"
        whole = run_whole(str(SANDBOX_PYTHON), code, tmp_path / "whole")
        assert same_paths(turn.error["traceback"]) == same_paths(whole.stderr)
        return
    assert turn.stdout == entry["stdout"]
    for written in entry["files_written"]:
        assert (tmp_path / "work" / written).stat().st_size > 0
    if entry["kind"] == "ok":
        assert turn.done["status"] == "ok", turn.error
        return
    assert turn.error is not None
    assert entry["exception"].split(".")[-1] == turn.error["ename"]
    assert turn.error["line"] == entry["exception_line"]


@pytest.mark.parametrize("name", [name for name in sorted(MANIFEST) if MANIFEST[name]["kind"] == "error"][::4])
def test_corpus_traceback_is_that_of_the_whole_file(name: str, rich_zygote: Zygote, tmp_path: Path) -> None:
    code = (CORPUS / MANIFEST[name]["program"]).read_text()
    shutil.copytree(CORPUS / "data", tmp_path / "work")
    with closing(rich_zygote.start(tmp_path / "work")) as session:
        _, ours = run_in_chunks(session, code, tmp_path)
    shutil.copytree(CORPUS / "data", tmp_path / "whole")
    (tmp_path / "whole" / "main.py").write_text(code)
    done = subprocess.run(
        [str(SANDBOX_PYTHON), "main.py"],
        cwd=tmp_path / "whole",
        capture_output=True,
        text=True,
        env=stated_environment(str(SANDBOX_PYTHON), tmp_path / "whole"),
    )
    assert same_paths(ours.stderr) == same_paths(done.stderr)
