"""What sessions that are forks of one process have of each other, and what each must have of its own."""

import errno
import json
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from app.sandbox.local.backend import LocalBackend
from app.sandbox.local.environment import inspect_python
from app.sandbox.local.recipe import SandboxLimits
from app.sandbox.worker.worker import Worker
from tests.backends import SANDBOX_ENV, require_backend
from tests.sandbox.backends import printed

pytestmark = [pytest.mark.local, pytest.mark.asyncio(loop_scope="module")]

OWNERS = ("first", "first", "first", "second", "second", "second")
LIMITS = SandboxLimits(processes=50, open_files=400)
PRELOAD = "ssl,sqlite3,uuid,secrets,tempfile,multiprocessing,numpy,pandas,matplotlib.pyplot"
#: Of the owner of some sessions: what the others must not find in their memory.
SECRET = "Zm9sbG93IHRoZSB3aGl0ZSByYWJiaXQ"

REFUSALS = {os.strerror(number) for number in (errno.EPERM, errno.EACCES, errno.EROFS, errno.ENOENT, errno.ENOSYS)}

#: Values that have to differ from session to session, and from draw to draw.
DRAW = """
import json, multiprocessing, os, random, secrets, sqlite3, ssl, tempfile, uuid
import numpy as np, pandas as pd
database = sqlite3.connect(":memory:")
print(json.dumps({
    "os": os.urandom(8).hex(),
    "ssl": ssl.RAND_bytes(8).hex(),
    "sqlite": database.execute("select hex(randomblob(8))").fetchone()[0],
    "sqlite random": database.execute("select random()").fetchone()[0],
    "uuid1": str(uuid.uuid1()),
    "uuid4": str(uuid.uuid4()),
    "secrets": secrets.token_hex(8),
    "random": random.random(),
    "Random": random.Random().random(),
    "SystemRandom": random.SystemRandom().random(),
    "numpy": float(np.random.rand()),
    "numpy.default_rng": float(np.random.default_rng().random()),
    "numpy.RandomState": float(np.random.RandomState().rand()),
    "pandas": pd.Series(range(10**6)).sample(3).tolist(),
    "tempfile": tempfile.mktemp(),
}))
"""
#: Once in a session.
OWN = """
import json, multiprocessing, uuid
print(json.dumps({
    "authkey": bytes(multiprocessing.current_process().authkey).hex(),
    "numpy state": np.random.get_state()[1][:8].tolist(),
    "random state": random.getstate()[1][:8],
}))
"""


@dataclass(frozen=True)
class Place:
    backend: LocalBackend
    workers: list[Worker]
    packets: list[bytes]  # what the zygotes were told


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place() -> AsyncIterator[Place]:
    """Three sessions of each of two owners."""
    require_backend("local")
    packets: list[bytes] = []
    send = socket.send_fds

    def noting(sock: socket.socket, buffers: Any, fds: Any, *more: Any) -> int:
        packets.extend(buffers)
        return send(sock, buffers, fds, *more)

    backend = LocalBackend(
        inspect_python(SANDBOX_ENV),
        limits=LIMITS,
        supervisor_options=("--preload", PRELOAD),
        zygote_per_owner=True,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "send_fds", noting)
        workers = [await backend.start(owner + SECRET) for owner in OWNERS]
    try:
        yield Place(backend, workers, packets)
    finally:
        for worker in workers:
            await worker.close()
        await backend.close()


async def everywhere(place: Place, source: str) -> list[str]:
    return [await printed(worker, source) for worker in place.workers]


async def once(place: Place, source: str) -> str:
    """What all sessions say alike."""
    (said,) = set(await everywhere(place, source))
    return said.strip()


async def refused(place: Place, expression: str) -> str:
    """What the kernel says of it."""
    source = f"import os\ntry:\n    {expression}\n    print('done')\nexcept OSError as error:\n    print(error.errno)\n"
    said = (await printed(place.workers[0], source)).strip()
    return os.strerror(int(said)) if said.isdigit() else said


async def test_no_two_sessions_draw_the_same_values_nor_one_the_same_twice(place: Place) -> None:
    draws = [json.loads(said) for _ in range(2) for said in await everywhere(place, DRAW)]
    own = [json.loads(said) for said in await everywhere(place, OWN)]
    for worker in place.workers[:2]:  # the next interpreters of the same supervisors
        await worker.reset()
        draws.append(json.loads(await printed(worker, DRAW)))
        own.append(json.loads(await printed(worker, OWN)))
    for seen in (draws, own):
        for name in seen[0]:
            values = [str(draw[name]) for draw in seen]
            assert len(set(values)) == len(values), (name, values)


