"""Certificates that are not good, between Prosody and a suite of ours."""

import pytest

from certificates import Certificates, Pair
from peers import Prosody


@pytest.fixture(scope="module")
def pair():
    with Pair(Prosody) as pair:
        yield pair


class TestProsody(Certificates):
    """What all do; it says what is wrong."""

    said = {"elsewhere": ["not valid for this name"] * 2, "expired": ["has expired"] * 2,
            "unknown": ["is not trusted"] * 2, "selfmade": ["is not trusted"] * 2}
