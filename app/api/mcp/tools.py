"""The tools at ``/mcp``: the same sessions that ``/v1/sessions`` has, for callers that are models."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from app.api.edge.validation import validated
from app.api.mcp.arguments import TOOLS, OfFile, OfSession, RunCode, WriteFile
from app.api.own_sessions import end_session, own_sessions
from app.api.services import Services
from app.errors import RequestError
from app.events import CodeEnd, Done, Error, Event, ExecError, ExecOutput, ExecResult
from app.ids import new_id
from app.pipeline.place import AtHand
from app.pipeline.program import run_program
from app.pipeline.transcript import Transcript
from app.sandbox.registry import SessionEntry
from app.sandbox.worker.messages import Display, FileReply, Output
from app.sandbox.worker.worker import Worker

#: Files of one listing.
MAX_LISTED: Final = 1000
#: Of a file that is read into an answer. Larger ones can be had over ``/v1/sessions``.
MAX_READ_BYTES: Final = 4 * 1024 * 1024
#: Of the pictures of one answer, as base64.
MAX_IMAGES_CHARS: Final = 16 * 1024 * 1024
#: Beginnings of files that are pictures, which models can be shown.
_PICTURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}

#: Takes a piece of what running code says.
Progress = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Picture:
    mime_type: str
    base64: str


@dataclass(slots=True)
class ToolAnswer:
    """
    Attributes:
        data: the same for programs.
        bytes: of a file that is no text, as base64.
        failed: the model should see that it did not go well.
    """

    text: str
    data: dict[str, Any] = field(default_factory=dict)
    pictures: list[Picture] = field(default_factory=list)
    bytes: str | None = None
    failed: bool = False


class McpTools:
    """Those of one caller."""

    def __init__(self, services: Services, *, owner: str) -> None:
        self._services = services
        self._gateway = services.gateway
        self._registry = services.gateway.registry
        self._owner = owner

    async def call(self, name: str, arguments: Mapping[str, Any], progress: Progress) -> ToolAnswer:
        """
        Raises:
            EagerError: there is no such tool, or it cannot be done.
        """
        if name not in TOOLS:
            raise RequestError(f"There is no tool '{name[:64]}'.", param="name")
        match validated(TOOLS[name].arguments, arguments), name:
            case RunCode() as asked, _:
                return await self._run(asked, progress)
            case WriteFile() as asked, _:
                return await self._write(asked)
            case OfFile() as asked, "read_file":
                return await self._read(asked)
            case OfFile() as asked, _:
                async with self._use(asked.session) as worker:
                    _check(await worker.remove_file(asked.path))
                return ToolAnswer(f"Deleted {asked.path}.", {"path": asked.path})
            case OfSession() as asked, "list_files":
                return await self._list_files(asked.session)
            case OfSession() as asked, _:
                await end_session(self._services, asked.session, owner=self._owner)
                return ToolAnswer(f"The session {asked.session} has ended.", {"session": asked.session})
            case _, "create_session":
                entry = await self._create()
                return ToolAnswer(f"Session {entry.id}", {"session": entry.id})
            case _:
                return await self._list_sessions()

    async def _create(self, *, spare: bool = False) -> SessionEntry:
        wait_s = self._gateway.checkout_timeout_s
        return await self._registry.create(owner=self._owner, deadline_s=wait_s, spare=spare)

    def _use(self, session: str) -> Any:
        return self._registry.use(session, owner=self._owner)

    async def _run(self, asked: RunCode, progress: Progress) -> ToolAnswer:
        limit_s = self._gateway.timeout_s
        id = asked.session or (await self._create(spare=True)).id
        said = _Hearing(progress)

        async def hear(event: Event) -> None:
            if isinstance(event, Done):
                self._services.metrics.observe(event.finish_reason, event.timing)
            await said.hear(event)

        async with self._use(id) as worker:
            await run_program(
                asked.code,
                call_id=new_id("exec"),
                language=asked.language,
                timeout_s=min(asked.timeout_s or limit_s, limit_s),
                place=AtHand(worker, id),
                send=hear,
            )
        return said.answer(id)

    async def _list_sessions(self) -> ToolAnswer:
        own = await own_sessions(self._services, owner=self._owner)
        told = [f"{session['id']} ({session['status']})" for session in own]
        names = ("status", "created_at", "last_used_at")
        data = [{"session": session["id"], **{name: session[name] for name in names}} for session in own]
        return ToolAnswer("\n".join(told) or "There are no sessions.", {"sessions": data})

    async def _list_files(self, session: str) -> ToolAnswer:
        async with self._use(session) as worker:
            reply = await worker.list_files(MAX_LISTED)
        _check(reply)
        entries = reply.entries or ()
        lines = [f"{entry.path} ({entry.size:,} bytes)" for entry in entries]
        if reply.truncated:
            lines.append("[There are more.]")
        data = {"files": [{"path": entry.path, "bytes": entry.size} for entry in entries], "truncated": reply.truncated}
        return ToolAnswer("\n".join(lines) or "There are no files.", data)

    async def _read(self, asked: OfFile) -> ToolAnswer:
        content = bytearray()

        async def keep(piece: bytes) -> None:
            content.extend(piece)

        async with self._use(asked.session) as worker:
            _check(await worker.get_file(asked.path, limit_bytes=MAX_READ_BYTES, sink=keep))
        data = {"path": asked.path, "bytes": len(content)}
        mime = next((mime for begins, mime in _PICTURES.items() if content.startswith(begins)), None)
        if mime is not None:
            picture = Picture(mime, base64.b64encode(content).decode())
            return ToolAnswer(f"{asked.path}, a picture", data, [picture])
        try:
            return ToolAnswer(content.decode(), data)
        except UnicodeDecodeError:
            told = f"{asked.path}, {len(content):,} bytes"
            return ToolAnswer(told, data, bytes=base64.b64encode(content).decode())

    async def _write(self, asked: WriteFile) -> ToolAnswer:
        content = _decoded(asked)
        limit = self._services.max_file_bytes
        if len(content) > limit:
            raise RequestError(f"The file is larger than {limit} bytes.", param="content", status=413)
        async with self._use(asked.session) as worker:
            await _put(worker, asked.path, content)
        return ToolAnswer(f"Wrote {len(content):,} bytes.", {"path": asked.path, "bytes": len(content)})


class _Hearing:
    """What code said: at once for who watches, and in the end as a model reads it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._transcript = Transcript()
        self._pictures: list[Picture] = []
        self._room = MAX_IMAGES_CHARS
        self._end: CodeEnd | None = None
        self._failure: Error | None = None

    async def hear(self, event: Event) -> None:
        match event:
            case ExecOutput(stream=stream, text=text):
                self._transcript.add(Output(stream, text))
                await self._progress(text)
            case ExecResult(data=data, images=images):
                self._transcript.add(Display(0, data))
                for url in images:
                    self._show(url)
            case ExecError(traceback=traceback, ename=ename, evalue=evalue):
                self._transcript.note(traceback or f"{ename}: {evalue}\n")
            case CodeEnd():
                self._end = event
            case Error():
                self._failure = event

    def _show(self, url: str) -> None:
        head, _, data = url.partition(",")
        self._room -= len(data)
        if self._room < 0:
            self._transcript.note("[A picture was left out: there are too many.]\n")
        else:
            self._pictures.append(Picture(head.removeprefix("data:").removesuffix(";base64"), data))

    def answer(self, session: str) -> ToolAnswer:
        status = self._end.status if self._end is not None else "incomplete"
        if self._failure is not None:
            self._transcript.note(f"{self._failure.error.message}\n")
        elif status in ("timeout", "interrupted"):
            words = {"timeout": "The time limit was reached; the code was stopped.", "interrupted": "Interrupted."}
            self._transcript.note(f"[{words[status]}]\n")
        files = self._end.files if self._end is not None and self._end.files is not msgspec.UNSET else []
        changes = [f"{file.change} {file.path}" for file in files]
        if changes:
            self._transcript.note(f"[Files: {', '.join(changes)}]\n")
        told = str(self._transcript) or "(no output)"
        text = told.removesuffix("\n") + f"\n[session {session}]"
        data = {"session": session, "status": status, "files": [msgspec.to_builtins(file) for file in files]}
        return ToolAnswer(text, data, self._pictures, failed=status != "ok" or self._failure is not None)


def _decoded(asked: WriteFile) -> bytes:
    try:
        return base64.b64decode(asked.content, validate=True) if asked.encoding == "base64" else asked.content.encode()
    except (binascii.Error, ValueError):
        raise RequestError(f"The content is not {asked.encoding}.", param="content") from None


async def _put(worker: Worker, path: str, content: bytes) -> None:
    async def pieces() -> Any:
        yield content

    _check(await worker.put_file(path, len(content), pieces()))


def _check(reply: FileReply) -> None:
    if not reply.ok:
        raise RequestError(f"The file cannot be had: {reply.error}.", param="path", code="file_not_found", status=404)
