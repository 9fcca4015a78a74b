"""What the engine has really set, and what code inside meets."""

import json
from collections.abc import AsyncIterator

import docker
import pytest

from app.sandbox.docker import DockerBackend
from app.sandbox.worker import Worker
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
    assert attributes["Config"]["User"] == "65532:65532"
    assert [mount["RW"] for mount in attributes["Mounts"]] in ([], [False])


INSPECT = """
import json, os
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
system = ("/", "/usr", "/etc", "/opt/eager", "/run", "/var/tmp", "/home")
def can_write(folder):
    try:
        open(folder + "/probe", "w").close()
    except OSError:
        return False
    return True
print(json.dumps({
    "uid": os.getuid(),
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
        "uid": 65532,
        "capabilities": True,
        "no new privileges": "1",
        "seccomp": "2",
        "interfaces": ["lo"],
        "writable": [],
        "devices": [],
    }


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
