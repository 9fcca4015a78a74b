"""In processes of their own: the environment is theirs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.sandbox_image.zygote import ROOT


def run(script: str, temporary: Path) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_what_matplotlib_noted_in_the_image_is_put_where_it_looks(tmp_path: Path) -> None:
    image, temporary = tmp_path / "image", tmp_path / "tmp"
    image.mkdir()
    temporary.mkdir()
    (image / "fontlist-v1.json").write_text("{}")
    script = f"""
import json, os
from sandbox_image import preload
preload._NOTES_OF_MATPLOTLIB = {str(image)!r}
preload.set_environment("/")
print(json.dumps([os.environ["MPLCONFIGDIR"], os.listdir(os.environ["MPLCONFIGDIR"])]))
"""
    assert run(script, temporary) == [str(temporary / "matplotlib"), ["fontlist-v1.json"]]


def test_that_fonts_are_listed_is_not_told(tmp_path: Path) -> None:
    """A module in the place of matplotlib's, which tells of it when that takes 5 s."""
    (tmp_path / "listing.py").write_text(
        "import logging\nlogging.getLogger('matplotlib.font_manager').warning('building the font cache')\n"
    )
    script = f"""
import json, logging, sys
from sandbox_image import preload
sys.path.append({str(tmp_path)!r})
notes = preload.import_modules(["listing", "no_such_module"])
print(json.dumps([notes, logging.getLogger("matplotlib.font_manager").disabled]))
"""
    reason = "no_such_module is not preloaded: ModuleNotFoundError: No module named 'no_such_module'"
    assert run(script, tmp_path) == [[reason], False]
