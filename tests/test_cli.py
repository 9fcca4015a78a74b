from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app import cli
from app.demo import run as demo_run
from app.demo.processes import ServerFailed
from app.sandbox.docker import image
from app.sandbox.library_sets import LibrarySet
from app.sandbox.local import environment
from app.store.migrations import HEAD
from app.store.schema import VERSION_TABLE
from loadtests import corpus

PROJECT = Path(__file__).parents[1]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Arguments of the servers that were to run; none runs."""
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(cli, "_run_server", lambda *arguments: calls.append(arguments))
    return calls


def invoke(*arguments: str, **environment: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli.cli, list(arguments), env={"EAGER_API_KEYS": None, **environment})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_help_names_the_commands() -> None:
    status, output = invoke("--help")
    assert status == 0
    for command in ("serve", "upstream", "demo", "sandbox", "image", "db"):
        assert command in output


def test_the_version_is_that_of_the_project_everywhere() -> None:
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    assert invoke("--version") == (0, f"eager {version}\n")
    assert f"ARG VERSION={version}\n" in (PROJECT / "Dockerfile").read_text()
    assert f"\n## [{version}]" in (PROJECT / "CHANGELOG.md").read_text()


def test_the_benchmark_says_that_it_needs_a_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(corpus, "OWN_CORPUS", tmp_path / "corpus")
    status, output = invoke("bench", "--help")
    assert status == 2
    assert "needs a checkout" in output


def test_help_needs_none_of_the_heavy_modules() -> None:
    heavy = "{'fastapi', 'uvicorn', 'pydantic', 'httpx', 'app.main'}"
    code = f"import sys, app.cli; print({heavy} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_a_database_is_upgraded_from_any_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = {"EAGER_DATA_DIR": "data", "EAGER_DATABASE_URL": ""}
    assert invoke("db", "upgrade", **data) == (0, f"The database was new: it has version {HEAD}.\n")
    assert invoke("db", "upgrade", **data) == (0, "The database is up to date.\n")
    with closing(sqlite3.connect("data/eager.db")) as connection, connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    status, output = invoke("db", "upgrade", **data)
    assert status == 2
    assert output.startswith("eager: EAGER_DATA_DIR: the database has version 9999")
    assert output.count("\n") == 1


def test_the_versions_of_the_database_are_in_the_package() -> None:
    settings = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    setuptools = pytest.importorskip("setuptools", reason="Python 3.12 and newer make environments without setuptools")
    assert "app.store.migrations.versions" in setuptools.find_packages(include=settings["include"])


def test_the_gateway_is_served_with_settings_from_the_environment(served: list[tuple[Any, ...]]) -> None:
    status, output = invoke("serve", "--port", "9001", EAGER_UPSTREAM_BASE_URL="http://127.0.0.1:1/v1")
    assert status == 0, output
    [(app, host, port, fd)] = served
    assert (app.title, host, port, fd) == ("Eager", "127.0.0.1", 9001, None)


def test_keys_and_prompts_are_not_logged_at_any_level(
    served: list[tuple[Any, ...]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("uvicorn.error", "aiosqlite"):
        caplog.set_level(logging.NOTSET, name)
    assert invoke("serve", EAGER_LOG_LEVEL="debug")[0] == 0
    assert not logging.getLogger("uvicorn.error").isEnabledFor(logging.DEBUG)
    assert not logging.getLogger("aiosqlite").isEnabledFor(logging.DEBUG)


def test_a_misspelt_setting_is_told(served: list[tuple[Any, ...]], caplog: pytest.LogCaptureFixture) -> None:
    assert invoke("serve", EAGER_POOLSIZE="9")[0] == 0
    assert "not settings, and ignored: EAGER_POOLSIZE (did you mean EAGER_POOL_SIZE?)" in caplog.messages
    assert len(served) == 1


def test_log_lines_of_the_gateway_name_their_request() -> None:
    code = """
import logging, app.cli
from app.api.edge.request_id import current_request
app.cli._log_requests("INFO")
current_request.set("req_1 mine")
logging.info("hello")
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr.endswith("INFO root [req_1 mine]: hello\n")


def test_an_open_gateway_listens_on_loopback_only(served: list[tuple[Any, ...]]) -> None:
    status, output = invoke("serve", "--host", "0.0.0.0")
    assert status == 2
    assert "EAGER_API_KEYS" in output
    assert served == []
    assert invoke("serve", "--host", "localhost")[0] == 0
    assert invoke("serve", "--host", "::1")[0] == 0
    assert invoke("serve", "--host", "0.0.0.0", EAGER_API_KEYS="secret")[0] == 0
    assert len(served) == 3


