from __future__ import annotations

import base64
import os
import signal
import textwrap

import pytest

from tests.sandbox_image.zygote import Interpreter, Turn


def dedent(code: str) -> str:
    return textwrap.dedent(code).lstrip("\n")


# Results


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("x = 20\nx + 22\n", "42"),
        ("x = 20\nx + 22;\n", None),
        ("x = 20\n(x); # quiet\n", None),
        ("x = 20\n';'\n", "';'"),
        ("x = 20; x\n", "20"),
        ("x = 20\nx\n# the end\n\n# really\n", "20"),
        ("x = 1\nx\ny = 2\n", None),
        ("print()\n", None),
        ("None\n", None),
        ("'doc'\n", "'doc'"),
        ("for i in range(2):\n    i\n", None),
        ("import asyncio\nawait asyncio.sleep(0, 7)\n", "7"),
    ],
)
@pytest.mark.parametrize("way", ["each", "batch", "whole"])
def test_the_value_of_a_last_expression_is_the_result(
    code: str, result: str | None, way: str, session: Interpreter
) -> None:
    turn = session.run(code, whole=way == "whole", batch=way == "batch")
    assert turn.done["status"] == "ok"
    assert turn.result == result


def test_the_end_of_a_block_may_come_after_its_last_chunk(session: Interpreter) -> None:
    first = session.execute([[0, 1, 0, "6 * 7\n"]], block="a", final=False)
    assert first.result is None
    last = session.execute([], block="a", final=True)
    assert last.result == "42"
    assert last.done["ran"] == 0
    assert session.execute([], block="b", final=True).result is None


def test_a_block_that_was_cut_short_has_no_result_and_ends_all_the_same(session: Interpreter) -> None:
    code = "file = open('log', 'w')\nfile.write('written')\n"
    session.execute([[0, 1, 0, code]], block="a", final=False)
    cut = session.execute([], block="a", final=True, cut=True)
    assert (cut.done["status"], cut.result) == ("ok", None)
    turn = session.execute([[0, 1, 0, "print(open('log').read(), __file__[-9:])\n"]], block="a", final=True)
    assert turn.stdout == "written main_2.py\n"


def test_a_value_is_released_before_the_next_statement_runs(session: Interpreter) -> None:
    code = dedent("""
        class A:
            def __del__(self): print("gone")
        A()
        print("next")
    """)
    assert session.run(code, batch=True).stdout == "gone\nnext\n"


def test_a_value_whose_repr_fails_is_shown_by_its_type_and_the_session_goes_on(session: Interpreter) -> None:
    turn = session.run("class A:\n    def __repr__(self): return 1 / 0\nA()\n")
    assert turn.done["status"] == "ok"
    assert turn.result == "<A object, whose repr() fails with ZeroDivisionError: division by zero>"
    assert turn.stderr == ""
    assert session.run("1\n").result == "1"


# Errors


def test_what_ran_before_an_error_is_told(session: Interpreter) -> None:
    turn = session.run("x = 1\nprint(x)\n1 / 0  # here\nprint('never')\n", batch=True)
    assert turn.stdout == "1\n"
    assert turn.done["status"] == "error"
    assert turn.done["ran"] == 2
    assert len(turn.done["ns"]) == 3
    assert turn.error is not None
    assert turn.error["chunk"] == 2
    assert turn.error["ename"] == "ZeroDivisionError"
    assert turn.error["evalue"] == "division by zero"
    assert turn.error["line"] == 3
    assert turn.error["phase"] == "run"
    assert "1 / 0  # here\n" in turn.error["traceback"]
    assert session.progress == (0, 0)
    assert session.run("x\n").result == "1"


def test_progress_is_in_shared_memory_while_code_runs(session: Interpreter) -> None:
    number = session.send(
        [[0, 1, 0, "a = 1\n"], [1, 2, 0, "print('on')\nimport time\ntime.sleep(60)\n"]], block="p", final=True
    )
    turn = Turn()
    session.wait_for_output(turn, "on")
    assert session.progress == (number, 1)
    session.interrupt()
    assert session.wait_done(turn).done["ran"] == 1
    assert session.progress == (0, 0)


