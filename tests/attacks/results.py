"""Values, errors and displays made to hurt whoever shows them."""

from functools import partial

from tests.attacks.attempt import Attempt as OneAttempt
from tests.attacks.checks import then

LEFT_OUT = "left out"

Attempt = partial(OneAttempt, shares=True)

ATTEMPTS = [
    Attempt(
        "a repr without end",
        "class Endless:\n    def __repr__(self):\n        while True:\n            pass\nEndless()\n",
        ends="timeout | interrupted",
        timeout_s=0.3,
    ),
    Attempt(
        "a repr that recurses",
        "class Deep:\n    def __repr__(self):\n        return repr(self)\nDeep()\n",
        shows=(("text/plain", "RecursionError"),),
    ),
    Attempt(
        "a list a hundred thousand deep",
        "deep = []\nfor n in range(100_000):\n    deep = [deep]\ndeep\n",
        shows=(("text/plain", "RecursionError"),),
    ),
    Attempt(
        "a repr of fifty megabytes",
        "class Long:\n    def __repr__(self):\n        return 'x' * (50 << 20)\nLong()\n",
        shows=(("text/plain", LEFT_OUT),),
    ),
    Attempt(
        "an image of fifty megabytes",
        """
class Image:
    def _repr_png_(self):
        return bytes(50 << 20)
    def __repr__(self):
        return 'i'
Image()
""",
        shows=(("text/plain", LEFT_OUT),),
        ends="ok",
    ),
    Attempt(
        "a bundle of two hundred thousand types",
        """
class Bundle:
    def _repr_mimebundle_(self, **options):
        return {f"a/{n}": "x" * 100 for n in range(200_000)}
Bundle()
""",
        timeout_s=1,
        ends="ok | timeout | timeout lost",
    ),
    Attempt(
        "JSON that is too deep, or contains itself",
        """
class Json:
    def __init__(self, value): self.value = value
    def __repr__(self): return "json"
    def _repr_json_(self): return self.value
deep = []
for n in range(50_000):
    deep = [deep]
try:
    display(Json(deep))
except RecursionError:
    print("too deep")
loop = {}
loop["loop"] = loop
try:
    display(Json(loop))
except RecursionError:
    print("too deep")
""",
        says="(too deep\n)*",
    ),
    Attempt(
        "JSON with NaN, infinities, lone surrogates and numbers of a thousand digits",
        """
class Json:
    def __repr__(self): return "\\ud800 \\udfff"
    def _repr_json_(self): return {"a": float("nan"), "b": float("inf"), "\\ud800": "\\udc00", "n": 10 ** 1000}
Json()
""",
        shows=(("application/json", "'a': None"),),
        ends="ok",
    ),
    Attempt(
        "a number that cannot be written down",
        "10 ** 10_000\n",
        shows=(("text/plain", "ValueError"),),
    ),
    Attempt(
        "keys, values and metadata of the wrong kind",
        """
class Bundle:
    def __repr__(self): return "b"
    def _repr_mimebundle_(self, **options):
        return {1: 2, None: 3, "text/html\\r\\nX-Evil: 1": b"x", ("a",): object()}, ["not", "a", "mapping"]
Bundle()
""",
    ),
    Attempt(
        "classes that lie about what they are",
        """
class Text(str):
    def __len__(self): return -1
    def __str__(self): return 7
    def encode(self, *arguments): return self
class Mapping(dict):
    def items(self): return 5
    def __bool__(self): raise OSError("no")
class Liar:
    __class__ = property(lambda self: int)
    def __repr__(self): return Text("t")
    def __getattribute__(self, name): raise SystemExit(9)
    def _repr_mimebundle_(self, **options): return Mapping(a=Text("x"))
Liar()
""",
        ends="ok | exit | error TypeError",
    ),
    Attempt(
        "a pickled surprise",
        """
import pickle
class Surprise:
    def __reduce__(self):
        import os
        return os.system, (f"echo touched > {HOST_FILES[0]}",)
    def _repr_mimebundle_(self, **options):
        data = pickle.dumps(self)
        return {"application/x-pickle": data, "application/python-pickle": data, "text/plain": data.decode("latin-1")}
display(Surprise())
Surprise()
""",
        shows=(("application/x-pickle", "^gA"),),
    ),
    Attempt(
        "a million displays",
        "for n in range(1_000_000):\n    display(n)\n",
        ends="ok | timeout",
        timeout_s=2,
        shows=(("text/plain", "more than 200 displays"),),
    ),
    Attempt(
        "displays of eight megabytes, as many as there may be",
        "for n in range(100):\n    display({'text/plain': 'x' * (7 << 20)}, raw=True)\n",
        ends="ok | timeout | timeout lost | error OutputLimitExceeded | error MemoryError | lost MemoryLimitExceeded",
        timeout_s=2,
    ),
    Attempt(
        "an error whose text never ends",
        "class E(Exception):\n    def __str__(self):\n        while True:\n            pass\nraise E\n",
        ends="timeout | interrupted | timeout lost",
        timeout_s=0.3,
    ),
    Attempt(
        "an error with a name and a text of fifty megabytes",
        "raise type('N' * (1 << 20), (Exception,), {})('x' * (50 << 20))\n",
        ends="error " + "N" * 500 + "\n[... 1047576 characters left out ...]\n" + "N" * 500,
    ),
    Attempt(
        "an error that raises when it is looked at",
        """
class E(Exception):
    def __str__(self): raise SystemExit(1)
    @property
    def __cause__(self): raise OSError
    @property
    def __traceback__(self): return 5
    __notes__ = 7
raise E
""",
        ends="error E",
    ),
    Attempt(
        "errors that cause each other in a ring, and groups a thousand deep",
        """
first, second = ValueError("1"), ValueError("2")
first.__cause__, second.__cause__ = second, first
group = first
for n in range(1000):
    group = ExceptionGroup("g", [group])
raise group
""",
        ends="error ExceptionGroup",
    ),
    Attempt(
        "an excepthook that never returns",
        "import sys\ndef hook(*arguments):\n    while True:\n        pass\nsys.excepthook = hook\n1 / 0\n",
        ends="timeout | interrupted",
        timeout_s=0.3,
    ),
    Attempt(
        "exit statuses that are none",
        "import sys\nsys.exit(10 ** 100)\n",
        ends="exit",
    ),
    Attempt(
        "an exit with a text that cannot be printed",
        "class Code:\n    def __str__(self):\n        raise KeyboardInterrupt\nraise SystemExit(Code())\n",
        says=None,
        ends="exit | interrupted | lost InterpreterExit",
    ),
    Attempt(
        "source that overwhelms the compiler",
        "code = '(' * 90 + ')' * 90\ntry:\n    compile('-' * 3_000_000 + '1', 'x', 'eval')\n"
        "except (MemoryError, RecursionError, SyntaxError):\n    print('refused')\n",
        ends="ok | lost InterpreterKilled",
        says="(refused\n|)",
    ),
    Attempt(
        "escape sequences and carriage returns in what is printed",
        "print('\\x1b]0;owned\\x07\\x1b[2J\\r\\x00done')\n",
        says="\x1b\\]0;owned\x07\x1b\\[2J\r\x00done\n",
        check=then("print('plain')\n", "plain\n"),
    ),
]
