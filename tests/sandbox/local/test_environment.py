import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from app.errors import SandboxStartError
from app.sandbox.local import environment
from app.sandbox.local.environment import (
    create_environment,
    find_environment,
    inspect_python,
    optimized_python,
)

READY = subprocess.CompletedProcess([], 0, stdout=b'["/x/env", "/x/base", [3, 11, 7]]')


def bare_environment(folder: Path) -> Path:
    venv.create(folder, with_pip=False, symlinks=True)
    return folder / "bin" / "python"


def test_a_virtual_environment_needs_itself_and_its_base(tmp_path: Path) -> None:
    python = bare_environment(tmp_path / "env")
    found = inspect_python(python)
    assert found.python == python
    assert found.version == sys.version_info[:3]
    assert any(python.is_relative_to(folder) for folder in found.folders)
    base = Path(sys.base_prefix)
    assert base.is_relative_to("/usr") or any(base.is_relative_to(folder) for folder in found.folders)


def test_a_python_behind_a_second_name_of_its_folder_needs_both_names(tmp_path: Path) -> None:
    bare_environment(tmp_path / "env-1.2.3")
    (tmp_path / "env-1.2").symlink_to("env-1.2.3")
    folders = inspect_python(tmp_path / "env-1.2" / "bin" / "python").folders
    assert {tmp_path / "env-1.2", tmp_path / "env-1.2.3"} <= set(folders)


def test_an_environment_is_found_in_its_folder(tmp_path: Path) -> None:
    python = bare_environment(tmp_path / "env")
    assert find_environment(tmp_path / "env").python == python


def test_without_one_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SandboxStartError, match="eager sandbox install"):
        find_environment(tmp_path)


def test_a_python_that_does_not_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SandboxStartError, match="does not run"):
        inspect_python(tmp_path / "python")


def test_a_python_that_would_show_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = subprocess.CompletedProcess([], 0, stdout=b'["/home", "/home", [3, 11, 7]]')
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    with pytest.raises(SandboxStartError, match="all of"):
        inspect_python(tmp_path / "bin" / "python")


@pytest.mark.parametrize("with_uv", [True, False])
def test_an_environment_is_made_from_locked_requirements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_uv: bool
) -> None:
    steps: list[list[str]] = []

    def record(step: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        steps.append([str(word) for word in step])
        return READY

    monkeypatch.setattr("importlib.util.find_spec", lambda _: object() if with_uv else None)
    monkeypatch.setattr(subprocess, "run", record)
    monkeypatch.setattr(environment, "optimized_python", lambda: Path(sys.executable))
    folder, lock = tmp_path / "env", tmp_path / "requirements.lock"
    assert create_environment(folder, lock).python == folder / "bin" / "python"
    make, install, own_pip, _ = steps
    assert make[:3] == ([sys.executable, "-m", "uv"] if with_uv else [sys.executable, "-m", "venv"])
    assert install[-3:] == ["--require-hashes", "-r", str(lock)]
    assert "take_its_place" in own_pip[2]


def test_libraries_of_the_operator_s_own_come_on_top_of_the_locked_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[list[str]] = []

    def record(step: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        steps.append([str(word) for word in step])
        return subprocess.CompletedProcess([], 0, b"a==1\n") if "freeze" in step else READY

    monkeypatch.setattr(subprocess, "run", record)
    extra = tmp_path / "mine.txt"
    extra.write_text("# none yet\n\n")
    create_environment(tmp_path, tmp_path / "lock", extra_requirements=extra, python=Path("python"))
    assert len(steps) == 4  # make, install, our pip, inspect
    extra.write_text("# mine\npolars\n")
    create_environment(tmp_path, tmp_path / "lock", extra_requirements=extra, python=Path("python"))
    assert steps[-3][-4:] == ["-c", str(tmp_path / "pinned.txt"), "-r", str(extra)]
    assert (tmp_path / "pinned.txt").read_bytes() == b"a==1\n"


@pytest.fixture
def slow_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", {"CONFIG_ARGS": "'--prefix=/opt'"}.get)


def system_python(folder: Path, script: str) -> Path:
    python = folder / f"python3.{sys.version_info.minor}"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    return python


@pytest.mark.usefixtures("slow_build")
def test_the_system_s_python_is_taken_where_this_one_was_built_without_optimizations(tmp_path: Path) -> None:
    python = system_python(tmp_path, f'exec {sys.executable} "$@"')
    assert optimized_python(system=tmp_path) == python


@pytest.mark.usefixtures("slow_build")
def test_this_python_is_taken_where_the_system_s_is_missing_or_lacks_parts(tmp_path: Path) -> None:
    assert optimized_python(system=tmp_path) == Path(sys.executable)
    system_python(tmp_path, "exit 1")
    assert optimized_python(system=tmp_path) == Path(sys.executable)
    system_python(tmp_path, "").chmod(0o644)
    assert optimized_python(system=tmp_path) == Path(sys.executable)


def test_a_python_that_was_built_with_optimizations_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", {"CONFIG_ARGS": "'--enable-optimizations' '--with-lto'"}.get)
    system_python(tmp_path, "exit 0")
    assert optimized_python(system=tmp_path) == Path(sys.executable)


def test_it_is_what_uv_makes_the_environment_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda step, **_: steps.append(step) or READY)
    monkeypatch.setattr(environment, "optimized_python", lambda: Path("/usr/bin/python3.99"))
    create_environment(tmp_path, tmp_path / "lock")
    assert steps[0][-3:] == ["--python", "/usr/bin/python3.99", str(tmp_path)]
    create_environment(tmp_path, tmp_path / "lock", python=Path("/opt/python"))
    assert steps[4][-3:] == ["--python", "/opt/python", str(tmp_path)]


def test_uv_keeps_nothing_where_its_folder_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert environment._cache_option() == []
    monkeypatch.setenv("HOME", "/proc/none")
    assert environment._cache_option() == ["--no-cache"]
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "elsewhere"))
    assert environment._cache_option() == []
