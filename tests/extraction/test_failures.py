import json
from typing import Any

import pytest

from app.extraction.failures import ToldError, broken, error_in_text, fitting_code, told_error

OH = "Oh."


@pytest.mark.parametrize(
    "document",
    [
        {"error": {"message": OH}},
        {"error": OH},
        {"error": True, "message": OH},
        {"error": {"detail": OH}},
        {"error": {"code": OH}},
        [{"error": {"message": OH}}],
        {"object": "error", "message": OH},
        {"type": "error", "error": {"type": "x", "message": OH}},
        {"choices": [], "error": {"message": OH}},
        {"choices": None, "base_resp": {"status_code": 1, "status_msg": OH}},
        {"detail": OH},
        {"detail": {"error": {"message": OH}}},
        {"detail": {"error": OH}},
        {"detail": {"message": OH}},
        {"errors": [{"message": OH}]},
        {"errors": [OH]},
        {"message": OH},
        {"msg": OH, "code": "x"},
        {"error_code": 1, "error_msg": OH},
        {"fault": {"faultstring": OH}},
    ],
    ids=json.dumps,
)
def test_the_words_of_an_error_are_found(document: Any) -> None:
    told = told_error(document)
    assert told is not None
    assert told.message == OH


@pytest.mark.parametrize(
    "document",
    [
        {}, [], None, 3, "error", {"error": None}, {"error": {}}, {"choices": []}, {"type": "ping"},
        {"choices": [{"message": OH}], "detail": OH}, {"object": "list", "data": [{"id": "m"}]},
        {"base_resp": {"status_code": 0, "status_msg": "ok"}}, {"errors": []},
        {"message": ""}, {"message": True}, {"usage": {"total_tokens": 1}},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_anything_else_is_no_error(document: Any) -> None:
    assert told_error(document) is None


def test_problems_of_fastapi_are_told_with_their_places() -> None:
    told = told_error({"detail": [{"loc": ["body", "n"], "msg": "too large"}, "odd"]})
    assert told is not None
    assert told.message == "body.n: too large; odd"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": 404}, 404),
        ({"code": "429"}, 429),
        ({"status": 503}, 503),
        ({"statusCode": 400}, 400),
        ({"code": 1013}, None),
        ({"code": True}, None),
        ({"type": "rate_limit_error"}, 429),
        ({"status": "INVALID_ARGUMENT"}, 400),
        ({"type": "server_error"}, None),
    ],
)
def test_a_status_is_found_or_meant(error: dict[str, Any], status: int | None) -> None:
    told = told_error({"error": {**error, "message": OH}})
    assert told is not None
    assert told.status == status


@pytest.mark.parametrize(
    "told",
    [
        ToldError("x", type="exceed_context_size_error"),
        ToldError("x", code="context_length_exceeded"),
        ToldError("x", code="model_max_prompt_tokens_exceeded"),
        ToldError("x", type="ContextWindowExceededError"),
        ToldError("This model's maximum context length is 8192 tokens. However, you requested 9000."),
        ToldError("prompt is too long: 200001 tokens > 200000 maximum"),
        ToldError("the request exceeds the available context size, try increasing it"),
        ToldError("The input length (9) exceeds the model's maximum context length (8)."),
        ToldError("Input is too long for requested model."),
        ToldError("Please reduce the length of the messages."),
    ],
    ids=str,
)
def test_a_prompt_that_is_too_long_has_one_code(told: ToldError) -> None:
    assert fitting_code(told) == "context_length_exceeded"
    error = broken(told)
    assert (error.status, error.type, error.code) == (400, "invalid_request_error", "context_length_exceeded")


def test_a_limit_of_tokens_a_minute_is_not_that() -> None:
    told = ToldError("tokens per minute: reduce the length of the messages", status=429)
    assert fitting_code(told) is None
    assert (broken(told).status, broken(told).code) == (429, "rate_limit_exceeded")


@pytest.mark.parametrize("status", [None, 401, 403, 407, 500, 503])
def test_what_is_not_the_clients_doing_is_a_bad_gateway(status: int | None) -> None:
    error = broken(ToldError(OH, status=status))
    assert (error.status, error.type, error.code) == (502, "upstream_error", "bad_gateway")
    assert error.message == "the upstream failed: Oh."


def test_a_page_is_an_error_with_the_words_of_its_heading() -> None:
    assert error_in_text("<html><head><title> 502 Bad\nGateway </title>") == ToldError("502 Bad\nGateway")
    assert error_in_text("<html><h2 class='x'>Oh.</h2>") == ToldError("Oh.")
    assert error_in_text("<p>Oh.") == ToldError("")
    assert error_in_text("Oh.") is None
    assert error_in_text("{" * 100_000) is None
