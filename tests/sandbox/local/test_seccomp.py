"""The filter, run by a small interpreter of classic BPF."""

import errno
import struct

import pytest

from app.sandbox.local.seccomp import ARCHITECTURES, DENIED, assemble

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000


def decide(program: bytes, architecture: int, number: int, argument: int = 0) -> int:
    data = struct.pack("<iIQQ", number, architecture, 0, argument)
    instructions = list(struct.iter_unpack("=HBBI", program))
    register: int = 0
    at: int = 0
    while True:
        code, if_true, if_false, constant = instructions[at]
        at += 1
        match code:
            case 0x20:
                (register,) = struct.unpack_from("<I", data, constant)
            case 0x15:
                at += if_true if register == constant else if_false
            case 0x35:
                at += if_true if register >= constant else if_false
            case 0x45:
                at += if_true if register & constant else if_false
            case 0x06:
                return int(constant)


@pytest.mark.parametrize("machine", ARCHITECTURES)
class TestFilter:
    def test_denied_calls_fail_and_their_neighbours_do_not(self, machine: str) -> None:
        program, architecture = assemble(machine), ARCHITECTURES[machine]
        column = list(ARCHITECTURES).index(machine)
        denied = {numbers[column] for numbers in DENIED.values()}
        special = {(56, 220)[column], 435, (41, 198)[column], (53, 199)[column], (302, 261)[column]}
        for number in range(500):
            expected = ERRNO | errno.EPERM if number in denied else ALLOW
            if number not in special:
                assert decide(program, architecture, number) == expected, number

    def test_another_architecture_is_killed(self, machine: str) -> None:
        assert decide(assemble(machine), 0x40000003, 1) == KILL

    def test_clone_makes_threads_but_no_namespaces(self, machine: str) -> None:
        program, architecture = assemble(machine), ARCHITECTURES[machine]
        clone = 56 if machine == "x86_64" else 220
        assert decide(program, architecture, clone, 0x3D0F00) == ALLOW
        for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
            assert decide(program, architecture, clone, flag) == ERRNO | errno.EPERM
        assert decide(program, architecture, 435) == ERRNO | errno.ENOSYS

    def test_limits_are_those_of_the_caller_only(self, machine: str) -> None:
        program, architecture = assemble(machine), ARCHITECTURES[machine]
        number = 302 if machine == "x86_64" else 261
        assert decide(program, architecture, number, 0) == ALLOW
        assert decide(program, architecture, number, 1) == ERRNO | errno.EPERM

    def test_sockets_of_known_families_only(self, machine: str) -> None:
        program, architecture = assemble(machine), ARCHITECTURES[machine]
        for number in (41, 53) if machine == "x86_64" else (198, 199):
            allowed = [family for family in range(50) if decide(program, architecture, number, family) == ALLOW]
            assert allowed == [1, 2, 10]
            assert decide(program, architecture, number, 40) == ERRNO | errno.EAFNOSUPPORT


def test_x32_calls_are_refused() -> None:
    assert decide(assemble("x86_64"), ARCHITECTURES["x86_64"], 0x40000001) == ERRNO | errno.EPERM


def test_a_machine_without_numbers_is_refused() -> None:
    with pytest.raises(KeyError):
        assemble("riscv64")
