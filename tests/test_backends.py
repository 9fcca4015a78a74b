"""How settings become sandboxes. Nothing is started here."""

from pathlib import Path
from typing import Any

import pytest

from app.api.edge.auth import Keyring
from app.backends import create_backend, create_egress
from app.config import Settings
from app.errors import SandboxStartError
from app.sandbox.backend import Backend
from app.sandbox.docker.engines import Engines

RULES = ("pypi.example", "*.internal.example:443")


def backend_of(**settings: Any) -> Backend:
    given = Settings(**settings)
    return create_backend(given, create_egress(given, Keyring()))


def test_without_an_environment_for_code_the_error_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(SandboxStartError, match="eager sandbox install"):
        backend_of(sandbox="local", sandbox_env=tmp_path)


async def test_every_engine_named_is_one_of_the_pool() -> None:
    backend = backend_of(sandbox="docker", docker_host=("tcp://a:2376", "tcp://b:2376"), docker_engine_limit=5)
    assert isinstance(backend, Engines)
    assert [(engine.address, engine.limit) for engine in backend.statistics()] == [
        ("tcp://a:2376", 5),
        ("tcp://b:2376", 5),
    ]
    assert backend.describe().startswith("Docker Engine at tcp://a:2376")
    assert backend.describe().endswith("likewise on tcp://b:2376")
    await backend.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"sandbox": "jupyter"},
        {"sandbox": "docker", "docker_host": ("tcp://a:2376",)},
        {"sandbox": "docker", "docker_transport": "attach"},
        {"sandbox": "docker", "docker_runtime": "runsc"},
    ],
)
def test_a_way_out_that_cannot_be_kept_narrow_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SandboxStartError, match=r"not ours to decide|the egress proxy needs"):
        backend_of(**settings, egress_allow=RULES)


def test_without_rules_there_is_no_way_out() -> None:
    assert create_egress(Settings(), Keyring()) is None
    assert create_egress(Settings(egress_allow=RULES, egress_limit_mb=3), Keyring()) is not None
