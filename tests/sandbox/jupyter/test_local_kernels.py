"""What is read from a kernel's sockets; kernels themselves are in test_jupyter.py."""

import json

import pytest
from jupyter_client.session import Session

from app.sandbox.jupyter.local_kernels import decode

HEADER = {"msg_type": "stream", "msg_id": "1", "date": "now"}
SESSION = Session(key=b"secret")


def parts(content: bytes, *, header: bytes | None = None, session: Session = SESSION) -> list[bytes]:
    signed = [header or json.dumps(HEADER).encode(), b'{"msg_id": "9"}', b"{}", content]
    return [b"stream.stdout", b"<IDS|MSG>", session.sign(signed), *signed, b"a buffer"]


def test_a_message_that_is_signed() -> None:
    heard = decode(parts('{"text": "é\\nx"}'.encode()), "iopub", SESSION.sign)
    assert heard is not None
    assert (heard.type, heard.parent, heard.channel, heard.content) == ("stream", "9", "iopub", {"text": "é\nx"})


def test_what_jupyter_itself_sends_is_read() -> None:
    message = SESSION.msg("status", {"execution_state": "idle"})
    heard = decode(SESSION.serialize(message, ident=b"kernel"), "shell", SESSION.sign)
    assert heard is not None
    assert (heard.type, heard.parent, heard.content) == ("status", "", {"execution_state": "idle"})


def test_a_lone_surrogate_is_replaced_and_not_dropped() -> None:
    heard = decode(parts(b'{"text": "\x80\xed\xb2\x80"}'), "iopub", SESSION.sign)
    assert heard is not None
    assert heard.content["text"].strip("\ufffd") == ""


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b"no delimiter"],
        [b"<IDS|MSG>", b"signature", b"{}"],
        parts(b"{}", session=Session(key=b"another")),
        parts(b"{}", header=b"[]"),
        parts(b"{}", header=b'{"msg_type": 1}'),
        parts(b"[1]"),
        parts(b"{"),
        parts(b"[" * 100_000),
    ],
)
def test_anything_else_is_none(frames: list[bytes]) -> None:
    assert decode(frames, "iopub", SESSION.sign) is None
