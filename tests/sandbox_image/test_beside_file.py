"""What programs read and write beside their own file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.sandbox_image.zygote import Interpreter, Zygote

HERE = "import os\nhere = os.path.dirname(os.path.abspath(__file__))\n"


@pytest.fixture
def beside(zygote: Zygote, tmp_path: Path) -> Iterator[Interpreter]:
    with closing(zygote.start(tmp_path)) as session:
        yield session


def test_what_is_written_there_is_found_in_the_work_folder(beside: Interpreter) -> None:
    turn = beside.run(HERE + "n = open(os.path.join(here, 'out.csv'), 'w').write('a,b')\n")
    assert turn.error is None
    assert (beside.folder / "out.csv").read_text() == "a,b"
    assert beside.run(HERE + "print(open(os.path.join(here, 'out.csv')).read(), os.listdir())\n").stdout == (
        "a,b ['out.csv']\n"
    )


def test_what_is_in_the_work_folder_can_be_read_there(beside: Interpreter) -> None:
    (beside.folder / "data.csv").write_text("1")
    (beside.folder / "sub").mkdir()
    code = (
        "print(open(os.path.join(here, 'data.csv')).read())\nn = open(os.path.join(here, 'sub', 'f'), 'w').write('x')\n"
    )
    assert beside.run(HERE + code).stdout == "1\n"
    assert (beside.folder / "sub" / "f").read_text() == "x"


def test_folders_are_brought_with_what_is_in_them(beside: Interpreter) -> None:
    code = "there = os.path.join(here, 'plots', 'a')\nos.makedirs(there)\nn = open(there + '/f', 'w').write('x')\n"
    beside.run(HERE + code)
    assert (beside.folder / "plots" / "a" / "f").read_text() == "x"
    beside.run(HERE + "n = open(os.path.join(here, 'plots', 'g'), 'w').write('y')\n")
    assert (beside.folder / "plots" / "g").read_text() == "y"


def test_a_file_that_stays_open_goes_on_being_written_and_is_brought_each_time(beside: Interpreter) -> None:
    beside.run(HERE + "log = open(os.path.join(here, 'log'), 'w')\nn = log.write('one ')\n")
    assert (beside.folder / "log").read_text() == "one "
    beside.run("n = log.write('two')\nlog.close()\n")
    assert (beside.folder / "log").read_text() == "one two"
    assert beside.run(HERE + "print(os.path.islink(os.path.join(here, 'log')))\n").stdout == "True\n"


def test_a_program_that_fails_leaves_its_files_too(beside: Interpreter) -> None:
    beside.run(HERE + "n = open(os.path.join(here, 'f'), 'w').write('x')\n1 / 0\n")
    assert (beside.folder / "f").read_text() == "x"


def test_a_file_that_was_removed_is_not_linked_any_more(beside: Interpreter) -> None:
    beside.run(HERE + "n = open(os.path.join(here, 'f'), 'w').write('x')\n")
    os.unlink(beside.folder / "f")
    assert beside.run(HERE + "print([name for name in os.listdir(here) if name == 'f'])\n").stdout == "[]\n"


def test_a_file_of_the_program_s_name_stays_the_user_s(beside: Interpreter) -> None:
    (beside.folder / "main.py").write_text("uploaded")
    assert (
        beside.run("print(open(__file__).read() != 'uploaded', open('main.py').read())\n").stdout == "True uploaded\n"
    )
    assert (beside.folder / "main.py").read_text() == "uploaded"
