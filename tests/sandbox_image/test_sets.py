"""The set that this machine has is whole. Others are tried by hand: ``python -m tests.sandbox_image.set_smoke``."""

import pytest

from tests.backends import SANDBOX_ENV, SANDBOX_IMAGE, require_backend
from tests.sandbox_image.set_smoke import distributions, docker, failures, local


def test_a_larger_set_has_all_of_a_smaller_one() -> None:
    assert set(distributions("core")) < set(distributions("full"))


@pytest.mark.local
async def test_all_of_the_set_is_imported_and_draws_text_in_five_scripts() -> None:
    require_backend("local")
    assert await failures(local(SANDBOX_ENV), "core") == {}


@pytest.mark.docker
async def test_so_does_the_image() -> None:
    require_backend("docker")
    assert await failures(docker(SANDBOX_IMAGE), "core") == {}
