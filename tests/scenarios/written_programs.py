# ruff: noqa: E501
"""Programs as a model writes them, by chance: valid Python 3.11 that prints, warns, raises, defines and exits.

Every program begins with the same plain values, so that most of what follows runs; ``risk`` is how often an expression
fails. ``a``, ``b`` are numbers, ``s`` a string, ``xs`` a list, ``d`` a dictionary.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from random import Random

_HEADS = (
    "",
    "",
    "",
    '"""What it does.\n\n# not a comment\n"""\n',
    "from __future__ import annotations\n",
    "'doc'; from __future__ import annotations, generator_stop\n",
    "#!/usr/bin/env python3\n# -*- coding: utf-8 -*-\n\n",
    "\ufeff# with a mark\n",
)
_BEGINNING = "import sys, warnings, asyncio, functools, contextlib\na, b = 3, 5\ns = 'zwölf'\nxs = [1, 2, 3]\nd = {'k': 4, 'ß': 'x'}\n"
_FAILURES = (
    *("1 / (a - a)", "xs[99]", "d['none']", "undefined", "int('no')", "None.attribute", "'a' + 1", "next(iter(()))"),
    *("[1, 2].index(7)", "(lambda q: q.x)(a)", "sum([1, 'zwei'])", "max(y / 0 for y in xs)", "getattr(s, 'ü')"),
)
_EXCEPTIONS = (
    *(
        "ValueError('nein: ' + repr(a))",
        "KeyError(s)",
        "RuntimeError",
        "OSError(2, 'weg', 'datei')",
        "TypeError('ä\\nö')",
    ),
    *("ExceptionGroup('alle', [ValueError(1), OSError(2)])", "StopIteration(a)", "AssertionError", "SystemExit"),
)
_EXITS = ("sys.exit()", "sys.exit(3)", "sys.exit('Schluss')", "raise SystemExit", "exit(a)", "sys.exit(None)")
_NUMBERS = (
    *(
        "a",
        "b",
        "len(xs)",
        "7",
        "a + b * 2",
        "-a",
        "(a\n     + b)",
        "sum(xs)",
        "[x * a for x in xs if x][0]",
        "max(a, b)",
    ),
    *("sum(x for x in xs)", "(y := a)", "a if a > b else b", "len({x: x for x in xs})", "abs(a) % 7", "0x1F", "10_000"),
    *("xs[0]", "len(s)", "a \\\n    + 1", "int('42')", "ord(s[0])", "(lambda x, *y, z=2: x + z)(a)"),
)
_TEXTS = (
    *(
        "s",
        "f'{a}'",
        "f\"{d['k']!r:>6}\"",
        "f'{a:{b}d}|{s:^9}'",
        "'ein # kein Kommentar'",
        '"it\'s"',
        "'''drei\n  'Zeilen'\n'''",
    ),
    *(
        "repr(xs)",
        "s.upper()",
        "'%s-%d' % (s, a)",
        "r'\\d+\\''",
        "'a' 'b'",
        "f'''{\na\n}'''",
        "'\\u00e9\\N{BULLET}😀'",
        "f'{{{a}}}'",
    ),
    *(
        "'; '.join(map(str, xs))",
        "'''\nif x:\n# y'''",
        "f'{s!a}' f\"{xs[0]}\"",
        "b'\\xff'.hex()",
        "'\\\nweiter'",
        "f'{a=}'",
        "str(d)",
    ),
)
_ENDINGS = (
    "a\n",
    "a",
    "a;\n",
    "a;",
    "(a)\n\n\n",
    "a  # Wert\n",
    "xs",
    "s\n# Ende\n",
    "None\n",
    "d\n\n",
    "print(a)\n",
    "xs; a\n",
    "b = a\n",
)


def program(random: Random) -> str:
    return _Writer(random).program()


def broken(random: Random) -> tuple[str, str]:
    """A program without failures, and what makes it no program: to be put behind it."""
    writer = _Writer(random)
    writer.risk = 0.0
    code = writer.head() + "".join(writer.statement() for _ in range(random.randint(1, 6)))
    mistake = random.choice(_MISTAKES)
    return code + ("pass\n" if mistake in _NO_MISTAKE_BEHIND_A_BODY else ""), mistake


_NO_MISTAKE_BEHIND_A_BODY = ("  print(a)\n", "else:\n    pass\n")

_MISTAKES = (
    *_NO_MISTAKE_BEHIND_A_BODY,
    *(
        "def f(:\n    pass\nprint(1)\n",
        "x = = 1\n",
        "if a\n    print(a)\n",
        "print 'x'\n",
        "for x in xs print(x)\n",
        "x = (1,\n",
    ),
    *(
        "s = 'offen\nprint(s)\n",
        "return 3\n",
        "f(a=1, 2)\n",
        "'''offen\n",
        "try:\n    a\nb\n",
    ),
    *(
        "class:\n    pass\n",
        "break\n",
        "x = 1 +\n",
        "print(a))\n",
        "def g():\nprint(a)\n",
        "nonlocal a\n",
        "1 = a\n",
        "import\n",
    ),
)


