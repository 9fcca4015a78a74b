"""Everything that can be filled: memory in all its forms, files, names, descriptors, the kernel's own tables."""

from tests.attacks.attempt import Attempt
from tests.attacks.checks import reset_ends_everything

OUT_OF_MEMORY = "error MemoryError | lost MemoryLimitExceeded | lost InterpreterKilled"
FULL = "error OSError | lost MemoryLimitExceeded | lost InterpreterKilled"

ATTEMPTS = [
    Attempt(
        "one huge allocation that is touched",
        "block = bytearray(8 << 30)\nfor n in range(0, len(block), 4096):\n    block[n] = 1\n",
        ends=OUT_OF_MEMORY,
    ),
    Attempt(
        "a memory bomb in files without a name",
        """
import os
files = []
while True:
    files.append(os.memfd_create("bomb"))
    for n in range(64):
        os.write(files[-1], bytes(1 << 20))
""",
        ends=FULL,
        by_cgroup=True,
    ),
    Attempt(
        "a memory bomb in shared anonymous pages",
        """
import mmap
maps = []
while True:
    maps.append(mmap.mmap(-1, 32 << 20))
    for n in range(0, 32 << 20, 4096):
        maps[-1][n] = 1
""",
        ends=OUT_OF_MEMORY,
        by_cgroup=True,
    ),
    Attempt(
        "a memory bomb spread over children",
        """
import os, time
for n in range(20):
    if os.fork() == 0:
        blocks = []
        while True:
            blocks.append(b"x" * (1 << 20))
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
""",
        ends="ok | lost MemoryLimitExceeded | lost InterpreterKilled",
        by_cgroup=True,
    ),
    Attempt(
        "shared memory filled",
        "with open('/dev/shm/fill', 'wb') as file:\n    while True:\n        file.write(bytes(1 << 20))\n",
        ends=FULL,
    ),
    Attempt(
        "the temporary folder filled",
        "with open('/tmp/fill', 'wb') as file:\n    while True:\n        file.write(bytes(1 << 20))\n",
        ends=FULL,
    ),
    Attempt(
        "all file systems in memory filled at once, then memory",
        """
for path in ("/dev/shm/fill", "/tmp/fill", "fill"):
    try:
        with open(path, "wb", buffering=0) as file:
            while file.write(bytes(1 << 18)):
                pass
    except OSError as error:
        print(error.strerror)
blocks = []
while True:
    blocks.append(b"x" * (1 << 20))
""",
        ends=OUT_OF_MEMORY,
        says="(No space left on device\n){3}",
        by_cgroup=True,
    ),
    Attempt(
        "the host's disks written out, over and over",
        """
import os
sync, syncfs = {"x86_64": (162, 306), "aarch64": (81, 267)}[MACHINE]
refused(call, sync)
refused(call, syncfs, os.open("/usr", os.O_RDONLY))
os.sync()  # tells nothing
""",
    ),
    Attempt(
        "inodes of the work folder used up",
        "import os\nfor n in range(3_000_000):\n    os.close(os.open(f'{n}', os.O_CREAT | os.O_WRONLY))\n",
        ends=FULL,
        timeout_s=60,
        by_cgroup=True,
    ),
    Attempt(
        "inodes of the temporary folder used up by links",
        "import os\nfor n in range(3_000_000):\n    os.symlink('x' * 200, f'/tmp/{n}')\n",
        ends=FULL,
        timeout_s=60,
    ),
    Attempt(
        "a sparse file as large as there is",
        """
import errno
with open("sparse", "wb") as file:
    try:
        file.truncate(1 << 50)
    except OSError as error:
        print(errno.errorcode[error.errno])
""",
        says="EFBIG\n",
    ),
    Attempt(
        "a zip bomb unpacked in the work folder",
        """
import zipfile
with zipfile.ZipFile("bomb.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
    for n in range(4):
        with bomb.open(f"{n}", "w") as file:
            for m in range(60):
                file.write(bytes(1 << 20))
zipfile.ZipFile("bomb.zip").extractall("out")
""",
        ends=FULL,
    ),
    Attempt(
        "folders a thousand deep",
        """
import os
for n in range(1000):
    os.mkdir("d" * 200)
    os.chdir("d" * 200)
os.chdir("/mnt/data")
""",
        ends=f"ok | {FULL}",
    ),
    Attempt(
        "a thousand open files",
        """
import errno
files = []
try:
    while True:
        files.append(open("/dev/null"))
except OSError as error:
    print(errno.errorcode[error.errno], len(files) < 2000)
del files[:10]
""",
        says="EMFILE True\n",
    ),
    Attempt(
        "descriptors used up and kept",
        "import os\nkept = []\ntry:\n    while True:\n        kept.append(os.dup(0))\nexcept OSError:\n    pass\n",
    ),
    Attempt(
        "the pipe memory of its uid used up",
        """
import errno, fcntl, os
pipes = []
try:
    while True:
        pipes.append(os.pipe())
        fcntl.fcntl(pipes[-1][1], fcntl.F_SETPIPE_SZ, 1 << 20)
        os.set_blocking(pipes[-1][1], False)
        os.write(pipes[-1][1], bytes(1 << 20))
except OSError as error:
    print(errno.errorcode[error.errno])
""",
        ends="ok | lost MemoryLimitExceeded | lost InterpreterKilled",
        says="(EPERM\n|EMFILE\n|)",
    ),
    Attempt(
        "socket buffers filled",
        """
import socket
pairs = []
try:
    while True:
        pairs.append(socket.socketpair())
        pairs[-1][0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)
        pairs[-1][0].setblocking(False)
        try:
            while True:
                pairs[-1][0].send(bytes(65536))
        except BlockingIOError:
            pass
except OSError as error:
    print(error.strerror)
""",
        ends="ok | lost MemoryLimitExceeded | lost InterpreterKilled",
        says="(Too many open files\n|)",
        timeout_s=60,
    ),
    Attempt(
        "descriptors sent to nowhere, over and over",
        """
import os, socket
try:
    for n in range(2000):
        near, far = socket.socketpair()
        socket.send_fds(near, [b"x"], [far.fileno(), near.fileno()])
        near.close()
        far.close()
except OSError as error:
    print(error.strerror)
""",
        says="(Too many references: cannot splice\n|)",
    ),
    Attempt(
        "pending real-time signals used up",
        """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
try:
    for n in range(200_000):
        os.kill(os.getpid(), signal.SIGRTMIN)
except BlockingIOError:
    print("full")
""",
        says="(full\n|)",
        timeout_s=30,
    ),
    Attempt(
        "inotify, epoll, eventfd and timer tables",
        """
import os, select
kept = []
makers = [select.epoll, lambda: os.eventfd(0), lambda: libc("inotify_init1", 0), lambda: libc("timerfd_create", 0, 0)]
for make in makers:
    try:
        for n in range(3000):
            kept.append(make())
    except OSError:
        pass
    del kept[50:]
""",
    ),
    Attempt(
        "memory locked",
        """
import mmap
block = mmap.mmap(-1, 64 << 20)
import ctypes
address = ctypes.addressof(ctypes.c_char.from_buffer(block))
libc("mlock", ctypes.c_void_p(address), ctypes.c_size_t(64 << 20))
""",
        ends="ok | error OSError | lost MemoryLimitExceeded | lost InterpreterKilled",
    ),
    Attempt(
        "a core dump of a full address space",
        "import ctypes\nblock = bytearray(64 << 20)\nctypes.string_at(0)\n",
        ends="lost InterpreterKilled",
        check=reset_ends_everything,
    ),
    Attempt(
        "a recursion without end",
        "import sys\nsys.setrecursionlimit(10 ** 9)\ndef down():\n    return down()\ndown()\n",
        ends="lost InterpreterKilled | error RecursionError | lost MemoryLimitExceeded | error MemoryError "
        "| error SystemError | lost InterpreterExit",  # no memory is left: for CPython 3.13, for our own code
        timeout_s=90,  # filling the memory takes time on a busy machine
        recovers=False,  # what its last error refers to may leave none for the next code, which is told so
    ),
]
