"""Attempts whose end gVisor decides otherwise than they expect, and why that is no loss (Debian's runsc of December
2022, platform ptrace; as read from their errors). All others end as they do with runc."""

_WHOLE = "memory or processes run out: all of the sandbox ends, the session says so and the pool replaces it"
_OWN_KERNEL = "granted by a kernel that is the sandbox's own: it leads to nothing of the host's"
_OTHER_USER = "the supervisor is of another user, so that it is refused at once, or another error than expected comes"
_ROOT_READS = "the supervisor is root of that kernel: what code closes for itself it can still read and write"
_MISSING = "the kernel does not have what the attempt begins with"

DIFFERS = {
    "a fork bomb of shells that leave their session": _WHOLE,
    "a thread bomb": _WHOLE,
    "one huge allocation that is touched": _WHOLE,
    "a memory bomb in files without a name": _WHOLE,
    "a memory bomb in shared anonymous pages": _WHOLE,
    "a memory bomb spread over children": _WHOLE,
    "all file systems in memory filled at once, then memory": _WHOLE,
    "inodes of the work folder used up": _WHOLE + "; its tmpfs does not know nr_inodes",
    "the host's disks written out, over and over": _OWN_KERNEL,
    "the pipe memory of its uid used up": _WHOLE + "; pipe memory is the sandbox's own",
    "socket buffers filled": _WHOLE,
    "a recursion without end": _WHOLE,
    "a zombie farm": "a fork takes so long there that it ends at its time limit",
    "every signal to PID 1": _OTHER_USER,
    "a storm of SIGCHLD on PID 1": _OTHER_USER,
    "the supervisor's memory, descriptors and settings in /proc": "its maps and environment (PATH) can be read",
    "the supervisor traced, read, written and robbed of its descriptors": _MISSING,
    "a higher priority and real-time scheduling": _OWN_KERNEL,
    "a lower oom score than it was given": _OWN_KERNEL,
    "new namespaces by unshare": _OWN_KERNEL,
    "new namespaces by clone": _OWN_KERNEL,
    "capabilities taken": "the bounding set is the supervisor's; with no-new-privileges nothing can be taken from it",
    "setuid programs, found and made": "its /proc/self/status has no NoNewPrivs; no program gained another uid",
    "device nodes and the devices there are": _OWN_KERNEL,
    "every system call of the list, without arguments": _MISSING,
    "bpf, perf, userfaultfd and io_uring": _MISSING,
    "modules, another kernel, a reboot": _OWN_KERNEL + "; its log (syslog) is made up",
    "a 32-bit system call": "is ignored instead of killing the process",
    "another personality and local descriptor tables": _MISSING,
    "a terminal to type into": _MISSING,
    "the host's sockets without a path": _MISSING,
    "every other family of sockets": _OWN_KERNEL,
    "netlink through an old and a new door": _OWN_KERNEL,
    "its own interface changed": _MISSING,
    "the output pipes made non-blocking, tiny and packet-wise": _MISSING,
    "folders that nobody may enter": _ROOT_READS,
    "the work folder itself removed or replaced": _ROOT_READS,
}
