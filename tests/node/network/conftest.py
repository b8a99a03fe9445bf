import pytest
import structlog


@pytest.fixture
def log():
    """The log events of a test, as dictionaries."""
    with structlog.testing.capture_logs() as events:
        yield events
