"""A multipart form that is read as it arrives: the file goes on to a writer, text fields are kept."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from app.errors import RequestError

#: Text fields here are names and ids.
MAX_FIELDS = 32
MAX_FIELD_BYTES = 16 * 1024

#: RFC 5987. RFC 7578 has no such thing in forms, so the parser leaves it out; some clients send nothing else.
EXTENDED_FILENAME = re.compile(rb";\s*filename\*\s*=\s*(utf-8|iso-8859-1)'[^';]*'([^;\s]+)", re.IGNORECASE)


@dataclass
class Form:
    """``filename`` is as it was sent, None if there was no file."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None


class FormReader:
    """A pure core: bytes of the body, cut anywhere -> bytes of the file. ``form`` fills up on the way."""

    def __init__(self, content_type: str, *, file_field: str = "file") -> None:
        """
        Raises:
            RequestError: this is no multipart body.
        """
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise RequestError("The body must be 'multipart/form-data' with a boundary.")
        self.form = Form()
        self._file_field = file_field
        self._header_name = b""
        self._header_value = b""
        self._disposition = b""
        self._field: str | None = None  # None while in the file
        self._text = bytearray()
        self._file: list[bytes] = []
        self._ended = False
        #: What may be the beginning of the first boundary; None when that has been found. It stands at the beginning
        #: of a line, as the body does.
        self._preamble: bytearray | None = bytearray(b"\r\n")
        self._first_boundary = b"\r\n--" + boundary
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begin,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_text,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_part_data": self._part_data,
                    "on_part_end": self._part_end,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise RequestError(f"The multipart boundary is not valid: {error}") from None

    def __repr__(self) -> str:
        return f"FormReader({self.form!r}, in_field={self._field!r}, ended={self._ended})"

    def feed(self, data: bytes) -> list[bytes]:
        """
        Raises:
            RequestError: the body is not well formed, or a text field is too large.
        """
        if self._preamble is not None:
            data = self._skip_preamble(data)
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise RequestError(f"The multipart body is not valid: {error}") from None
        found, self._file = self._file, []
        return found

    def flush(self) -> list[bytes]:
        """
        Raises:
            RequestError: the body ended before the form did.
        """
        if not self._ended:
            raise RequestError("The multipart body ended too early.")
        return []

    def _skip_preamble(self, data: bytes) -> bytes:
        """RFC 2046, 5.1.1: what stands before the first boundary is ignored."""
        assert self._preamble is not None
        self._preamble += data
        start = self._preamble.find(self._first_boundary)
        if start < 0:
            del self._preamble[: 1 - len(self._first_boundary)]
            return b""
        found = bytes(self._preamble[start + 2 :])
        self._preamble = None
        return found

    def _part_begin(self) -> None:
        self._disposition = b""
        self._text.clear()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _header_text(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        self._field = name
        filename = _filename(self._disposition, options)
        if name == self._file_field and filename is not None:
            if self.form.filename is not None:
                raise RequestError("Only one file can be sent.", param=name)
            self.form.filename = filename
            self._field = None
        elif len(self.form.fields) >= MAX_FIELDS:
            raise RequestError("The form has too many fields.")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._file.append(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > MAX_FIELD_BYTES:
            raise RequestError(f"The field '{self._field}' is too long.", param=self._field)

    def _part_end(self) -> None:
        if self._field is not None:
            self.form.fields[self._field] = self._text.decode("utf-8", "replace")

    def _end(self) -> None:
        self._ended = True


def _filename(disposition: bytes, options: dict[bytes, bytes]) -> str | None:
    if b"filename" in options:
        return options[b"filename"].decode("utf-8", "replace")
    extended = EXTENDED_FILENAME.search(disposition)
    if extended is None:
        return None
    return unquote_to_bytes(extended[2]).decode(extended[1].decode(), "replace")


async def read_form(
    content_type: str,
    body: AsyncIterator[bytes],
    write: Callable[[bytes], Awaitable[None]],
    *,
    file_field: str = "file",
) -> Form:
    """Read a form to its end, handing the file's bytes to ``write`` as they come.

    Raises:
        RequestError: it is not a well-formed form.
    """
    reader = FormReader(content_type, file_field=file_field)
    async for data in body:
        for piece in reader.feed(data):
            await write(piece)
    reader.flush()
    return reader.form
