"""Program. An IPython shell around the program's namespace, for its magics only. Imported when the first magic
comes."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from sandbox_image.display import Displays

#: Names of IPython's for what was typed and shown, of which there is nothing here.
_HISTORY: Final = ("In", "Out", "_", "__", "___", "_i", "_ii", "_iii", "_i1")


def start(main: ModuleType, displays: Displays) -> Callable[[str], str]:
    """Create the shell; returns the translation of code with magics. No history, no colours, no hooks of its own."""
    # Its profile must not appear in the work folder, which is our HOME.
    os.environ.setdefault("IPYTHONDIR", os.path.join(tempfile.gettempdir(), f"ipython-{os.getpid()}"))
    from IPython.core.interactiveshell import InteractiveShell  # type: ignore[import-not-found, unused-ignore]
    from traitlets.config import Config  # type: ignore[import-not-found, unused-ignore]

    config = Config()
    config.HistoryManager.enabled = False
    config.HistoryManager.hist_file = ":memory:"
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.autocall = 0
    hooks = sys.displayhook, sys.excepthook
    shell = InteractiveShell.instance(config=config, user_module=main, user_ns=main.__dict__)
    sys.displayhook, sys.excepthook = hooks
    for name in ("exit", "quit", "get_ipython", *_HISTORY):  # built in already, or never filled
        main.__dict__.pop(name, None)
    builtins.get_ipython = lambda: shell  # type: ignore[attr-defined]
    shell.system = lambda command: _system(shell, command)
    shell.display_pub.publish = displays.publish
    shell.display_pub.clear_output = displays.clear_output
    shell.register_magic_function(lambda line: None, "line", "matplotlib")
    translate: Callable[[str], str] = shell.transform_cell
    return translate


def _system(shell: Any, command: str) -> None:
    """As IPython's, straight to our descriptors."""
    sys.stdout.flush()
    done = subprocess.run(["sh", "-c", shell.var_expand(command, depth=2)], check=False)
    shell.user_ns["_exit_code"] = done.returncode
