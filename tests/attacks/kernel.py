"""The kernel's own doors: namespaces, mounts, rights, modules, settings, devices, clocks."""

from functools import partial

from app.sandbox.local.seccomp import DENIED
from tests.attacks.attempt import Attempt as OneAttempt
from tests.attacks.checks import then

#: Walks a tree of the kernel's and opens everything for writing; prints what opened.
#: What is hidden is the null device, and takes whatever is written.
HIDDEN = """
import os, stat
def is_hidden(path):
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(1, 3)
"""
WRITABLE = (
    HIDDEN
    + """
def writable(tree):
    for folder, folders, files in os.walk(tree):
        for name in files:
            path = os.path.join(folder, name)
            if is_hidden(path):
                continue
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW))
            except OSError:
                continue
            print(path)
"""
)

Attempt = partial(OneAttempt, shares=True)

ATTEMPTS = [
    Attempt(
        "every system call of the list, without arguments",
        f"for name in {sorted(set(DENIED) - {'setns'})!r}:\n"
        "    if name in SYSTEM_CALLS:\n        refused(call, name, 0, 0, 0, 0, 0)\n",
    ),
    Attempt(
        "new namespaces by unshare",
        """
for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x80):
    refused(call, "unshare", flag)
""",
    ),
    Attempt(
        "new namespaces by clone",
        """
import os
number = {"x86_64": 56, "aarch64": 220}[MACHINE]
def clone(flags):
    pid = call(number, flags | 17, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    return pid
for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
    refused(clone, flag)
refused(call, 435, 0, 0)
""",
    ),
    Attempt(
        "other namespaces by setns",
        """
import os
for name in os.listdir("/proc/self/ns"):
    refused(call, "setns", os.open(f"/proc/self/ns/{name}", os.O_RDONLY), 0)
""",
    ),
    Attempt(
        "mounts of every kind",
        """
for source, target, kind, flags in ((b"none", b"/mnt", b"tmpfs", 0), (b"/", b"/tmp", None, 4096),
                                    (b"proc", b"/proc", b"proc", 0), (None, b"/", None, 32 | 1 << 21),
                                    (b"x", b"/tmp", b"overlay", 0), (b"x", b"/sys/fs/cgroup", b"cgroup2", 0)):
    refused(libc, "mount", source, target, kind, flags, None)
refused(libc, "umount2", b"/proc", 2)
refused(libc, "pivot_root" if hasattr(_libc, "pivot_root") else "chroot", b"/tmp", b"/tmp")
import os
refused(os.chroot, "/tmp")
""",
    ),
    Attempt(
        "a root remounted for writing",
        "refused(libc, 'mount', None, b'/', None, 32, None)\nrefused(open, '/usr/planted', 'w')\n"
        "refused(open, '/etc/passwd', 'a')\n",
    ),
    Attempt(
        "other users",
        """
import os
for function, arguments in ((os.setuid, (0,)), (os.setgid, (0,)), (os.setgroups, ([0],)), (os.setresuid, (0, 0, 0)),
                            (os.setreuid, (-1, 1)), (os.seteuid, (1000,))):
    refused(function, *arguments, also={22})
print(os.getuid() == os.geteuid() != 0, set(os.getgroups()) <= {os.getgid(), 65534})
""",
        says="True True\n",
    ),
    Attempt(
        "capabilities taken",
        """
import ctypes
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
data = (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6)
refused(libc, "capset", header, data)
refused(libc, "prctl", 47, 2, 21, 0, 0, also={22})  # PR_CAP_AMBIENT_RAISE of CAP_SYS_ADMIN
refused(libc, "prctl", 28, 0, 0, 0, 0, also={22})  # PR_SET_SECUREBITS
print({line.split()[1] for line in open("/proc/self/status") if line.startswith("Cap")})
""",
        says=r"\{'0000000000000000'\}\n",
    ),
    Attempt(
        "setuid programs, found and made",
        """
import os, shutil, subprocess
own = shutil.copy("/usr/bin/id", "id")
os.chmod(own, 0o6755)
print(subprocess.run(["./id", "-u"], capture_output=True, text=True).stdout.strip() == str(os.getuid()))
for folder in ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/lib/openssh"):
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name)
        if os.path.exists(path) and os.stat(path).st_mode & 0o6000:
            os.stat(path).st_uid == 0 and subprocess.run(
                [path, "-c", "id > /mnt/data/who"], capture_output=True, stdin=subprocess.DEVNULL, timeout=5)
print("uid=0" in (open("/mnt/data/who").read() if os.path.exists("/mnt/data/who") else ""))
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("NoNewPrivs")])
""",
        says=r"True\nFalse\n\['1'\]\n",
    ),
    Attempt(
        "device nodes and the devices there are",
        """
import os, stat
for kind in (stat.S_IFBLK, stat.S_IFCHR):
    for major, minor in ((8, 0), (259, 0), (1, 1), (254, 0), (10, 229)):
        refused(os.mknod, "/tmp/device", 0o666 | kind, os.makedev(major, minor))
        refused(os.mknod, "device", 0o666 | kind, os.makedev(major, minor))
for name in ("mem", "kmem", "port", "kmsg", "kvm", "fuse", "loop-control", "mapper/control", "net/tun", "vsock",
             "userfaultfd", "sda", "vda", "nvme0n1", "watchdog", "rtc0", "tty", "console", "btrfs-control", "uinput"):
    refused(os.open, f"/dev/{name}", os.O_RDWR, also=ABSENT | {5})
""",
    ),
    Attempt("settings of the kernel written", WRITABLE + "writable('/proc/sys')\n"),
    Attempt(
        "/sys written",
        WRITABLE + "writable('/sys/kernel')\nwritable('/sys/module')\nwritable('/sys/power')\nwritable('/sys/class')\n",
    ),
    Attempt(
        "control groups written, left or made",
        WRITABLE
        + """
writable("/sys/fs/cgroup")
for folder in ("/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified"):
    refused(os.mkdir, folder + "/own", also=ABSENT | {17})
for name in ("release_agent", "cgroup.procs", "memory.max", "pids.max", "memory/memory.limit_in_bytes"):
    refused(open, f"/sys/fs/cgroup/{name}", "w", also=ABSENT)
""",
    ),
    Attempt(
        "the core pattern, the module loader and the emergency keys",
        HIDDEN
        + """
def write(path, text):
    with open(path, "w") as file:
        file.write(text)
for path, text in (("/proc/sys/kernel/core_pattern", "|/mnt/data/x"), ("/proc/sys/kernel/modprobe", "/mnt/data/x"),
                   ("/proc/sysrq-trigger", "b"), ("/sys/kernel/uevent_helper", "/mnt/data/x"),
                   ("/proc/sys/fs/binfmt_misc/register", ":x:M::x::/mnt/data/x:"), ("/proc/sys/vm/drop_caches", "3"),
                   ("/sys/power/state", "mem"), ("/proc/irq/default_smp_affinity", "1"), ("/proc/mtrr", "x"),
                   ("/proc/scsi/scsi", "x"), ("/proc/fs/nfsd/x", "x"), ("/proc/bus/pci/x", "x"),
                   ("/proc/self/uid_map", "0 0 1"), ("/proc/self/gid_map", "0 0 1"), ("/proc/self/setgroups", "deny"),
                   ("/proc/1/attr/current", "x")):
    if not is_hidden(path):
        refused(write, path, text, also=ABSENT | {22})
""",
    ),
    Attempt(
        "what the host's processes lock, its disks do and its devices ask for",
        """
import os
for name in ("locks", "diskstats", "interrupts", "softirqs", "partitions", "zoneinfo", "buddyinfo", "schedstat",
             "swaps", "modules", "iomem", "sys/kernel/random/boot_id"):
    try:
        data = open(f"/proc/{name}", "rb").read(100)
    except OSError:
        continue
    if data:
        print(name, data)
print("nothing")
""",
        says=r"nothing\n",
    ),
    Attempt(
        "the kernel's memory and secrets",
        """
import os
for path in ("/proc/kcore", "/proc/kmsg", "/dev/mem", "/proc/vmallocinfo", "/proc/slabinfo", "/proc/timer_list",
             "/proc/kpageflags", "/sys/kernel/debug/x", "/sys/kernel/tracing/trace", "/sys/firmware/efi/x",
             "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/boot/x"):
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        data = os.read(fd, 100)
    except OSError:
        continue
    if data:
        print(path, data)
symbols = open("/proc/kallsyms") if os.path.exists("/proc/kallsyms") else ()
print({line.split()[0].strip("0") for line in symbols} - {""})
""",
        says=r"set\(\)\n",
    ),
    Attempt(
        "the keyring",
        """
refused(call, "add_key", b"user", b"name", b"secret", 6, -3)
refused(call, "keyctl", 0, -3, 1)
refused(call, "keyctl", 1, b"session")
refused(call, "request_key", b"user", b"name", 0, -3)
""",
    ),
    Attempt(
        "bpf, perf, userfaultfd and io_uring",
        """
import ctypes
block = ctypes.create_string_buffer(512)
refused(call, "bpf", 0, block, 48)
refused(call, "bpf", 5, block, 48)
refused(call, "perf_event_open", block, 0, -1, -1, 0)
refused(call, "userfaultfd", 1)
refused(call, "io_uring_setup", 8, block)
refused(call, "memfd_secret", 0)
""",
    ),
    Attempt(
        "modules, another kernel, a reboot",
        """
import os
empty = os.memfd_create("module")
refused(call, "init_module", b"x", 1, b"")
refused(call, "finit_module", empty, b"", 0)
refused(call, "delete_module", b"overlay", 0)
refused(call, "kexec_load", 0, 0, 0, 0)
refused(call, "kexec_file_load", empty, empty, 0, b"", 0)
refused(call, "reboot", 0xFEE1DEAD, 672274793, 0x01234567, 0)
refused(call, "swapon", b"/mnt/data/swap", 0)
refused(call, "acct", b"/mnt/data/log")
refused(call, "syslog", 3, None, 0)
""",
    ),
    Attempt(
        "files by handle, outside of every mount",
        """
import ctypes
handle = ctypes.create_string_buffer(b"\\x08\\0\\0\\0\\x01\\0\\0\\0\\x02\\0\\0\\0\\0\\0\\0\\0", 64)
refused(call, "open_by_handle_at", 0, handle, 0)
refused(call, "name_to_handle_at", -100, b"/", handle, handle, 0)
""",
    ),
    Attempt(
        "the clock, the zone and the names of the machine",
        """
import os, socket, time
class Spec(_ctypes.Structure):
    _fields_ = [("seconds", _ctypes.c_long), ("rest", _ctypes.c_long)]
refused(time.clock_settime, time.CLOCK_REALTIME, 0)
refused(libc, "settimeofday", _ctypes.byref(Spec(1, 0)), None)
refused(libc, "stime" if hasattr(_libc, "stime") else "clock_settime", 0, _ctypes.byref(Spec(1, 0)))
adjustment = (_ctypes.c_char * 256).from_buffer(bytearray(b"\\x01" + bytes(255)))
refused(libc, "adjtimex", adjustment, also={22})
refused(socket.sethostname, "owned")
refused(libc, "setdomainname", b"owned", 5)
""",
    ),
    Attempt(
        "time and locale bent for the interpreter itself",
        """
import locale, os, time
os.environ["TZ"] = "/dev/zero"
time.tzset()
os.environ.update(LC_ALL="xx", LANG="", PYTHONHASHSEED="x")
time.time = time.monotonic = time.perf_counter_ns = lambda: -(10 ** 30)
time.sleep = lambda seconds: None
import sandbox_image.interpreter as ours
ours.perf_counter_ns = lambda: 0
locale.setlocale = None
""",
        check=then("import time\nprint(time.time() < 0)\n", "True\n"),
    ),
    Attempt(
        "a 32-bit system call",
        """
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("b814000000" "cd80" "c3"))  # mov eax, 20 (getpid); int 0x80; ret
address = ctypes.addressof(ctypes.c_char.from_buffer(code))
print(ctypes.CFUNCTYPE(ctypes.c_int)(address)())
""",
        ends="lost InterpreterKilled",
        machine="x86_64",
    ),
    Attempt(
        "system calls of the x32 kind",
        "import os\nfor number in (39, 101, 165, 272):\n    refused(call, 0x40000000 | number, 0, 0, 0, 0)\n",
        ends="ok | lost InterpreterKilled",
        machine="x86_64",
    ),
    Attempt(
        "another personality and local descriptor tables",
        """
refused(call, "personality", 0x0040000)
if "modify_ldt" in SYSTEM_CALLS:
    refused(call, "modify_ldt", 1, b"x" * 16, 16)
    refused(call, 172, 3)  # iopl
    refused(call, 173, 0, 1, 1)  # ioperm
""",
        machine="x86_64",
    ),
    Attempt(
        "a terminal to type into",
        """
import fcntl, os, termios
for fd in (0, 1, 2):
    refused(fcntl.ioctl, fd, termios.TIOCSTI, b"x", also={25, 22, 9})
refused(os.open, "/dev/tty", os.O_RDWR, also=ABSENT)
""",
    ),
]
