"""Jupyter's messages, as far as we speak them, and what a kernel is to us (pure).

Source: "Messaging in Jupyter", https://jupyter-client.readthedocs.io/en/stable/messaging.html (version 5.3 and later).
"""

from __future__ import annotations

import ast
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import msgspec

import sandbox_image
from sandbox_image.kernel import COMM_ID

#: Modules are put in place by hand: the kernel may be on another machine, and a file there may have our name.
_BOOT: Final = """
import os, sys, types
root = os.path.abspath('/eager-kernel/sandbox_image')
for name, source in modules:
    module = types.ModuleType(name)
    module.__file__ = os.path.join(root, name.partition('.')[2] + '.py')
    module.__path__ = []
    sys.modules[name] = module
    exec(compile(source, module.__file__, 'exec'), module.__dict__)
sys.modules['sandbox_image.kernel'].start(get_ipython(), folder, preload)
"""

KernelRequest = dict[str, Any]
KernelSocket = Literal["shell", "control", "iopub"]


class KernelHeader(msgspec.Struct, frozen=True):
    msg_type: str


class ParentHeader(msgspec.Struct, frozen=True):
    msg_id: str = ""


class KernelMessage(msgspec.Struct, frozen=True):
    """What we hear. The sender is untrusted, and so is everything in ``content``."""

    header: KernelHeader
    parent_header: ParentHeader
    content: dict[str, Any]
    channel: str = "iopub"

    @property
    def type(self) -> str:
        return self.header.msg_type

    @property
    def parent(self) -> str:
        """Id of the request that it belongs to."""
        return self.parent_header.msg_id


class Listener(Protocol):
    """Called in plain callbacks."""

    def hear(self, message: KernelMessage) -> None: ...

    def end(self, reason: Literal["exit", "signal"], detail: str) -> None:
        """The kernel is gone."""
        ...


class Kernel(Protocol):
    """One kernel, for as long as it lives. After ``close()`` nothing is heard of it."""

    def send(self, channel: KernelSocket, request: KernelRequest) -> None: ...

    def kill(self) -> None:
        """End it as soon as that can be done; ``close()`` waits for it."""
        ...

    async def close(self) -> None: ...


#: Starts a kernel that works in the given folder of this machine, or None where there is none.
OpenKernel = Callable[[Listener], Awaitable[Kernel]]


def request(type: str, content: dict[str, Any], *, session: str) -> KernelRequest:
    """A message of ours, ready to be signed or written as JSON."""
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": type,
        "username": "eager",
        "session": session,
        "date": datetime.now(UTC).isoformat(),
        "version": "5.3",
    }
    return {"header": header, "parent_header": {}, "metadata": {}, "content": content, "buffers": []}


def cell(code: str, *, session: str) -> KernelRequest:
    """Code of ours, to be run without leaving a trace in the kernel's history."""
    content = {
        "code": code,
        "silent": True,
        "store_history": False,
        "user_expressions": {},
        "allow_stdin": False,
        "stop_on_error": False,
    }
    return request("execute_request", content, session=session)


def boot_code(folder: str | None, preload: Sequence[str] = ()) -> str:
    """Makes a kernel one of our interpreters. ``folder`` is where it works; None lets it make one. ``preload``: modules
    to be imported ahead."""
    values = {"modules": _sources(), "folder": folder, "preload": list(preload)}
    return f"exec({_BOOT!r}, {{**{values!r}, 'get_ipython': get_ipython}})"


def call(message: dict[str, Any], *, session: str) -> KernelRequest:
    """Hands a message to the interpreter that ``boot_code`` has put there."""
    return request("comm_msg", {"comm_id": COMM_ID, "data": message}, session=session)


@cache
def _sources() -> list[tuple[str, str]]:
    """The interpreter and what it imports of ours, each module after those it needs."""
    folder = Path(sandbox_image.__file__).parent
    found: dict[str, str] = {"sandbox_image": ""}
    seen = set()

    def add(name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        source = (folder / f"{name.partition('.')[2]}.py").read_text(encoding="utf-8")
        for needed in _imports(source):
            add(needed)
        found[name] = source

    add("sandbox_image.kernel")
    return list(found.items())


def _imports(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "sandbox_image":
            yield from (f"sandbox_image.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("sandbox_image."):
            yield node.module
