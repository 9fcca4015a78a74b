"""Tricky texts and their chunks: the text of each, and how many characters were read when it was emitted.

Checked against CPython 3.12: the chunks are its statements, each cut and emitted at the first character that settles
it. Of a text that can never become valid, those before the error, and the message with the characters read by then.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    name: str
    code: str
    chunks: tuple[tuple[str, int], ...]
    problem: tuple[str, int] | None = None


CASES = (
    # Boundaries of simple statements.
    Case(
        'semicolons split; text after ";" opens the next chunk mid-line',
        "x = 1; y = 2\nz\n",
        (
            ("x = 1;", 6),
            (" y = 2\n", 13),
            ("z\n", 15),
        ),
    ),
    Case(
        "trailing semicolon: its newline is leading trivia of the next chunk",
        "x = 1;\ny\n",
        (
            ("x = 1;", 6),
            ("\ny\n", 9),
        ),
    ),
    Case(
        "semicolon + comment",
        "x; # c\ny\n",
        (
            ("x;", 2),
            (" # c\ny\n", 9),
        ),
    ),
    Case(
        "semicolon + continuation",
        "x = 1; \\\n  y = 2\n",
        (
            ("x = 1;", 6),
            (" \\\n  y = 2\n", 17),
        ),
    ),
    Case(
        "semicolons inside a one-line suite never split",
        "if a: x; y\nz\n",
        (
            ("if a: x; y\n", 12),
            ("z\n", 13),
        ),
    ),
    Case(
        '";" after annotated match name',
        "match: int; y\n",
        (
            ("match: int;", 11),
            (" y\n", 14),
        ),
    ),
    Case(
        '"#" completes a simple statement; the comment is trivia of the next chunk',
        "x = f()  # long comment\ny\n",
        (
            ("x = f()  ", 10),
            ("# long comment\ny\n", 26),
        ),
    ),
    Case(
        '"#" does NOT complete a one-line if (else may follow)',
        "if a: b  # c\nelse: d  # e\nz\n",
        (
            ("if a: b  # c\nelse: d  ", 23),
            ("# e\nz\n", 28),
        ),
    ),
    Case(
        '"#" completes one-line class/def/with',
        "class A: pass  # c\nx\n",
        (
            ("class A: pass  ", 16),
            ("# c\nx\n", 21),
        ),
    ),
    Case(
        "comment after a backslash continuation ends the statement; its chunk ends in backslash and newline",
        "x \\\n # c\ny\n",
        (
            ("x \\\n ", 6),
            ("# c\ny\n", 11),
        ),
    ),
    Case(
        "blank line after a backslash continuation ends the statement",
        "x = 1 \\\n\ny\n",
        (
            ("x = 1 \\\n\n", 9),
            ("y\n", 11),
        ),
    ),
    Case(
        "brackets hide newlines, comments, semicolon-looking text",
        "x = [1,  # ;\n  2,\n]\ny\n",
        (
            ("x = [1,  # ;\n  2,\n]\n", 20),
            ("y\n", 22),
        ),
    ),
    Case(
        "from-import in brackets: at its newline, although nothing but the end of the line can follow",
        "from a import (b,\n  c)\nx\n",
        (
            ("from a import (b,\n  c)\n", 23),
            ("x\n", 25),
        ),
    ),
    Case(
        "statement starting with an operator, bracket, quote or number",
        '-x\n(y)\n[z]\n"s"\n.5\n...\n*a, b = c\n',
        (
            ("-x\n", 3),
            ("(y)\n", 7),
            ("[z]\n", 11),
            ('"s"\n', 15),
            (".5\n", 18),
            ("...\n", 22),
            ("*a, b = c\n", 32),
        ),
    ),
    Case(
        "string expression in the middle (must not become __doc__)",
        '"doc"\nx\n"""not doc"""\ny\n',
        (
            ('"doc"\n', 6),
            ("x\n", 8),
            ('"""not doc"""\n', 22),
            ("y\n", 24),
        ),
    ),
    # Continuation of compound statements (decisive character).
    Case(
        "identifier that starts like a clause",
        "if a:\n  b\nelse_x = 1\n",
        (
            ("if a:\n  b\n", 15),
            ("else_x = 1\n", 21),
        ),
    ),
    Case(
        'prefix "el", "els" as names',
        "if a:\n  b\nel = 1\n",
        (
            ("if a:\n  b\n", 13),
            ("el = 1\n", 17),
        ),
    ),
    Case(
        '"except..." after if/for/while is decisive at its second character',
        "if a:\n  b\nexcept_ = 1\n",
        (
            ("if a:\n  b\n", 12),
            ("except_ = 1\n", 22),
        ),
    ),
    Case(
        'non-ASCII letter: "else\\u00e9" is a name; NFKC look-alikes of keywords are names too',
        "if a:\n  b\nelseé = 1\n",
        (
            ("if a:\n  b\n", 15),
            ("elseé = 1\n", 20),
        ),
    ),
    Case(
        "clause word directly followed by punctuation or backslash",
        "if a: b\nelse:c\nif a: b\nelse\\\n: c\nx\n",
        (
            ("if a: b\nelse:c\n", 15),
            ("if a: b\nelse\\\n: c\n", 33),
            ("x\n", 35),
        ),
    ),
    Case(
        "broken keyword: el\\<newline>se is two tokens, so it does not continue",
        "if a: b\nel = 2\n",
        (
            ("if a: b\n", 11),
            ("el = 2\n", 15),
        ),
    ),
    Case(
        "try needs a clause: a name in column 0 is an error at once",
        "try: a\nexcept E: b\nelse: c\nfinally: d\nx\n",
        (
            ("try: a\nexcept E: b\nelse: c\nfinally: d\n", 38),
            ("x\n", 40),
        ),
    ),
    Case(
        "after finally / else-of-if nothing continues: complete at the newline when one-line",
        "try: a\nfinally: b\nx\n",
        (
            ("try: a\nfinally: b\n", 18),
            ("x\n", 20),
        ),
    ),
    Case(
        "for/while else",
        "for i in j:\n  k\nelse:\n  l\nm\n",
        (
            ("for i in j:\n  k\nelse:\n  l\n", 27),
            ("m\n", 28),
        ),
    ),
    Case(
        "async for has else, async with/def do not",
        "async for i in j: k\nelse: l\nasync with a: b\nc\n",
        (
            ("async for i in j: k\nelse: l\n", 28),
            ("async with a: b\n", 44),
            ("c\n", 46),
        ),
    ),
    Case(
        "async split by a continuation",
        "async \\\n for i in j: k\nelse: l\nm\n",
        (
            ("async \\\n for i in j: k\nelse: l\n", 31),
            ("m\n", 33),
        ),
    ),
    Case(
        "column-0 comment does not close a block",
        "def f():\n    x\n# comment\n    y\nz\n",
        (
            ("def f():\n    x\n# comment\n    y\n", 32),
            ("z\n", 33),
        ),
    ),
    Case(
        "trailing indented comment and blank lines go to the next chunk",
        "def f():\n    x\n    # end\n\n# next\ny\n",
        (
            ("def f():\n    x\n", 34),
            ("    # end\n\n# next\ny\n", 35),
        ),
    ),
    Case(
        "decorators, with comments and blank lines between",
        "@a\n# c\n\n@b\ndef f(): pass\nx\n",
        (
            ("@a\n# c\n\n@b\ndef f(): pass\n", 25),
            ("x\n", 27),
        ),
    ),
    Case(
        "decorated one-line def is complete at its newline",
        "@a\nclass B: pass\nx\n",
        (
            ("@a\nclass B: pass\n", 17),
            ("x\n", 19),
        ),
    ),
    Case(
        "def/class/with one-line suite: complete at the newline, no look-ahead",
        "def f(): return 1\nx\n",
        (
            ("def f(): return 1\n", 18),
            ("x\n", 20),
        ),
    ),
    Case(
        "end of stream closes a block",
        "while a:\n    b",
        (("while a:\n    b", 14),),
    ),
    # Soft keywords.
    Case(
        "match as name / call / subscript / operator",
        "match = 1\nmatch (x)\nmatch[x]: int\nmatch -x\nmatch\n",
        (
            ("match = 1\n", 10),
            ("match (x)\n", 20),
            ("match[x]: int\n", 34),
            ("match -x\n", 43),
            ("match\n", 49),
        ),
    ),
    Case(
        'match statement = logical line whose last significant char is ":" at depth 0',
        "match x, y:\n  case 1: a\n  case _:\n    b\nz\n",
        (
            ("match x, y:\n  case 1: a\n  case _:\n    b\n", 41),
            ("z\n", 42),
        ),
    ),
    Case(
        "match on dict / lambda / f-string",
        "match {1: 2}:\n  case _: pass\nmatch (lambda: 0):\n  case _: pass\nz\n",
        (
            ("match {1: 2}:\n  case _: pass\n", 30),
            ("match (lambda: 0):\n  case _: pass\n", 64),
            ("z\n", 65),
        ),
    ),
    Case(
        "case, type, _ as names at column 0",
        "case = 1\ntype = 2\ntype (x)\n_ = 3\n",
        (
            ("case = 1\n", 9),
            ("type = 2\n", 18),
            ("type (x)\n", 27),
            ("_ = 3\n", 33),
        ),
    ),
    # Indentation, blanks, line ends.
    Case(
        "form feed resets the column to 0, even after spaces",
        "if a:\n    b\n   \x0cc\n",
        (
            ("if a:\n    b\n", 17),
            ("   \x0cc\n", 18),
        ),
    ),
    Case(
        "form feed alone on a line",
        "x\n\x0c\ny\n",
        (
            ("x\n", 2),
            ("\x0c\ny\n", 6),
        ),
    ),
    Case(
        "backslash at the start of a line: the column of the FIRST backslash counts, unless it is 0",
        "if a:\n    b\n\\\n    c\nd\n",
        (
            ("if a:\n    b\n\\\n    c\n", 21),
            ("d\n", 22),
        ),
    ),
    Case(
        "backslash after indentation, code at column 0 on the next line: still in the block",
        "if a:\n    \\\nb\nc\n",
        (
            ("if a:\n    \\\nb\n", 15),
            ("c\n", 16),
        ),
    ),
    Case(
        "tabs",
        "if a:\n\tb\n\tc\nd\n",
        (
            ("if a:\n\tb\n\tc\n", 13),
            ("d\n", 14),
        ),
    ),
    Case(
        'CRLF; a "\\r" at the end of a token is held until the next one',
        "x = 1\r\ny = 2\r\n",
        (
            ("x = 1\r\n", 7),
            ("y = 2\r\n", 14),
        ),
    ),
    Case(
        "lone CR is a newline",
        "x\ry\n",
        (
            ("x\r", 3),
            ("y\n", 4),
        ),
    ),
    Case(
        "BOM only at offset 0",
        "\ufeffx\ny\n",
        (
            ("\ufeffx\n", 3),
            ("y\n", 5),
        ),
    ),
    Case(
        "no newline at end of stream",
        "x\ny",
        (
            ("x\n", 2),
            ("y", 3),
        ),
    ),
    Case(
        "vertical tab, NUL, other control characters are errors, not blanks; U+2028, U+0085 are not line ends",
        'x = "\u2028\x85"\ny\n',
        (
            ('x = "\u2028\x85"\n', 9),
            ("y\n", 11),
        ),
    ),
    # Strings.
    Case(
        "triple quotes with newlines, hashes, quotes",
        'x = """a\n# "" \'\'\'\nif y:\n"""\nz\n',
        (
            ('x = """a\n# "" \'\'\'\nif y:\n"""\n', 28),
            ("z\n", 30),
        ),
    ),
    Case(
        "raw strings: the backslash still protects the quote",
        'x = r"\\""\ny\n',
        (
            ('x = r"\\""\n', 10),
            ("y\n", 12),
        ),
    ),
    Case(
        "backslash-newline in a one-line string",
        'x = "a\\\nb"\ny\n',
        (
            ('x = "a\\\nb"\n', 11),
            ("y\n", 13),
        ),
    ),
    Case(
        "empty strings, adjacent strings",
        'x = "" ""\'\'\ny\n',
        (
            ('x = "" ""\'\'\n', 12),
            ("y\n", 14),
        ),
    ),
    Case(
        "six quotes",
        '""""""\nx\n',
        (
            ('""""""\n', 7),
            ("x\n", 9),
        ),
    ),
    Case(
        'prefix split over tokens (r|b|"...)',
        'x = rb"\\""\ny\n',
        (
            ('x = rb"\\""\n', 11),
            ("y\n", 13),
        ),
    ),
    Case(
        "keyword glued to a string",
        'x = 1if"a"else"b"\ny\n',
        (
            ('x = 1if"a"else"b"\n', 18),
            ("y\n", 20),
        ),
    ),
    Case(
        'prefix-looking end of a name (notf"x" is an error, xf = 1 is not)',
        "xf = 1\ny\n",
        (
            ("xf = 1\n", 7),
            ("y\n", 9),
        ),
    ),
    # F-strings, 3.12+ (before 3.12 they are ordinary strings).
    Case(
        "same quotes inside",
        'x = f"{d["a"]}"\ny\n',
        (
            ('x = f"{d["a"]}"\n', 16),
            ("y\n", 18),
        ),
    ),
    Case(
        "newline and comment inside a one-line f-string field",
        'x = f"{\n  a  # }"\n}"\ny\n',
        (
            ('x = f"{\n  a  # }"\n}"\n', 21),
            ("y\n", 23),
        ),
    ),
    Case(
        "hash in the literal part is not a comment",
        'x = f"#{a}#"  # c\ny\n',
        (
            ('x = f"#{a}#"  ', 15),
            ("# c\ny\n", 20),
        ),
    ),
    Case(
        "doubled braces",
        'x = f"{{"; y = f"}}"; z = f"{{{a}}}"\n',
        (
            ('x = f"{{";', 10),
            (' y = f"}}";', 21),
            (' z = f"{{{a}}}"\n', 37),
        ),
    ),
    Case(
        '":" starts a format spec only at field depth',
        'x = f"{a[b:c]:{w}.{p}}"\ny\n',
        (
            ('x = f"{a[b:c]:{w}.{p}}"\n', 24),
            ("y\n", 26),
        ),
    ),
    Case(
        '":=" at field depth is a format spec, "!=" is an operator',
        'x = f"{a:=5}{b!=c}"\ny\n',
        (
            ('x = f"{a:=5}{b!=c}"\n', 20),
            ("y\n", 22),
        ),
    ),
    Case(
        "nested f-strings, triple inside single",
        'x = f"{f"{f"""{1}"""}"}"\ny\n',
        (
            ('x = f"{f"{f"""{1}"""}"}"\n', 25),
            ("y\n", 27),
        ),
    ),
    Case(
        "\\N{...} is not a field, but is one in a raw f-string",
        'x = f"\\N{EM DASH}"\ny\n',
        (
            ('x = f"\\N{EM DASH}"\n', 19),
            ("y\n", 21),
        ),
    ),
    Case(
        "backslash before a brace",
        'x = rf"\\{a}"\ny\n',
        (
            ('x = rf"\\{a}"\n', 13),
            ("y\n", 15),
        ),
    ),
    Case(
        "format spec containing the other quote",
        'x = f"{a:\'>5}"\ny\n',
        (
            ('x = f"{a:\'>5}"\n', 15),
            ("y\n", 17),
        ),
    ),
    # Errors and false accepts.
    Case(
        'a compound statement after ";" (each half parses alone)',
        "x = 1; if a: b\n",
        (("x = 1;", 6),),
        problem=("invalid syntax", 10),
    ),
    Case(
        "unindent that matches nothing",
        "if a:\n  b\n else: c\n",
        (),
        problem=("unindent does not match any outer indentation level", 12),
    ),
    Case(
        "bracket mismatch, known at the character",
        "x = (1]\n",
        (),
        problem=("closing parenthesis ']' does not match opening parenthesis '('", 7),
    ),
    Case(
        "unterminated string, known at the newline",
        "x = 'abc\n",
        (),
        problem=("unterminated string literal (detected at line 1)", 9),
    ),
    Case(
        "unexpected indent, known at the first character",
        "    x\n",
        (),
        problem=("unexpected indent", 5),
    ),
    Case(
        "missing block, known at the first character",
        "if a:\nb\n",
        (),
        problem=("expected an indented block after 'if' statement on line 1", 7),
    ),
    Case(
        "try without except, known at the first character that cannot begin one",
        "try: a\nb\n",
        (),
        problem=("expected 'except' or 'finally' block", 8),
    ),
    Case(
        "clause without statement",
        "else: x\n",
        (),
        problem=("invalid syntax", 5),
    ),
    Case(
        "decorator before a simple statement",
        "@d\nx = 1\n",
        (),
        problem=("invalid syntax", 5),
    ),
    Case(
        "empty statement",
        "x = 1;; y\n",
        (("x = 1;", 6),),
        problem=("invalid syntax", 7),
    ),
    Case(
        "character after a backslash",
        "x \\ y\n",
        (),
        problem=("unexpected character after line continuation character", 4),
    ),
    Case(
        "NUL",
        "x = 1\x00\n",
        (),
        problem=("source code cannot contain null bytes", 6),
    ),
    Case(
        "no lexical error: left to the parser",
        "async x\n",
        (("async x\n", 8),),
    ),
    Case(
        "not seen chunk by chunk: a module-level global after use is a whole-file SyntaxError",
        "x = 1\nglobal x\n",
        (
            ("x = 1\n", 6),
            ("global x\n", 15),
        ),
    ),
    Case(
        "a late future import, seen by the confirmation",
        "x = 1\nfrom __future__ import annotations\n",
        (
            ("x = 1\n", 6),
            ("from __future__ import annotations\n", 41),
        ),
    ),
)
