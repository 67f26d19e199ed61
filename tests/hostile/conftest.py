"""conftest.py: the fixtures of the tests with hostile daemons.

world    a router with honest daemons, for the tests of a module; after each test it must live, be the
         same process, and serve honest sessions
victims  two honest sessions in it, Juliet and Romeo
fresh    a world for one test alone
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
def fresh(tmp_path):
    """A world of its own for a test in which the daemons that all rely on are the hostile ones."""
    with World(tmp_path) as world:
        world.juliet, world.romeo = world.login("juliet"), world.login("romeo")
        yield world
        world.calm()
        world.router.check()
        world.exchange(world.juliet, world.romeo)


@pytest.fixture
def victims(world):
    return world.juliet, world.romeo
