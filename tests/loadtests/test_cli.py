from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import cli


@pytest.mark.parametrize("arguments", [["replay", "--help"], ["errors", "--help"], ["gateway", "--help"]])
def test_the_console_script_hands_its_arguments_on(arguments: list[str]) -> None:
    told = CliRunner().invoke(cli, ["bench", *arguments])
    assert told.exit_code == 0
    assert "--fast" in told.stdout


@pytest.mark.parametrize("option", [["--corpus", "nowhere"], ["--program", "nobody"]])
def test_a_wrong_choice_is_told_before_anything_starts(option: list[str], tmp_path: Path) -> None:
    told = CliRunner().invoke(cli, ["bench", "replay", *option, "--out", str(tmp_path / "out")])
    assert told.exit_code == 2
    assert option[1] in told.stderr
    assert not (tmp_path / "out").exists()
