"""Both. What an interpreter finds in place when it is forked: the environment variables and the libraries."""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from typing import Final

#: With more, a fork while one computes can deadlock, and threads of several sandboxes on the same cores spin in each
#: other's way: a program of the corpus took three times as long.
ONE_BLAS_THREAD: Final = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
#: In an image: what matplotlib has noted there when the image was built, such as a list of fonts.
_NOTES_OF_MATPLOTLIB: Final = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "matplotlib")


def environment(python: str, workdir: str, temporary: str) -> dict[str, str]:
    """The whole environment of user code that ``python`` runs in ``workdir``, but for TMPDIR, which stays as it is."""
    folders = dict.fromkeys([os.path.dirname(python), "/usr/local/bin", "/usr/bin", "/bin"])
    return ONE_BLAS_THREAD | {
        "HOME": workdir,
        "PATH": ":".join(folders),
        "LANG": "C.UTF-8",
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": os.path.join(temporary, "matplotlib"),
        "XDG_CACHE_HOME": os.path.join(temporary, "cache"),  # fontconfig's would be in the work folder, for all to see
    }


def set_environment(workdir: str) -> None:
    """To be called before any library is imported."""
    kept = {name: value for name, value in os.environ.items() if name == "TMPDIR"}
    temporary = tempfile.gettempdir()  # by TMPDIR
    os.environ.clear()
    os.environ.update(kept | environment(sys.executable, workdir, temporary))
    with contextlib.suppress(FileNotFoundError):
        shutil.copytree(_NOTES_OF_MATPLOTLIB, os.environ["MPLCONFIGDIR"], dirs_exist_ok=True)


def import_modules(names: Sequence[str]) -> list[str]:
    """Import what is installed; returns a note for each that could not be imported.

    A library that fails is the concern of code that imports it, not of the sandbox: hence every Exception.
    """
    notes = []
    fonts = logging.getLogger("matplotlib.font_manager")
    fonts.disabled = True  # it tells that it lists them where that takes 5 s, and nobody waits for it
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            notes.append(f"{name} is not preloaded: {type(error).__name__}: {error}")
    fonts.disabled = False
    return notes


def freeze() -> None:
    """Keep the collector of every later interpreter off what is shared with the zygote, which would copy the pages."""
    gc.collect()
    gc.freeze()
