"""Other projects that are measured beside this one, each in a virtual environment of its own. Installed on request only
(``eager bench install``): they come from the Python package index, newest first."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(".eager/bench")


class InstallFailed(Exception):
    """The message says which step, and what it said."""


@dataclass(frozen=True, slots=True)
class Install:
    """``pythons`` are the versions that it runs on, best first."""

    name: str
    requirements: tuple[str, ...]
    pythons: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return FOLDER / self.name

    @property
    def interpreter(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def is_there(self) -> bool:
        return (self.folder / _DONE).exists()

    def version_of(self, distribution: str) -> str:
        code = f"import importlib.metadata as m; print(m.version({distribution!r}))"
        command = [str(self.interpreter), "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    @property
    def missing(self) -> str:
        return f"{', '.join(self.requirements)}: not installed (eager bench install {self.name})"


_DONE: Final = "installed"
_OURS: Final = "{}.{}".format(*sys.version_info)
PEERS: Final = Install("peers", ("pydantic-ai-harness[code-mode]", "playbooks"), ("3.12", "3.13"))
#: On the gateway's own Python if it can: two builds of one version may be a third apart.
LITELLM: Final = Install("litellm", ("litellm[proxy]",), (_OURS, "3.12", "3.13", "3.11"))
INSTALLS: Final = {install.name: install for install in (PEERS, LITELLM)}


def install(wanted: Install, tell: Callable[[str], None]) -> None:
    """
    Raises:
        InstallFailed: no uv, no such Python, or a package that does not install.
    """
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    tell(f"{wanted.name}: {', '.join(wanted.requirements)} into {wanted.folder}")
    _run([uv, "venv", "-q", "--clear", "--python", _python(wanted.pythons), str(wanted.folder)])
    _run([uv, "pip", "install", "-q", "--python", str(wanted.interpreter), *wanted.requirements])
    (wanted.folder / _DONE).touch()


def _python(versions: Sequence[str]) -> str:
    """One of this machine, on the path or pyenv's; else the version itself: uv may have it, or get it."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    for version in versions:
        same = [f"{sys.base_prefix}/bin/python{version}"] if version == _OURS else []
        found = [*same, shutil.which(f"python{version}"), *sorted(map(str, pyenv.glob(f"{version}.*/bin/python")))]
        for candidate in filter(None, found):
            command = [candidate, "-c", "import sys; print('{}.{}'.format(*sys.version_info))"]
            # A shim of pyenv is there for every version, and works for those that are switched on.
            with contextlib.suppress(OSError):
                if subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == version:
                    return candidate
    return versions[0]


def _run(command: list[str]) -> None:
    # uv trusts what the machine trusts, as pip is usually told to.
    environment = {"UV_SYSTEM_CERTS": "true", **os.environ}
    try:
        subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    except OSError as error:
        raise InstallFailed(f"{command[0]}: {error.strerror}") from None
    except subprocess.CalledProcessError as error:
        raise InstallFailed(f"{' '.join(command)}: {error.stderr.strip()}") from None
