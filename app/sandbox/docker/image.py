"""Builds the image of the Docker sandboxes from the package ``sandbox_image``: ``eager image build``."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from docker.errors import DockerException
from requests.exceptions import RequestException

from app.errors import SandboxError
from app.sandbox.docker.engine import engine_address, open_client
from app.sandbox.library_sets import EXTRA_REQUIREMENTS, SANDBOX_FILES, LibrarySet

DEFAULT_TAG: Final = "eager-sandbox:latest"
#: A step may be silent for long: the installation of the libraries is one.
_SILENCE_TIMEOUT_S: Final = 1800


class ImageBuildError(SandboxError):
    """There is no new image; one of the same name stays as it was."""


def build(
    tags: Sequence[str] = (DEFAULT_TAG,),
    *,
    library_set: LibrarySet = LibrarySet.FULL,
    base_image: str | None = None,
    extra_requirements: Path = EXTRA_REQUIREMENTS,
    engine: str | None = None,
    log: Callable[[str], None] = print,
) -> str:
    """Build, name it ``tags``, and return the id of the image.

    Args:
        base_image: None is the Dockerfile's own, the official slim image.
        extra_requirements: libraries of one's own, installed without disturbing those of the set.
        engine: address; None as for the Docker client.
        log: receives the build's output, line by line, as it comes.

    Raises:
        ImageBuildError
    """
    try:
        client = open_client(engine_address(engine), timeout_s=_SILENCE_TIMEOUT_S)
        try:
            steps = client.build(
                fileobj=_context(library_set, extra_requirements),
                custom_context=True,
                tag=tags[0],
                buildargs={"SET": library_set.value} | ({"BASE_IMAGE": base_image} if base_image else {}),
                rm=True,
                forcerm=True,
                decode=True,
            )
            image = _follow(steps, log)
            for tag in tags[1:]:
                repository, _, version = tag.rpartition(":")
                client.tag(image, repository or version, version if repository else "latest")
        finally:
            client.close()
    except (DockerException, RequestException) as error:
        raise ImageBuildError(f"Docker Engine: {error}") from error
    return image


def _context(library_set: LibrarySet, extra_requirements: Path) -> io.BytesIO:
    """The folder as the builder gets it: the same bytes for the same files, so that its cache holds."""
    files = {path.name: path for path in sorted(SANDBOX_FILES.glob("*.py"))}
    files["Dockerfile"] = SANDBOX_FILES / "Dockerfile"
    files["requirements.extra.txt"] = extra_requirements
    files[f"sets/{library_set.lock.name}"] = library_set.lock
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, path in files.items():
            content = path.read_bytes()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(content))
    archive.seek(0)
    return archive


def _follow(steps: Iterable[dict[str, Any]], log: Callable[[str], None]) -> str:
    image = None
    for step in steps:
        if "error" in step:
            raise ImageBuildError(f"the build failed: {step['error'].strip()}")
        if "aux" in step:
            image = step["aux"].get("ID", image)
        for line in step.get("stream", "").splitlines():
            if line.strip():
                log(line.rstrip())
    if image is None:
        raise ImageBuildError("the engine reports no image")
    return str(image)
