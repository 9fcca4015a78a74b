from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox_image.zygote import SANDBOX_PYTHON, Interpreter, Zygote

#: Other interpreters to run these tests with: paths, separated by colons.
PYTHONS = [sys.executable, *filter(None, os.environ.get("EAGER_TEST_PYTHONS", "").split(":"))]


@pytest.fixture(scope="session", params=PYTHONS, ids=lambda path: Path(path).name if path != sys.executable else "own")
def zygote(request: pytest.FixtureRequest) -> Iterator[Zygote]:
    zygote = Zygote(request.param)
    yield zygote
    zygote.close()


@pytest.fixture
def session(zygote: Zygote, tmp_path: Path) -> Iterator[Interpreter]:
    interpreter = zygote.start(tmp_path)
    yield interpreter
    interpreter.close()


@pytest.fixture(scope="session")
def rich_zygote() -> Iterator[Zygote]:
    """With the libraries of the image, the usual ones imported ahead."""
    if not SANDBOX_PYTHON.exists():
        pytest.skip("the sandbox's libraries are not installed in .eager/sandbox-env")
    zygote = Zygote(str(SANDBOX_PYTHON), preload=("pandas", "matplotlib.pyplot", "scipy.stats", "sklearn.linear_model"))
    yield zygote
    zygote.close()


@pytest.fixture
def rich_session(rich_zygote: Zygote, tmp_path: Path) -> Iterator[Interpreter]:
    interpreter = rich_zygote.start(tmp_path)
    yield interpreter
    interpreter.close()