def test_nothing_of_a_chunk_with_a_syntax_error_runs(session: Interpreter) -> None:
    turn = session.run("print('no')\nx = = 1\n", whole=True)
    assert turn.stdout == ""
    assert turn.error is not None
    assert turn.error["phase"] == "compile"
    assert turn.error["line"] == 2


@pytest.mark.parametrize(
    ("code", "ename"),
    [
        ("x = '\0'\n", "SyntaxError"),
        ("x = '\ud800'\n", "UnicodeEncodeError"),
        ("(" * 300 + ")" * 300, "SyntaxError"),
        ("x = " + "-" * 200_000 + "1\n", None),
        ("return 1\n", "SyntaxError"),
        ("if x:\n", "IndentationError"),
    ],
)
def test_code_the_compiler_refuses_is_a_compile_error_and_the_session_goes_on(
    code: str, ename: str | None, session: Interpreter
) -> None:
    turn = session.run(code, whole=True)
    assert turn.error is not None
    assert turn.error["phase"] == "compile"
    assert ename is None or turn.error["ename"] == ename
    assert session.run("1\n").result == "1"


def test_a_statement_is_shown_with_the_comment_that_came_with_a_later_chunk(session: Interpreter) -> None:
    turn = session.execute([[0, 1, 0, "x = 1 / 0  "], [1, 1, 11, "# why\ny = 1\n"]], block="c", final=True)
    assert turn.error is not None
    assert "x = 1 / 0  # why\n" in turn.error["traceback"]


def test_each_block_has_a_file_of_its_own_and_functions_keep_theirs(session: Interpreter) -> None:
    session.run("def f():\n    return 1 / 0\n")
    turn = session.run("x = 1\n\nf()\n")
    assert turn.error is not None
    assert 'main_2.py", line 3, in <module>' in turn.error["traceback"]
    assert 'main.py", line 2, in f' in turn.error["traceback"]
    assert turn.error["line"] == 3


def test_future_flags_and_warnings_are_those_of_the_block(session: Interpreter) -> None:
    session.run("from __future__ import annotations\nimport warnings\nwarnings.warn('w')\n")
    turn = session.run("def f(x: int): pass\nprint(f.__annotations__['x'])\nwarnings.warn('w')\n")
    assert turn.stdout == "<class 'int'>\n"
    assert "main_2.py:3: UserWarning: w" in turn.stderr


def test_lone_surrogates_and_huge_messages_fit_the_wire(session: Interpreter) -> None:
    turn = session.run("raise ValueError('\\ud800' + 'x' * 10_000_000)\n")
    assert turn.error is not None
    assert turn.error["evalue"].startswith("\\ud800xxx")
    assert len(turn.error["evalue"]) < 70_000
    assert len(turn.error["traceback"]) < 2_000_000


def test_input_is_refused_with_a_reason(session: Interpreter) -> None:
    turn = session.run("name = input('Name? ')\n")
    assert turn.stdout == "Name? "
    assert turn.error is not None
    assert turn.error["ename"] == "EOFError"
    assert "input() is not available" in turn.error["evalue"]
    assert "input() is not available" in turn.error["traceback"]


def test_an_exception_survives_a_program_that_replaces_the_unraisable_hook(session: Interpreter) -> None:
    turn = session.run("import sys\nsys.unraisablehook = print\n1 / 0\n", whole=True)
    assert turn.error is not None
    assert turn.error["ename"] == "ZeroDivisionError"
    assert session.run("2 / 0\n").error is not None
    assert "sandbox_image" not in turn.error["traceback"]


def test_a_program_s_own_excepthook_runs(session: Interpreter) -> None:
    turn = session.run(
        "import sys\nsys.excepthook = lambda kind, value, tb: print('hook', value)\nraise ValueError(3)\n"
    )
    assert turn.stdout == "hook 3\n"
    assert turn.error is not None
    assert turn.error["ename"] == "ValueError"


# Exit


