"""What a sandbox may connect to: the allow-list of the egress proxy (pure).

A rule is a host name, ``*.name`` (any name below it), ``*`` (any name), an address or a network, with ``:port``;
without one it means the ports 80 and 443, with ``:*`` all. Names lead to public addresses only, wherever their owner
lets them point to. An address that is not public is reached only if a rule names it, or its network, in numbers:

    pypi.example, *.internal.example:443, 10.20.0.0/16:443       the second's hosts may lie in the third's network
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Self

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_USUAL_PORTS: Final = frozenset({80, 443})
_MAX_NAME: Final = 253
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}", re.ASCII)
#: C libraries read such names as addresses, in forms that nobody expects: 127.1, 0x7f000001, 2130706433.
_ENDS_IN_NUMBER: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)", re.ASCII)
_TARGET: Final = re.compile(r"(?:\[([0-9a-fA-F:.]{2,45})\]|([^:\[\]]{1,254}))(?::([0-9]{1,5}))?", re.ASCII)
_NAT64: Final = IPv6Network("64:ff9b::/96")
#: All that has been given to anybody; ``is_global`` believes in what is still unassigned, too.
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
#: Of the public space, but answered by the cloud's own host (Azure's wire server).
_HOSTS_OWN: Final = (IPv4Address("168.63.129.16"),)


class MalformedTargetError(ValueError):
    """Not a host with a port."""


@dataclass(frozen=True, slots=True)
class Target:
    """``host`` is an address, or a name in lower case without a final dot."""

    host: Address | str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if isinstance(self.host, IPv6Address) else f"{self.host}:{self.port}"


def parse_target(text: str, *, default_port: int | None) -> Target:
    """``host:port`` as in CONNECT or in the authority of a URL.

    Raises:
        MalformedTargetError
    """
    match = _TARGET.fullmatch(text)
    if match is None:
        raise MalformedTargetError("not a host and a port")
    port = int(match[3]) if match[3] else default_port
    if port is None or not 0 < port < 65536:
        raise MalformedTargetError("no port, or none that exists")
    try:
        return Target(ip_address(match[1] or match[2]), port)
    except ValueError:
        if match[1]:
            raise MalformedTargetError("not an IPv6 address") from None
    name = match[2].lower().removesuffix(".")
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name) or _ENDS_IN_NUMBER.fullmatch(name):
        raise MalformedTargetError("not a host name")
    return Target(name, port)


@dataclass(frozen=True, slots=True)
class _NameRule:
    suffix: str  # ".example" stands for all below it, "" for any name
    exact: bool
    ports: frozenset[int] | None

    def matches(self, name: str, port: int) -> bool:
        return _has(self.ports, port) and (name == self.suffix if self.exact else name.endswith(self.suffix))


@dataclass(frozen=True, slots=True)
class _NetworkRule:
    network: Network
    ports: frozenset[int] | None

    def matches(self, address: Address, port: int) -> bool:
        return _has(self.ports, port) and address in self.network


@dataclass(frozen=True, slots=True)
class Rules:
    """See above. Two questions: may this be asked for, and may it be at this address."""

    names: tuple[_NameRule, ...]
    networks: tuple[_NetworkRule, ...]

    @classmethod
    def parse(cls, rules: Sequence[str]) -> Self:
        """
        Raises:
            ValueError: one cannot be understood; it is named.
        """
        parsed = [_parse(rule) for rule in rules]
        return cls(
            tuple(rule for rule in parsed if isinstance(rule, _NameRule)),
            tuple(rule for rule in parsed if isinstance(rule, _NetworkRule)),
        )

    def permit(self, target: Target) -> bool:
        """Whether it is on the list. Where a name leads to is another question."""
        if isinstance(target.host, str):
            return any(rule.matches(target.host, target.port) for rule in self.names)
        return self._names_network(target.host, target.port)

    def permit_address(self, address: Address, port: int) -> bool:
        """Whether a name on the list may be at this address."""
        return is_public(address) or self._names_network(address, port)

    def _names_network(self, address: Address, port: int) -> bool:
        return any(rule.matches(unwrap(address), port) for rule in self.networks)


def unwrap(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, where it does."""
    if isinstance(address, IPv4Address):
        return address
    embedded = address.ipv4_mapped or address.sixtofour
    if embedded is None and address.teredo is not None:
        embedded = address.teredo[1]
    if embedded is None and address in _NAT64:
        embedded = IPv4Address(int(address) & 0xFFFFFFFF)
    return embedded or address


def is_public(address: Address) -> bool:
    """Somebody's on the Internet: not of this machine, its links, a private or reserved network, or a group."""
    address = unwrap(address)
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved and address not in _HOSTS_OWN


def _parse(rule: str) -> _NameRule | _NetworkRule:
    text, ports = _split_ports(rule.strip().lower())
    try:
        return _NetworkRule(ip_network(text), ports)
    except ValueError:
        pass
    exact = not text.startswith("*")
    name = text if exact else text[1:].removeprefix(".")
    valid = _NAME.fullmatch(name) and not _ENDS_IN_NUMBER.fullmatch(name) and len(name) <= _MAX_NAME
    if not (valid or text == "*") or (text.startswith("*") and text != "*" and not text.startswith("*.")):
        raise ValueError(f"{rule!r} is not a host, *.host, address or network, with :port or not")
    return _NameRule(name if exact or not name else f".{name}", exact, ports)


def _split_ports(rule: str) -> tuple[str, frozenset[int] | None]:
    """The rule without its port (and an address without its brackets), and the ports; None is all."""
    host, colon, port = rule.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif rule.startswith("[") and rule.endswith("]"):
        return rule[1:-1], _USUAL_PORTS
    elif not colon or ":" in host:  # no port: a plain name, or an IPv6 address
        return rule, _USUAL_PORTS
    if port == "*":
        return host, None
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"{rule!r} names no port that exists")
    return host, frozenset({int(port)})


def _has(ports: frozenset[int] | None, port: int) -> bool:
    return ports is None or port in ports
