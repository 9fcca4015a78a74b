"""Shell scripts in fragments -> complete commands, line by line.

A command is over at a newline outside quotes, substitutions and compound commands, unless ``|``, ``&&``, ``||`` or a
backslash stands before it or a here-document has to follow. Lines are read once, when they are whole; what is still
open is a stack. Enough of bash's grammar is known to find the ends of commands, not to find errors in them: only a
closing word or bracket that nothing opened is reported.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final

from app.detection.chunk import Chunk, SyntaxProblem

# What can be open. Some of it is read as commands, the rest as text. "case", "pattern" and "body" are the states of one
# case, "list" are the brackets of an array or a pattern, "((" is one bracket of arithmetic.
_CODE: Final = frozenset({"", "$(", "(", "{", "if", "loop", "case", "pattern", "body", "[[", "list"})

_OPENS: Final = {"if": "if", "while": "loop", "until": "loop", "for": "loop", "select": "loop", "case": "case"} | {
    "{": "{",
    "[[": "[[",
}
_CLOSES: Final = {"fi": "if", "done": "loop", "esac": "body", "}": "{"}
_INSIDE: Final = {"then": "if", "elif": "if", "else": "if", "do": "loop"}
_PREFIXES: Final = frozenset({"!", "time", "coproc"})

_OPERATOR = re.compile(r";;&|;;|;&|&&|\|\||\|&|[;&|]")
_HEREDOC = re.compile(r"""<<(-?)[ \t]*((?:\\.|'[^']*'|"[^"]*"|[^\s;&|<>()'"\\])+)""")
_SUBSTITUTION = re.compile(r"\$\(\(|\$\(|\$\{|\$'|\$\"|[<>]\(")
_FUNCTION = re.compile(r"\([ \t]*\)")
_REDIRECTION = re.compile(r"<<<|[<>]{1,2}[&|]?")
_WORD = re.compile(r"""[^\s;&|<>()'"`\\$#]+""")
_TEXT = {
    "'": re.compile(r"[^']+"),
    "$'": re.compile(r"[^'\\]+"),
    '"': re.compile(r'[^"\\$`]+'),
    "`": re.compile(r"[^`\\]+"),
    "${": re.compile(r"""[^}'"\\$`]+"""),
    "((": re.compile(r"""[^()'"\\$`]+"""),
}
_ENDS: Final = {"'": "'", "$'": "'", '"': '"', "`": "`", "${": "}", "((": ")"}


