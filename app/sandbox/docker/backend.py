"""Sandboxes as containers of a Docker Engine, one for each session.

    start:   folder + listener ─▶ create ─▶ attach stderr ─▶ start ─▶ accept, check peer ─▶ ready    (transport unix)
                                  create ─▶ attach stdio  ─▶ start ─▶ ready                          (transport attach)
    end:     stream closed ─▶ supervisor ends ─▶ container ends ─▶ engine removes it (AutoRemove)
             and, not to depend on anything inside, ``kill``: remove with force, wait until it is gone
    sweep:   what a dead gateway has left in spite of that, found by its labels

A container has no network, no capability and no way to new privileges. Its root is read-only, and its other file
systems are bounded and in memory. Its seccomp profile is stricter than the engine's, and its uid owns nothing. Memory,
processes, CPU, open files and the size of a file are limited (``limits.py``). With runc it shares the kernel of the
engine's host. ``runtime="runsc"`` (gVisor) puts a kernel of its own between.

``transport="auto"`` tries the Unix socket if the engine is local. If the first sandbox cannot be reached by it, the
attach stream is used: the gateway is in a container itself, or the engine in a virtual machine.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import sandbox_image
from app.errors import SandboxStartError
from app.sandbox.docker.attach import AttachedChannel
from app.sandbox.docker.container import container_config, is_gvisor
from app.sandbox.docker.engine import Engine, EngineError
from app.sandbox.docker.owner import Owner
from app.sandbox.docker.rendezvous import (
    FOLDER_INSIDE,
    SOCKET_NAME,
    Rendezvous,
    check_peer,
    private_folder,
    remove_abandoned_folders,
)
from app.sandbox.docker.users import Users, uids_of
from app.sandbox.egress.proxy import Egress, Exit
from app.sandbox.limits import SandboxLimits
from app.sandbox.worker.stderr_tail import StderrTail
from app.sandbox.worker.transport import Channel, connect_socket
from app.sandbox.worker.worker import Worker

log = logging.getLogger(__name__)

Transport = Literal["unix", "attach"]

DEFAULT_LIMITS: Final = SandboxLimits()
SECCOMP_PROFILE: Final = Path(sandbox_image.__file__).with_name("seccomp.json")
GATEWAY_LABEL: Final = "eager.gateway"
OWNER_LABEL: Final = "eager.owner"
#: A container that was created and not started within this time never will be.
_ABANDONED_AFTER_S: Final = 600
#: runc ends one process, and the supervisor tells which.
_GVISOR_HINT: Final = "gVisor ends all of a sandbox that runs out of memory or of processes"


class DockerBackend:
    """Implements ``Backend``.

    Args:
        engine: its address; None as for the Docker client.
        runtime: None is the engine's default.
        socket_folder: where the folders of the Unix sockets are made; None is the folder for temporary files.
        start_timeout_s: longest silence of a sandbox that starts.
        engine_timeout_s: of any one call of the engine.
        users: None finds out which uids the engine can give to containers.
        egress: the way out of the sandboxes; it needs the transport ``unix``.
    """

    name = "docker"

    def __init__(
        self,
        *,
        image: str,
        engine: str | None = None,
        runtime: str | None = None,
        transport: Literal["auto", "unix", "attach"] = "auto",
        limits: SandboxLimits = DEFAULT_LIMITS,
        output_limit_bytes: int = 32 << 20,
        start_timeout_s: float = 60.0,
        engine_timeout_s: float = 15.0,
        socket_folder: Path | None = None,
        supervisor_options: Sequence[str] = (),
        seccomp_profile: Path = SECCOMP_PROFILE,
        users: Users | None = None,
        egress: Egress | None = None,
    ) -> None:
        self._image = image
        self._egress = egress
        self._engine = Engine(engine, timeout_s=engine_timeout_s)
        self._runtime = runtime
        self._limits = limits
        self._output_limit_bytes = output_limit_bytes
        self._start_timeout_s = start_timeout_s
        self._socket_folder = socket_folder or Path(tempfile.gettempdir())
        self._supervisor_options = list(supervisor_options)
        self._seccomp_profile = seccomp_profile.read_text()
        self._users = users
        #: The value of GATEWAY_LABEL on its containers.
        self.instance = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._owner = Owner.current()
        self._transports = self._candidates(transport)
        self._folder: Path | None = None
        self._started = 0
        self._live: set[str] = set()
        self._sweep_due = True
        self._closed = False

    def __repr__(self) -> str:
        return f"<DockerBackend {self.instance} at {self._engine.address}: {len(self._live)} sandboxes>"

    @property
    def address(self) -> str:
        return self._engine.address

    @property
    def is_local(self) -> bool:
        return self._engine.is_local

    def describe(self) -> str:
        limits, mib = self._limits, 1 << 20
        kernel = "shared with the engine's host" if self._runtime in (None, "runc") else f"as {self._runtime} has it"
        return (
            f"Docker Engine at {self._engine.address}: image {self._image}, runtime {self._runtime or 'the default'}, "
            f"transport {' or '.join(self._transports)}; a container for each session, "
            f"{'no network' if self._egress is None else 'no network but the egress proxy'}, read-only root, no "
            f"capability, no new privileges, own seccomp profile, a uid of its own; "
            f"{limits.memory_bytes // mib} MiB memory, "
            f"{limits.processes} processes, {limits.cpus:g} CPUs, {limits.work_bytes // mib} MiB work folder; the "
            f"kernel is {kernel}"
        )

    async def start(self) -> Worker:
        """See ``Backend.start``."""
        if self._sweep_due:
            await self.sweep()
        candidates = self._transports
        for transport in candidates:
            try:
                worker = await (self._start_unix() if transport == "unix" else self._start_attached())
            except _SocketUnusable as error:
                if transport == candidates[-1]:
                    if self._egress is not None:
                        raise SandboxStartError(f"{error.message}; the egress proxy cannot do without") from error
                    raise
                log.info("sandboxes are to be reached through the engine's attach streams: %s", error)
            else:
                self._transports = [transport]
                return worker
        raise AssertionError("no transport")

    async def survey(self) -> int:
        """The memory of the engine's machine, in bytes.

        Raises:
            SandboxStartError: it does not answer.
        """
        info: dict[str, Any] = await self._engine.call(lambda client: client.info())
        return int(info["MemTotal"])

    async def sweep(self) -> list[str]:
        """Remove what is certainly left over, of this gateway or of others; returns the names.

        Containers of a gateway that lives, or of which we cannot know, stay.

        Raises:
            SandboxStartError: the engine does not answer.
        """
        found: list[dict[str, Any]] = await self._engine.call(
            lambda client: client.containers(all=True, filters={"label": GATEWAY_LABEL})
        )
        self._sweep_due = False
        remove_abandoned_folders(self._socket_folder)
        removed = []
        for container in found:
            name = container["Names"][0].lstrip("/") if container["Names"] else container["Id"]
            if name not in self._live and self._is_left_over(container):
                log.warning("removing the sandbox %s, which its gateway has left behind", name)
                await self._remove(name)
                removed.append(name)
        return removed

    async def close(self) -> None:
        """See ``Backend.close``. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._started:
                await self.sweep()
        except SandboxStartError as error:
            log.warning("cannot make sure that all sandboxes are removed: %s", error)
        finally:
            await self._engine.close()
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)

    def _candidates(self, transport: Literal["auto", "unix", "attach"]) -> list[Transport]:
        if self._egress is not None:
            if transport == "attach" or not self._engine.is_local or self._runtime not in (None, "runc"):
                raise SandboxStartError(
                    "the egress proxy needs sandboxes that are reached over a Unix socket: an engine on this machine "
                    f"and the runtime runc; {self._engine.address} with runtime {self._runtime or 'of its own choice'} "
                    f"and transport {transport} will not do"
                )
            return ["unix"]
        if transport != "auto":
            return [transport]
        # gVisor passes a socket of the host on only when it is told to (--fsgofer-host-uds).
        shares_kernel = self._runtime in (None, "runc")
        return ["unix", "attach"] if self._engine.is_local and sys.platform == "linux" and shares_kernel else ["attach"]

    def _is_left_over(self, container: dict[str, Any]) -> bool:
        labels = container["Labels"]
        if labels[GATEWAY_LABEL] == self.instance or container["State"] in ("exited", "dead"):
            return True
        if container["State"] == "created" and time.time() - container["Created"] > _ABANDONED_AFTER_S:
            return True
        owner = Owner.parse(labels.get(OWNER_LABEL, ""))
        return owner is not None and owner.is_gone()

    async def _start_unix(self) -> Worker:
        name = self._new_name()
        rendezvous = self._new_rendezvous(name)
        try:
            mount = (str(rendezvous.folder), FOLDER_INSIDE)
            arguments = ["--connect", f"{FOLDER_INSIDE}/{SOCKET_NAME}"]
            if self._egress is not None:
                arguments.append("--egress")
            try:
                container = await self._create(name, arguments, mount)
            except EngineError as error:
                if str(rendezvous.folder) in error.message:
                    raise _SocketUnusable(f"the engine does not see our files: {error}") from error
                raise
            stderr = AttachedChannel()
            stderr.attach(lambda kind, payload: None, lambda why: rendezvous.give_up("it ended early"))
            try:
                await self._engine.attach(container, stderr, "stderr")
                await self._engine.call(lambda client: client.start(container))
                connection = await self._accept(name, rendezvous, container, stderr.tail)
                channel = Channel()
                way_out = await self._open_egress(name, connection)
                return await self._adopt(
                    name, channel, stderr.tail, lambda: connect_socket(connection, channel), way_out
                )
            finally:
                stderr.abort("not needed any more")
        except BaseException:
            await self._remove(name)
            raise
        finally:
            rendezvous.close()

    async def _start_attached(self) -> Worker:
        name = self._new_name()
        channel = AttachedChannel(_GVISOR_HINT if is_gvisor(self._runtime) else "")

        async def connect() -> None:
            await self._engine.attach(container, channel, "stdin", "stdout", "stderr")
            await self._engine.call(lambda client: client.start(container))

        try:
            container = await self._create(name, ["--stdio"], None)
            return await self._adopt(name, channel, channel.tail, connect)
        except BaseException:
            await self._remove(name)
            raise

    async def _create(self, name: str, arguments: list[str], mount: tuple[str, str] | None) -> str:
        users = await self._uids()
        config = container_config(
            image=self._image,
            arguments=[*arguments, *self._supervisor_options],
            labels={GATEWAY_LABEL: self.instance, OWNER_LABEL: str(self._owner)},
            limits=self._limits,
            seccomp_profile=self._seccomp_profile,
            runtime=self._runtime,
            uid=users.take(name),
            attach_stdio=mount is None,
            mount=mount,
        )
        self._live.add(name)
        try:
            created = await self._engine.call(
                lambda client: client.create_container_from_config(config, name)  # type: ignore[no-untyped-call]
            )
        except EngineError as error:
            if error.http_status == 404:
                raise SandboxStartError(
                    f"the engine has no image {self._image} ({error.message}): build it with `eager image build`"
                ) from error
            raise
        id: str = created["Id"]
        return id

    async def _accept(self, name: str, rendezvous: Rendezvous, container: str, tail: StderrTail) -> socket.socket:
        try:
            async with asyncio.timeout(self._start_timeout_s):
                connection = await rendezvous.wait_connected()
        except (TimeoutError, SandboxStartError) as error:
            said = tail.text() or "it said nothing"
            raise _SocketUnusable(f"the sandbox did not come to its socket: {error}; {said}") from error
        try:
            check_peer(connection, container, (await self._uids())[name])
        except SandboxStartError as error:
            connection.close()
            raise _SocketUnusable(error.message) from error
        return connection

    async def _uids(self) -> Users:
        if self._users is None:
            info: dict[str, Any] = await self._engine.call(lambda client: client.info())
            if self._users is None:  # another start has been quicker
                self._users = Users(uids_of(info.get("SecurityOptions") or []))
        return self._users

    async def _open_egress(self, name: str, connection: socket.socket) -> Exit | None:
        if self._egress is None:
            return None
        try:
            return await self._egress.open(name, connection)
        except BaseException:
            connection.close()
            raise

    async def _adopt(
        self,
        name: str,
        channel: Channel,
        tail: StderrTail,
        connect: Callable[[], Awaitable[None]],
        way_out: Exit | None = None,
    ) -> Worker:
        """The worker, once it is ready."""

        async def kill() -> None:
            if way_out is not None:
                await way_out.close()
            await self._remove(name)

        worker = Worker(channel, id=name, kill=kill, output_limit_bytes=self._output_limit_bytes)
        try:
            await connect()
            await worker.wait_ready(self._start_timeout_s)
        except SandboxStartError as error:
            await worker.close()
            said = tail.text() or "it said nothing"
            raise type(error)(f"{error.message}; {said}") from error
        except BaseException:
            await worker.close()
            raise
        return worker

    async def _remove(self, name: str) -> None:
        """Returns when it is gone. Where the engine fails it is left to the next sweep, which is then due."""
        self._live.add(name)
        try:
            try:
                await self._engine.call(lambda client: client.remove_container(name, v=True, force=True))
            except EngineError as error:
                if error.http_status != 409:
                    raise
                # The engine is removing it already: its supervisor has ended by itself.
                await self._engine.call(lambda client: client.wait(name, timeout=client.timeout, condition="removed"))
        except EngineError as error:
            if error.http_status != 404:
                log.warning("sandbox %s could not be removed: %s", name, error)
                self._sweep_due = True
        finally:
            self._live.discard(name)
            if self._users is not None:
                self._users.release(name)

    def _new_name(self) -> str:
        self._started += 1
        return f"eager-{self.instance}-{self._started}"

    def _new_rendezvous(self, name: str) -> Rendezvous:
        try:
            if self._folder is None:
                self._folder = private_folder(self._socket_folder)
            return Rendezvous(self._folder / name)
        except OSError as error:
            raise _SocketUnusable(f"no socket in {self._socket_folder}: {error}") from error


class _SocketUnusable(SandboxStartError):
    """The sandbox cannot be reached by a Unix socket."""
