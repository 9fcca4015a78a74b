"""The process that embedded sandboxes are forks of: its socket, mounts, users, and through it other sessions."""

from tests.attacks.attempt import Attempt

ATTEMPTS = [
    Attempt(
        "the socket on which the zygote is asked for sandboxes",
        """
import json, os, socket, stat
kinds = []
for fd in range(1024):
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            with socket.socket(fileno=os.dup(fd)) as found:
                kinds.append((fd, found.type.name))
    except OSError:
        pass
print(kinds)
print([line.split()[-1] for line in open("/proc/net/unix") if " 0005 " in line])
""",
        says=r"\[\(3, 'SOCK_STREAM'\)\]\n\[\]\n",
    ),
    Attempt(
        "a request for a sandbox, as the gateway sends it, on the channel that there is",
        """
import array, json, os, socket
with socket.socket(fileno=os.dup(3)) as channel:
    channel.setblocking(True)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
    channel.sendmsg([frame(1, {"id": 1, "user": 0})], rights)
""",
        ends="ok | lost InterpreterKilled | gone",
        says=None,
        recovers=False,
    ),
    Attempt(
        "what the zygote has below the mounts of a session",
        """
import os
for folder in (b"/tmp", b"/dev/shm", b"/mnt/data", b"/proc", b"/dev/pts", b"/dev", b"/"):
    refused(libc, "umount2", folder, 2)
    refused(libc, "mount", b"none", folder, None, 32 | 4096, None)
    refused(libc, "mount", b"tmpfs", folder, b"tmpfs", 0, None)
for name in ("root", "cwd", "exe", "fd/3", "map_files"):
    refused(os.listdir if name == "map_files" else os.readlink, f"/proc/1/{name}", also=ABSENT)
""",
    ),
    Attempt(
        "users of other sandboxes",
        """
import os
for user in (0, 1, 2, 3, 65534, 199999, 200000, 200001):
    for change in (os.setuid, os.setgid, os.seteuid):
        refused(change, user, also={22})
    refused(os.chown, "/mnt/data", user, -1, also={22})
refused(os.setgroups, [0])
for name in ("uid_map", "gid_map", "setgroups"):
    refused(lambda: os.write(os.open(f"/proc/self/{name}", os.O_WRONLY), b"0 0 1"), also={22})
""",
    ),
    Attempt(
        "terminals of other sandboxes",
        """
import os
print(sorted(os.listdir("/dev/pts")))
ours, theirs = os.openpty()
print(os.ttyname(theirs))
for number in range(1, 20):
    refused(os.open, f"/dev/pts/{number}", os.O_RDWR, also=ABSENT)
refused(os.open, "/dev/tty", os.O_RDWR, also=ABSENT)
""",
        says=r"\['ptmx'\]\n/dev/pts/0\n",
    ),
    Attempt(
        "a look at what others do, by watches on the folders of their own",
        """
import ctypes, os, select
watch = libc("inotify_init1", 0o4000)
for path in (b"/tmp", b"/dev/shm", b"/mnt/data", b"/dev/pts", b"/proc", b"/proc/1"):
    try:
        libc("inotify_add_watch", watch, path, 0xfff)
    except OSError as error:
        assert error.errno in (13, 28), error
print(select.select([watch], [], [], 0.3)[0])
""",
        says=r"\[\]\n",
    ),
    Attempt(
        "namespaces of the zygote entered again",
        """
import os
for name in os.listdir("/proc/self/ns"):
    refused(os.open, f"/proc/1/ns/{name}", os.O_RDONLY, also=ABSENT)
    try:
        own = os.open(f"/proc/self/ns/{name}", os.O_RDONLY)
    except OSError:
        continue
    refused(libc, "setns", own, 0, also={22})
    refused(lambda: __import__("fcntl").ioctl(own, 0xb701), also={25})
""",
    ),
    Attempt(
        "the names of cgroups and of gateways",
        """
for name in ("cgroup", "mountinfo", "cmdline", "environ", "comm", "status", "sched"):
    try:
        text = open(f"/proc/self/{name}").read()
    except OSError:
        continue
    print([line for line in text.splitlines() if "eager-" in line and "sandbox" not in line])
""",
        says=r"(?:\[\]\n)+",
    ),
]
