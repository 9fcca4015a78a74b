"""A Docker Engine that a test may stop, halt and fill up, next to the one that everything else uses.

It lives in namespaces of its own: of the network, because an engine without a bridge removes ``docker0``, and of
mounts, because its data lie on a small file system in memory, which goes with the last process that sees it. Root on
Linux only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from uuid import uuid4

import docker
import pytest

from tests.backends import SANDBOX_IMAGE, require_backend

#: A Python and the supervisor. The libraries would only take time and room.
SMALL_IMAGE = "eager-small:latest"
_LEFT_OUT = ("*-packages", "/usr/share", "/var")
_DATA_BYTES = 512 << 20
_TIMEOUT_S = 30
_CHANGES = ("WORKDIR /mnt/data", 'ENTRYPOINT ["python", "-I", "/opt/eager/sandbox_image/supervisor.py"]')


class OwnEngine:
    """``with OwnEngine.open() as engine``: it runs, and has ``SMALL_IMAGE``."""

    def __init__(self, folder: Path, holder: subprocess.Popen[bytes]) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._holder = holder  # keeps the namespaces while no engine runs
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"unix://{folder}/engine.sock"

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[Self]:
        require_backend("docker")
        if os.geteuid() != 0 or not all(shutil.which(name) for name in ("dockerd", "unshare", "nsenter")):
            pytest.skip("an engine of the test's own needs root, dockerd, unshare and nsenter")
        # Not pytest's: names of sockets have to be short. Nor mkdtemp's: containerd takes no two signs in a row.
        folder = Path(tempfile.gettempdir(), f"eager-engine-{uuid4().hex[:8]}")
        folder.mkdir(mode=0o700)
        (folder / "data").mkdir()
        mount = f"mount -t tmpfs -o size={_DATA_BYTES} data {folder}/data && echo mounted && exec cat"
        holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", mount], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        engine = cls(folder, holder)
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"mounted\n"
            engine.start()
            engine._load_image()
            yield engine
        finally:
            engine.stop()
            holder.communicate()
            shutil.rmtree(folder)

    def client(self) -> docker.DockerClient:
        return docker.DockerClient(self.address, timeout=_TIMEOUT_S)

    def containers(self) -> list[str]:
        with contextlib.closing(self.client()) as client:
            return [container.name or "" for container in client.containers.list(all=True, ignore_removed=True)]

    def start(self) -> None:
        """Returns when it answers."""
        folder = self._folder
        command = ["nsenter", f"--target={self._holder.pid}", "--net", "--mount", "dockerd", "--host", self.address]
        command += [f"--data-root={self._data}", f"--exec-root={folder}/run", f"--pidfile={folder}/pid"]
        command += ["--bridge=none", "--iptables=false", "--ip6tables=false"]
        # Where containerd is a service, two engines share it, and must not share what is in it.
        command += [f"--containerd-namespace={folder.name}", f"--containerd-plugins-namespace={folder.name}-plugins"]
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + _TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((folder / "log").read_text()[-4000:])
            time.sleep(0.05)

    def stop(self) -> None:
        """In order, as an update of the engine does it: its containers end first."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(_TIMEOUT_S)
            self._process = None

    @contextmanager
    def halted(self) -> Iterator[None]:
        """It accepts connections and says nothing, as one whose machine is out of reach."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    @contextmanager
    def full(self) -> Iterator[None]:
        """No byte and no file more fits where it keeps its data."""
        filler = Path(f"/proc/{self._holder.pid}/root{self._data}/filler")
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 20))
        try:
            yield
        finally:
            filler.unlink()

    def _answers(self) -> bool:
        """It listens before it answers. The SDK leaves its socket behind when nobody listens, so it is not asked."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_TIMEOUT_S)
            try:
                connection.connect(self.address.removeprefix("unix://"))
                connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return connection.recv(64).split()[1:2] == [b"200"]
            except OSError:
                return False

    def _load_image(self) -> None:
        """Made from the image of the sandboxes, without its libraries."""
        exclude = [f"--exclude={pattern}" for pattern in _LEFT_OUT]
        export = ["docker", "run", "--rm", "--user=0", "--entrypoint=tar", SANDBOX_IMAGE, "-c", "--one-file-system"]
        with subprocess.Popen([*export, *exclude, "/"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as exported:
            changes = [f"--change={change}" for change in _CHANGES]
            subprocess.run(
                ["docker", "--host", self.address, "import", *changes, "-", SMALL_IMAGE],
                stdin=exported.stdout,
                stdout=subprocess.DEVNULL,
                check=True,
            )
