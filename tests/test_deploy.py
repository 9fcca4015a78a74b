"""The compose files, as far as they can be read without an engine."""

from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # has no stubs

from app.config import unknown_variables

PROJECT = Path(__file__).parents[1]


def gateway_in(file: str) -> dict[str, Any]:
    service: dict[str, Any] = yaml.safe_load((PROJECT / file).read_text())["services"]["gateway"]
    return service


@pytest.mark.parametrize("file", ["docker-compose.yml", "deploy/docker-compose.yml"])
def test_variables_of_the_gateway_are_settings(file: str) -> None:
    assert unknown_variables(gateway_in(file)["environment"]) == []


def test_what_is_to_outlive_the_gateway_is_on_a_volume_that_its_user_may_write() -> None:
    service = gateway_in("deploy/docker-compose.yml")
    folder = service["environment"]["EAGER_DATA_DIR"]
    assert f"data:{folder}" in service["volumes"]
    assert "data" in yaml.safe_load((PROJECT / "deploy/docker-compose.yml").read_text())["volumes"]
    # A new volume takes the owner of the image's folder.
    assert f"install -d -o eager -g eager {folder}" in (PROJECT / "Dockerfile").read_text()
