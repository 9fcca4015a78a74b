from __future__ import annotations

from pathlib import Path

import yaml

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_every_example_is_told_of_and_can_be_read() -> None:
    told = (EXAMPLES / "README.md").read_text()
    for file in sorted(EXAMPLES.iterdir()):
        assert file.name == "README.md" or f"]({file.name})" in told, file.name
        if file.suffix == ".py":
            compile(file.read_text(), file, "exec")
        elif file.suffix == ".yaml":
            assert yaml.safe_load(file.read_text())
