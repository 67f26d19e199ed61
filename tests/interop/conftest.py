"""conftest.py: what the tests with other servers have in common. See README.md."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

TEST_TIME = 60
LOG_SHOWN = 8000  # characters


def pytest_configure(config):
    config.addinivalue_line("markers", "timeout: seconds that a test may take")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_TIME))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the logs of both when a test fails."""
    report = (yield).get_result()
    for value in getattr(item, "funcargs", {}).values() if report.failed else ():
        if hasattr(value, "log_text"):
            report.sections.append(("log of " + str(value.directory), value.log_text()[-LOG_SHOWN:]))
