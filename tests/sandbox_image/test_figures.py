"""Figures as a notebook shows them, on the matplotlib of the sandbox's libraries and on others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.sandbox_image.pictures import HEAD, PROGRAMS, check
from tests.sandbox_image.zygote import ROOT, SANDBOX_PYTHON, Interpreter, Zygote

#: The last of each series with a wheel for this Python, and the newest.
VERSIONS = ("3.8", "3.9", "3.10", "")
#: What stands on matplotlib's own ways.
ON_EVERY_VERSION = (
    *("a loop", "histograms", "pauses", "left open", "its own show, then more", "a choice of Agg", "a switch to Agg"),
    *("saved and shown", "saved, changed and shown"),
)
_INSTALL_TIME_S = 120


@pytest.fixture(scope="module")
def figures(rich_zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interpreter]:
    """One session for many small programs."""
    with closing(rich_zygote.start(tmp_path_factory.mktemp("figures"))) as session:
        yield session


@pytest.mark.parametrize("name", PROGRAMS)
def test_pictures_hold_what_is_drawn(figures: Interpreter, name: str) -> None:
    turn = check(figures, PROGRAMS[name])
    assert (turn.done["status"] == "error") == (name == "an error")
    figures.run("plt.switch_backend('module://sandbox_image.figure_backend')\n")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_matplotlib_shows_them(version: str, tmp_path: Path) -> None:
    with closing(Zygote(str(_python_with(version)))) as zygote, closing(zygote.start(tmp_path)) as session:
        found = session.run("import matplotlib\nmatplotlib.__version__\n").result
        assert found is not None
        assert found.strip("'").startswith(version)
        for name in ON_EVERY_VERSION:
            check(session, PROGRAMS[name])


def _python_with(version: str) -> Path:
    """A Python with that matplotlib and what it needs, in an environment that is kept."""
    folder = ROOT / ".eager" / "matplotlib" / (version or "newest")
    python = folder / "bin" / "python"
    uv = [str(Path(sys.executable).with_name("uv"))]
    wanted = f"matplotlib=={version}.*" if version else "matplotlib"
    commands = [
        [*uv, "venv", "-q", "--clear", "--python", sys.executable, str(folder)],
        [*uv, "pip", "install", "-q", "--only-binary", ":all:", "--python", str(python), wanted],
    ]
    if (folder / "complete").exists():
        return python
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_TIME_S)
        if done.returncode:
            pytest.skip(f"{wanted} cannot be installed here: {done.stderr.strip()[-300:]}")
    (folder / "complete").touch()
    return python


def test_a_shell_of_ipython_is_not_in_the_way(tmp_path: Path) -> None:
    """A zygote of its own: one has one interpreter at a time, and ``figures`` stays open."""
    if not SANDBOX_PYTHON.exists():
        pytest.skip("the sandbox's libraries are not installed in .eager/sandbox-env")
    zygote = Zygote(str(SANDBOX_PYTHON), preload=("matplotlib.pyplot",))
    with closing(zygote), closing(zygote.start(tmp_path)) as session:
        assert session.run("%time x = 1\n").error is None
        check(session, PROGRAMS["a loop"])
        assert session.run("print([name for name in ('In', 'Out', '_', '_i') if name in globals()])\n").stdout == "[]\n"


def test_a_child_process_can_draw(figures: Interpreter) -> None:
    code = (
        "import subprocess, sys\n"
        "program = 'import matplotlib.pyplot as plt; plt.plot([1]); plt.savefig(\"child.png\"); plt.show()'\n"
        "print(subprocess.run([sys.executable, '-W', 'ignore', '-c', program]).returncode)\n"
    )
    assert figures.run(code).stdout == "0\n"


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("plt.title('ሀሁሂ')\nplt.plot([1])\nplt.show()\n", 6),
        ("plt.title('ሀሁሂ')\nplt.plot([1]);\n", 5),
        ("fig = plt.figure()\nplt.title('ሀሁሂ')\nfig\n", 6),
        ("def show():\n    plt.show()\nplt.title('ሀሁሂ')\nshow()\n", 5),
    ],
    ids=["shown", "left open", "by name", "in a function"],
)
def test_a_font_that_lacks_characters_is_told_once_each_time(figures: Interpreter, code: str, line: int) -> None:
    head = HEAD.rstrip("\n").replace("\n", "; ") + "; matplotlib.rcParams['font.family'] = 'DejaVu Sans'\n\n\n"
    for _ in range(2):
        turn = figures.run(head + code)
        assert len(turn.of("display") + turn.of("result")) == 1
        first, _ = turn.stderr.split("\n", 1)
        place, _, said = first.partition(": UserWarning: ")
        assert place.endswith(f".py:{line}")
        assert said.startswith("3 characters are missing from the font: ")
        assert said.endswith(": ሀሁሂ")
        assert turn.stderr.count("Warning") == 1
    figures.run("matplotlib.rcdefaults()\n")
