"""Program. Warnings that come while a figure is drawn to be shown: they name the line of the program that shows it,
each time, and one tells of all characters that a font lacks.

matplotlib warns once for each character, and names the caller that is no part of it, which is a file of ours; Python
shows a warning of one line once. What names another library's line is left as it is.
"""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Final

_HERE: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep
#: Which fonts were tried is left out: versions of matplotlib differ in whether they say it, and most of them are ours.
_GLYPH: Final = re.compile(r"Glyph (\d+) \(.*\) missing from (?:font\(s\)|current font).*", re.DOTALL)
#: Characters that are named.
_FEW: Final = 20

ProgramPlace = Callable[[], tuple[str, int]]


@contextlib.contextmanager
def told_at(place: ProgramPlace) -> Iterator[None]:
    """``place`` is asked for the file and line when there is something to tell."""
    with warnings.catch_warnings(record=True) as caught:
        yield
    if not caught:
        return
    found = place()
    told = set()
    for text, category, filename, line in _merged(caught):
        if filename.startswith(_HERE):
            filename, line = found
        if (text, category, filename, line) not in told:
            told.add((text, category, filename, line))
            warnings.warn_explicit(text, category, filename, line)


def _merged(caught: list[warnings.WarningMessage]) -> Iterator[tuple[str, type[Warning], str, int]]:
    missing: dict[tuple[type[Warning], str, int], list[str]] = {}
    for warning in caught:
        text = str(warning.message)
        at = warning.category, warning.filename, warning.lineno
        if glyph := _GLYPH.fullmatch(text):
            missing.setdefault(at, []).append(chr(int(glyph[1])))
        else:
            yield text, *at
    for (category, filename, line), characters in missing.items():
        named = dict.fromkeys(characters)
        shown = "".join(list(named)[:_FEW]) + ("..." if len(named) > _FEW else "")
        count = "1 character is" if len(named) == 1 else f"{len(named)} characters are"
        yield f"{count} missing from the font: {shown}", category, filename, line
