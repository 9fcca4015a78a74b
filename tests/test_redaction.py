import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.redaction import ADDRESS, HIDDEN, KeyHider, on_one_line, without_addresses

KEY = "sk-Live/9f3b+Ua_77zQ="
HIDER = KeyHider(KEY)
SPELLINGS = {
    "as it is": KEY,
    "JSON": "".join(f"\\u{ord(c):04x}" for c in KEY),
    "JSON, capitals": "".join(f"\\u{ord(c):04X}" for c in KEY),
    "JSON of JSON": json.dumps("".join(f"\\u{ord(c):04x}" for c in KEY))[1:-1],
    "one character of it": KEY.replace("u", "\\u0075").replace("9", "\\u0039"),
    "slashes of JSON": KEY.replace("/", "\\/"),
    "percent": quote(KEY, safe=""),
    "all of it percent": "".join(f"%{ord(c):02x}" for c in KEY),
    "HTML": "".join(f"&#{ord(c)};" for c in KEY),
    "HTML, hexadecimal": "".join(f"&#x{ord(c):x};" for c in KEY),
    "Python": "".join(f"\\x{ord(c):02x}" for c in KEY),
    "hexadecimal": KEY.encode().hex(),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_the_key_is_hidden_in_every_spelling(spelling: str) -> None:
    assert HIDER.is_in(spelling)
    assert HIDER.hide(f"invalid key {spelling} was sent") == f"invalid key {HIDDEN} was sent"
    assert HIDER.hide_bytes(f"\xff{spelling}".encode("latin-1")) == b"\xff" + HIDDEN.encode()


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_the_key_is_hidden_in_any_longer_base64(before: bytes, after: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = HIDER.hide(encode(before + KEY.encode() + after).decode())
        assert HIDDEN in text


@given(st.text())
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert HIDER.hide(text) == text
    assert KeyHider(None).hide(text) == KeyHider("EMPTY").hide(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "Cannot connect to host vllm:8000 ssl:default [Connect call failed ('10.0.3.7', 8000)]",
        "connection to http://llm.internal/v1/chat refused",
        "no answer from https://10.1.2.3/v1",
        "no Docker Engine is in service: tcp://engine-3:2375 is away; unix:///run/user/1000/docker.sock is away",
        "upstream [fd00::17]:8000 is down",
        "https://gpu.example.com:8443/v1 is down",
        "https://me:secret@gpu.example.com/v1 is down",
        "https://llm.prod.internal/v1 is down",
    ],
)
def test_addresses_are_not_told(text: str) -> None:
    told = without_addresses(text, public_urls=True)
    assert ADDRESS in told
    for secret in ("vllm", "10.", "8000", "internal", "engine-3", "docker.sock", "fd00", "gpu.example"):
        assert secret not in told.replace("', 8000)", "")


@pytest.mark.parametrize(
    "text",
    [
        "You exceeded your quota: see https://platform.openai.com/docs/guides/error-codes, and https://example.com.",
        "max_tokens: 4096 is too large, at most 2048:2 (line 3:14)",
        '{"error":{"code":4000,"message":"messages[0]: version 1.2.3"}}',
    ],
)
def test_what_helps_the_client_is_told(text: str) -> None:
    assert without_addresses(text, public_urls=True) == text
    assert on_one_line(text) == text


def test_a_line_is_one_line() -> None:
    forged = "failed\r\n2026-12-01 INFO eager [-]: all is well\x1b[2J\u2028\u202e\ud800"
    assert on_one_line(forged) == r"failed\r\n2026-12-01 INFO eager [-]: all is well\x1b[2J\u2028\u202e\ud800"
