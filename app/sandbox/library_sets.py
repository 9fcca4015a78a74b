"""The named sets of libraries that sandboxes are made with: lock files of the package ``sandbox_image``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final

import sandbox_image

SANDBOX_FILES: Final = Path(sandbox_image.__file__).parent
#: Libraries of the operator's own, empty as it is shipped.
EXTRA_REQUIREMENTS: Final = SANDBOX_FILES / "requirements.extra.txt"


class LibrarySet(StrEnum):
    """``core`` is what nearly all programs need, ``full`` what models were seen to import, both on the versions that
    they write for; ``latest`` is ``full`` on the newest versions."""

    CORE = "core"
    FULL = "full"
    LATEST = "latest"

    @property
    def lock(self) -> Path:
        """Its locked requirements, with hashes."""
        return SANDBOX_FILES / "sets" / f"{self}.lock"
