"""One session against the next: in the same sandbox after a reset, and in others. What the neighbour has of its own is
looked at after every attempt (arena.py)."""

from tests.attacks.attempt import Attempt
from tests.attacks.checks import after_reset

ATTEMPTS = [
    Attempt(
        "names and modules left in the zygote",
        """
import builtins, json, os, random, sys
builtins.print = None
builtins.planted = json.planted = os.planted = True
sys.modules["planted"] = json
sys.path.insert(0, "/mnt/data/planted")
sys.meta_path.insert(0, None)
os.environ["PLANTED"] = "yes"
os.environ["PATH"] = "/mnt/data"
random.seed(1)
sys.setrecursionlimit(77)
os.umask(0)
os.chdir("/tmp")
""",
        check=after_reset(
            """
import builtins, json, os, random, sys
print(hasattr(builtins, 'planted'), hasattr(json, 'planted'), hasattr(os, 'planted'), 'planted' in sys.modules)
print('/mnt/data/planted' in sys.path, None in sys.meta_path)
print('PLANTED' in os.environ, os.environ['PATH'] == '/mnt/data')
print(random.getstate() == (random.seed(1), random.getstate())[1], sys.getrecursionlimit(), os.umask(0o22), os.getcwd())
""",
            "False False False False\nFalse False\nFalse False\nFalse 1000 18 /mnt/data\n",
        ),
    ),
    Attempt(
        "files that Python runs by itself",
        """
import os, site, sys
for name in ("sitecustomize.py", "usercustomize.py", "json.py", "random.py", "sandbox_image.py", "matplotlibrc"):
    with open(name, "w") as file:
        file.write("raise SystemExit('poisoned')")
folder = f"/mnt/data/.local/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
os.makedirs(folder)
with open(folder + "/evil.pth", "w") as file:
    file.write("import os; os._exit(9)")
os.makedirs("/mnt/data/.config/matplotlib")
with open("/mnt/data/.bashrc", "w") as file:
    file.write("exit 9")
""",
        check=after_reset(
            "import sys\nprint([name for name, module in sys.modules.items() if name != '__main__' "
            "and '/mnt/data' in str(getattr(module, '__file__', ''))])\n",
            "[]\n",
        ),
    ),
    Attempt(
        "cached bytecode of the libraries poisoned",
        """
import importlib.util, json, os, sys, sandbox_image.channel
for module in (json, os, sandbox_image.channel):
    refused(open, module.__file__, "a", also=ABSENT)
    refused(open, importlib.util.cache_from_source(module.__file__), "ab", also=ABSENT)
    refused(os.unlink, module.__file__, also=ABSENT)
for folder in {os.path.dirname(json.__file__), os.path.dirname(sandbox_image.channel.__file__), sys.prefix}:
    refused(open, folder + "/planted.py", "w", also=ABSENT)
refused(open, sys.executable, "ab", also={26})
""",
    ),
    Attempt(
        "memory of the zygote written through what is shared with it",
        """
import ctypes
small = id(7)
ctypes.c_long.from_address(small + 24).value = 8  # the number 7 is 8 from now on, in this process
ctypes.memset(id("supervisor") + 48, 0, 4)
""",
        ends="ok | lost InterpreterKilled | lost InterpreterExit | error SystemError",
        says=None,
        recovers=False,
        check=after_reset("print(3 + 4, 'supervisor')\n", "7 supervisor\n"),
    ),
    Attempt(
        "random numbers foreseen by the next interpreter",
        """
import random, uuid
with open("seen", "w") as file:
    file.write(repr((random.random(), random.getstate()[1][:5], uuid.uuid4().hex)))
""",
        check=after_reset(
            "import random, uuid\nprint(open('seen').read() == repr((random.random(), random.getstate()[1][:5], "
            "uuid.uuid4().hex)), str(random.getstate()[1][:5]) in open('seen').read())\n",
            "False False\n",
        ),
    ),
    Attempt(
        "the random state of the host's other sandboxes",
        "import os, random\nopen('/dev/urandom', 'wb').write(bytes(64))\nrandom.seed(7)\n",
    ),
    Attempt(
        "shared memory, semaphores and queues by their names",
        """
import os
print([name for name in os.listdir("/dev/shm")])
for name in (b"/kept", b"/sem.kept"):
    refused(libc, "shm_open", name, 2, 0, also=ABSENT)
for number in range(50):
    try:
        found = libc("shmget", number, 0, 0)
    except OSError:
        continue
    print("segment", number)
print(sum(1 for line in open("/proc/sysvipc/shm")) - 1 if os.path.exists("/proc/sysvipc/shm") else 0)
""",
        says=r"\[\]\n0\n",
    ),
    Attempt(
        "the neighbour's files by every path",
        """
import glob, os
paths = ["kept", "/tmp/kept", "/dev/shm/kept", "/mnt/kept"]
paths += glob.glob("/proc/*/root/mnt/data/kept") + glob.glob("/proc/*/cwd/kept") + glob.glob("/mnt/*/kept")
print([path for path in paths if os.path.exists(path)])
""",
        says=r"\[\]\n",
    ),
    Attempt(
        "files of the host by every path",
        """
import os
for path in [*HOST_FILES[:2], "/etc/shadow", "/root/.ssh", "/root/.bashrc", "/home", "/var/lib/docker", "/host",
             "/proc/1/root" + HOST_FILES[0], "/proc/self/root" + HOST_FILES[0]]:
    try:
        found = os.listdir(path) if os.path.isdir(path) else open(path).read(10)
    except OSError:
        continue
    if found:
        print(path, found)
""",
    ),
    Attempt(
        "processes of the neighbour",
        """
import os
commands = []
for name in os.listdir("/proc"):
    if name.isdigit():
        with open(f"/proc/{name}/cmdline") as file:
            commands.append(file.read())
print(len(commands) <= 4, any("sleep" in command for command in commands))
""",
        says="True False\n",
    ),
    Attempt(
        "doors of its own on the loopback, for the neighbour to fall into",
        """
import socket
servers = []
for port in (HOST_PORT, 8000, 2375):
    servers.append(socket.create_server(("", port)))
    servers[-1].setblocking(False)
door = socket.socket(socket.AF_UNIX)
door.bind("\\0" + HOST_ABSTRACT)
door.listen()
""",
    ),
    Attempt(
        "a poisoned interpreter that a reset must not inherit from",
        """
import ctypes, gc, sys, threading
gc.disable()
sys.settrace(lambda *arguments: None)
sys.setswitchinterval(1000)
sys.setprofile(lambda *arguments: None)
threading.settrace(lambda *arguments: None)
sys.addaudithook(lambda *arguments: None)
sys.breakpointhook = sys.displayhook = sys.unraisablehook = None
ctypes.CDLL(None).srand(1)
""",
        check=after_reset(
            "import gc, sys\nprint(gc.isenabled(), sys.gettrace(), sys.getprofile(), sys.getswitchinterval() < 1)\n",
            "True None None True\n",
        ),
    ),
]
