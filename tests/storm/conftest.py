"""conftest.py: makes the suite of tests/e2e available, and prints the seed of a run."""

import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]

import harness  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "timeout: seconds that a test may take")


def pytest_report_header(config):
    return "storm: %s" % harness.settings_text()


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(harness.TEST_TIME))
