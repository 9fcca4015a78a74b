"""Ways out by wire: the host, its bridge, its metadata service, name servers, other families of sockets."""

from functools import partial

from tests.attacks.attempt import Attempt as OneAttempt

Attempt = partial(OneAttempt, shares=True)

ATTEMPTS = [
    Attempt(
        "the host's listeners on all its addresses",
        """
import socket
for address in HOST_ADDRESSES:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(5)
        refused(client.connect, (address, HOST_PORT), also=UNREACHABLE)
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        try:
            client.sendto(b"hello", (address, HOST_PORT))
        except OSError as error:
            assert error.errno in UNREACHABLE, error
""",
    ),
    Attempt(
        "the host's sockets without a path",
        """
import socket
for name in (HOST_ABSTRACT, "containerd-shim/", "/tmp/dbus-x", "eager"):
    with socket.socket(socket.AF_UNIX) as client:
        refused(client.connect, "\\0" + name, also=UNREACHABLE)
""",
    ),
    Attempt(
        "the Docker engine's sockets",
        """
import os, socket
for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock",
             "/var/run/crio/crio.sock", "/run/user/0/docker.sock", "/proc/1/root/var/run/docker.sock"):
    with socket.socket(socket.AF_UNIX) as client:
        refused(client.connect, path, also=UNREACHABLE | ABSENT)
for port in (2375, 2376):
    with socket.socket() as client:
        client.settimeout(5)
        refused(client.connect, ("172.17.0.1", port), also=UNREACHABLE)
""",
    ),
    Attempt(
        "metadata services, multicast and broadcast",
        """
import socket
for address in ("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "224.0.0.1"):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        refused(client.sendto, b"x", (address, 80), also=UNREACHABLE)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    refused(client.sendto, b"x", ("255.255.255.255", 67), also=UNREACHABLE)
""",
    ),
    Attempt(
        "names of the outside",
        """
import socket
for name in ("example.com", "host.docker.internal", "gateway.docker.internal", "metadata.google.internal"):
    try:
        print(socket.getaddrinfo(name, 80))
    except socket.gaierror:
        pass
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    refused(client.sendto, bytes(12) + b"\\x07example\\x03com\\0\\0\\x01\\0\\x01", ("8.8.8.8", 53), also=UNREACHABLE)
""",
    ),
    Attempt(
        "raw sockets",
        """
import socket
for family in (socket.AF_INET, socket.AF_INET6):
    for protocol in (1, 6, 58, 255):
        refused(socket.socket, family, socket.SOCK_RAW, protocol)
""",
    ),
    Attempt(
        "every other family of sockets",
        """
import errno, socket
for family in set(range(64)) - {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6}:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        refused(socket.socket, family, kind)
    try:
        socket.socketpair(family)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EAFNOSUPPORT):  # EOPNOTSUPP: a socket was made, then refused a peer
            raise
""",
    ),
    Attempt(
        "netlink through an old and a new door",
        """
import socket
refused(socket.socket, 16, socket.SOCK_RAW, 0)
refused(socket.socketpair, 16, socket.SOCK_RAW)
refused(socket.socket, 17, socket.SOCK_RAW, socket.htons(3))
refused(socket.socket, 40, socket.SOCK_STREAM)
refused(socket.socket, 38, socket.SOCK_SEQPACKET)
""",
    ),
    Attempt(
        "its own interface changed",
        """
import fcntl, socket, struct
with socket.socket() as door:
    request = struct.pack("16sH14s", b"lo", 0x1043, b"")
    refused(fcntl.ioctl, door, 0x8914, request)  # SIOCSIFFLAGS
    address = struct.pack("16sH2s4s8s", b"lo", socket.AF_INET, b"", socket.inet_aton("10.0.0.1"), b"")
    refused(fcntl.ioctl, door, 0x8916, address)  # SIOCSIFADDR
    refused(fcntl.ioctl, door, 0x890B, bytes(120))  # SIOCADDRT
    refused(fcntl.ioctl, door, 0x89A0, b"br0" + bytes(30))  # SIOCBRADDBR
""",
    ),
    Attempt(
        "the host's connections in /proc/net",
        """
print(open("/proc/net/dev").read().count(":"))
for name in ("tcp", "tcp6", "udp", "udp6", "raw", "packet", "netlink"):
    try:
        rows = open(f"/proc/net/{name}").read().splitlines()[1:]
    except OSError:
        continue
    if rows and name != "netlink":
        print(name, rows)
print([line for line in open("/proc/net/unix") if "docker" in line or "containerd" in line])
""",
        says=r"\d\n\[\]\n",
    ),
]
