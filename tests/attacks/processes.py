"""Bombs, signals, children that stay, and games with what the kernel thinks of a process."""

from tests.attacks.attempt import Attempt
from tests.attacks.checks import reset_ends_everything, then

LOST = "lost InterpreterExit | lost InterpreterKilled"

ATTEMPTS = [
    Attempt(
        "a fork bomb of shells that leave their session",
        """
import subprocess
subprocess.run(["sh", "-c", "b() { b | b & }; b; exec sleep 0.3"], stderr=subprocess.DEVNULL, start_new_session=True)
""",
        ends="ok | error BlockingIOError | lost InterpreterKilled | lost MemoryLimitExceeded",
        check=reset_ends_everything,
    ),
    Attempt(
        "a fork bomb of processes that ignore every signal",
        """
import os, signal
for number in signal.valid_signals() - {9, 19}:
    signal.signal(number, signal.SIG_IGN)
while True:
    try:
        os.fork()
    except OSError:
        pass
""",
        ends="timeout lost",
        timeout_s=0.7,
    ),
    Attempt(
        "a thread bomb",
        """
import threading
gate = threading.Event()
try:
    while True:
        threading.Thread(target=gate.wait, daemon=True).start()
except RuntimeError as error:
    print(error)
finally:
    gate.set()
""",
        says="can't start new thread\n",
    ),
    Attempt(
        "a zombie farm",
        """
import os
count = 0
try:
    while count < 1000:
        if os.fork() == 0:
            os._exit(0)
        count += 1
except BlockingIOError:
    print("full")
""",
        says="full\n",
        check=reset_ends_everything,
    ),
    Attempt(
        "a child that keeps its parent stopped",
        """
import os, signal
parent = os.getpid()
if os.fork() == 0:
    os.setsid()
    while True:
        os.kill(parent, signal.SIGSTOP)
while True:
    pass
""",
        ends="timeout | timeout lost",
        timeout_s=0.3,
        check=reset_ends_everything,
    ),
    Attempt(
        "everything in sight is stopped",
        """
import os, signal
if os.fork() == 0:
    signal.pause()
os.kill(-1, signal.SIGSTOP)
os.kill(os.getpid(), signal.SIGSTOP)
""",
        ends="timeout | timeout lost",
        timeout_s=0.3,
    ),
    Attempt(
        "every signal to PID 1",
        """
import os, signal
for number in range(1, 65):
    if number not in (32, 33):
        os.kill(1, number)
descriptor = os.pidfd_open(1)
for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV):
    signal.pidfd_send_signal(descriptor, number)
""",
    ),
    Attempt(
        "a storm of SIGCHLD on PID 1",
        "import os\nfor n in range(50_000):\n    os.kill(1, 17)\n",
    ),
    Attempt(
        "a storm of SIGINT on the interpreter, during and between blocks",
        """
import os
parent = os.getpid()
if os.fork() == 0:
    os.setsid()
    while True:
        os.kill(parent, 2)
while True:
    pass
""",
        ends="interrupted | error KeyboardInterrupt | timeout | timeout lost | " + LOST,
        timeout_s=1,
        check=reset_ends_everything,
    ),
    Attempt(
        "SIGINT blocked and C code that never returns",
        """
import ctypes, signal
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
ctypes.PyDLL(None).pause()
""",
        ends="timeout lost",
        timeout_s=0.2,
    ),
    Attempt(
        "a regular expression that holds the interpreter lock for ever",
        "import re\nre.match('(a+)+$', 'a' * 64 + 'b')\n",
        ends="timeout lost | timeout",
        timeout_s=0.2,
    ),
    Attempt(
        "a computation in C that holds the interpreter lock for ever",
        "import signal\nsignal.signal(2, signal.SIG_IGN)\nx = 9 ** (9 ** 9)\n",
        ends="timeout lost | error MemoryError | lost MemoryLimitExceeded",
        timeout_s=0.2,
    ),
    Attempt(
        "a finally that starts again",
        """
def again():
    try:
        while True:
            pass
    finally:
        again()
again()
""",
        ends="timeout lost",
        timeout_s=0.2,
    ),
    Attempt(
        "the interpreter becomes another program",
        "import os\nos.execv('/bin/sleep', ['sleep', '1000'])\n",
        ends="lost InterpreterKilled",
    ),
    Attempt(
        "a daemon that outlives its block and a hard exit",
        """
import os
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv("/bin/sleep", ["sleep", "1000"])
    os._exit(0)
os._exit(7)
""",
        ends="lost InterpreterExit",
        check=then(
            "import os\nprint([p for p in os.listdir('/proc') if p.isdigit() and int(p) > 2 and 'sleep' in "
            "open(f'/proc/{p}/comm').read()])\n",
            "[]\n",
        ),
    ),
    Attempt(
        "a child that writes for ever after the end",
        "import subprocess\nchild = subprocess.Popen(['yes'])\n",
        says=None,
        check=reset_ends_everything,
    ),
    Attempt(
        "a non-daemon thread and atexit handlers that never end",
        """
import atexit, threading
@atexit.register
def stay():
    while True:
        pass
threading.Thread(target=threading.Event().wait).start()
""",
        check=reset_ends_everything,
    ),
    Attempt(
        "prctl: another name, no dumps, a subreaper of its own, no death signal",
        """
import os
for option, value in ((15, b"supervisor"), (4, 0), (36, 1), (1, 0), (52, 1)):
    try:
        libc("prctl", option, value, 0, 0, 0)
    except OSError:
        pass
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv("/bin/sleep", ["sleep", "1000"])
    os._exit(0)
""",
        check=reset_ends_everything,
    ),
    Attempt(
        "a seccomp filter of its own that forbids everything",
        """
import ctypes, struct
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
kill = struct.pack("HBBI", 6, 0, 0, 0x80000000)
libc("prctl", 22, 2, ctypes.byref(Program(1, kill)), 0, 0)
""",
        ends="lost InterpreterKilled",
    ),
    Attempt(
        "a higher priority and real-time scheduling",
        """
import os
refused(os.setpriority, os.PRIO_PROCESS, 0, -5)
refused(os.setpriority, os.PRIO_PROCESS, 1, -5)
refused(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1))
refused(os.sched_setscheduler, 0, os.SCHED_RR, os.sched_param(99))
os.setpriority(os.PRIO_USER, 0, 19)
""",
    ),
    Attempt(
        "a lower oom score than it was given",
        """
def write(path, value):
    with open(path, "w") as file:
        file.write(value)
refused(write, "/proc/self/oom_score_adj", "-1000")
refused(write, "/proc/self/oom_adj", "-17")
refused(write, "/proc/1/oom_score_adj", "1000")
""",
    ),
    Attempt(
        "many processes that look small to the kernel when memory runs out",
        """
import os
try:
    for score in range(1000, -1, -100):
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(score))
except OSError:
    pass
blocks = []
for n in range(30):
    if os.fork() == 0:
        os.setsid()
        while True:
            blocks.append(b"x" * (1 << 20))
while True:
    blocks.append(b"x" * (1 << 19))
""",
        ends="lost MemoryLimitExceeded | lost InterpreterKilled | error MemoryError | timeout lost | gone",
        timeout_s=10,
        recovers=False,
        by_cgroup=True,
    ),
    Attempt(
        "limits of the supervisor lowered",
        """
import resource
for name in ("RLIMIT_NOFILE", "RLIMIT_AS", "RLIMIT_FSIZE", "RLIMIT_CPU", "RLIMIT_NPROC", "RLIMIT_DATA"):
    refused(resource.prlimit, 1, getattr(resource, name), (0, 0))
""",
        check=reset_ends_everything,
    ),
    Attempt(
        "its own limits raised",
        """
import resource
for name in ("RLIMIT_CORE", "RLIMIT_NOFILE", "RLIMIT_FSIZE"):
    try:
        resource.setrlimit(getattr(resource, name), (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except ValueError as error:
        print(error)
""",
        says="(not allowed to raise maximum limit\n){3}",
    ),
    Attempt(
        "a sibling: a process whose parent is the supervisor",
        """
import os
CLONE_PARENT = 0x8000
for n in range(3):
    if call({"x86_64": 56, "aarch64": 220}[MACHINE], CLONE_PARENT | 17, 0, 0, 0, 0) == 0:
        os._exit(9)
""",
        check=reset_ends_everything,
    ),
    Attempt(
        "processes of the host by number",
        """
import os
for pid in HOST_PIDS:
    if not (os.path.exists(f"/proc/{pid}") and pid < 100):
        refused(os.kill, pid, 9, also=ABSENT)
        refused(os.pidfd_open, pid, also=ABSENT)
print(sorted(name for name in os.listdir("/proc") if name.isdigit() and int(name) > 200))
""",
        says=r"\[\]\n",
    ),
]