@pytest.mark.parametrize(
    ("argument", "code", "stderr"),
    [
        ("", 0, ""),
        ("None", 0, ""),
        ("3", 3, ""),
        ("-1", 255, ""),
        ("2**70", 255, ""),
        ("True", 1, ""),
        ("'why'", 1, "why\n"),
    ],
)
def test_sys_exit_ends_the_block_and_not_the_session(
    argument: str, code: int, stderr: str, session: Interpreter
) -> None:
    turn = session.run(f"import sys\nx = 5\nsys.exit({argument})\nprint('never')\n")
    assert turn.done["status"] == "exit"
    assert turn.done["code"] == code
    assert turn.stderr == stderr
    assert turn.error is None
    assert session.run("x\n").result == "5"


def test_the_exit_builtin_leaves_standard_input_to_later_blocks(session: Interpreter) -> None:
    assert session.run("exit(2)\n").done["code"] == 2
    turn = session.run("import sys\nsys.stdin.read()\n")
    assert turn.result == "''"


# Damage


@pytest.mark.parametrize(
    "damage",
    [
        "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding='utf-8')\n",
        "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8')\n",
        "import codecs, sys\nsys.stdout = codecs.getwriter('utf-8')(sys.stdout.detach())\n",
        "import sys\nsys.stdout = open(1, 'w', buffering=1)\n",
        "import sys\nsys.stdout = open(sys.stdout.fileno(), 'w')\n",
        "import sys\nsys.stderr = sys.stdout\n",
    ],
)
def test_what_a_program_put_in_the_place_of_its_streams_ends_with_its_block(damage: str, session: Interpreter) -> None:
    assert session.run(f"{damage}print('a')\n").stdout == "a\n"
    for text in ("b", "c"):
        turn = session.run(f"import sys\nx = sys.stderr.write('e')\nprint('{text}')\n")
        assert (turn.stdout, turn.stderr, turn.error) == (f"{text}\n", "e", None)


def test_what_is_printed_while_something_is_printed_comes_out(session: Interpreter) -> None:
    code = dedent("""
        import sys
        def tracer(frame, event, argument):
            if frame.f_code.co_name == "write" and event == "line" and "streams" in frame.f_code.co_filename:
                print("T")
            return tracer
        sys.settrace(tracer)
        print("hello")
        sys.settrace(None)
    """)
    turn = session.run(code, whole=True)
    assert "hello\n" in turn.stdout
    assert session.run("print('b')\n").stdout == "b\n"


@pytest.mark.parametrize("end", ["", "del sys.stdin\n", "sys.__stdin__.close()\n", "sys.stdin = open(0)\n"])
def test_input_that_a_program_gave_itself_is_not_the_next_ones(end: str, session: Interpreter) -> None:
    code = "import io, sys\nsys.stdin = io.StringIO('a\\nb\\n')\nprint(input())\n"
    assert session.run(code + end).stdout == "a\n"
    turn = session.run("input()\n")
    assert turn.error is not None
    assert turn.error["ename"] == "EOFError"


def test_streams_take_any_buffer(session: Interpreter) -> None:
    code = "import ctypes, sys\nsys.stdout.buffer.write(ctypes.c_char(b'A'));\n"
    assert session.run(code).stdout == "A"


@pytest.mark.parametrize("write", ["csv.writer(file).writerow([1, 2])", "file.write('1,2\\r\\n')"])
def test_files_left_open_are_written_out_at_the_end_of_the_block(write: str, session: Interpreter) -> None:
    session.run(f"import csv\nfile = open('x.csv', 'w', newline='')\n{write};\n1 / 0\n", whole=True)
    assert (session.folder / "x.csv").read_bytes() == b"1,2\r\n"
    assert session.run("file.write('3'); file.close()\n").error is None
    assert (session.folder / "x.csv").read_bytes() == b"1,2\r\n3"


@pytest.mark.parametrize("rest", ["", "print(1)\n"], ids=["last", "not last"])
def test_a_coroutine_that_nobody_awaits_is_told_of_where_it_was_made(rest: str, session: Interpreter) -> None:
    turn = session.run(f"async def main():\n    pass\nmain()\n{rest}print(__file__)\n")
    name = turn.stdout.splitlines()[-1]
    assert turn.stderr == f"{name}:3: RuntimeWarning: coroutine 'main' was never awaited\n  main()\n" + _HINT
    assert turn.result is None


