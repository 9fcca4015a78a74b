"""Lines of Python that interact, whole or broken, and pieces of text that do damage to a program."""

# fmt: off
LINES = (
    'x = 1\n', 'x\n', '    a\n', '  b\n', '\tc\n', '# c\n', '    # c\n', '\n', '  \n', '\x0c\n', '\x0cx\n',
    '   \x0cy\n', '\\\n', '    \\\n', '\r\n', 'x\r\n', 'if x:\r\n', '    y\r\n', 'x\r', 'if x:\n', 'else:\n',
    'elif y:\n', 'try:\n', 'except E:\n', 'except* E:\n', 'finally:\n', 'for i in z:\n', 'while w:\n', 'with q:\n',
    'def f():\n', 'class A:\n', '@d\n', '@ d\n', 'async def g():\n', 'async with m: n\n', 'async for i in j: k\n',
    'async x\n', 'async\\\n def h(): pass\n', 'async \\\nfor x in y: z\n', 'async\tfor x in y: z\n',
    'async\\\n\\\n for x in y: z\n', 'match x:\n', '    case 1:\n', '        d\n', '    case _: pass\n', 'match (x)\n',
    'match: int\n', 'match[x]: int\n', 'match = 1\n', 'match -x\n', 'match x, y:\n', 'match *a, b:\n', 'match (x):\n',
    'match {}:\n', 'match f"{x}":\n', 'match (lambda: 0):\n', 'case = 2\n', 'case 1: a\n', 'type = 3\n', 'type (x)\n',
    '_ = 4\n', 'case [x]: y; z\n', 'if x: y\n', 'else: z\n', 'else : z\n', 'elif x: y\n', 'else\\\n: z\n',
    'el\\\nse: z\n', 'try: x\n', 'except: y\n', 'except E: y\n', 'finally: z\n', 'for i in j: k\n', 'while 0: l\n',
    'with q: r\n', 'def f(): pass\n', 'class A: pass\n', 'class A: x: int\n', 'class A: pass; \n', 'if x: y; z\n',
    'if x: y; # c\n', 'if x:  # c\n', 'if x:\\\n  y\n', 'if x: \\\n  y\n', 'if x:pass\n', 'if(x):pass\n',
    'if"s":pass\n', 'else:pass\n', 'for(a)in b:pass\n', 'while(1):pass\n', 'try:pass\n', 'with(a):pass\n',
    'try: a\nexcept: b\nelse: c\n', 'try:\n  a\nexcept E:\n  b\nelse:\n  c\n', 'try:\n  a\nfinally:\n  b\n',
    'if a:\n  b\nelse:\n  d\n', 'if a:\n  b\nelif c:\n  d\n', 'x; y\n', 'x;\n', 'x; # c\n', 'x ; \\\n y\n', 'x # c\n',
    'x# c\n', 'x \\\n # c\n', 'x = 1 ;# c\n', 'x; ', ';', 'x;; y\n', 'x; if a: b\n', 'x; match y:\n', ';x\n',
    'x = (1,\n2)\n', 'x = [\n# c\n]\n', '(x if y\nelse z)\n', 'def f(\n  a,\n): pass\n', 'class A(\n): pass\n',
    'with (a as b, c as d,):pass\n', 'from a import (b,\nc)\n', 'x = """a\n# b\n"""\n', "x = '''\nif y:\n'''\n",
    "x = 'a\\\nb'\n", "r'\\'\n", "r'\\''\n", "rb'''\\'''\n'''\n", "'' ''\n", "''''''\n", '""\n', "''; ''\n", "'\\\\'\n",
    'else_x = 1\n', 'elif_ = 1\n', 'e\n', 'el = 1\n', 'els\n', 'exce = 1\n', 'finall = 2\n', 'except_ = 1\n',
    'finally_ = 1\n', 'élse = 1\n', 'elseé = 1\n', '𝐞lse = 1\n', 'lambda: (yield)\n', 'x = lambda: 0\n',
    'x = lambda:\\\n0\n', 'if lambda: 0: y\n', 'if (x := 1): y\n', 'if x == {1: 2}: y\n', 'if x[1:2]: y\n', 'x[a:b]\n',
    'x: int\n', 'x if y else z\n', 'import a\n', 'from a import *\n', 'del x\n', 'pass; pass\n', 'global g\n',
    'nonlocal q\n', 'assert x, y\n', 'raise X from Y\n', '...\n', '-x\n', '*a, b = c\n', '(x)\n', '[x]\n', '{a: b}\n',
    '"s"\n', "f's'\n", '1\n', '.5\n', '1if 1else 2\n', '1if"a"else"b"\n', '`\n', '$\n', '?\n', ')\n', '    else:\n',
    '    except: pass\n', '    @d\n', '  @d\n', 'await x\n', 'return\n', 'break\n', '\ufeffx\n', '"doc"\n',
    '"doc" # c\n', '"a"; b\n', 'from __future__ import annotations\n', "x = f'{y}' # c\n", "'abc\n", '\x00\n',
    'x\x00\n', "f'{x}'\n", 'f"{x!r}"\n', 'f"{{"\n', 'f"}}"\n', 'f"{{{x}}}"\n', 'f"{x:>{w}}"\n', 'F""\n',
    'f"""{\nx}"""\n', 'rf"\\{x}"\n', 'f"\\N{DASH}"\n', 'f"{a:\'>5}"\n', 'f"{x=}"\n',
)

