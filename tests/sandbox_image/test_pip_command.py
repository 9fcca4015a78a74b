"""pip in a sandbox says what is so, at once."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.backends import SANDBOX_ENV

PYTHON = str(SANDBOX_ENV.absolute())
pytestmark = pytest.mark.skipif(not SANDBOX_ENV.exists(), reason="no sandbox environment: run `make install`")


def pip(*arguments: str, cwd: Path | None = None, proxy: str = "") -> tuple[int, str, str]:
    command = [PYTHON, "-m", "pip", *arguments]
    environment = {**os.environ, "https_proxy": proxy}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)
    return done.returncode, done.stdout, done.stderr


def test_what_is_installed_is_satisfied(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("pandas  # tables\nnumpy<3\n\n")
    for arguments in (["-q", "install", "pandas>=2", "numpy"], ["install", "-U", "-r", "requirements.txt"]):
        status, out, err = pip(*arguments, cwd=tmp_path)
        assert (status, err) == (0, "")
        assert [line.split()[:3] for line in out.splitlines()] == [["Requirement", "already", "satisfied:"]] * 2


def test_what_is_missing_is_one_sentence() -> None:
    status, out, err = pip("install", "pandas", "nosuchlibrary", "numpy>99", "--index-url", "https://example.org")
    assert status == 1
    assert out.startswith("Requirement already satisfied: pandas in ")
    assert err == (
        "ERROR: cannot install nosuchlibrary, numpy>99: this sandbox has no network; `pip list` shows the libraries "
        "that are installed\n"
    )


def test_with_a_way_out_it_says_what_may_work() -> None:
    status, _, err = pip("install", "nosuchlibrary", proxy="http://127.0.0.1:3128")
    assert status == 1
    assert "no network" not in err
    assert "read-only" in err


def test_the_rest_is_pip_s_own() -> None:
    assert "pandas" in pip("list")[1]
    assert "Name: pandas" in pip("show", "pandas")[1]
    assert "pandas==" in pip("freeze")[1]
    assert pip("uninstall", "-y", "pandas", "nosuch") == (
        1,
        "",
        "WARNING: Skipping nosuch as it is not installed.\n"
        "ERROR: cannot uninstall pandas: the libraries of this sandbox are read-only\n",
    )


def test_the_program_is_the_module() -> None:
    done = subprocess.run(
        [SANDBOX_ENV.absolute().with_name("pip"), "install", "pandas"], capture_output=True, check=True
    )
    assert done.stdout.startswith(b"Requirement already satisfied")
