from pathlib import Path

from app.store.deployment_key import deployment_key


def test_a_key_is_made_once_for_a_folder(tmp_path: Path) -> None:
    made = deployment_key(None, tmp_path / "data")
    assert len(made) == 32
    assert deployment_key(None, tmp_path / "data") == made
    assert deployment_key(None, tmp_path / "other") != made
    [file] = (tmp_path / "data").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_key_that_is_given_needs_no_folder(tmp_path: Path) -> None:
    assert deployment_key("a secret of ours", tmp_path) == deployment_key("a secret of ours", tmp_path)
    assert deployment_key("another secret", tmp_path) != deployment_key("a secret of ours", tmp_path)
    assert list(tmp_path.iterdir()) == []
