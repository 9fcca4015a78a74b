"""Syntax errors before the statement is over: each logical line is parsed once, alone, in the smallest frame in which
it could stand. What is refused there is refused in any program, so this is never a false alarm. A line that goes on
inside brackets is asked about before it is over: often it is the bracket that was forgotten.

Only for a grammar that is this interpreter's own.
"""

from __future__ import annotations

from typing import Final

from app.detection.compiling import Refusal, parse, refusal_of_prefix

# A longer line would hold the event loop for more than about 1 ms: it is left to the sandbox.
LONGEST: Final = 1_500

_BEFORE: Final = {
    "elif": "if 1: pass\n",
    "else": "if 1: pass\n",
    "except": "try: pass\n",
    "finally": "try: pass\n",
    "from": "0\n",  # since 3.14 the parser knows the names of future features, at the head of a program
}


def check_line(line: str, word: str, *, header: bool, block: str, decorated: bool) -> Refusal | None:
    """Args:
    line: a logical line without its indentation. word: its first word. header: it ends with the colon of a block.
    block: the word that opened the block it stands in. decorated: a decorator stands before it.
    """
    before = _before(word, block, decorated)
    after = "\n"
    if header:
        after = "\n case _: pass\n" if word == "match" else "\n  pass\n"
    elif word == "@":
        after = "\ndef f(): pass\n"
    if word == "try":
        after += "except: pass\n" if header else "\nexcept: pass\n"
    if line.endswith("\r"):  # of a continuation: with the "\n" it would be one line end, which the code cannot end in
        after = " " + after
    answer = parse(before + line + after)
    if not isinstance(answer, Refusal):
        return None
    return _within(line, answer, before)


def check_open_line(line: str, word: str, *, block: str, decorated: bool) -> Refusal | None:
    """The same of the first physical lines of a line that is open inside brackets."""
    before = _before(word, block, decorated)
    refusal = refusal_of_prefix(before + line)
    return _within(line, refusal, before) if refusal else None


def _before(word: str, block: str, decorated: bool) -> str:
    return "match 0:\n " if block == "match" else "@d\n" if decorated else _BEFORE.get(word, "")


def _within(line: str, refusal: Refusal, before: str) -> Refusal:
    last = line.rstrip("\r\n").count("\n") + 1
    return refusal._replace(line=min(max(refusal.line - before.count("\n"), 1), last))
