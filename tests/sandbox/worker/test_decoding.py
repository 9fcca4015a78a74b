import msgspec
import pytest

from app.sandbox.worker.decoding import MAX_DEPTH, decode_interpreter, decode_supervisor
from app.sandbox.worker.messages import Display, Pong, Result
from sandbox_image.protocol import ProtocolError


def test_a_valid_message_becomes_its_type() -> None:
    assert decode_supervisor(b'{"t":"pong","id":3}') == Pong(id=3)
    assert decode_interpreter(b'{"t":"result","id":1,"data":{"text/plain":"2"}}') == Result(1, {"text/plain": "2"})


@pytest.mark.parametrize(
    ("json", "value"),
    [
        (b'"a\\ud800b"', "a\ufffdb"),
        (b'"\\ud83d\\ude00 \\ude00"', "\U0001f600 \ufffd"),
        (b'{"y":[NaN,1,Infinity]}', {"y": [None, 1, None]}),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
    ],
    ids=["lone surrogate", "pair and lone surrogate", "NaN and infinity", "large integer"],
)
def test_what_python_writes_and_json_does_not_have_is_repaired(json: bytes, value: object) -> None:
    message = decode_interpreter(b'{"t":"display","id":1,"data":{"x":' + json + b"}}")
    assert message == Display(id=1, data={"x": value})


@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"k":', b"}")], ids=["lists", "objects"])
def test_what_is_nested_too_deeply_to_be_written_again_is_left_out(brackets: tuple[bytes, bytes]) -> None:
    def message(depth: int) -> Display:
        deep = brackets[0] * depth + b"1" + brackets[1] * depth
        head = b'{"t":"display","id":1,"data":{"text/plain":"x","x":[],"y":'
        decoded = decode_interpreter(head + deep + b'},"metadata":{"z":' + deep + b"}}")
        assert isinstance(decoded, Display)
        return decoded

    assert set(message(MAX_DEPTH - 1).data) == {"text/plain", "x", "y"}
    assert message(900) == Display(id=1, data={"text/plain": "x"})


def test_many_things_beside_each_other_are_not_deep() -> None:
    message = decode_interpreter(b'{"t":"result","id":1,"data":{"x":[' + b"[{}]," * 5000 + b"1]}}")
    assert message == Result(id=1, data={"x": [[{}]] * 5000 + [1]})


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"null",
        b'{"t":"done"}',
        b'{"t":"done","id":"1","status":"ok","ran":0}',
        b'{"t":"done","id":1,"status":"fine","ran":0}',
        b'{"t":"launch","id":1}',
        b'{"t":"ready","protocol":1,"python":[3,11,7],"languages":[],"workdir":""}',
        b'{"t":"display","id":1,"data":' + b"[" * 200_000,
        b'{"t":"display","id":1,"data":{"x":' + b"9" * 5000 + b"}}",
        b'{"t":"display","id":1,"data":{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}}",
    ],
)
def test_anything_else_is_a_violation(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_interpreter(payload)


def test_an_interpreter_cannot_speak_for_the_supervisor() -> None:
    with pytest.raises(ProtocolError):
        decode_supervisor(b'{"t":"done","id":1,"status":"ok","ran":0}')


@pytest.mark.parametrize(
    "field",
    ['"ran":-1', '"ran":1e300', f'"ran":1,"ns":[{10**300}]', f'"ran":1,"code":{-(10**300)}'],
    ids=lambda text: text[:20],
)
def test_numbers_that_nothing_behind_us_could_hold_are_refused(field: str) -> None:
    with pytest.raises(ProtocolError):
        decode_interpreter(f'{{"t":"done","id":1,"status":"ok",{field}}}'.encode())


def test_an_error_longer_than_any_that_our_interpreter_tells_is_refused() -> None:
    message = {"t": "error", "id": 1, "chunk": 0, "ename": "E", "evalue": "x" * (1 << 20), "traceback": ""}
    with pytest.raises(ProtocolError):
        decode_interpreter(msgspec.json.encode(message))
