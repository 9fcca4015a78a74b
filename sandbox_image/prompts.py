"""Program. What IPython takes off the lines of a cell: the indentation of the first line, and the prompts of a pasted
session. Detection has cut the code as if it were gone (``app/detection/prompts.py``); here it goes."""

from __future__ import annotations

import re

_FIRST = re.compile(r"(?:[ \t\f]*(?:\r\n?|\n))*([ \t]*)")
#: Where a piece begins with comments, the indentation of the code counts.
_FIRST_CODE = re.compile(r"(?:[ \t\f]*(?:#[^\r\n]*)?(?:\r\n?|\n))*([ \t]*)")
_CLASSIC = re.compile(r"^(?:>>>|\.\.\.)(?: |(?=[\r\n])|\Z)", re.MULTILINE)
_IPYTHON = re.compile(r"^(?:In \[\d+\]: |[ \t]*\.{3,}: ?)", re.MULTILINE)


def take_off(source: str, *, whole: bool) -> str:
    """The source as IPython reads it; ``whole``: it is, or begins, a program, else it is a piece from the middle."""
    first = (_FIRST if whole else _FIRST_CODE).match(source)
    assert first is not None
    if indent := first[1]:
        source = re.sub(rf"^{indent}", "", source, flags=re.MULTILINE)
    start = first.end() - len(indent)
    for prompt in (_CLASSIC, _IPYTHON):
        if (match := prompt.match(source, start)) and not (whole and match.group().startswith("...")):
            return prompt.sub("", source)
    return source