def test_what_a_failed_call_has_made_is_finalized_with_its_failure(session: Interpreter) -> None:
    code = dedent("""
        class Made:
            def __del__(self): print("gone")
        async def never(): pass
        def f(made, coroutine): 1 / 0
        f(Made(), never())
    """)
    turn = session.run(code)
    assert turn.stdout == "gone\n"
    assert turn.stderr.startswith(("sys:1: RuntimeWarning: coroutine 'never'", "<sys>:0: "))  # no frame of ours
    assert session.run("print('next')\n").stdout == "next\n"


_HINT = "RuntimeWarning: Enable tracemalloc to get the object allocation traceback\n"


@pytest.mark.parametrize(
    "damage",
    [
        "import os\nos.close(1)\nos.close(2)\n",
        "import os\nos.closerange(0, 3)\n",
        "import sys\nsys.stdout = None\n",
        "import sys\nsys.stdout.close()\n",
        "import sys, io\nsys.stdout = io.StringIO()\nsys.stderr = 3\n",
        "import os\nos.dup2(os.open('/dev/null', os.O_WRONLY), 1)\n",
        "import sys\ndel sys.stdout\n",
        "import sys\nsys.modules.pop('__main__')\n",
        "import signal\nfor s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\n",
        "import sys\nsys.settrace(lambda *a: 1 / 0)\n",
        "import sys\nsys.setrecursionlimit(12)\n",
        "import os, tempfile\nos.chdir(tempfile.mkdtemp())\nos.rmdir(os.getcwd())\n",
        "import builtins, sys\ndel builtins.display\nbuiltins.print = lambda text: sys.__stdout__.write(text)\n",
        "globals().clear()\n",
        "import os\nos.environ.clear()\nos.umask(0o777)\n",
        "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))\n",
        "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(30,), daemon=True).start()\n",
        "import gc\ngc.disable()\n",
        "import time\ntime.perf_counter_ns = time.sleep = time.monotonic = None\n",
        "import json, linecache, traceback\njson.dumps = json.loads = traceback.format_exception = None\n",
        "import linecache\nlinecache.cache.clear()\n",
    ],
)
def test_a_later_block_runs_whatever_a_program_did(damage: str, session: Interpreter) -> None:
    session.run(damage)
    turn = session.run("import sys\ny = print('fine\\n')\nx = sys.stderr.write('also\\n')\nx = 1 / 0\n", whole=True)
    assert "fine\n" in turn.stdout
    assert turn.stderr == "also\n"
    assert turn.error is not None
    assert turn.error["ename"] == "ZeroDivisionError"


def test_within_a_block_streams_stay_as_the_program_left_them(session: Interpreter) -> None:
    code = dedent("""
        import io, os, sys
        sys.stdout = io.StringIO()
        print("kept")
        text = sys.stdout.getvalue()
        sys.stdout = sys.__stdout__
        saved = os.dup(1)
        file = os.open("out.txt", os.O_CREAT | os.O_RDWR)
        x = os.dup2(file, 1)
        print("to the file")
        x = os.dup2(saved, 1)
        print(text, open("out.txt").read())
    """)
    assert session.run(code).stdout == "kept\n to the file\n\n"


# Streams


def test_order_between_the_streams_is_that_of_writing(session: Interpreter) -> None:
    code = dedent("""
        import os, subprocess, sys
        for i in range(20):
            print("o", i)
            done = os.write(1, b"w %d\\n" % i)
            print("e", i, file=sys.stderr)
        print("before")
        done = subprocess.run(["sh", "-c", "echo s"])
        done = sys.stderr.write("last\\n")
    """)
    turn = session.run(code, batch=True)
    text = "".join(text for kind, text in turn.log if kind in ("stdout", "stderr"))
    assert text == "".join(f"o {i}\nw {i}\ne {i}\n" for i in range(20)) + "before\ns\nlast\n"


def test_unfinished_lines_are_flushed_at_the_end_of_an_execution(session: Interpreter) -> None:
    turn = session.execute([[0, 1, 0, "print('no newline', end='')\n"]], block="a", final=False)
    assert turn.stdout == "no newline"


