"""Forms, cut anywhere."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.files.multipart import MAX_FIELD_BYTES, MAX_FIELDS, Form, FormReader
from app.errors import RequestError

TYPE = "multipart/form-data; boundary=b0"


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    head = f'--b0\r\nContent-Disposition: form-data; name="{name}"'
    if filename is not None:
        head += f'; filename="{filename}"\r\nContent-Type: application/octet-stream'
    return head.encode() + b"\r\n\r\n" + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--b0--\r\n"


def read(body: bytes, cuts: list[int] | None = None) -> tuple[Form, bytes]:
    reader = FormReader(TYPE)
    edges = [0, *sorted(cuts or []), len(body)]
    found = [piece for start, end in pairwise(edges) for piece in reader.feed(body[start:end])]
    return reader.form, b"".join([*found, *reader.flush()])


@settings(deadline=None, max_examples=60)
@given(
    st.binary(max_size=80) | st.sampled_from([b"\r\n", b"a\r\n\r\n", b"\r\n--b0", b"\r\n--b", b"--b0--", b"\n\n"]),
    st.data(),
)
def test_the_files_bytes_are_exact_for_every_split(content: bytes, data: st.DataObject) -> None:
    if b"\r\n--b0" in b"\r\n" + content:
        content = content.replace(b"b0", b"bb")
    body = form(part("purpose", b"user_data"), part("file", content, "x.bin"), part("after", "é".encode()))
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=8))
    for split in ([], cuts, list(range(len(body)))):
        assert read(body, split) == (Form({"purpose": "user_data", "after": "é"}, "x.bin"), content)


def test_the_order_of_parts_does_not_matter_and_a_file_may_be_missing() -> None:
    assert read(form(part("file", b"1", "x"), part("purpose", b"vision"))) == (Form({"purpose": "vision"}, "x"), b"1")
    assert read(form(part("file_id", b"file-1"))) == (Form({"file_id": "file-1"}), b"")


@pytest.mark.parametrize("preamble", [b"For readers of mail.", b"", b"\r\n", b"--b\r\n--b1 \r\n-", b"--b"])
def test_what_stands_before_the_first_boundary_is_ignored_for_every_split(preamble: bytes) -> None:
    body = preamble + b"\r\n" + form(part("purpose", b"vision"), part("file", b"1", "x"))
    for split in ([], list(range(len(body))), *([cut] for cut in range(len(body)))):
        assert read(body, split) == (Form({"purpose": "vision"}, "x"), b"1")


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        (b"filename*=UTF-8''%e4%bd%a0.txt", "你.txt"),
        (b"filename*=utf-8'en'a%20b.txt", "a b.txt"),
        (b"filename*=ISO-8859-1''%e4.txt", "ä.txt"),
        (b"filename*=UTF-8''%ff.txt", "\ufffd.txt"),
        (b"filename=plain.txt; filename*=UTF-8''other.txt", "plain.txt"),
    ],
)
def test_a_files_name_may_be_sent_in_the_extended_form_only(parameters: bytes, name: str) -> None:
    head = b'--b0\r\nContent-Disposition: form-data; name="file"; ' + parameters
    assert read(head + b"\r\n\r\n1\r\n--b0--\r\n") == (Form({}, name), b"1")


def test_a_file_under_another_name_is_a_field() -> None:
    assert read(form(part("other", b"1", "x"))) == (Form({"other": "1"}), b"")


@pytest.mark.parametrize("content_type", ["", "application/json", "multipart/form-data", f"{TYPE}{'x' * 300}"])
def test_what_is_no_form_is_refused(content_type: str) -> None:
    with pytest.raises(RequestError):
        FormReader(content_type)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not a form",
        form(part("purpose", b"x"))[:-8],
        part("file", b"1", "x"),
        form(part("file", b"1", "x"), part("file", b"2", "y")),
        form(part("purpose", b"x" * (MAX_FIELD_BYTES + 1))),
        form(*(part(f"f{number}", b"") for number in range(MAX_FIELDS + 1))),
        b"--b0\r\n" + b"x" * 10_000 + b": y\r\n",
    ],
)
def test_a_broken_or_excessive_form_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError):
        read(body)