def test_a_wrong_setting_is_named() -> None:
    status, output = invoke("serve", EAGER_POOL_SIZE="many", EAGER_SANDBOX="cloud")
    assert status == 2
    assert "EAGER_POOL_SIZE: " in output
    assert "EAGER_SANDBOX: " in output


def test_a_wrong_item_of_a_setting_is_told_under_its_name_and_a_wrong_key_without_its_text() -> None:
    status, output = invoke("serve", EAGER_SOURCES="tool,all", EAGER_API_KEYS="a b, sha256:c")
    assert status == 2
    assert "EAGER_SOURCES: " in output
    assert "EAGER_API_KEYS: Value error, API key 1: a key is printable" in output
    assert "a b" not in output


def test_the_replay_upstream_knows_built_in_programs_and_a_corpus(
    served: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    (tmp_path / "dev-01.py").write_text("1\n")
    status, output = invoke("upstream", "--corpus", str(tmp_path), "--tps", "0", "--ttft-ms", "0")
    assert status == 0, output
    [(app, host, port, fd)] = served
    assert (app.title, host, port, fd) == ("Eager replay upstream", "127.0.0.1", 8001, None)


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_a_corpus_without_programs_is_told(folder: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    status, output = invoke("upstream", "--corpus", str(tmp_path / folder))
    assert status == 2
    assert "no programs" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--program", "nothing"], "no program 'nothing'; there are"), (["--mode", "both"], "not 'both'")],
)
def test_a_demo_of_what_there_is_not_is_told(arguments: list[str], message: str) -> None:
    status, output = invoke("demo", *arguments)
    assert status == 2
    assert message in output


@pytest.mark.parametrize(
    ("arguments", "modes"),
    [
        ([], ["eager", "serial"]),
        (["--no-compare"], ["eager"]),
        (["--mode", "serial"], ["serial"]),
    ],
)
@pytest.mark.parametrize("succeeds", [True, False])
def test_the_demo_runs_its_modes_and_tells_success_by_its_status(
    arguments: list[str], modes: list[str], succeeds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[demo_run.Demo] = []

    async def run_demo(demo: demo_run.Demo, console: object) -> bool:
        shown.append(demo)
        return succeeds

    monkeypatch.setattr(demo_run, "run_demo", run_demo)
    status, _ = invoke("demo", "--program", "words", *arguments)
    assert status == (0 if succeeds else 1)
    assert (shown[0].model, shown[0].modes) == ("words", modes)


def test_a_demo_whose_servers_fail_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run_demo(*_: object) -> bool:
        raise ServerFailed("eager serve ended with status 1")

    monkeypatch.setattr(demo_run, "run_demo", run_demo)
    assert invoke("demo") == (2, "eager: eager serve ended with status 1\n")


def test_the_sandbox_environment_is_made_from_the_locked_libraries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[tuple[Path, Path]] = []

    def create(folder: Path, requirements: Path, **_: object) -> environment.Environment:
        made.append((folder, requirements))
        return environment.Environment(folder / "bin" / "python", (), (3, 11, 7))

    monkeypatch.setattr(environment, "create_environment", create)
    status, output = invoke("sandbox", "install", EAGER_SANDBOX_ENV=str(tmp_path))
    assert (status, output) == (0, f"Python 3.11.7 for sandboxes: {tmp_path}/bin/python\n")
    invoke("sandbox", "install", "--set", "full", EAGER_SANDBOX_ENV=str(tmp_path))
    assert made == [(tmp_path, LibrarySet.CORE.lock), (tmp_path, LibrarySet.FULL.lock)]


def test_a_failing_installation_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def create(*_: object, **__: object) -> environment.Environment:
        raise subprocess.CalledProcessError(1, ["uv", "venv"])

    monkeypatch.setattr(environment, "create_environment", create)
    assert invoke("sandbox", "install", "--folder", str(tmp_path)) == (2, "eager: a step failed: uv venv\n")


def test_the_image_is_built_with_its_configured_name(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[tuple[Any, ...]] = []

    def build(tags: list[str], **options: Any) -> str:
        built.append((tags, options["library_set"], options["base_image"], options["engine"]))
        options["log"]("Step 1")
        return "sha256:1"

    monkeypatch.setattr(image, "build", build)
    status, output = invoke("image", "build", "--base-image", "slim", EAGER_DOCKER_IMAGE="mine:2")
    assert (status, output) == (0, "Step 1\nmine:2: sha256:1\n")
    invoke("image", "build", "--set", "core", EAGER_DOCKER_IMAGE="mine:2")
    assert built == [(["mine:2"], "full", "slim", None), (["mine:2"], "core", None, None)]


def test_a_failing_image_build_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: object, **__: object) -> str:
        raise image.ImageBuildError("Docker Engine: refused")

    monkeypatch.setattr(image, "build", build)
    assert invoke("image", "build") == (2, "eager: Docker Engine: refused\n")
