"""What cannot be opened at the start is told under the name of its setting."""

from pathlib import Path

import pytest

from app import main
from app.config import Settings
from app.errors import EagerError


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