def test_much_output_comes_whole(session: Interpreter) -> None:
    turn = session.run("print('x' * 3_000_000)\nimport sys\nsys.stderr.write('y' * 300_000)\n")
    assert turn.stdout == "x" * 3_000_000 + "\n"
    assert turn.stderr == "y" * 300_000


def test_displays_are_in_order_with_what_is_printed(session: Interpreter) -> None:
    turn = session.run("for i in range(5):\n    print(i)\n    display(i)\n")
    kinds = [kind for kind, _ in turn.log]
    assert kinds == ["stdout", "display"] * 5 + ["done"]


# Processes


def test_processes_of_the_program_do_not_inherit_the_channel(session: Interpreter) -> None:
    turn = session.run("import os\nos.system('ls /proc/self/fd')\n")
    assert sorted(turn.stdout.split()) == ["0", "1", "2", "3"]  # 3: ls reading the folder


def test_a_forked_child_runs_on_to_the_end_of_the_batch_and_says_nothing_on_the_channel(session: Interpreter) -> None:
    code = dedent("""
        import atexit, os
        pid = os.fork()
        if pid: x = os.waitpid(pid, 0)
        who = "parent" if pid else "child"
        x = atexit.register(print, "exit of", who) if not pid else None
        print("in", who)
        who
    """)
    turn = session.run(code, batch=True)
    assert turn.stdout == "in child\nexit of child\nin parent\n"
    assert turn.result == "'parent'"
    assert session.run("1\n").result == "1"


def test_a_forked_child_that_fails_prints_its_traceback_and_exits(session: Interpreter) -> None:
    code = dedent("""
        import os
        pid = os.fork()
        if not pid: 1 / 0
        os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    """)
    turn = session.run(code, batch=True)
    assert "ZeroDivisionError: division by zero\n" in turn.stderr
    assert turn.result == "1"


def test_the_interpreter_ends_with_its_channel(session: Interpreter) -> None:
    session.run("import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n")
    # close() of the fixture waits for the process
    assert session.run("1\n").result == "1"


# Interrupts


@pytest.mark.parametrize(
    "code",
    [
        "print('on')\nwhile True: pass\n",
        "print('on')\nimport time\ntime.sleep(60)\n",
        "import asyncio\nprint('on')\nawait asyncio.sleep(60)\n",
        "import asyncio\nasync def f():\n    print('on')\n    while True: pass\nawait f()\n",
        "import asyncio\nasync def f():\n    print('on')\n    await asyncio.sleep(60)\nasyncio.run(f())\n",
        "import threading\nprint('on')\nthreading.Event().wait()\n",
        "import subprocess\nsubprocess.run('echo on; exec sleep 60', shell=True)\n",
        "class A:\n    def __repr__(self):\n        print('on')\n        while True: pass\ndisplay(A())\n",
    ],
)
def test_an_interrupt_stops_the_code_and_leaves_the_session(code: str, session: Interpreter) -> None:
    session.run("x = 5\n")
    session.send([[0, 1, 0, code], [1, 99, 0, "x = 6\n"]], block="i", final=True)
    turn = Turn()
    session.wait_for_output(turn, "on")
    session.interrupt()
    session.wait_done(turn)
    assert turn.done["status"] == "interrupted"
    assert turn.done["ran"] == 0
    assert turn.error is None
    assert session.run("x\n").result == "5"


def test_code_may_catch_an_interrupt(session: Interpreter) -> None:
    code = "try:\n    print('on')\n    while True: pass\nexcept KeyboardInterrupt:\n    print('caught')\n'went on'\n"
    session.send([[0, 1, 0, code]], block="i", final=True)
    turn = Turn()
    session.wait_for_output(turn, "on")
    session.interrupt()
    session.wait_done(turn)
    assert turn.done["status"] == "ok"
    assert turn.stdout == "on\ncaught\n"
    assert turn.result == "'went on'"


def test_a_program_that_raises_keyboard_interrupt_itself_has_failed(session: Interpreter) -> None:
    turn = session.run("raise KeyboardInterrupt('mine')\n")
    assert turn.done["status"] == "error"
    assert turn.error is not None
    assert turn.error["ename"] == "KeyboardInterrupt"


