"""conftest.py: the fixtures of the tests with hostile daemons.

world    a router with honest daemons, for the tests of a module; after each test it must live, be the
         same process, and serve honest sessions
victims  two honest sessions in it, Juliet and Romeo
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cast import World  # noqa: E402

TEST_TIME = 60


def pytest_configure(config):
    config.addinivalue_line("markers", "timeout: seconds that a test may take")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_TIME))


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory):
    with World(tmp_path_factory.mktemp("router")) as world:
        world.juliet, world.romeo = world.login("juliet"), world.login("romeo")
        yield world


@pytest.fixture
def world(shared_world):
    pid = shared_world.router.process.pid
    shared_world.calm()
    shared_world.mark()
    yield shared_world
    shared_world.calm()
    shared_world.router.check()
    assert shared_world.router.process.pid == pid
    shared_world.exchange(shared_world.juliet, shared_world.romeo)
    shared_world.exchange(shared_world.romeo, shared_world.juliet)


@pytest.fixture
def victims(world):
    return world.juliet, world.romeo
