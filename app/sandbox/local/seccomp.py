"""The system calls that code in the embedded sandbox cannot make, as a classic BPF program (pure).

A deny-list on top of namespaces without capabilities: it closes what those leave open and what the kernel's attack
surface makes worth closing. ``assemble(machine)`` gives the bytes that ``bwrap --seccomp FD`` reads.
The instruction set is in linux/filter.h, the data it works on in linux/seccomp.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Final

#: (code, jump if true, jump if false, constant), as struct sock_filter.
Instruction = tuple[int, int, int, int]
Instructions = list[Instruction]

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST: Final = 0x35
_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06

_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_KILL_PROCESS: Final = 0x80000000

# Offsets in struct seccomp_data; the low word of an argument comes first on both machines.
_NUMBER: Final = 0
_ARCHITECTURE: Final = 4
_FIRST_ARGUMENT: Final = 16

_X32_BIT: Final = 0x40000000
#: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. (NEWTIME exists in clone3 and unshare only.)
_NEW_NAMESPACES: Final = 0x7E020000
#: Families whose sockets can be made, so that libraries get the errors they know. In an empty network namespace they
#: lead nowhere; AF_VSOCK, AF_PACKET, AF_NETLINK and the rest are refused.
_FAMILIES: Final = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)

ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

#: Numbers on (x86_64, aarch64); None where the call does not exist.
DENIED: Final[dict[str, tuple[int | None, int | None]]] = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    # namespaces and mounts
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    # what is mounted where on the host, which /proc/self/mountinfo of a sandbox does not tell
    "statmount": (457, 457),
    "listmount": (458, 458),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    # kernel interfaces with a history
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "memfd_secret": (447, 447),
    "modify_ldt": (154, None),
    "cachestat": (451, 451),  # which pages of a shared file others have read
    "lsm_get_self_attr": (459, 459),
    "lsm_set_self_attr": (460, 460),
    "lsm_list_modules": (461, 461),
    "personality": (135, 92),
    # the machine
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    # they write out what every process of the host has written: a loop of them slows all of its writers down
    "sync": (162, 81),
    "syncfs": (306, 267),
}
_CLONE: Final = (56, 220)
_CLONE3: Final = (435, 435)
#: Of these, ``socketpair`` makes a socket of any family before it finds out whether that has pairs.
_SOCKETS: Final = ((41, 198), (53, 199))
_PRLIMIT: Final = (302, 261)


def assemble(machine: str) -> bytes:
    """The filter for ``platform.machine()``.

    Raises:
        KeyError: a machine we have no numbers for.
    """
    architecture = ARCHITECTURES[machine]
    column = list(ARCHITECTURES).index(machine)
    program = [
        _load(_ARCHITECTURE),
        *_unless_equal(architecture, [_return(_KILL_PROCESS)]),
        _load(_NUMBER),
    ]
    if machine == "x86_64":
        program += _if(_AT_LEAST, _X32_BIT, [_fail(errno.EPERM)])
    # Its flags are behind a pointer, where a filter cannot look; ENOSYS makes the C library use clone().
    program += _if(_EQUAL, _CLONE3[column], [_fail(errno.ENOSYS)])
    program += _if(
        _EQUAL,
        _CLONE[column],
        [_load(_FIRST_ARGUMENT), *_if(_ANY_BIT, _NEW_NAMESPACES, [_fail(errno.EPERM)]), _return(_ALLOW)],
    )
    families = [instruction for family in _FAMILIES for instruction in _if(_EQUAL, family, [_return(_ALLOW)])]
    for socket_call in _SOCKETS:
        program += _if(_EQUAL, socket_call[column], [_load(_FIRST_ARGUMENT), *families, _fail(errno.EAFNOSUPPORT)])
    # The limits of others: their uid is ours, and a supervisor that may open no file cannot go on.
    program += _if(
        _EQUAL,
        _PRLIMIT[column],
        [_load(_FIRST_ARGUMENT), *_if(_EQUAL, 0, [_return(_ALLOW)]), _fail(errno.EPERM)],
    )
    for numbers in DENIED.values():
        number = numbers[column]
        if number is not None:
            program += _if(_EQUAL, number, [_fail(errno.EPERM)])
    program.append(_return(_ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _load(offset: int) -> Instruction:
    return (_LOAD, 0, 0, offset)


def _return(action: int) -> Instruction:
    return (_RETURN, 0, 0, action)


def _fail(number: int) -> Instruction:
    return _return(_ERRNO | number)


def _if(test: int, constant: int, then: Instructions) -> Instructions:
    return [(test, 0, len(then), constant), *then]


def _unless_equal(constant: int, then: Instructions) -> Instructions:
    return [(_EQUAL, len(then), 0, constant), *then]
