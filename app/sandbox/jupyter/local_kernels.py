"""Kernels as processes of this machine, by jupyter_client (an optional library), reached through ZeroMQ.

The sockets are Unix sockets in a folder of our own. They are read in a callback on ZeroMQ's descriptor: no task lies
between a message and the state machine that it belongs to.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from app.errors import SandboxStartError
from app.sandbox.jupyter.kernel import (
    Kernel,
    KernelHeader,
    KernelMessage,
    KernelRequest,
    KernelSocket,
    Listener,
    ParentHeader,
)
from sandbox_image.preload import ONE_BLAS_THREAD

#: Messages read before others get their turn.
_MESSAGES: Final = 100
#: What a dying kernel had sent is on its way through ZeroMQ's own thread for so long at most.
_LAST_WORDS_S: Final = 0.05
_T = TypeVar("_T")
_DELIMITER: Final = b"<IDS|MSG>"
_BARE_PYTHONS: Final = ("python", "python3")


class LocalKernels:
    """
    Args:
        name: a kernelspec, of the environment or else of the machine.
        environment: where Python is, for kernelspecs of its own.
    """

    def __init__(self, name: str, *, environment: Path) -> None:
        try:
            import jupyter_client
            import zmq
        except ImportError as error:
            raise SandboxStartError(
                f"local kernels need jupyter_client: pip install jupyter-client ({error})"
            ) from None
        self._jupyter: Any = jupyter_client
        self._zmq = zmq
        self._name = name
        self._environment = environment.absolute()
        self._context: Any = zmq.Context()

    def __repr__(self) -> str:
        return f"<LocalKernels {self._name!r}>"

    def describe(self) -> str:
        return "Jupyter kernels of this machine, NOT ISOLATED: code runs with all rights of the gateway's user"

    def make_folder(self) -> str | None:
        """Where a session works."""
        return tempfile.mkdtemp(prefix=f"eager-kernel-{os.getpid()}-")

    async def open(self, listener: Listener) -> Kernel:
        """
        Raises:
            SandboxStartError: the kernel cannot be started.
        """
        runtime = tempfile.mkdtemp(prefix=f"eager-kernel-{os.getpid()}-sockets-")
        manager = self._jupyter.AsyncKernelManager(
            kernel_name=self._name,
            kernel_spec_manager=self._specs(),
            transport="ipc",
            connection_file=os.path.join(runtime, "kernel.json"),
        )
        kernel = _LocalKernel(manager, listener, runtime)
        try:
            spec = manager.kernel_spec  # of this manager alone
            if spec.argv[0] in _BARE_PYTHONS and Path(spec.resource_dir).is_relative_to(self._environment):
                spec.argv[0] = str(self._environment / "bin" / spec.argv[0])
            await manager.start_kernel(
                env={**_environment(), "TMPDIR": runtime},  # what it leaves behind is removed with it
                extra_arguments=["--HistoryManager.hist_file=:memory:"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            kernel.connect(self._zmq, self._context)
        except BaseException as error:
            await kernel.close()
            if isinstance(error, (self._jupyter.kernelspec.NoSuchKernel, OSError)):
                raise SandboxStartError(f"kernel {self._name!r} could not be started: {error}") from error
            raise
        return kernel

    async def close(self) -> None:
        self._context.term()

    def _specs(self) -> Any:
        specs = self._jupyter.kernelspec.KernelSpecManager(ensure_native_kernel=False)
        specs.kernel_dirs.insert(0, str(self._environment / "share" / "jupyter" / "kernels"))
        return specs


class _LocalKernel:
    """Implements ``Kernel``."""

    def __init__(self, manager: Any, listener: Listener, runtime: str) -> None:
        self._manager = manager
        self._listener = listener
        self._runtime = runtime
        self._loop = asyncio.get_running_loop()
        self._sockets: dict[KernelSocket, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd: int | None = None
        self._again: type[Exception] = BlockingIOError  # zmq's, once connected
        self._no_wait = 0

    def connect(self, zmq: Any, context: Any) -> None:
        self._process = self._manager.provisioner.process
        assert self._process is not None
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._on_death)
        self._again, self._no_wait = zmq.Again, zmq.NOBLOCK
        info = self._manager.get_connection_info()
        for channel in ("shell", "control", "iopub"):
            socket = self._sockets[channel] = context.socket(zmq.SUB if channel == "iopub" else zmq.DEALER)
            socket.linger = 0
            if channel == "iopub":
                socket.rcvhwm = 0  # what it may say is limited by the execution's output
                socket.subscribe(b"")
            socket.connect(f"ipc://{info['ip']}-{info[f'{channel}_port']}")
            self._loop.add_reader(socket.getsockopt(zmq.FD), self._read)
        self._read()

    def send(self, channel: KernelSocket, request: KernelRequest) -> None:
        if socket := self._sockets.get(channel):
            self._manager.session.send(socket, request)
            self._loop.call_soon(self._read)  # ZeroMQ's descriptor tells of changes only, and sending may eat one

    def kill(self) -> None:
        """With all it has started: a kernel leads a process group."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def close(self) -> None:
        self.kill()
        for socket in self._sockets.values():
            self._loop.remove_reader(socket.fd)
            socket.close()
        self._sockets.clear()
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        if self._manager.has_kernel:
            await self._manager.shutdown_kernel(now=True)
        shutil.rmtree(self._runtime, ignore_errors=True)

    def _on_death(self) -> None:
        assert self._pidfd is not None
        self._loop.remove_reader(self._pidfd)
        self._loop.call_later(_LAST_WORDS_S, self._end)

    def _end(self) -> None:
        if not self._sockets:
            return
        self._read()
        status = self._process.wait() if self._process else 0
        if status < 0:
            self._listener.end("signal", f"killed by signal {-status}")
        else:
            self._listener.end("exit", f"exit status {status}")

    def _read(self) -> None:
        left = _MESSAGES
        for channel, socket in list(self._sockets.items()):
            while left and not socket.closed:
                try:
                    frames = socket.recv_multipart(self._no_wait)
                except self._again:
                    break
                left -= 1
                self._deliver(channel, frames)
        if not left:
            self._loop.call_soon(self._read)

    def _deliver(self, channel: KernelSocket, frames: list[bytes]) -> None:
        heard = decode(frames, channel, self._manager.session.sign)
        if heard is not None:
            self._listener.hear(heard)


def decode(frames: list[bytes], channel: KernelSocket, sign: Callable[[list[bytes]], bytes]) -> KernelMessage | None:
    """A message of ZeroMQ's parts, if it is one and is signed. jupyter_client's own way takes 0.1 ms.

    Source: "The Wire Protocol" of Messaging in Jupyter.
    """
    try:
        delimiter = frames.index(_DELIMITER)
        signature, *parts = frames[delimiter + 1 : delimiter + 6]
        header, parent, _, content = parts
    except ValueError:
        return None
    if not hmac.compare_digest(signature, sign(parts)):
        return None
    try:
        return KernelMessage(
            _decode(header, KernelHeader), _decode(parent, ParentHeader), _decode(content, dict[str, Any]), channel
        )
    except (msgspec.DecodeError, RecursionError):
        return None


def _decode(data: bytes, type: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data, type=type)
    except UnicodeDecodeError:  # a lone surrogate that was printed
        return msgspec.json.decode(data.decode("utf-8", "replace"), type=type)


def _environment() -> dict[str, str]:
    """Ours, without our secrets; one thread for BLAS unless told otherwise. The last one silences a warning of the
    debugger that no session uses."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("EAGER_")}
    return {**ONE_BLAS_THREAD, **own, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