async def test_hash_seeds_are_shared_by_the_sessions_of_an_owner_alone(place: Place) -> None:
    seeds = await everywhere(place, "print(hash('seed'))\n")
    assert len(set(seeds)) == 2
    assert len(set(seeds[:3])) == len(set(seeds[3:])) == 1


async def test_memory_layouts_are_shared_by_the_sessions_of_an_owner_alone(place: Place) -> None:
    layouts = await everywhere(place, "import json\nprint(id(json))\n")
    assert not set(layouts[:3]) & set(layouts[3:])


async def test_requests_to_the_zygote_hold_numbers_alone(place: Place) -> None:
    assert len(place.packets) >= len(OWNERS)
    for packet in place.packets:
        request = json.loads(packet)
        assert request.keys() == {"id", "user"}
        assert all(isinstance(value, int | None) for value in request.values())


async def test_no_session_finds_the_names_of_owners_in_its_memory(place: Place) -> None:
    half = len(SECRET) // 2
    source = f"""
parts = ({SECRET[:half]!r}, {SECRET[half:]!r})
found = []
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
    for line in maps:
        begin, end = (int(part, 16) for part in line.split()[0].split("-"))
        if "rw" in line.split()[1]:
            try:
                memory.seek(begin)
                content = memory.read(end - begin)
            except (OSError, ValueError, OverflowError):
                continue
            at = content.find(parts[0].encode())
            while at >= 0:
                found.append(content[at + len(parts[0]):][:len(parts[1])] == parts[1].encode())
                at = content.find(parts[0].encode(), at + 1)
print(any(found), len(found) > 0)
"""
    assert await printed(place.workers[0], source) == "False True\n"


async def test_a_session_has_no_descriptor_of_the_zygote(place: Place) -> None:
    source = """
import os
links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
kinds = sorted(os.readlink(link).split(":")[0] for link in links if os.path.lexists(link))
print(set(kinds) <= {"/dev/null", "/dev/urandom", "pipe", "socket"}, kinds.count("socket"))
"""
    assert await once(place, source) == "True 1"  # the way to the supervisor
    assert await once(place, "import resource\nprint(resource.getrlimit(resource.RLIMIT_NOFILE))\n") == "(400, 400)"


async def test_a_collection_of_garbage_closes_nothing_of_ours(place: Place) -> None:
    assert await once(place, "import gc\ngc.unfreeze()\ngc.collect()\nprint('collected')\n") == "collected"
    assert await once(place, "print('alive')\n") == "alive"


@pytest.mark.parametrize("name", ["fd", "mem", "environ", "maps", "root", "cwd", "ns/user", "map_files", "stack"])
async def test_the_first_process_is_out_of_reach(place: Place, name: str) -> None:
    action = "open('{}').read(1)"
    if name in ("fd", "map_files"):
        action = "os.listdir('{}')"
    elif name in ("root", "cwd", "ns/user"):
        action = "os.readlink('{}')"
    assert await refused(place, action.format(f"/proc/1/{name}")) in REFUSALS


async def test_what_is_hidden_of_the_first_process_is_nobodys_in_here(place: Place) -> None:
    assert await once(place, "import os\nprint(os.stat('/proc/1/fd').st_uid != os.getuid())\n") == "True"


async def test_a_session_is_one_user_without_rights_in_a_namespace_that_has_no_other(place: Place) -> None:
    source = """
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(*(status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")))
print(open("/proc/self/setgroups").read().strip())
for name in ("uid_map", "gid_map"):
    (line,) = open(f"/proc/self/{name}")
    print(line.split()[0], line.split()[2])
"""
    none = "0" * 16
    assert await once(place, source) == f"{none} {none} {none} {none} {none} 1 2\ndeny\n65532 1\n65532 1"


async def test_no_user_namespace_can_be_made_nor_be_allowed(place: Place) -> None:
    assert await once(place, "print(open('/proc/sys/user/max_user_namespaces').read().strip())\n") == "0"
    assert await refused(place, "open('/proc/sys/user/max_user_namespaces', 'w')") in REFUSALS
    for flag in (0x10000000, 0x20000, 0x20000000, 0x40000000):
        source = f"import ctypes\nprint(ctypes.CDLL(None).unshare({flag}))\n"
        assert await once(place, source) == "-1"


