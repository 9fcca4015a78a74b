import json
from typing import Any

import pytest

from app.upstream.refusal import refusal


def refuse(status: int, body: Any, **headers: str) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return refusal(status, headers, data, own_key=True)


def test_a_failure_without_words_is_told_once() -> None:
    assert refuse(500, b"<html>Oops</html>").message == "the upstream answered 500"


def test_a_wait_is_passed_on_if_a_header_can_hold_it() -> None:
    assert refuse(429, {}, **{"retry-after": "7", "retry-after-ms": "\udcff"}).headers == {"retry-after": "7"}


def test_an_openai_error_is_passed_on() -> None:
    error = {
        "message": "too long",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
    refused = refuse(400, {"error": error})
    assert (refused.status, refused.message, refused.type, refused.param, refused.code) == (400, *error.values())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": "text"}, "text"),
        ({"object": "error", "message": "old vllm", "code": 40001}, "old vllm"),
        ([{"error": {"message": "gemini", "code": 400, "status": "INVALID_ARGUMENT"}}], "gemini"),
        ({"detail": "fastapi"}, "fastapi"),
        ({"detail": [{"loc": ["body", "messages"], "msg": "field required"}]}, "body.messages: field required"),
        ({"detail": ["odd", {"msg": "x"}]}, "odd; : x"),
        (b"plain text", "plain text"),
        (b"<html>Bad</html>", "the upstream answered 400"),
        (b"", "the upstream answered 400"),
        (b"\xff", "\ufffd"),
        (b"[" * 100_000, "[" * 2000),
        ([], "[]"),
    ],
)
def test_errors_of_other_shapes_are_read(body: Any, message: str) -> None:
    refused = refuse(400, body)
    assert (refused.message, refused.type, refused.param, refused.code) == (
        message, "invalid_request_error", None, "invalid_value",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "expected", "code"),
    [
        (401, 502, "bad_gateway"),
        (403, 502, "bad_gateway"),
        (402, 402, None),
        (404, 404, "model_not_found"),
        (408, 408, "request_timeout"),
        (413, 413, "request_too_large"),
        (422, 400, "invalid_value"),
        (429, 429, "rate_limit_exceeded"),
        (302, 502, "bad_gateway"),
        (500, 502, "bad_gateway"),
        (503, 502, "bad_gateway"),
    ],
)
def test_statuses_are_mapped(status: int, expected: int, code: str | None) -> None:
    refused = refuse(status, {})
    assert (refused.status, refused.code) == (expected, code)


def test_the_message_of_a_server_error_is_kept() -> None:
    assert refuse(503, {"error": {"message": "warming up"}}).message == "the upstream answered 503: warming up"


def test_when_to_come_again_is_passed_on() -> None:
    headers = {"retry-after": "7", "retry-after-ms": "7000", "set-cookie": "x"}
    assert refuse(429, {}, **headers).headers == {"retry-after": "7", "retry-after-ms": "7000"}
