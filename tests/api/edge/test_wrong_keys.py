"""Guessing is slow, and hurts nobody who has a key."""

from __future__ import annotations

import pytest

from app.api.edge.auth import Keyring, WrongKey
from app.api.edge.wrong_keys import WrongKeys, address_of
from app.errors import RequestError, TooManyRequests


async def test_beyond_its_wrong_keys_an_address_does_not_learn_which_are_right() -> None:
    keyring = Keyring(["right", "used"], wrong=WrongKeys(3))
    await keyring.admit("Bearer used", "10.0.0.1")
    for number in range(3):
        with pytest.raises(WrongKey):
            await keyring.admit(f"Bearer wrong-{number}", "10.0.0.1")
    for guess in ("wrong", "right"):
        with pytest.raises(TooManyRequests) as refused:
            await keyring.admit(f"Bearer {guess}", "10.0.0.1")
        assert 1 <= int(refused.value.headers["retry-after"]) <= 60
    await keyring.admit("Bearer used", "10.0.0.1")
    await keyring.admit("Bearer right", "10.0.0.2")


async def test_no_key_at_all_is_not_a_wrong_one() -> None:
    keyring = Keyring(["right"], wrong=WrongKeys(1))
    for _ in range(5):
        with pytest.raises(RequestError) as refused:
            await keyring.admit(None, "10.0.0.1")
        assert refused.value.status == 401
    await keyring.admit("Bearer right", "10.0.0.1")


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("10.0.0.1", 5), "10.0.0.1"),
        (("2001:db8::1:2:3:4", 5), "2001:0db8:0000:0000"),
        (("::ffff:10.0.0.1", 5), "10.0.0.1"),
        (("a socket", 0), "None"),
        (None, "None"),
    ],
)
def test_ipv6_addresses_count_by_their_network(client: tuple[str, int] | None, address: str) -> None:
    assert address_of({"type": "http", "client": client}) == address
