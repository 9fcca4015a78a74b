"""Lies, floods and silence towards the supervisor, and through it towards the gateway."""

from functools import partial

from tests.attacks.attempt import Attempt as OneAttempt
from tests.attacks.checks import after_reset, dies_at_the_next_word, reset_ends_everything, then

Attempt = partial(OneAttempt, shares=True)
REPLACED = "lost InterpreterKilled"

ATTEMPTS = [
    Attempt("garbage on the channel", "send_raw(b'\\xff' * 100)\nimport time\ntime.sleep(9)\n", ends=REPLACED),
    Attempt(
        "a length prefix of four gigabytes",
        "send_raw(b'\\xff\\xff\\xff\\xff\\x03')\nimport time\ntime.sleep(9)\n",
        ends=REPLACED,
    ),
    Attempt("a length of zero", "send_raw(bytes(5))\nimport time\ntime.sleep(9)\n", ends=REPLACED),
    Attempt(
        "a frame that is announced and never finished",
        "send_raw((15 << 20).to_bytes(4, 'big') + b'\\x03{')\n",
        ends="timeout lost",
        timeout_s=0.5,
    ),
    *(
        Attempt(
            f"a frame of the kind of {whose}",
            f"send_raw(frame({kind}, {{'t': 'ready', 'id': 1}}))\nimport time\ntime.sleep(9)\n",
            ends=REPLACED,
        )
        for kind, whose in ((0, "the supervisor"), (1, "stdout"), (4, "files"), (77, "nobody"))
    ),
    Attempt(
        "an end that is not true, while the code runs on",
        "send_raw(frame(3, {'t': 'done', 'id': execution_id(), 'status': 'ok', 'ran': 2, 'ns': [1, 1]}))\n",
        ends="ok | gone",
        recovers=False,
        check=dies_at_the_next_word,
    ),
    Attempt(
        "a forged end with negative times",
        "send_raw(frame(3, {'t': 'done', 'id': execution_id(), 'status': 'ok', 'ran': 2, 'ns': [-1, -(10**15)]}))\n",
        ends="ok | gone",
        recovers=False,
        check=dies_at_the_next_word,
    ),
    *(
        Attempt(f"a forged {name}", f"send_raw(frame(3, {message}))\nimport time\ntime.sleep(3)\n", ends="gone")
        for name, message in (
            ("end of another execution", "{'t': 'done', 'id': execution_id() + 1, 'status': 'ok', 'ran': 0}"),
            ("end with more chunks than there were", "{'t': 'done', 'id': execution_id(), 'status': 'ok', 'ran': 99}"),
            (
                "end with endless times",
                "{'t': 'done', 'id': execution_id(), 'status': 'ok', 'ran': 2, 'ns': [10**300, 1]}",
            ),
            (
                "exit status of a thousand digits",
                "{'t': 'done', 'id': execution_id(), 'status': 'exit', 'ran': 1, 'code': 10**1000}",
            ),
            ("result without an execution's number", "{'t': 'result', 'data': {}}"),
            ("message of the supervisor", "{'t': 'lost', 'reason': 'exit', 'id': execution_id()}"),
            ("message that is not JSON", 'b\'{"t": "done"\''),
            ("message of a million brackets", "b'[' * 1_000_000"),
            ("bundle of nested lists", 'b\'{"t":"display","id":%d,"data":{"a":\' % execution_id() + b\'[\' * 200_000'),
            (
                "error of ten megabytes",
                "{'t': 'error', 'id': execution_id(), 'chunk': 1, 'ename': 'E', 'evalue': 'x' * (10 << 20),"
                " 'traceback': ''}",
            ),
        )
    ),
    Attempt(
        "forged displays with NaN, lone surrogates and huge numbers",
        """
text = '{"t":"display","id":%d,"data":{"text/plain":"\\\\ud800","application/json":[NaN,Infinity,%s]}}'
send_raw(frame(3, (text % (execution_id(), "9" * 400)).encode()))
""",
        shows=(("text/plain", "\ufffd"),),
    ),
    Attempt(
        "a flood of forged displays",
        """
one = frame(3, {"t": "display", "id": execution_id(), "data": {"text/plain": "x" * 100}})
while True:
    send_raw(one * 500)
""",
        ends="timeout | timeout lost",
        timeout_s=1,
    ),
    Attempt(
        "a display of sixty megabytes",
        """
import time
send_raw(frame(3, {"t": "display", "id": execution_id(), "data": {"text/plain": "x" * (60 << 20)}}))
time.sleep(9)
""",
        ends="lost InterpreterKilled",
    ),
    Attempt(
        "displays as large as they may be, which only a lenient reader takes",
        """
head = b'{"t":"display","id":%d,"data":{"a":NaN,"text/plain":"' % execution_id()
for n in range(4):
    send_raw(frame(3, head + b"x" * (15 << 20) + b'"}}'))
""",
        shows=(("text/plain", "xxxx"),),
    ),
    Attempt("the channel closed", "import os, time\nos.close(3)\ntime.sleep(9)\n", ends=REPLACED),
    Attempt(
        "the channel shut down both ways",
        "import socket, time\nsocket.socket(fileno=3).shutdown(socket.SHUT_RDWR)\ntime.sleep(9)\n",
        ends=REPLACED,
    ),
    Attempt(
        "the channel replaced by a file",
        "import os, time\nos.dup2(os.open('/dev/null', 2), 3)\ntime.sleep(9)\n",
        ends=REPLACED,
    ),
    Attempt(
        "every descriptor closed",
        "import os\nos.closerange(0, 1024)\n",
        ends="lost InterpreterKilled | lost InterpreterExit",
    ),
    Attempt(
        "descriptors sent to the supervisor",
        """
import os, socket
channel = socket.socket(fileno=os.dup(3))
for n in range(300):
    socket.send_fds(channel, [frame(3, {"t": "display", "id": execution_id(), "data": {"a": "b"}})], [0, 1, 2])
""",
        shows=(("a", "b"),),
        check=reset_ends_everything,
    ),
    Attempt(
        "its own messages read away from under the interpreter",
        """
import os, socket, threading
stolen = socket.socket(fileno=os.dup(3))
def steal():
    while stolen.recv(4096):
        pass
threading.Thread(target=steal, daemon=True).start()
""",
        recovers=False,
        check=reset_ends_everything,
    ),
    Attempt(
        "standard streams closed and pointed elsewhere",
        "import os\nos.close(1)\nos.dup2(os.open('log', os.O_CREAT | os.O_WRONLY), 2)\nos.close(0)\n",
        check=then("print('still here')\n", "still here\n"),
    ),
    Attempt(
        "sys.stdout replaced by something that swallows and lies",
        """
import sys
class Liar:
    closed = False
    def write(self, text): return -5
    def flush(self): raise ValueError
    def fileno(self): return 3
sys.stdout = sys.stderr = sys.__stdout__ = Liar()
""",
        check=then("print('still here')\n", "still here\n"),
    ),
    Attempt(
        "sys.stdout replaced by something that leaves when it is flushed",
        "import sys\nclass Leaver:\n    def flush(self):\n        raise SystemExit(3)\nsys.stdout = Leaver()\n",
        ends="ok | exit | lost InterpreterExit",
    ),
    Attempt(
        "its own output read back from the pipe",
        """
import os
back = os.open("/proc/self/fd/1", os.O_RDONLY | os.O_NONBLOCK)
for n in range(100):
    os.write(1, b"")
    try:
        os.read(back, 10)
    except BlockingIOError:
        pass
""",
    ),
    Attempt(
        "the output pipes made non-blocking, tiny and packet-wise",
        """
import fcntl, os
for fd in (1, 2):
    fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 4096)
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK | os.O_DIRECT)
sent = 0
while sent < 100_000:
    try:
        sent += os.write(1, b"x" * 1000)
    except BlockingIOError:
        pass
""",
        says="x+",
        check=after_reset("print('y' * 100_000)\n", "y" * 100_000 + "\n"),
        ends="ok",
    ),
    Attempt(
        "a flood on both streams at once",
        """
import os
block = b"x" * 65536
while True:
    os.write(1, block)
    os.write(2, block)
""",
        ends="timeout | timeout lost | error OutputLimitExceeded",
        says="x*",
        timeout_s=1,
    ),
    Attempt(
        "a flood of bytes that are not text",
        "import os\nwhile True:\n    os.write(1, b'\\xf0\\x9f\\xff\\x00' * 4096)\n",
        ends="timeout | timeout lost",
        says=None,
        timeout_s=0.5,
    ),
    Attempt(
        "the shared progress overwritten, then death",
        "import os\nmemory = progress_memory()\nmemory[:] = b'\\xff' * len(memory)\nos._exit(1)\n",
        ends="lost InterpreterExit",
    ),
    Attempt(
        "the shared progress names another execution, and no interrupt arrives",
        "memory = progress_memory()\nmemory[:16] = bytes(16)\nwhile True:\n    pass\n",
        ends="timeout lost",
        timeout_s=0.3,
    ),
    Attempt(
        "the shared progress unmapped",
        "import ctypes\nmemory = progress_memory()\n"
        "address = ctypes.addressof(ctypes.c_char.from_buffer(memory))\n"
        "libc('munmap', ctypes.c_void_p(address), ctypes.c_size_t(4096))\n",
        ends="lost InterpreterKilled",
    ),
    Attempt(
        "the machinery of the interpreter broken from inside",
        """
import sys
import sandbox_image.channel, sandbox_image.interrupts, sandbox_image.streams
sandbox_image.channel.dumps = lambda *a, **k: "{}"
sandbox_image.interrupts.Interrupts.leave = None
sandbox_image.streams.Streams.flush = lambda self: 1 / 0
sys.modules.clear()
""",
        ends="lost InterpreterExit | error TypeError | gone | lost InterpreterKilled",
        recovers=False,
    ),
    Attempt(
        "a child that speaks on the channel in the place of its parent",
        """
import os, time
number = execution_id()
if os.fork() == 0:
    send_raw(frame(3, {"t": "display", "id": number, "data": {"text/plain": "from a child"}}))
    os._exit(0)
os.wait()
""",
        shows=(("text/plain", "from a child"),),
    ),
    Attempt(
        "the supervisor's memory, descriptors and settings in /proc",
        """
import os
def touch(path, flags):
    descriptor = os.open(path, flags)
    os.read(descriptor, 1) if flags == os.O_RDONLY else os.write(descriptor, b"1")
for name in ("mem", "environ", "maps", "smaps", "pagemap", "auxv", "io", "syscall", "stack", "personality",
             "coredump_filter", "clear_refs", "comm", "timerslack_ns", "task/1/mem", "task/1/environ", "oom_score_adj"):
    for flags in (os.O_RDONLY, os.O_RDWR):
        if flags == os.O_RDONLY and name in ("comm", "oom_score_adj", "coredump_filter"):
            continue  # not secret
        refused(touch, f"/proc/1/{name}", flags, also=ABSENT)
for name in ("fd", "fdinfo", "map_files", "ns", "cwd/..", "root/etc", "task/1/fd"):
    refused(os.listdir, f"/proc/1/{name}", also=ABSENT)
for name in ("exe", "cwd", "root", "ns/pid"):
    refused(os.readlink, f"/proc/1/{name}")
""",
    ),
    Attempt(
        "the supervisor traced, read, written and robbed of its descriptors",
        """
import ctypes, os
refused(call, "ptrace", 16, 1, 0, 0)
refused(call, "ptrace", 0x4206, 1, 0, 0)
block = ctypes.create_string_buffer(64)
class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
here = Vector(ctypes.addressof(block), 64)
for name in ("process_vm_readv", "process_vm_writev"):
    refused(call, name, 1, ctypes.byref(here), 1, ctypes.byref(here), 1, 0)
descriptor = os.pidfd_open(1)
for number in range(10):
    refused(call, "pidfd_getfd", descriptor, number, 0)
refused(call, "kcmp", 1, os.getpid(), 0, 0, 0)
refused(call, "process_madvise", descriptor, ctypes.byref(here), 1, 21, 0)
""",
    ),
    Attempt(
        "the socket of the gateway",
        """
import os, socket
for path in ("/run/eager/control", "/run/eager", "/tmp/control"):
    with socket.socket(socket.AF_UNIX) as client:
        refused(client.connect, path, also=ABSENT | UNREACHABLE)
refused(open, "/run/eager/control", "w", also=ABSENT)
refused(os.listdir, "/run/eager/../eager/x", also=ABSENT)
""",
    ),
]
