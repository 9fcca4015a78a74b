"""Program. The module ``__main__`` of the program, as ``python main.py`` makes it."""

from __future__ import annotations

import builtins
import os
import sys
from importlib import machinery
from importlib.machinery import SourceFileLoader
from types import ModuleType

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def new_main_module() -> ModuleType:
    main = ModuleType("__main__")
    if sys.version_info < (3, 14):
        main.__annotations__ = {}
    main.__dict__["__builtins__"] = builtins
    main.__dict__["__file__"] = main.__dict__["__cached__"] = None
    return main


def begin_program(main: ModuleType, filename: str) -> None:
    """What a script finds in its module and in ``sys`` when it starts; the rest of the namespace stays."""
    sys.modules["__main__"] = main
    if "__mp_main__" in sys.modules:
        # Made by the import of multiprocessing, which may have been ours. What spawned processes answer with is of it.
        sys.modules["__mp_main__"] = main
    namespace = main.__dict__
    namespace["__name__"] = "__main__"
    namespace["__doc__"] = None
    namespace["__file__"] = filename
    namespace["__loader__"] = SourceFileLoader("__main__", filename)
    # Keyed by text, category and line: a warning of another program on that line is another warning.
    namespace.pop("__warningregistry__", None)
    sys.argv[:] = [filename]


def use_work_folder() -> None:
    """Modules are found beside the script first; not beside ours, nor, as in a kernel, wherever the program goes."""
    if sys.path and os.path.abspath(sys.path[0] or ".") in {_ROOT, os.path.join(_ROOT, "sandbox_image")}:
        del sys.path[0]
    sys.path[:] = [os.getcwd(), *filter(None, sys.path)]


def use_python_path() -> None:
    """What PYTHONPATH names, as Python does at its start. A folder need not exist yet: an import that does not find it
    would have it looked over for good."""
    kinds = (
        (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
        (machinery.SourceFileLoader, machinery.SOURCE_SUFFIXES),
        (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
    )
    folders = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    for folder in folders:
        sys.path_importer_cache[folder] = machinery.FileFinder(folder, *kinds)
    sys.path[1:1] = folders
