"""What the engine has really set, and what code inside meets."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import docker
import pytest

from app.sandbox.docker.backend import DockerBackend
from app.sandbox.docker.users import HOST_UIDS
from app.sandbox.worker.worker import Worker
from tests.sandbox.backends import printed

pytestmark = pytest.mark.docker


@pytest.fixture
async def worker(backend: DockerBackend) -> AsyncIterator[Worker]:
    worker = await backend.start()
    yield worker
    await worker.close()


async def test_the_engine_reads_every_limit_back(engine: docker.DockerClient, worker: Worker) -> None:
    attributes = engine.containers.get(worker.id).attrs
    host = attributes["HostConfig"]
    expected = {
        "NetworkMode": "none",
        "IpcMode": "private",
        "PidMode": "",
        "UTSMode": "",
        "Privileged": False,
        "ReadonlyRootfs": True,
        "CapAdd": None,
        "CapDrop": ["ALL"],
        "PidsLimit": 132,
        "Memory": 1 << 30,
        "MemorySwap": 1 << 30,
        "NanoCpus": 10**9,
        "CpuShares": 256,
        "OomScoreAdj": 500,
        "AutoRemove": True,
        "Init": False,
        "Binds": None,
        "Devices": None,
        "LogConfig": {"Type": "none", "Config": {}},
    }
    assert {name: host[name] for name in expected} == expected
    assert {limit["Name"]: limit["Hard"] for limit in host["Ulimits"]} == {
        "core": 0,
        "nofile": 1024,
        "fsize": 256 << 20,
    }
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert any(option.startswith("seccomp={") for option in host["SecurityOpt"])
    uid, gid = attributes["Config"]["User"].split(":")
    assert int(uid) in HOST_UIDS
    assert uid == gid
    assert [mount["RW"] for mount in attributes["Mounts"]] in ([], [False])


INSPECT = """
import getpass, json, os
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
system = ("/", "/usr", "/etc", "/opt/eager", "/run", "/var/tmp", "/home")
def can_write(folder):
    try:
        open(folder + "/probe", "w").close()
    except OSError:
        return False
    return True
print(json.dumps({
    "own uid": os.getuid() in range(300000, 300512) and os.getuid() == os.getgid() == os.stat(".").st_uid,
    "user": getpass.getuser(),
    "capabilities": {status[name].strip() for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16},
    "no new privileges": status["NoNewPrivs"].strip(),
    "seccomp": status["Seccomp"].strip(),
    "interfaces": os.listdir("/sys/class/net"),
    "writable": [folder for folder in system if can_write(folder)],
    "devices": sorted(name for name in os.listdir("/dev") if os.stat("/dev/" + name).st_mode & 0o170000 == 0o060000),
}))
"""


async def test_code_finds_no_right_no_network_and_no_writable_system(worker: Worker) -> None:
    assert json.loads(await printed(worker, INSPECT)) == {
        "own uid": True,
        "user": "sandbox",
        "capabilities": True,
        "no new privileges": "1",
        "seccomp": "2",
        "interfaces": ["lo"],
        "writable": [],
        "devices": [],
    }


TAKES_ALL_INOTIFY_INSTANCES = """
import ctypes
lib = ctypes.CDLL(None)
taken = []
while (fd := lib.inotify_init()) >= 0:
    taken.append(fd)
"""


async def test_what_the_kernel_counts_by_user_is_each_sandbox_s_own(backend: DockerBackend) -> None:
    if int(Path("/proc/sys/fs/inotify/max_user_instances").read_text()) > 500:
        pytest.skip("there are more inotify instances than a sandbox may open files")
    greedy, neighbour = await asyncio.gather(backend.start(), backend.start())
    try:
        await printed(greedy, TAKES_ALL_INOTIFY_INSTANCES)
        assert await printed(greedy, "print(lib.inotify_init())\n") == "-1\n"
        assert await printed(neighbour, "import ctypes\nprint(ctypes.CDLL(None).inotify_init() >= 0)\n") == "True\n"
    finally:
        await asyncio.gather(greedy.close(), neighbour.close())


SYSTEM_CALLS = """
import ctypes, os, socket
lib = ctypes.CDLL(None, use_errno=True)
def refused(name, *arguments):
    ctypes.set_errno(0)
    return getattr(lib, name)(*arguments) == -1 and ctypes.get_errno() == 1
calls = {
    "unshare": (0x10000000,), "setns": (0, 0), "ptrace": (0, 0, 0, 0), "mount": (b"a", b"/tmp", b"tmpfs", 0, None),
    "pivot_root": (b"/", b"/"), "chroot": (b"/",), "syscall": (425, 1, None),  # io_uring_setup
}
print([name for name, arguments in calls.items() if not refused(name, *arguments)])
families = []
for family in range(46):
    try:
        socket.socket(family, socket.SOCK_RAW if family == 17 else socket.SOCK_STREAM).close()
        families.append(socket.AddressFamily(family).name)
    except OSError:
        pass
print(families)
os.mkfifo("/tmp/fifo")
try:
    os.mknod("/tmp/disk", 0o60600, os.makedev(259, 0))
    print("made a device")
except OSError:
    print("no device")
"""


async def test_system_calls_that_ordinary_code_does_not_need_are_refused(worker: Worker) -> None:
    assert await printed(worker, SYSTEM_CALLS) == "[]\n['AF_UNIX', 'AF_INET', 'AF_INET6']\nno device\n"


async def test_ordinary_libraries_do_not_notice(worker: Worker) -> None:
    source = """
import asyncio, multiprocessing, subprocess, tempfile, threading
import matplotlib.pyplot, pandas, sklearn.linear_model
lock = multiprocessing.Lock()
with multiprocessing.Pool(2) as pool:
    print(pool.map(abs, [-1, 2]))
print(subprocess.run(["bash", "-c", "echo child"], capture_output=True, text=True).stdout, end="")
async def both():
    return await asyncio.gather(asyncio.to_thread(len, "ab"), asyncio.sleep(0, 3))
print(asyncio.run(both()))
with tempfile.NamedTemporaryFile() as file:
    matplotlib.pyplot.savefig(file)
    print(file.tell() > 1000)
"""
    assert await printed(worker, source) == "[1, 2]\nchild\n[2, 3]\nTrue\n"
