"""Runs a whole program as CPython does, top-level ``await`` allowed; says what came of it as JSON on the last line of
stdout. Run by the sandbox's Python: the expected side of tests/scenarios/test_tricky.py."""

import ast
import asyncio
import contextlib
import inspect
import io
import json
import linecache
import pathlib
import sys
import traceback
import types

source = pathlib.Path(sys.argv[1]).read_bytes().decode()
main = sys.modules["__main__"] = types.ModuleType("__main__")
main.__builtins__ = __builtins__
linecache.cache["main.py"] = (len(source), None, source.splitlines(keepends=True), "main.py")
main.__file__ = "main.py"
ename = line = None
with contextlib.redirect_stdout(io.StringIO()) as stdout:
    try:
        code = compile(source, "main.py", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        result = eval(code, main.__dict__)
        if inspect.iscoroutine(result):
            asyncio.run(result)
    except SyntaxError as error:
        ename, line = type(error).__name__, error.lineno
    except BaseException as error:
        ename = type(error).__name__
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "main.py"]
        line = frames[-1].lineno
print(json.dumps({"stdout": stdout.getvalue(), "ename": ename, "line": line}))
