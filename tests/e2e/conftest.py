"""conftest.py: fixtures of the end-to-end tests.

suite       one running suite for all ordinary tests of a worker: tests make their own accounts.
make_suite  a function that starts a suite with special options (see suite.Suite) for one test.

A module whose tests share special options makes its own fixture:

    @pytest.fixture(scope="module")
    def strict():
        with Suite(c2s={"login-time": 2}) as suite:
            yield suite

After each test every suite it had is checked for panics, sanitizer reports and restarts, and the clients
that the test made are closed. When a test fails the log of its time is shown.
"""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from suite import BUILD, Suite  # noqa: E402

PROGRAMS = ("aldisd", "aldisctl", "aldis-router", "aldis-authd", "aldis-archived", "aldis-c2sd",
            "aldis-s2sd", "aldis-mucd")
TEST_TIME = 60      # seconds, unless a test says otherwise
LOG_SHOWN = 12000   # characters


def pytest_configure(config):
    config.addinivalue_line("markers", "timeout: seconds that a test may take")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_TIME))


def suites_of(item):
    values = list(getattr(item, "funcargs", {}).values())
    found = [v for v in values + [getattr(v, "suite", None) for v in values] if isinstance(v, Suite)]
    return found + list(getattr(item, "aldis_suites", []))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    item.aldis_suites = []


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    for suite in suites_of(item):
        try:
            text = suite.log_text(getattr(suite, "log_begin", 0))
        except OSError:
            continue
        report.sections.append(("log of " + str(suite.directory), text[-LOG_SHOWN:]))


@pytest.fixture(autouse=True)
def watch(request):
    """Checks the suites of a test after it."""
    for suite in suites_of(request.node):
        suite.log_begin = suite.log.stat().st_size
    yield
    for suite in suites_of(request.node):
        if suite.process is None:
            continue
        for client in suite.clients:
            client.close()
        suite.clients.clear()
        suite.check()


@pytest.fixture(scope="session")
def programs():
    missing = [name for name in PROGRAMS if not (BUILD / "bin" / name).exists()]
    if missing:
        pytest.fail("not built in %s: %s" % (BUILD, ", ".join(missing)), pytrace=False)


@pytest.fixture(scope="session")
def shared_suite(programs):
    with Suite() as suite:
        yield suite


@pytest.fixture
def suite(shared_suite):
    return shared_suite


@pytest.fixture
def make_suite(programs, request):
    """Starts suites with options of Suite(); they end with the test."""
    made = []

    def make(**options):
        suite = Suite(**options)
        made.append(suite)
        request.node.aldis_suites.append(suite)
        suite.start()
        return suite

    yield make
    problems = []
    for suite in made:
        try:
            suite.stop()
        except AssertionError as problem:
            problems.append(str(problem))
        finally:
            suite.end_processes()
            suite.remove()
    assert not problems, "; ".join(problems)
