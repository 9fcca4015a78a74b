import pytest

pytest.register_assert_rewrite(
    "tests.attacks.arena", "tests.attacks.attempt", "tests.attacks.checks", "tests.sandbox.backends"
)
