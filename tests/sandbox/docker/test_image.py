import tarfile
from pathlib import Path

import pytest

from app.sandbox.docker.image import ImageBuildError, _context, _follow
from app.sandbox.library_sets import EXTRA_REQUIREMENTS, LibrarySet


def test_the_build_context_is_the_same_bytes_for_the_same_files() -> None:
    first, second = (_context(LibrarySet.FULL, EXTRA_REQUIREMENTS) for _ in range(2))
    assert first.getvalue() == second.getvalue()


def test_a_file_of_extra_requirements_takes_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    extra = tmp_path / "mine.txt"
    extra.write_text("polars\n")
    with tarfile.open(fileobj=_context(LibrarySet.CORE, extra)) as tar:
        member = tar.extractfile("requirements.extra.txt")
        assert member is not None
        assert member.read() == b"polars\n"
        assert {"Dockerfile", "sets/core.lock", "protocol.py", "supervisor.py"} <= set(tar.getnames())
        assert "sets/full.lock" not in tar.getnames()


def test_the_log_is_passed_on_and_the_image_named() -> None:
    lines: list[str] = []
    steps = [{"stream": "Step 1/2 : FROM base\n"}, {"stream": "\n"}, {"aux": {"ID": "sha256:1"}}]
    assert _follow(steps, lines.append) == "sha256:1"
    assert lines == ["Step 1/2 : FROM base"]


@pytest.mark.parametrize("steps", [[{"error": "no such image"}], [{"stream": "Step 1/2"}]])
def test_a_build_without_an_image_has_failed(steps: list[dict[str, str]]) -> None:
    with pytest.raises(ImageBuildError):
        _follow(steps, lambda line: None)
