"""How settings become sandboxes. Nothing is started here."""

from pathlib import Path
from typing import Any

import pytest

from app import main
from app.api.edge.auth import Keyring
from app.config import Settings
from app.errors import EagerError, SandboxStartError
from app.sandbox.backend import Backend
from app.sandbox.docker.engines import Engines

RULES = ("pypi.example", "*.internal.example:443")


def backend_of(**settings: Any) -> Backend:
    given = Settings(**settings)
    return main.create_backend(given, main._egress(given, Keyring()))


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
    assert main._egress(Settings(), Keyring()) is None
    assert main._egress(Settings(egress_allow=RULES, egress_limit_mb=3), Keyring()) is not None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("database_url", "nonsense", "EAGER_DATABASE_URL: Could not parse"),
        ("database_url", "sqlite:///{folder}/x.db", "EAGER_DATABASE_URL: .* async driver"),
        ("database_url", "mysql+nodriver://x", "EAGER_DATABASE_URL: "),
        ("database_url", "sqlite+aiosqlite:///{folder}/file/x.db", "EAGER_DATABASE_URL: .*file"),
        ("database_url", "sqlite+aiosqlite:///{folder}", "EAGER_DATABASE_URL: unable to open database file$"),
        ("files_url", "nonsense://x", "EAGER_FILES_URL: Protocol not known"),
        ("data_dir", "{folder}/file", "EAGER_DATA_DIR: .*file"),
    ],
)
async def test_a_store_that_cannot_be_had_is_told_under_its_setting(
    name: str, value: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    settings = Settings(**{"data_dir": tmp_path / "data", name: value.format(folder=tmp_path)})
    app = main.create_app(settings)
    with pytest.raises(EagerError, match=message):
        async with app.router.lifespan_context(app):
            pass