# From 3.12 on also these.
LINES_312 = (
    'f"{x["a"]}"\n', 'rf"{x["a"]}"\n', 'x = fR"{x["\'"]}"\n', 'f"{x:{y["a"]}}"\n', 'f"{a["b"]}"; rf"{c["d"]}"\n',
    'type X = int\n', 'type X[T] = int # c\n', 'type: int\n', 'type X = (\nint)\n', 'type\\\n X = int\n',
    'def f[T](x: T): pass\n', 'class A[T: int]: pass\n', "f'{x!r:{y}}'\n", "f'{x:{y:{z}}}'\n", 'f"{\nx}"\n',
    'f"{x # c\n}"\n', "f'''{\n# '''\nx}'''\n", 'f"{x:{{}}}"\n', 'rf"\\N{x}"\n', 'f"\\{x}"\n', 'f"{x!=y}"\n',
    'f"{x:=5}"\n', 'f"{(x:=5)}"\n', 'f"{lambda x: 1}"\n', 'f"{(lambda x: 1)}"\n', 'f"{a[b:c]}"\n', 'f"{ {1: 2} }"\n',
    "f'''{x:'''  '''}'''\n", "f'''{x:\n}'''\n", 'f"{f"{f"{1}"}"}"\n', 'f"{x:%Y-%m}"\n', 'f"{x}" f\'{y}\'\n',
    'Rf"{x}"\n', 'f"{\'#\'}"\n', 'f"{x}#" # c\n', 'f"{"}"}"\n', "f'{x:\\\n}'\n", "f'a\\\nb{x}'\n", 'f"{x:}}"\n',
    'f"{x!r}}"\n', 'f"{"""\n"""}"\n', "x = f'{y\n}' # c\n", 'notf"x"\n', 'f""\n', 'f""""""\n', 'f"{x}""y"\n',
    'f"{*a, b}"\n', 'f"{yield}"\n', 'f"{x:{y}:{z}}"\n', 'f"\\\\{x}"\n', 'f"\\\\\\{x}"\n', 'f"{x}\\\n"\n', 'f"\\N"\n',
    'f"\\N{"\n', "f'{x:\\x{y}}'\n", 'f"{x:\\N{DASH}}"\n', "f'{x:{y}\\}'\n", 'f"{x]}"\n', 'f"{x:\n}"\n',
)

# And from 3.14 on.
LINES_314 = (
    "t'{x}'\n", 't"{x["a"]}"\n', 'rt"\\{x}"\n', 'Tr"{x:{y}}"\n', 't"""{\nx}"""\n', 't = 1\n', 'except A, B: pass\n',
    'except* A, B: pass\n', 't"{x!r}" # c\n', 't"{t"{x}"}"\n', 'f"{t"{x}"}"\n', 't"a" t"b"\n', 'tr = 1\n', 'ut"x"\n',
    'bt"x"\n', 't"{{"\n',
)

# To be put into a program, anywhere.
INSERTS = (
    '\n', '\\\n', ';', ':', '#', '# c\n', '"', "'", '"""', "'''", '(', ')', '[', ']', '{', '}', ' ', '    ', '\t',
    '\x0c', '\n\n', 'else', 'else:', 'elif x:', '\nelse: pass\n', '\nexcept: pass\n', '\nfinally: pass\n', 'match x:\n',
    ' case _: pass\n', 'match', 'case', 'type', 'async ', 'await ', '@d\n', 'def f(): pass\n', 'class A: pass\n',
    'if x: y\n', 'x = 1; y = 2\n', 'lambda: ', 'f"', "f'{", '}', '{{', '}}', '!r', ':=', '\\', '\r\n', '\r', 'rb"',
    'else_x = 1\n', 'e', 'el', '\x0c\n', 'with a: b\n', 'for x in y: z\n', 'while 1: break\n', 'try: x\n',
    'try: x\nexcept: y\n', 'pass\n', 'return\n', '    pass\n', '  # c\n', 'é', '.', ',', '=', '0', "f'{x:{y}}'",
    'rf"\\{x}"', "f'''{\n# c\nx}'''", '\\N{DASH}', 'global x\n', '$', '?', '\x00', '...', '->', '**',
    'if 1:\n\tx\n        y\n', 'del x', '%', '!', '`',
)

# To be put behind a beginning, which they may complete.
ENDINGS = (
    '', '\n', 'x\n', ' x\n', '  x\n', '    x\n', ')', ']', '}', ')\n', ']\n', '}\n', '"', "'", '"\n', "'\n", '"""\n',
    "'''\n", ':\n  x\n', ': x\n', '= 1\n', '\nexcept: x\n', '\nelse: x\n', '\nfinally: x\n', 'e\n', '= x\n', '0\n',
    '\n  x\n', '\n    x\n', '\n        x\n', '\ncase _: x\n', '\n    case _: x\n', "}'\n", '}"\n', '})\n', "'})\n",
    '\\\nx\n', '# c\n', 'in x: y\n', 'import x\n', 'as x\n', 'n x\n', 's x\n', 'f x: y\n', 'lse: x\n', 'pass\n',
)

# The same, behind brackets that are closed now.
ENDINGS_OF_LINES = (
    '\n', ' \n', ': x\n', ':\n x\n', ':\n                x\n', '\nexcept: x\n', ':\n x\nexcept: x\n', ' = x\n',
    ' = x: x\n', ' else x\n', ' in x: x\n', ' if x else x\n', 'x\n', '.x\n', ' as x: x\n', ' import x\n', '()\n',
    ' -> x: x\n', '\ndef f(): x\n', '\n case _: x\n',
)
