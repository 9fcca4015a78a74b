"""The Python that code in the embedded sandbox runs on: an environment of its own, never the gateway's.

``eager sandbox install`` makes it, in the folder of ``EAGER_SANDBOX_ENV``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.errors import SandboxStartError
from app.sandbox.library_sets import SANDBOX_FILES

#: Folders that every sandbox sees anyway (backend.py).
_ALWAYS_BOUND: Final = Path("/usr")
_INSPECT: Final = "import json, sys; print(json.dumps([sys.prefix, sys.base_prefix, sys.version_info[:3]]))"
#: In a sandbox pip says what cannot be.
_OWN_PIP: Final = (
    "import sys; sys.path.append(sys.argv[1]); from sandbox_image.pip_command import take_its_place; take_its_place()"
)
#: What distributions put in packages of their own, and programs may import.
_STANDARD_LIBRARY: Final = "import asyncio, bz2, ctypes, lzma, multiprocessing, sqlite3, ssl, unittest, zoneinfo"


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python and the folders of the host it needs.

    Attributes:
        python: the program to start, the same path inside and outside.
        folders: what has to be bound, read-only, at the same paths, for it to run.
        version: of the Python.
    """

    python: Path
    folders: tuple[Path, ...]
    version: tuple[int, int, int]


def find_environment(folder: Path) -> Environment:
    """The environment that ``eager sandbox install`` has made in ``folder``.

    Raises:
        SandboxStartError: there is none, or its Python does not run.
    """
    python = folder / "bin" / "python"
    if not python.exists():
        raise SandboxStartError(
            f"no Python for the sandbox: {python.absolute()} does not exist; run `eager sandbox install`, "
            "or name a folder by EAGER_SANDBOX_ENV"
        )
    return inspect_python(python)


def inspect_python(python: Path) -> Environment:
    """
    Raises:
        SandboxStartError: it does not run.
    """
    python = python.absolute()  # not resolved: the link of a virtual environment is what makes it one
    try:
        answer = subprocess.run([python, "-I", "-c", _INSPECT], capture_output=True, check=True, timeout=30, env={})
    except (OSError, subprocess.SubprocessError) as error:
        raise SandboxStartError(f"the sandbox's Python {python} does not run: {error}") from error
    prefix, base_prefix, version = json.loads(answer.stdout)
    # A link on the way (uv and pyenv name a minor version so) leads through a second name of the same folder.
    prefixes = [Path(prefix), Path(base_prefix), *(link.parent.parent for link in _links(python))]
    folders = _outermost({path for folder in prefixes for path in (folder, folder.resolve())})
    for folder in folders:
        if len(folder.parts) < 3:
            raise SandboxStartError(f"the sandbox's Python {python} would show the code all of {folder}")
    return Environment(python, folders, (version[0], version[1], version[2]))


def optimized_python(*, system: Path = Path("/usr/bin")) -> Path:
    """The Python to make sandboxes of: this one, or the system's of the same minor version where this one is slow.

    Built without ``--enable-optimizations``, as pyenv does by default, CPython takes a third longer for nearly
    everything; the builds of distributions are optimized whatever their flags say.
    """
    this = Path(sys.executable)
    theirs = system / f"python3.{sys.version_info.minor}"
    if "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "") or not theirs.exists():
        return this
    try:
        answer = subprocess.run([theirs, "-I", "-c", _STANDARD_LIBRARY], capture_output=True, timeout=30, env={})
    except (OSError, subprocess.SubprocessError):
        return this
    return theirs if answer.returncode == 0 else this


def create_environment(
    folder: Path, requirements: Path, *, extra_requirements: Path | None = None, python: Path | None = None
) -> Environment:
    """Make a virtual environment with exactly the locked libraries, with uv where it is installed.

    Without ``python``, it is made of ``optimized_python`` with uv; venv needs a part that distributions leave out, so
    without uv of the Python that runs this.

    Args:
        extra_requirements: a file of more libraries, installed without disturbing the locked ones.

    Raises:
        subprocess.CalledProcessError: a step failed; its output has been shown.
    """
    target = str(folder / "bin" / "python")
    if importlib.util.find_spec("uv") is not None:
        # It trusts what the machine trusts, as pip does, unless it was told otherwise.
        trust = [] if "UV_SYSTEM_CERTS" in os.environ else ["--system-certs"]
        uv = [sys.executable, "-m", "uv", *trust, *_cache_option()]
        make = [*uv, "venv", "--allow-existing", "--python", str(python or optimized_python()), str(folder)]
        install = [*uv, "pip", "install", "--python", target, "--compile-bytecode"]
        exactly = ["--exact"]
        freeze = [*uv, "pip", "freeze", "--python", target]
    else:
        make = [str(python or sys.executable), "-m", "venv", str(folder)]
        install = [target, "-m", "pip", "install"]
        exactly = []
        freeze = [target, "-m", "pip", "freeze"]
    subprocess.run(make, check=True)
    subprocess.run([*install, *exactly, "--require-hashes", "-r", str(requirements)], check=True)
    if extra_requirements is not None and _names_any(extra_requirements):
        pinned = folder / "pinned.txt"
        pinned.write_bytes(subprocess.run(freeze, check=True, stdout=subprocess.PIPE).stdout)
        subprocess.run([*install, "-c", str(pinned), "-r", str(extra_requirements)], check=True)
    subprocess.run([target, "-c", _OWN_PIP, str(SANDBOX_FILES.parent)], check=True)
    return inspect_python(Path(target))


def _cache_option() -> list[str]:
    """For uv: it fails where the folder in which it keeps what it has loaded cannot be written."""
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = Path(os.environ.get("UV_CACHE_DIR") or home / "uv")
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # there is no such user
        return ["--no-cache"]
    return [] if os.access(folder, os.W_OK) else ["--no-cache"]


def _names_any(requirements: Path) -> bool:
    """Is there a line that is no comment?"""
    lines = requirements.read_text(encoding="utf-8").splitlines()
    return any(line.strip() and not line.lstrip().startswith("#") for line in lines)


def _links(python: Path) -> list[Path]:
    """The links from a program to the file itself, that one included."""
    chain = [python]
    while chain[-1].is_symlink() and len(chain) < 40:
        chain.append(chain[-1].parent / chain[-1].readlink())
    return chain


def _outermost(folders: set[Path]) -> tuple[Path, ...]:
    """Without those inside another one, or inside what is bound anyway."""
    kept: list[Path] = []
    for folder in sorted(folders):
        if not any(folder.is_relative_to(other) for other in (_ALWAYS_BOUND, *kept)):
            kept.append(folder)
    return tuple(kept)