class BashDetector:
    def __init__(self) -> None:
        self._problem: SyntaxProblem | None = None
        self._count = 0
        self._start = 0
        self._line_number = 1  # of the first line that is not emitted
        self._parts: list[str] = []  # of the line that is not whole
        self._lines: list[str] = []  # whole lines not emitted
        self._open: list[str] = []
        self._heredocs: deque[tuple[str, bool]] = deque()  # delimiters to come, and whether tabs before them go
        self._in_heredoc = False
        self._word: str | None = None  # the word before the cursor; a quoted one has a "'" in it
        self._at_start = True  # a word here would be a command, or a reserved word
        self._named = False  # after "function": a name and then a command
        self._unfinished = False  # a command must follow
        self._continued = False  # the line ended in a backslash
        self._empty = True  # only blank lines and comments so far

    def __repr__(self) -> str:
        return f"{type(self).__name__}(chunks={self._count}, remainder={self.remainder!r}, problem={self._problem!r})"

    @property
    def problem(self) -> SyntaxProblem | None:
        return self._problem

    @property
    def remainder(self) -> str:
        return "".join(self._lines) + "".join(self._parts)

    def feed(self, fragment: str) -> list[Chunk]:
        chunks: list[Chunk] = []
        if self._problem:
            self._parts.append(fragment)
            return chunks
        *lines, rest = fragment.split("\n")
        for number, line in enumerate(lines):
            self._parts.append(line + "\n")
            if self._read_line():
                chunks.append(self._emit("simple"))
            if self._problem:
                rest = "\n".join([*lines[number + 1 :], rest])
                break
        if rest:
            self._parts.append(rest)
        return chunks

    def flush(self) -> list[Chunk]:
        chunks: list[Chunk] = []
        if self._problem is None and self._parts:
            over = self._read_line()
            if over and self._problem is None:
                chunks.append(self._emit("simple"))
        if self._problem is None and self._lines:
            if self._open or self._unfinished:
                self._fail("syntax error: unexpected end of file")
            else:  # comments, or a here-document that the end of the code ends
                chunks.append(self._emit("trivia" if self._empty else "simple"))
        return chunks

    def _emit(self, kind: str) -> Chunk:
        source = "".join(self._lines)
        chunk = Chunk(self._count, source, self._start, self._start + len(source), self._line_number, 0, kind)
        self._count += 1
        self._start = chunk.end
        self._line_number += source.count("\n")
        self._lines.clear()
        self._empty = True
        return chunk

    def _fail(self, message: str) -> None:
        offset = self._start + sum(map(len, self._lines))
        self._problem = SyntaxProblem(message, self._line_number + max(len(self._lines) - 1, 0), offset)

    def _unexpected(self, token: str) -> None:
        self._fail(f"syntax error near unexpected token `{token}'")

    # Lines.

    def _read_line(self) -> bool:
        """Reads the line in ``_parts``. Is a command over with it?"""
        line = "".join(self._parts)
        self._parts.clear()
        self._lines.append(line)
        if self._in_heredoc:
            delimiter, tabs = self._heredocs[0]
            if (line.lstrip("\t") if tabs else line).rstrip("\n") == delimiter:
                self._heredocs.popleft()
                self._in_heredoc = bool(self._heredocs)
            return not self._in_heredoc and self._over
        i = 0
        self._continued = False
        while i < len(line) and self._problem is None:
            top = self._open[-1] if self._open else ""
            i = self._read_code(line, i, top) if top in _CODE else self._read_text(line, i, top)
        top = self._open[-1] if self._open else ""
        if self._problem or top not in _CODE or self._continued:
            return False
        self._end_word()
        if top not in ("list", "case", "[["):
            self._at_start = True
        self._in_heredoc = bool(self._heredocs)
        return not self._in_heredoc and self._over

    @property
    def _over(self) -> bool:
        return not (self._open or self._unfinished or self._empty or self._problem)

    def _read_text(self, line: str, i: int, top: str) -> int:
        """Quoted text, a parameter or arithmetic: up to its end, or what is nested in it."""
        if match := _TEXT[top].match(line, i):
            return match.end()
        c = line[i]
        if c == "\\":
            return i + 2
        if c == _ENDS[top]:
            self._open.pop()
        elif match := _SUBSTITUTION.match(line, i):
            return self._open_substitution(match)
        elif c == "(" and top == "((":
            self._open.append("((")
        elif c in "\"'`":
            self._open.append(c)
        return i + 1

    def _open_substitution(self, match: re.Match[str]) -> int:
        opened = match.group()
        if opened == "$((":
            self._open += ("((", "((")  # one for each bracket
        elif opened == '$"':
            self._open.append('"')
        elif opened in ("$'", "${"):
            self._open.append(opened)
        else:
            self._open.append("$(")
            self._word, self._at_start = None, True
        return match.end()

    def _read_code(self, line: str, i: int, top: str) -> int:
        if match := _WORD.match(line, i):
            self._word = (self._word or "") + match.group()
            return match.end()
        c = line[i]
        if c.isspace():
            self._end_word()
            return i + 1
        if c == "#" and self._word is None:
            return len(line)
        self._empty = False
        if c == "\\":
            self._continued = line.startswith("\n", i + 1)
            if not self._continued:
                self._word = (self._word or "") + "'"
            return i + 2
        if match := _SUBSTITUTION.match(line, i):
            self._word = (self._word or "") + "'"
            return self._open_substitution(match)
        if c in "\"'`":
            self._word = (self._word or "") + "'"
            self._open.append(c)
            return i + 1
        if c in "$#":
            self._word = (self._word or "") + c
            return i + 1
        if c in "<>":
            return self._read_redirection(line, i, top)
        if c in "()":
            return self._read_bracket(line, i, top)
        return self._read_operator(line, i)

    # Tokens.

    def _end_word(self) -> None:
        word, self._word = self._word, None
        if word is None:
            return
        self._empty = False
        self._unfinished = False
        top = self._open[-1] if self._open else ""
        if top == "[[":
            if word == "]]":
                self._open.pop()
        elif top == "case":
            if word == "in":
                self._open[-1] = "pattern"
                self._at_start = True
        elif top == "pattern" and self._at_start and word == "esac":
            self._open.pop()
            self._at_start = False
        elif self._named:
            self._named = False
            self._unfinished = self._at_start = True
        elif self._at_start and top not in ("pattern", "list"):
            self._begin_command(word, top)
        else:
            self._at_start = False

    def _begin_command(self, word: str, top: str) -> None:
        if word in _PREFIXES:
            return
        self._at_start = False
        if word in _OPENS:
            self._open.append(_OPENS[word])
            self._at_start = word not in ("for", "select", "case", "[[")
        elif word in _CLOSES:
            if top == _CLOSES[word]:
                self._open.pop()
            else:
                self._unexpected(word)
        elif word in _INSIDE:
            if top == _INSIDE[word]:
                self._at_start = True
            else:
                self._unexpected(word)
        elif word == "function":
            self._named = True

    def _read_operator(self, line: str, i: int) -> int:
        self._end_word()
        top = self._open[-1] if self._open else ""  # a word may have closed something
        match = _OPERATOR.match(line, i)
        if match is None or top == "[[":
            return i + 1
        token = match.group()
        if token in (";;", ";&", ";;&"):
            if top != "body":
                self._unexpected(token)
                return i
            self._open[-1] = "pattern"
        self._at_start = True
        self._unfinished = token in ("&&", "||", "|", "|&") and top != "pattern"
        return match.end()

    def _read_redirection(self, line: str, i: int, top: str) -> int:
        self._end_word()
        redirection = _REDIRECTION.match(line, i)
        assert redirection is not None
        if redirection.group() == "<<" and top != "[[" and (match := _HEREDOC.match(line, i)):
            delimiter = re.sub(r"\\(.)|['\"]", r"\1", match[2])
            self._heredocs.append((delimiter, match[1] == "-"))
            return match.end()
        return redirection.end()

    def _read_bracket(self, line: str, i: int, top: str) -> int:
        word = self._word
        if line[i] == ")":
            return self._close_bracket(i)
        if top in ("[[", "list") or (word and word[-1] in "=?*+@!"):
            self._open.append("list")
            self._word = (word or "") + "'"
            return i + 1
        after_name = word is not None or not self._at_start
        self._end_word()
        if after_name and (match := _FUNCTION.match(line, i)):
            self._named = False
            self._unfinished = self._at_start = True
            return match.end()
        if line.startswith("((", i):
            self._open += ("((", "((")
            self._at_start = self._unfinished = False
            return i + 2
        if top != "pattern":
            self._open.append("(")
            self._at_start, self._unfinished = True, False
        return i + 1

    def _close_bracket(self, i: int) -> int:
        self._end_word()
        top = self._open[-1] if self._open else ""
        if top == "pattern":
            self._open[-1] = "body"
            self._at_start = True
        elif top in ("(", "$(", "list"):
            self._open.pop()
            # What follows a substitution belongs to the word around it.
            self._word = None if top == "(" else "'"
            self._at_start = False
        else:
            self._unexpected(")")
        return i + 1
