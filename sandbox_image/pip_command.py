"""Program. Stands in the place of pip's ``__main__`` in a sandbox, whose libraries are read-only and where there is no
network: ``install`` says at once what is there and what cannot be, ``uninstall`` that it cannot; all else is pip's own.

With an index (EAGER_PIP_INDEX) what is missing is installed into a folder of the session, in which its programs look
for modules. Two steps: pip resolves against all that is installed, and what that finds is installed as it is, because
with ``--target`` alone pip would install pandas anew beneath whatever needs it.

A file by itself: it is copied into the package ``pip`` (``take_its_place``).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
from importlib import metadata
from typing import Any
from urllib.parse import urlsplit

_NO_NETWORK = "this sandbox has no network; `pip list` shows the libraries that are installed"
#: With a way out (EAGER_EGRESS_ALLOW) an index may be within reach.
_READ_ONLY = (
    "the libraries of this sandbox are read-only; `pip install --target FOLDER` may work, with the folder in sys.path"
)
#: Options that take a value as their next word.
_WITH_VALUE = frozenset(
    {
        "-c",
        "--constraint",
        "-f",
        "--find-links",
        "-i",
        "--index-url",
        "--extra-index-url",
        "--proxy",
        "--timeout",
        "--retries",
        "--root",
        "--prefix",
        "-t",
        "--target",
        "--trusted-host",
        "--progress-bar",
        "--log",
        "--cache-dir",
        "--python",
        "--platform",
        "--python-version",
        "--no-binary",
        "--only-binary",
        "--cert",
        "--upgrade-strategy",
    }
)
#: In the folder of temporary files: where a session's own libraries are.
_FOLDER = "python-packages"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def environment(index: str, temporary: str, path: str) -> dict[str, str]:
    """Variables for user code that may install from ``index``, whose URL it is; ``path`` is its PATH."""
    folder, place = os.path.join(temporary, _FOLDER), urlsplit(index)
    trusted = {"PIP_TRUSTED_HOST": place.netloc} if place.scheme == "http" else {}
    return trusted | {
        "PIP_INDEX_URL": index,
        "PIP_NO_CACHE_DIR": "1",
        "PYTHONPATH": folder,
        "PATH": f"{path}:{os.path.join(folder, 'bin')}",
    }


def main(arguments: list[str]) -> int:
    os.environ.update(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_ROOT_USER_ACTION="ignore")
    if not _way_out():
        os.environ["PIP_NO_INDEX"] = "1"
    command = next((word for word in arguments if not word.startswith("-")), "")
    words = arguments[arguments.index(command) + 1 :] if command else []
    if command == "uninstall":
        return _uninstall([word for word in words if not word.startswith("-")])
    if command in ("download", "wheel", "index", "search") and not _way_out():
        return _fail(f"`pip {command}` needs an index, and {_NO_NETWORK}")
    elsewhere = _way_out() and {word.partition("=")[0] for word in words} & {"-t", "--target", "--prefix", "--root"}
    if command == "install" and not elsewhere and not {"-h", "--help"} & set(words):
        wanted = _requirements(words)
        if os.environ.get("PIP_INDEX_URL"):
            return _install_from_index(words, wanted)
        if wanted is not None:
            return _install(wanted)
    return _pip(arguments)


def _pip(arguments: list[str]) -> int:
    from pip._internal.cli.main import main as run_pip  # type: ignore[import-not-found, unused-ignore]

    return int(run_pip(arguments) or 0)


def _way_out() -> bool:
    return bool(os.environ.get("https_proxy"))


def _requirements(words: list[str]) -> list[str] | None:
    """What is to be installed, if it is all named; None where pip has to read files or folders."""
    wanted: list[str] = []
    rest = iter(words)
    for word in rest:
        if word in ("-r", "--requirement"):
            try:
                with open(next(rest, ""), encoding="utf-8") as file:
                    lines = [line.partition("#")[0].strip() for line in file]
            except (OSError, UnicodeDecodeError):
                return None
            if any(line.startswith("-") for line in lines):
                return None
            wanted += filter(None, lines)
        elif word in ("-e", "--editable"):
            return None
        elif word in _WITH_VALUE:
            next(rest, None)
        elif not word.startswith("-"):
            wanted.append(word)
    local = any(os.path.exists(word) and ("/" in word or word.endswith((".whl", ".gz", ".zip"))) for word in wanted)
    return None if local or not wanted else wanted


def _install(wanted: list[str]) -> int:
    missing = _tell_installed(wanted)
    if not missing:
        return 0
    return _fail(f"cannot install {', '.join(missing)}: {_READ_ONLY if _way_out() else _NO_NETWORK}")


def _tell_installed(wanted: list[str]) -> list[str]:
    """Says what is there, and returns the rest."""
    missing = []
    for text in wanted:
        installed = _installed(text)
        if installed is None:
            missing.append(text)
        else:
            version, folder = installed
            print(f"Requirement already satisfied: {text} in {folder} ({version})")
    return missing


def _install_from_index(words: list[str], wanted: list[str] | None) -> int:
    """``wanted`` as of ``_requirements``."""
    if wanted is not None and not _tell_installed(wanted):
        return 0
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "report.json")
        if status := _pip(["install", "--dry-run", "--quiet", "--report", report, *words]):
            return status
        with open(report, encoding="utf-8") as file:
            found: list[dict[str, Any]] = json.load(file)["install"]
    if not found:
        return 0
    target = os.path.join(tempfile.gettempdir(), _FOLDER)
    pins = [_pinned(entry["metadata"]["name"], entry["download_info"]) for entry in found]
    if status := _pip(["install", "--quiet", "--no-deps", "--upgrade", "--target", target, *pins]):
        return status
    names = sorted(f"{entry['metadata']['name']}-{entry['metadata']['version']}" for entry in found)
    print(f"Successfully installed {' '.join(names)}")
    return 0


def _pinned(name: str, download: dict[str, Any]) -> str:
    """The very thing that pip has found (PEP 610)."""
    url = download["url"]
    if version_control := download.get("vcs_info"):
        return f"{name} @ {version_control['vcs']}+{url}@{version_control['commit_id']}"
    digest = (download.get("archive_info") or {}).get("hashes", {}).get("sha256")
    return f"{name} @ {url}#sha256={digest}" if digest else f"{name} @ {url}"


def _installed(text: str) -> tuple[str, str] | None:
    """Version and folder of what satisfies a requirement."""
    from pip._vendor.packaging.requirements import (  # type: ignore[import-not-found, unused-ignore]
        InvalidRequirement,
        Requirement,
    )

    try:
        requirement = Requirement(text)
        found = metadata.distribution(requirement.name)
    except (InvalidRequirement, metadata.PackageNotFoundError):
        return None
    if requirement.url or not requirement.specifier.contains(found.version, prereleases=True):
        return None
    return found.version, str(found.locate_file(""))


def _uninstall(names: list[str]) -> int:
    there = []
    own = os.path.join(tempfile.gettempdir(), _FOLDER, "")
    for name in names:
        installed = _installed(name) if _NAME.fullmatch(name) else None
        if installed is None:
            print(f"WARNING: Skipping {name} as it is not installed.", file=sys.stderr)
        elif os.path.join(installed[1], "") == own:
            for file in metadata.files(name) or ():
                with contextlib.suppress(OSError):
                    os.unlink(file.locate())
            print(f"Successfully uninstalled {name}-{installed[0]}")
        else:
            there.append(name)
    return _fail(f"cannot uninstall {', '.join(there)}: the libraries of this sandbox are read-only") if there else 0


def _fail(message: str) -> int:
    print(f"ERROR: {message}", file=sys.stderr)
    return 1


def take_its_place() -> None:
    """Of the pip of the Python that runs this, as a module and as a program in PATH."""
    import pip  # type: ignore[import-not-found, unused-ignore]

    module = os.path.join(os.path.dirname(pip.__file__), "__main__.py")
    os.unlink(module)  # not written over: uv installs links to the files of its cache
    shutil.copyfile(__file__, module)
    folders = {
        os.path.dirname(sys.executable),
        *(["/usr/local/bin", "/usr/bin"] if sys.prefix == sys.base_prefix else []),
    }
    for folder in folders:
        for name in ("pip", "pip3", f"pip3.{sys.version_info.minor}"):
            program = os.path.join(folder, name)
            if os.path.exists(program):
                mode = os.stat(program).st_mode
                os.unlink(program)
                with open(program, "w", encoding="utf-8") as file:
                    file.write(f'#!/bin/sh\nexec "{sys.executable}" -m pip "$@"\n')
                os.chmod(program, mode)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
