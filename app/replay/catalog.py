"""The programs a replay upstream knows, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

#: Streamed when a request names no program and carries none.
DEFAULT_PROGRAM: Final = "demo"
_BUILT_IN: Final = Path(__file__).with_name("programs")


def built_in_programs() -> dict[str, str]:
    """The programs that come with the package."""
    return read_programs(_BUILT_IN)


def read_programs(folder: Path) -> dict[str, str]:
    """``NAME.py`` of the folder, or of its ``programs/`` if it has one (a corpus), as name -> source.

    Raises:
        OSError: the folder cannot be read.
        ValueError: it holds no program.
    """
    inner = folder / "programs"
    files = sorted((inner if inner.is_dir() else folder).glob("*.py"))
    if not files:
        raise ValueError(f"no programs (*.py) in {folder}")
    # Line ends are part of a program: universal newlines would change it.
    return {file.stem: file.read_bytes().decode() for file in files}
