from __future__ import annotations

import sys
from pathlib import Path

import pytest

from loadtests import installs
from loadtests.installs import Install, InstallFailed, _python, install


def test_a_python_of_this_machine_is_preferred(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    version = "{}.{}".format(*sys.version_info)
    found = tmp_path / "versions" / f"{version}.0" / "bin" / "python"
    found.parent.mkdir(parents=True)
    found.symlink_to(sys.executable)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "nothing"))
    assert _python(["0.1", version]) == str(found)
    assert _python(["0.1", "0.2"]) == "0.1"


def test_of_one_version_the_python_that_runs_us_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    version = "{}.{}".format(*sys.version_info)
    ours = tmp_path / "bin" / f"python{version}"
    ours.parent.mkdir()
    ours.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    assert _python([version]) == str(ours)


def test_a_shim_that_runs_another_python_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shim = tmp_path / "python0.1"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert _python(["0.1"]) == "0.1"


def test_what_was_not_installed_to_its_end_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(installs, "FOLDER", tmp_path)
    uv = tmp_path / "uv"
    uv.write_text(
        '#!/bin/sh\n[ "$1" = venv ] || { echo "no such package" >&2; exit 1; }\nmkdir -p "$(eval echo \\${$#})"\n'
    )
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    wanted = Install("thing", ("nothing-of-this-name",), ("0.1",))
    with pytest.raises(InstallFailed, match="no such package"):
        install(wanted, lambda _: None)
    assert wanted.folder.exists()
    assert not wanted.is_there
    assert "eager bench install thing" in wanted.missing