def test_an_interrupt_while_idle_is_ignored(session: Interpreter) -> None:
    session.run("x = 1\n")
    session.interrupt()
    assert session.run("x\n").result == "1"
    turn = session.run("raise KeyboardInterrupt\n")
    assert turn.done["status"] == "error"


def test_a_result_that_cannot_be_shown_is_interrupted(session: Interpreter) -> None:
    code = "class A:\n    def __repr__(self):\n        print('on')\n        while True: pass\nA()\n"
    session.send([[0, 1, 0, code]], block="i", final=True)
    turn = Turn()
    session.wait_for_output(turn, "on")
    session.interrupt()
    session.wait_done(turn)
    assert turn.of("result") == []
    assert session.run("1\n").result == "1"


@pytest.mark.parametrize(
    "code",
    [
        "class A:\n    def __str__(self):\n        print('on')\n        while True: pass\nraise SystemExit(A())\n",
        "import sys\nclass A:\n    def write(self, text): pass\n"
        "    def flush(self):\n        print('on', file=sys.__stdout__)\n        while True: pass\nsys.stderr = A()\n",
    ],
    ids=["message of an exit", "flush of a stream"],
)
def test_code_of_the_program_that_runs_after_its_end_is_interrupted_too(code: str, session: Interpreter) -> None:
    session.send([[0, 1, 0, code]], block="i", final=True)
    turn = Turn()
    session.wait_for_output(turn, "on")
    session.interrupt()
    session.wait_done(turn)
    assert session.run("1\n").result == "1"


def test_an_exit_whose_message_fails_is_a_failure(session: Interpreter) -> None:
    turn = session.run("class A:\n    def __str__(self): return 1 / 0\nraise SystemExit(A())\n")
    assert (turn.done["status"], turn.done["code"], turn.stderr) == ("exit", 1, "\n")


def test_an_error_that_ends_the_program_when_it_is_looked_at_is_told_by_its_name(session: Interpreter) -> None:
    turn = session.run("class E(Exception):\n    def __str__(self): raise SystemExit\nraise E\n")
    assert turn.error is not None
    assert (turn.done["status"], turn.error["ename"], turn.error["evalue"]) == ("error", "E", "")


def test_the_program_s_own_sigint_handler_lasts_for_its_block(session: Interpreter) -> None:
    session.run("import os, signal\nold = signal.signal(signal.SIGINT, lambda *a: print('mine'))\n")
    turn = session.run(
        "try:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept KeyboardInterrupt:\n    print('default')\n"
    )
    assert turn.stdout == "default\n"


@pytest.mark.parametrize("delay", [0.000001, 0.0001, 0.001])
def test_an_alarm_that_rings_at_any_time_fails_the_program_and_not_the_interpreter(
    delay: float, session: Interpreter
) -> None:
    code = dedent(f"""
        import signal, time
        def ring(*a): raise TimeoutError("late")
        old = signal.signal(signal.SIGALRM, ring)
        old = signal.setitimer(signal.ITIMER_REAL, {delay})
        x = 1
        time.sleep(0.01)
    """)
    turn = session.run(code)
    assert turn.error is not None
    assert turn.error["ename"] == "TimeoutError"
    assert session.run("1\n").result == "1"


def test_a_signal_that_a_thread_takes_between_executions_fails_the_program_and_not_the_interpreter(
    session: Interpreter,
) -> None:
    code = dedent("""
        import signal, threading
        over = threading.Event()
        thread = threading.Thread(target=over.wait)
        thread.start()
        def ring(*a): raise TimeoutError("late")
        old = signal.signal(signal.SIGALRM, ring)
    """)
    assert session.run(code).done["status"] == "ok"
    for _ in range(2):
        os.kill(session.pid, signal.SIGALRM)
        turn = session.run("for _ in range(10**9): pass\n")
        assert turn.error is not None
        assert turn.error["ename"] == "TimeoutError"
    assert session.run("over.set()\nsignal.getsignal(signal.SIGALRM) is ring\n").result == "True"


# Awaiting