async def test_a_session_sees_its_own_processes_and_host_and_network_alone(place: Place) -> None:
    source = """
import os, socket
print([name for name in os.listdir("/proc") if name.isdigit() and int(name) > 20], os.getppid(), socket.gethostname())
print([line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]])
print([line for line in open("/proc/net/unix") if "@" in line or "/" in line])
"""
    assert await once(place, source) == "[] 1 sandbox\n['lo']\n[]"
    assert "eager" not in "".join(await everywhere(place, "print(open('/proc/self/cgroup').read())\n"))


async def test_folders_and_terminals_are_a_sessions_own(place: Place) -> None:
    for number, worker in enumerate(place.workers):
        source = f"for folder in ('/tmp', '/dev/shm', '/mnt/data'):\n    open(folder + '/own{number}', 'w').close()\n"
        await run_quietly(worker, source)
    source = """
import os
print([len([name for name in os.listdir(folder) if name[:3] == "own"]) for folder in ("/tmp", "/dev/shm", "/mnt/data")])
"""
    assert await once(place, source) == "[1, 1, 1]"
    source = "import os\nends = os.openpty()\nprint(os.ttyname(ends[1]), sorted(os.listdir('/dev/pts')))\n"
    assert await once(place, source) == "/dev/pts/0 ['0', 'ptmx']"


async def run_quietly(worker: Worker, source: str) -> None:
    assert await printed(worker, source) == ""


async def test_the_root_and_the_libraries_are_read_only(place: Place) -> None:
    for path in (
        "'/x'",
        "'/usr/x'",
        "'/etc/passwd'",
        "'/opt/eager/sandbox_image/zygote.py'",
        "os.__file__",
        "'/proc/sys/x'",
    ):
        said = await refused(place, f"open({path}, 'a')")
        assert said in (os.strerror(30), os.strerror(13), os.strerror(2)), (path, said)
    for call in ("mount(b'none', b'/', None, 32, None)", "umount2(b'/tmp', 2)", "umount2(b'/proc', 2)"):
        assert await once(place, f"import ctypes\nprint(ctypes.CDLL(None).{call})\n") == "-1"


async def test_processes_are_counted_per_session(place: Place) -> None:
    source = "import resource\nprint(resource.getrlimit(resource.RLIMIT_NPROC))\n"
    assert await once(place, source) == "(50, 50)"


async def test_limits_of_the_first_process_and_keys_are_out_of_reach(place: Place) -> None:
    assert await refused(place, "__import__('resource').prlimit(1, 7, (1, 1))") in REFUSALS
    keyctl = {"x86_64": 250, "aarch64": 219}[os.uname().machine]
    assert await once(place, f"import ctypes\nprint(ctypes.CDLL(None).syscall({keyctl}, 0, -3, 0))\n") == "-1"


async def test_what_a_session_does_is_charged_to_its_own_cgroup(place: Place) -> None:
    if place.backend._cgroups is None:
        pytest.skip("no writable cgroup")
    wanted = f"/eager-{os.getpid()}/"
    groups = [Path(folder, "cgroup.procs") for folder, _, _ in os.walk("/sys/fs/cgroup") if wanted in folder]
    members = {tuple(sorted(group.read_text().split())) for group in groups}
    assert len(members) == len(place.workers)
    assert all(len(group) == 2 for group in members)  # its supervisor and its interpreter


async def test_what_libraries_noted_at_their_import_is_a_copy_for_each_session(place: Place) -> None:
    read = """
import hashlib, os
files = sorted(os.path.join(folder, name) for folder, _, names in os.walk("/tmp") for name in names)
here = os.stat("/tmp").st_dev  # a Python may be mounted below
notes = {file: open(file, "rb").read() for file in files if os.stat(file).st_dev == here and "own" not in file}
print(len(notes), hashlib.sha256(repr(notes).encode()).hexdigest())
"""
    first = await place.backend.start("first" + SECRET)
    before = await printed(first, read)
    assert not before.startswith("0 ")
    await printed(first, read + "for file in notes:\n    open(file, 'w').write('poison')\n")
    assert await printed(first, read) != before
    next = await place.backend.start("first" + SECRET)
    assert await printed(next, read) == before
    for worker in (first, next):
        await worker.close()
