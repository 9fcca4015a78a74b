from __future__ import annotations

import os
import subprocess
import sys

import pytest

from app.config import Settings

pytestmark = [
    pytest.mark.local,
    pytest.mark.skipif(
        not Settings().sandbox_env.exists(), reason="no Python for the embedded sandbox: eager sandbox install"
    ),
]


def demo(*arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "app.cli", "demo", "--tps", "2000", "--ttft-ms", "0", *arguments]
    # Nothing to import ahead: these programs need no library.
    environment = os.environ | {"EAGER_PRELOAD": ""}
    run = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False, env=environment)
    return run.returncode, run.stdout + run.stderr


def test_a_program_is_run_while_it_is_written_and_then_serially() -> None:
    status, said = demo("--program", "words")
    assert status == 0, said
    assert said.count("stdout   longest word: foolishness") == 2
    assert "(measured). Saved" in said


def test_a_program_of_the_users_own_that_fails_makes_the_demo_fail() -> None:
    status, said = demo("--no-compare", "--prompt", "Run\n```python\nprint('so far')\n1 / 0\nprint('never')\n```")
    assert status == 1, said
    assert "stdout   so far" in said
    assert "ZeroDivisionError: division by zero in line 2" in said
    assert "stdout   never" not in said
