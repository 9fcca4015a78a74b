from app.sse.decoder import SSEDecoder
from app.sse.encoder import comment, encode


def test_what_is_encoded_is_decoded() -> None:
    data = "é\u2028x".encode()
    stream = encode(data) + comment("keep-alive") + encode(b"{}", "done")
    assert SSEDecoder().feed(stream) == [(None, "é\u2028x"), ("done", "{}")]


def test_the_bytes_on_the_wire() -> None:
    assert encode(b"{}") == b"data: {}\n\n"
    assert encode(b"{}", "start") == b"event: start\ndata: {}\n\n"
    assert comment("keep-alive") == b": keep-alive\n\n"
