"""What the code of an attempt finds defined. Runs in the sandbox; ``arena.py`` puts facts about the host before it."""

# ruff: noqa: F821, SIM115 - facts of the host come before it; nobody counts descriptors here
import ctypes as _ctypes
import errno as _errno
import os as _os

_libc = _ctypes.CDLL(None, use_errno=True)
#: How a kernel says no. An attempt that fails for another reason (EINVAL, EFAULT) is a mistake of its author.
_REFUSALS = {
    _errno.EPERM, _errno.EACCES, _errno.EROFS, _errno.ENOSYS, _errno.EAFNOSUPPORT, _errno.EOPNOTSUPP,
    _errno.ESOCKTNOSUPPORT, _errno.EPROTONOSUPPORT, _errno.EPROTOTYPE,
}  # fmt: skip
#: The thing that is asked for does not exist in here.
ABSENT = {_errno.ENOENT, _errno.ENXIO, _errno.ENODEV, _errno.ESRCH, _errno.ENOTDIR}
#: There is no way there.
UNREACHABLE = {
    _errno.ENETUNREACH, _errno.EHOSTUNREACH, _errno.ECONNREFUSED, _errno.EADDRNOTAVAIL, _errno.EAFNOSUPPORT,
    _errno.EPERM, _errno.EACCES, _errno.ENOENT,
}  # fmt: skip


def refused(function, *arguments, also=frozenset()):
    """The call has to fail, as a thing that is not allowed."""
    try:
        result = function(*arguments)
    except OSError as error:
        if error.errno not in _REFUSALS | set(also):
            raise
    else:
        raise AssertionError(f"{function}{arguments} gave {result!r}")


def call(number, *arguments):
    """A system call, by number or by name of the C library's wrapper or of SYSTEM_CALLS."""
    if isinstance(number, str):
        number = SYSTEM_CALLS[number]
    _ctypes.set_errno(0)
    converted = [_ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    result = _libc.syscall(_ctypes.c_long(number), *converted)
    if result == -1:
        raise OSError(_ctypes.get_errno(), _os.strerror(_ctypes.get_errno()))
    return result


def libc(name, *arguments):
    _ctypes.set_errno(0)
    result = getattr(_libc, name)(*arguments)
    if result == -1:
        raise OSError(_ctypes.get_errno(), _os.strerror(_ctypes.get_errno()))
    return result


def send_raw(data):
    """Bytes on the channel to the supervisor, past everything of ours."""
    import socket

    with socket.socket(fileno=_os.dup(3)) as channel:
        channel.setblocking(True)
        channel.sendall(data)


def frame(kind, message):
    import json

    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    return (len(payload) + 1).to_bytes(4, "big") + bytes([kind]) + payload


def progress_memory():
    """The page shared with the supervisor, found as an attacker would: a small shared mapping without a file."""
    for line in open("/proc/self/maps"):
        first, last = (int(part, 16) for part in line.split()[0].split("-"))
        if "rw-s" in line and "/dev/zero" in line and last - first == 4096:
            return (_ctypes.c_char * 4096).from_address(first)
    raise AssertionError("not found")


def execution_id():
    """Of the execution that is running: what a forger has to find out."""
    return int.from_bytes(progress_memory().raw[:8], "little")
