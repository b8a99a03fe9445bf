"""For all tests."""

import signal

LARGEST_NAMED = 1 << 64


def pytest_make_parametrize_id(val, argname):
    """Huge numbers are made afresh in every process: a test named after one could not be shared out."""
    if (isinstance(val, int) and abs(val) >= LARGEST_NAMED) or type(val).__name__ == "mpz":
        return argname
    return None


def pytest_configure():
    """Tests interrupt what they start, which a shell that runs them in the background has it all ignore."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
