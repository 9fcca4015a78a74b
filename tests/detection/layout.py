"""The same program with other white space, wherever CPython's tokenizer says that a token is over.

Each bracket is then open over many physical lines, and each logical line begins and ends in every way there is. Nearly
all of it is valid: what finds false alarms.
"""

from __future__ import annotations

import io
import itertools
import tokenize
from collections.abc import Iterator
from random import Random

_LINE_ENDS = ("\n", "\n", "\r\n", "\r")
_IN_LINE = (" ", "  ", "\t", " \f", " \\\n", "\\\n  ", "\\\n\\\n ")
_IN_BRACKETS = (*_IN_LINE, "\n", "\n", "\n", " \n\t", " # ) ] } ' : ;\n", "\n\n#\n    ", "\n\f", "\n# x\n")
_BEFORE_NEWLINE = (" ", "\t", "  # c", "# c '", ";", " ;", "; # c", " ; \\\n")
_AFTER_NEWLINE = ("\n", "# c\n", "\t\n", "   \f\n", "        # c \\\n", "\f", "\\\n")
#: Between these and what follows them nothing may be put.
_NO_GAP = {tokenize.INDENT, tokenize.DEDENT, tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.ENDMARKER}
_STARTS = {getattr(tokenize, name, -1) for name in ("FSTRING_START", "TSTRING_START")}
_ENDS = {getattr(tokenize, name, -1) for name in ("FSTRING_END", "TSTRING_END")}


def laid_out_anew(text: str, random: Random) -> str:
    """``text`` itself if the tokenizer cannot read it."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError, ValueError):
        return text
    starts = [0, *(at + 1 for at, c in enumerate(text) if c == "\n")]
    often = random.choice((0.03, 0.2, 0.7))
    parts, done = ["\ufeff"] if random.random() < 0.05 else [], 0
    for (row, column), choices in _gaps(tokens):
        if random.random() < often and row <= len(starts):
            at = starts[row - 1] + column
            parts += text[done:at], random.choice(choices)
            done = at
    return ("".join(parts) + text[done:]).replace("\n", random.choice(_LINE_ENDS))


def _gaps(tokens: list[tokenize.TokenInfo]) -> Iterator[tuple[tuple[int, int], tuple[str, ...]]]:
    """Places (row from 1, column) and what may stand there."""
    depth = fstrings = 0
    first = ""
    for token, following in itertools.pairwise(tokens):
        fstrings += (token.type in _STARTS) - (token.type in _ENDS)
        if token.type == tokenize.OP and not fstrings:
            depth += (token.string in "([{") - (token.string in ")]}")
        if token.type == tokenize.NEWLINE:
            first = ""
            yield (token.start[0] + 1, 0), _AFTER_NEWLINE
        elif token.type not in _NO_GAP and not fstrings:
            first = first or token.string
            if following.type == tokenize.NEWLINE:
                yield token.end, _BEFORE_NEWLINE[:4] if token.string == ":" or first == "@" else _BEFORE_NEWLINE
            elif following.type not in _NO_GAP:
                yield token.end, _IN_BRACKETS if depth else _IN_LINE
