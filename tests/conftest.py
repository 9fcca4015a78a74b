"""What holds for all tests."""

import signal

#: What Python itself ignores at its start.
IGNORED_BY_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}


def pytest_configure() -> None:
    """A shell that starts us in the background, or under nohup, makes us ignore signals, and so every process that the
    tests start: what is compared with a fresh Python would then not be one."""
    for number in signal.valid_signals() - IGNORED_BY_PYTHON:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
