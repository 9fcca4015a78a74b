from __future__ import annotations

from typing import Any

import pytest

from sandbox_image import magics
from tests.sandbox_image.zygote import Interpreter


@pytest.mark.parametrize(
    ("source", "python"),
    [
        ("!ls -l\n", "get_ipython().system('ls -l')\n"),
        ("  !ls\n", "  get_ipython().system('ls')\n"),
        ("x = !ls\n", "x = get_ipython().getoutput('ls')\n"),
        ("a, b = %time f()\n", "a, b = get_ipython().run_line_magic('time', 'f()')\n"),
        ("%pwd\nx = 1\n", "get_ipython().run_line_magic('pwd', '')\nx = 1\n"),
        ("%%time\nf()\ng()\n", "get_ipython().run_cell_magic('time', '', 'f()\\ng()\\n')\n"),
        ("len?\n", "get_ipython().help('len')\n"),
        ("?len\n", "get_ipython().help('len')\n"),
        ("a % b\na != b\nx == !y\n", "a % b\na != b\nx == !y\n"),
        ("a %= b\n", "a %= b\n"),
    ],
)
def test_magics_become_calls_on_the_same_lines(source: str, python: str) -> None:
    assert magics._to_python(source) == python


PROGRAMS = [
    ("%matplotlib inline\nx = 1\nprint(x)\n", "1\n"),
    ('print("a")\n!echo b\nprint("c")\n', "a\nb\nc\n"),
    ("for i in range(2):\n    !echo {i} $i\n", "0 0\n1 1\n"),
    ("files = !printf 'one\\ntwo\\n'\nprint(len(files), files[1])\n", "2 two\n"),
    ("%cd /\n%pwd\nimport os\nprint(os.getcwd())\n", "/\n"),
    ("%env EAGER_X=5\n!echo $EAGER_X\n", "5\n"),
    ("%%bash\necho from bash\n", "from bash\n"),
]


@pytest.mark.parametrize(("code", "stdout"), PROGRAMS)
def test_magics_run_without_ipython(code: str, stdout: str, session: Interpreter) -> None:
    check_program(session, code, stdout)


@pytest.mark.parametrize(("code", "stdout"), PROGRAMS)
def test_magics_run_by_ipython(code: str, stdout: str, rich_session: Interpreter) -> None:
    check_program(rich_session, code, stdout)


def check_program(session: Interpreter, code: str, stdout: str) -> None:
    turn = session.run(code, whole=True)
    assert turn.error is None, turn.error
    assert turn.stdout.endswith(stdout)
    assert turn.stderr == ""


def test_time_without_ipython(session: Interpreter) -> None:
    check_time(session)


def test_time_by_ipython(rich_session: Interpreter) -> None:
    check_time(rich_session)


def check_time(session: Interpreter) -> None:
    turn = session.run('%%time\nprint("a")\nx = 6\nx * 7\n', whole=True)
    assert turn.stdout.startswith("a\nCPU times: ")
    assert "Wall time: " in turn.stdout
    assert turn.result == "42"
    assert session.run("x\n").result == "6"


def test_an_unknown_magic_without_ipython(session: Interpreter) -> None:
    check_unknown(session)


def test_an_unknown_magic_by_ipython(rich_session: Interpreter) -> None:
    check_unknown(rich_session)


def check_unknown(session: Interpreter) -> None:
    turn = session.run("%nosuchmagic\n", whole=True)
    assert turn.error is not None
    assert turn.error["ename"] == "UsageError"
    assert "%nosuchmagic" in turn.error["evalue"]


def test_a_syntax_error_without_magic_stays_one(session: Interpreter) -> None:
    turn = session.run("x = (1\n", whole=True)
    assert turn.error is not None
    assert turn.error["ename"] == "SyntaxError"


def test_figures_need_no_ipython(session: Interpreter) -> None:
    turn = session.run("%matplotlib inline\nimport sys\nprint('IPython' in sys.modules)\n", whole=True)
    assert turn.stdout == "False\n"


def test_the_shell_leaves_nothing_in_the_work_folder(rich_session: Interpreter) -> None:
    turn = rich_session.run("!ls -A\n", whole=True)
    assert turn.stdout == ""
    assert rich_session.run("import sys\nsys.displayhook is sys.__displayhook__\n").result == "True"


@pytest.mark.parametrize(
    ("chunks", "stdout"),
    [
        ([[0, 1, 0, "  x = 1;"], [1, 1, 8, " y = 2\n"], [2, 2, 0, "  # why\n  print(x,\n    y)\n"]], "1 2\n"),
        ([[0, 1, 0, ">>> def f():\n...     return 5\n...\n"], [1, 4, 0, ">>> print(f())\n"]], "5\n"),
        ([[0, 1, 0, "In [1]: x = 7\nIn [2]: print(x)\n"]], "7\n"),
        ([[0, 1, 0, "  x = !echo a\n"], [1, 2, 0, "  print(list(x))\n"]], "['a']\n"),
        ([[0, 1, 0, "   %%bash\n   echo b\n"]], "b\n"),
    ],
)
def test_indented_cells_and_pasted_sessions_run(session: Interpreter, chunks: list[Any], stdout: str) -> None:
    turn = session.execute(chunks, block=str(chunks), final=True)
    assert turn.error is None, turn.error
    assert turn.stdout == stdout


def test_an_error_in_an_indented_cell_has_its_line(session: Interpreter) -> None:
    turn = session.execute([[0, 1, 0, "  x = 1\n"], [1, 2, 0, "  1/0\n"]], block="indented", final=True)
    assert turn.error is not None
    assert (turn.error["line"], turn.error["ename"]) == (2, "ZeroDivisionError")