class _Writer:
    def __init__(self, random: Random) -> None:
        self.random = random
        self.risk = random.choice((0.0, 0.01, 0.03, 0.1))
        self.awaits = random.random() < 0.2
        self._functions = ["len", "repr", "str"]
        self._depth = 0
        self._in_function = self._in_async = self._in_loop = False

    def head(self) -> str:
        return self.random.choice(_HEADS) + _BEGINNING

    def program(self) -> str:
        count = self.random.choice((1, 2, 4, 8, 12))
        body = "".join(self._gap() + self.statement() for _ in range(count))
        return self.head() + body + (self.random.choice(_ENDINGS) if self.random.random() < 0.7 else "")

    def _gap(self) -> str:
        return self.random.choice(("", "", "", "\n", "\n\n", "# Schritt\n", "   # eingerückt\n\n", "\f\n", "# '''\n"))

    # Expressions.

    def number(self) -> str:
        return self.random.choice(_FAILURES) if self.random.random() < self.risk else self.random.choice(_NUMBERS)

    def text(self) -> str:
        return self.random.choice(_TEXTS)

    def value(self) -> str:
        if len(self._functions) > 3 and self.random.random() < 0.2:
            return f"{self.random.choice(self._functions)}({self.number()})"
        return self.number() if self.random.random() < 0.5 else self.text()

    # Statements.

    def block(self, count: int = 2) -> str:
        self._depth += 1
        lines = "".join(self.statement() for _ in range(self.random.randint(1, count)))
        self._depth -= 1
        return _indented(lines, self.random.choice(("    ", "    ", "  ", "\t")))

    def statement(self) -> str:
        kinds = self._SIMPLE if self._depth > 2 else self._SIMPLE + self._COMPOUND
        return self.random.choice(kinds)(self)

    def _assign(self) -> str:
        return self.random.choice(
            ("a = {0}\n", "b += a\n", "a, (b, *_) = b, (a, 1)\n", "s = {1}\n", "z: int = {0}\n", "xs.append(a)\n")
        ).format(self.number(), self.text())

    def _print(self) -> str:
        forms = (
            *(
                "print({0})\n",
                "print({0}, {0}, sep=';')\n",
                "print(a, end='')\n",
                "print({0},\n      file=sys.stderr)\n",
            ),
            *("print({0}); print({0})\n", "sys.stdout.write({1} + '\\n')\n", "print(\n    {0},  # eins\n    a,\n)\n"),
            "_ = sys.stderr.write('e%d\\n' % a); print(b)  # beides\n",
        )
        form = self.random.choice(forms)
        return form.format(self.value(), self.text())

    def _warn(self) -> str:
        return self.random.choice(
            (
                *(
                    "warnings.warn('alt', DeprecationWarning)\n",
                    "warnings.warn({1})\n",
                    "for i in range(3): warnings.warn('oft')\n",
                ),
                "warnings.warn('selten', ResourceWarning); warnings.warn('x')\n",
            )
        ).replace("{1}", self.text())

    def _semicolons(self) -> str:
        return f"a = {self.number()}; print(a); b = a;\n"

    def _expression(self) -> str:
        return self.random.choice(
            (f"{self.value()}\n", "lambda: a\n", "...\n", f"({self.value()},)\n", "[print(x) for x in xs]\n")
        )

    def _import(self) -> str:
        return self.random.choice(
            (
                "import math\nprint(math.floor(a))\n",
                "from os.path import (join,\n    split)\n",
                "from a.b import c\n" if self.random.random() < self.risk else "import sys as system\n",
            )
        )

    def _raise(self) -> str:
        if self.random.random() > 8 * self.risk:
            return "pass\n"
        error = self.random.choice(_EXCEPTIONS)
        if self.awaits and "Stop" in error:
            return "pass\n"  # no coroutine, which the whole program is then, lets it out
        return self.random.choice(
            (
                f"raise {error}\n",
                f"raise {error} from ValueError(s)\n",
                "assert a == 0, f'{a} statt 0'\n",
                "del undefined\n",
            )
        )

    def _exit(self) -> str:
        return self.random.choice(_EXITS) + "\n" if self.random.random() < 4 * self.risk else "pass\n"

    def _global(self) -> str:
        if not self._in_function:
            return "print(sorted(k for k in globals() if len(k) < 3))\n"
        return f"globals()['g{self._depth}'] = {self.number()}\n"

    def _await(self) -> str:
        if not self._may_await:
            return "pass\n"
        sleep = "asyncio.sleep(0, a)"
        return self.random.choice(
            (
                f"a = await {sleep}\n",
                f"print(await {sleep})\n",
                f"await {sleep}\n",
                f"print([await {sleep} for _ in xs])\n",
            )
        )

    @property
    def _may_await(self) -> bool:
        return self._in_async or (self.awaits and not self._in_function)

    def _if(self) -> str:
        code = f"if {self.number()} > {self.number()}:\n{self.block()}"
        if self.random.random() < 0.4:
            code += f"elif {self.value()}:\n{self.block()}"
        if self.random.random() < 0.5:
            code += f"{self._comment()}else:  # sonst\n{self.block()}"
        return code

    def _comment(self) -> str:
        return self.random.choice(("", "", "\n", "# dazwischen\n"))

    def _for(self) -> str:
        head = self.random.choice(("for x in xs[:2]:\n", "for i, c in enumerate(s[:2]):\n", "for _ in range(2):\n"))
        if self._may_await and self.random.random() < 0.5:
            return f"async def ticks():\n    yield a\n    yield b\nasync for t in ticks():\n{self.block()}"
        tail = f"else:\n{self.block(1)}" if self.random.random() < 0.3 else ""
        return head + self.block() + tail

    def _while(self) -> str:
        return f"n = 2\nwhile n:\n    n -= 1\n{textwrap.indent(textwrap.dedent(self.block()), '    ') or '    pass'}"

    def _try(self) -> str:
        code = f"try:\n{self.block()}"
        form = self.random.choice(
            (
                "except Exception as e:\n    print(type(e).__name__, e)\n",
                "except (KeyError, ValueError):\n{0}",
                "except* ValueError:\n{0}",
                "",
            )
        )
        code += form.replace("{0}", self.block(1))
        if form and self.random.random() < 0.3:
            code += f"else:\n{self.block(1)}"
        if not form or self.random.random() < 0.3:
            code += f"finally:\n{self.block(1)}"
        return code

    def _with(self) -> str:
        head = self.random.choice(
            (
                "with contextlib.suppress(ZeroDivisionError, KeyError):\n",
                "with (contextlib.nullcontext(a) as p,\n      contextlib.nullcontext(b)):\n",
            )
        )
        return head + self.block()

    def _match(self) -> str:
        return f"match {self.random.choice(('a, b', 'xs', 'd', 's'))}:\n    case [x, *rest]:\n        print(x)\n    case {{'k': k}} if k:\n        print(k)\n    case _:\n        pass\n"

    def _def(self) -> str:
        name = f"f{len(self._functions)}"
        outer = self._in_function, self._in_async
        is_async = self.awaits and self.random.random() < 0.4
        self._in_function, self._in_async = True, is_async
        decorator = self.random.choice(("", "", "@functools.lru_cache\n", "@loud\n"))
        prelude = (
            "def loud(f):\n    @functools.wraps(f)\n    def g(*args):\n        print('call', f.__name__)\n        return f(*args)\n    return g\n\n"
            if "loud" in decorator
            else ""
        )
        parameters = self.random.choice(("x", "x, y=2", "x: int, *more", "x, /, y: 'str' = a, **rest"))
        result = self.random.choice(("return x\n", "return inner(x)\n", "yield x\n", "pass\n", "return [x, x]\n"))
        inner = f"def inner(q):\n    return q + {self.number()}\n" if "inner" in result else ""
        doc = self.random.choice(("", "'''Sagt,\n\nwas es tut.'''\n"))
        body = _indented(doc + "global a, b, s, n\n" + inner + textwrap.dedent(self.block()) + result, "    ")
        self._in_function, self._in_async = outer
        code = f"{prelude}{decorator}{'async ' if is_async else ''}def {name}({parameters}):\n{body}"
        if not is_async and not self._in_function:
            self._functions.append(name)
            call = self.random.choice((f"print({name}(a))\n", f"{name}(b)\n", f"print(type({name}(1)).__name__)\n", ""))
            return code + "\n" * self.random.randint(0, 2) + call
        if is_async and self._may_await and "yield" not in result:
            return f"{code}print(await {name}(a))\n"
        return code

    def _class(self) -> str:
        name = f"C{len(self._functions)}"
        base = self.random.choice(("", "(dict)", "(Exception)"))
        return (
            f"class {name}{base}:\n    'Klasse'\n    x: int = {self.number()}\n\n"
            f"    def m(self, q=a):\n        # Kommentar\n        return super().__repr__() if q is None else q\n\n"
            f"    @property\n    def p(self):\n        return self.m() + {self.number()}\n"
            f"\nprint({name}().p, {name}.__doc__, sorted({name}.__annotations__))\n"
        )

    def _one_line(self) -> str:
        return self.random.choice(
            (
                "if a: print(a); print(b)\n",
                "for x in xs: print(x, end=' ')\n",
                "class E(Exception): pass\n",
                "def h(q): return q * 2\n",
                "while a < 0: a += 1\n",
            )
        )

    def _generator(self) -> str:
        return f"def gen(n):\n    try:\n        while n:\n            yield n\n            n -= 1\n    finally:\n        print('zu', {self.number()})\nfor v in gen(2):\n    print(v)\nprint(list(gen(2)), next(gen(1)))\n"

    _SIMPLE: tuple[Callable[[_Writer], str], ...] = (
        *(_assign, _assign, _print, _print, _print, _semicolons, _warn, _expression),
        *(_import, _raise, _exit, _global, _await, _await),
    )
    _COMPOUND: tuple[Callable[[_Writer], str], ...] = (
        *(_if, _for, _while, _try, _try, _with, _match, _def, _def, _def, _class, _one_line, _generator),
    )


def _indented(code: str, by: str) -> str:
    """Lines of literals too, where that changes only their text."""
    return "".join(by + line if line.strip() else line for line in code.splitlines(True))