def test_tasks_and_context_live_on_between_awaits(session: Interpreter) -> None:
    code = dedent("""
        import asyncio, contextvars
        seen = []
        var = contextvars.ContextVar("var", default=0)
        async def ticker():
            while True:
                seen.append(len(seen))
                await asyncio.sleep(0)
        async def start():
            var.set(3)
            return asyncio.create_task(ticker())
        task = await start()
        var2 = var.set(4)
        await asyncio.sleep(0.001)
        n = len(seen)
        await asyncio.sleep(0.001)
        print(len(seen) > n > 0, var.get(), asyncio.get_event_loop().is_running())
        async with asyncio.timeout(1): print(var.get())
    """)
    turn = session.run(code)
    assert turn.error is None, turn.error
    assert turn.stdout == "True 4 True\n4\n"


def test_code_runs_inside_the_loop_from_the_first_await_of_its_program_on(session: Interpreter) -> None:
    session.run("import asyncio\nasync def f(n): return n\nloop = asyncio.new_event_loop()\n")
    assert session.run("asyncio.set_event_loop(loop)\nt = loop.create_task(f(1))\nawait t\n").result == "1"
    assert session.run("await f(1)\nt = asyncio.create_task(f(2))\n1 / 0\n").error is not None
    assert session.run("asyncio.run(f(3))\n").result == "3"
    assert session.run("await t\n").result == "2"


# Display


def test_values_show_themselves_in_all_their_ways(session: Interpreter) -> None:
    code = dedent("""
        class A:
            def _repr_html_(self): return "<b>A</b>"
            def _repr_png_(self): return b"png"
            def _repr_latex_(self): raise RuntimeError
            def _repr_json_(self): return {"a": [1, float("nan"), "\\ud800", object]}
            def _repr_mimebundle_(self, include=None, exclude=None): return {"x/y": 1}, {"x/y": {"z": 2}}
            def __repr__(self): return "an A"
        A()
    """)
    [result] = session.run(code).of("result")
    assert result["data"] == {
        "text/plain": "an A",
        "text/html": "<b>A</b>",
        "image/png": base64.b64encode(b"png").decode(),
        "application/json": {"a": [1, None, "\\ud800", "<class 'object'>"]},
        "x/y": 1,
    }
    assert result["metadata"] == {"x/y": {"z": 2}}


def test_too_much_to_show_is_replaced_by_a_note(session: Interpreter) -> None:
    code = "class A:\n    def _repr_html_(self): return 'x' * 9_000_000\n    def __repr__(self): return 'small'\nA()\n"
    [result] = session.run(code).of("result")
    assert result["data"] == {"text/plain": "small\n[text/html of 8.6 MiB left out: too large]"}


def test_displays_of_one_execution_are_counted(session: Interpreter) -> None:
    turn = session.run("for i in range(1000): display(i)\n")
    shown = turn.of("display")
    assert len(shown) == 200
    assert "more than 200 displays" in shown[-1]["data"]["text/plain"]
    assert len(session.run("display(1)\n").of("display")) == 1


def test_raw_bundles_and_handles(session: Interpreter) -> None:
    turn = session.run("h = display({'text/html': '<i>'}, raw=True, display_id=True)\nh.update(3)\n")
    assert [message["data"] for message in turn.of("display")] == [{"text/html": "<i>"}, {"text/plain": "3"}]


def test_a_thread_may_display_while_the_program_runs(session: Interpreter) -> None:
    code = "import threading\nt = threading.Thread(target=display, args=(1,))\nt.start()\nt.join()\n"
    assert len(session.run(code, whole=True).of("display")) == 1


def test_what_a_thread_displays_between_executions_is_lost(session: Interpreter) -> None:
    code = dedent("""
        import threading, os
        r, w = os.pipe()
        def late():
            os.read(r, 1)
            display(1)
            os.write(1, b"late")
        threading.Thread(target=late).start()
        threading.Timer(0.02, os.write, (w, b"x")).start()
    """)
    turn = session.run(code)
    session.wait_for_output(turn, "late")
    assert turn.of("display") == []
    assert session.run("display(2)\n").of("display")[0]["data"] == {"text/plain": "2"}


def test_the_environment_is_that_of_the_work_folder(session: Interpreter) -> None:
    with open(os.path.join(session.folder, "beside.py"), "w") as file:
        file.write("x = 7\n")
    assert session.run("import beside\nbeside.x\n").result == "7"
