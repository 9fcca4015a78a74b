"""In processes of their own: which pages are whose depends on who was forked."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.sandbox_image.zygote import ROOT

_PREPARED = """
import ctypes, json, mmap, os, resource, sys
from sandbox_image import own_pages
PAGE = mmap.PAGESIZE
memory = mmap.mmap(-1, 4000 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.write(b"x" * len(memory))
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))

def write(first=0, last=2000):
    for page in range(first, last):
        memory[page * PAGE] = 1

def faults_of(function):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    function()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def in_child(function):
    sys.stdout.flush()
    if os.fork() == 0:
        function()
        sys.stdout.flush()
        os._exit(0)
    os.wait()
"""


def run(script: str) -> list[Any]:
    """What it prints, line by line, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", _PREPARED + script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_pages_that_a_use_writes_to_are_learned_and_no_others_of_the_memory() -> None:
    script = """
pages = own_pages.learn([lambda: (write(0, 3), write(100, 200))])
ours = [((address - start) // PAGE, size // PAGE) for address, size in pages if 0 <= address - start < len(memory)]
print(json.dumps(ours))
"""
    assert run(script) == [[[0, 3], [100, 100]]]


def test_what_was_taken_is_written_to_without_faults() -> None:
    script = """
pages = own_pages.learn([write])
in_child(lambda: print(faults_of(write)))
def taken():
    steps = sum(1 for _ in own_pages.take(pages))
    print(faults_of(write))
    print(json.dumps(steps == -(-len(pages) // 16)))
in_child(taken)
"""
    shared, own, in_steps = run(script)
    assert shared >= 2000
    assert own < 100
    assert in_steps


def test_not_more_than_the_limit_is_taken_and_what_comes_first_has_it() -> None:
    script = """
uses = [lambda: write(1000, 1020), lambda: write(0, 10), lambda: write(1010, 1300)]
pages = own_pages.learn(uses, 2000)
ours = [((address - start) // PAGE, size // PAGE) for address, size in pages if 0 <= address - start < len(memory)]
print(json.dumps(ours))
print(sum(size for _, size in own_pages.learn(uses, 50)) // PAGE)
"""
    assert run(script) == [[[1000, 20], [0, 10], [1020, 280]], 50]


def test_memory_that_is_no_more_is_no_error() -> None:
    script = """
for _ in own_pages.take([(start + (1 << 40), PAGE), (0, PAGE)]):
    print(1)
"""
    assert run(script) == [1]


def test_nothing_is_learned_where_a_use_fails_or_pages_cannot_be_seen() -> None:
    script = """
def fail():
    raise RuntimeError
def hide():
    import builtins
    builtins.open = None
print(json.dumps(own_pages.learn([hide])))
print(json.dumps(own_pages.learn([fail])))
"""
    assert run(script) == [[], []]


_INTERPRETER = """
import select, socket
from sandbox_image import bare_stack, interpreter
from sandbox_image.protocol import INTERPRETER, FrameDecoder, encode_message
taken, teller = os.pipe()

def take(pages):
    for page in pages:
        os.write(teller, page)
        yield
interpreter.take = take
ours, theirs = socket.socketpair()

def execute(id, **more):
    message = {"op": "execute", "id": id, "block": f"b{id}", "language": "python", "chunks": [], "final": True}
    ours.sendall(encode_message(INTERPRETER, {**message, **more}))

def start():
    if os.fork() == 0:
        ours.close()
        bare_stack.descend(interpreter.steps(theirs, mmap.mmap(-1, PAGE), [b"p"]))

def wait_done():
    assert FrameDecoder().feed(ours.recv(65536))

def told(timeout_s):
    return select.select([taken], [], [], timeout_s)[0] == [taken]
"""


def test_a_trial_only_interrupts_what_an_interpreter_does_ahead() -> None:
    """The pool tries every sandbox as soon as it is there."""
    script = """
execute(1, trial=True)
start()
wait_done()
print(json.dumps(told(20)))
"""
    assert run(_INTERPRETER + script) == [True]


def test_nothing_is_taken_once_code_of_a_program_has_run() -> None:
    script = """
execute(1)
start()
wait_done()
execute(2, trial=True)
wait_done()
print(json.dumps(told(0)))
"""
    assert run(_INTERPRETER + script) == [False]
