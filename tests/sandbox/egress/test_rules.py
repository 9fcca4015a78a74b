from ipaddress import ip_address

import pytest

from app.sandbox.egress.rules import MalformedTargetError, Rules, Target, is_public, parse_target


def permits(rules: str, target: str) -> bool:
    return Rules.parse(rules.split()).permit(parse_target(target, default_port=None))


@pytest.mark.parametrize(
    ("rules", "target", "expected"),
    [
        ("pypi.example", "pypi.example:443", True),
        ("pypi.example", "pypi.example:80", True),
        ("pypi.example", "pypi.example:22", False),
        ("PyPI.example", "PYPI.Example.:443", True),
        ("pypi.example", "files.pypi.example:443", False),
        ("pypi.example", "evilpypi.example:443", False),
        ("pypi.example:8443", "pypi.example:8443", True),
        ("pypi.example:8443", "pypi.example:443", False),
        ("pypi.example:*", "pypi.example:1", True),
        ("*.pypi.example", "a.b.pypi.example:443", True),
        ("*.pypi.example", "pypi.example:443", False),
        ("*.pypi.example", "evilpypi.example:443", False),
        ("*.pypi.example", "pypi.example.evil.test:443", False),
        ("*", "anything.test:443", True),
        ("*", "anything.test:25", False),
        ("*", "93.184.216.34:443", False),  # an address is asked for by its number, and allowed by it
        ("10.0.0.0/8:443", "10.1.2.3:443", True),
        ("10.0.0.0/8:443", "10.1.2.3:80", False),
        ("10.0.0.0/8", "11.0.0.1:443", False),
        ("10.1.2.3", "[::ffff:10.1.2.3]:443", True),
        ("[::1]:8080", "[::1]:8080", True),
        ("::1", "[::1]:443", True),
        ("[fd00::/8]:443", "[fd00::5]:443", True),
        ("10.0.0.0/8", "internal.example:443", False),
        ("", "pypi.example:443", False),
    ],
)
def test_a_target_is_asked_for_by_a_rule_or_not_at_all(rules: str, target: str, expected: bool) -> None:
    assert permits(rules, target) is expected


@pytest.mark.parametrize(
    "rule",
    [
        *(
            "",
            "https://pypi.example",
            "pypi.example:0",
            "pypi.example:65536",
            "a b",
            "*pypi.example",
            "pypi.*",
            "127.1",
        ),
        *("10.0.0.1/8", "pypi.example/simple", "user@pypi.example", "-a.example", "[::1", "x:y", "2130706433", "*.1"),
    ],
)
def test_a_rule_that_cannot_be_understood_is_named(rule: str) -> None:
    with pytest.raises(ValueError, match=r"is not a host|names no port"):
        Rules.parse([rule])


@pytest.mark.parametrize(
    "text",
    [
        *("", "host", "host:", ":80", "host:0", "host:65536", "host:999999", "host:80:80", "host:８０", "ho st:80"),
        *("host\r\nx:80", "user@host:80", "[::1:80", "::1:80", "[127.0.0.1]x:80", "[zz::]:80", "höst:80"),
        *("a..b:80", "..:80"),
        *("127.1:80", "0x7f000001:80", "2130706433:80", "017700000001:80", "127.0.0.0x1:80", "1.2.3.4.5:80", "%6c:80"),
        *("a" * 254 + ":80", "a" * 64 + ".example:80", "host:+80", "host:-1", "host: 80"),
    ],
)
def test_what_is_no_host_and_port_is_malformed(text: str) -> None:
    with pytest.raises(MalformedTargetError):
        parse_target(text, default_port=None)


def test_a_target_prints_as_an_authority() -> None:
    assert str(parse_target("[::1]:80", default_port=None)) == "[::1]:80"
    assert parse_target("Host.Example.", default_port=80) == Target("host.example", 80)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "172.17.0.1",
            "192.168.1.1",
            "100.64.0.1",
        ),
        *(
            "100.100.100.200",
            "169.254.169.254",
            "169.254.170.2",
            "168.63.129.16",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
        ),
        *("240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"),
        *("2001:0:4136:e378:8000:63bf:80ff:fffe", "fec0::1", "64:ff9b:1::1", "::127.0.0.1", "4000::1"),
    ],
)
def test_addresses_that_names_may_not_lead_to(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not Rules.parse(["*:*"]).permit_address(ip_address(address), 80)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
)
def test_public_addresses(address: str) -> None:
    assert is_public(ip_address(address))


def test_a_private_address_is_reached_only_if_its_network_and_port_are_named() -> None:
    rules = Rules.parse(["internal.example:*", "10.20.0.0/16:443"])
    assert rules.permit_address(ip_address("10.20.3.4"), 443)
    assert rules.permit_address(ip_address("::ffff:10.20.3.4"), 443)
    assert not rules.permit_address(ip_address("10.20.3.4"), 80)
    assert not rules.permit_address(ip_address("10.21.3.4"), 443)
