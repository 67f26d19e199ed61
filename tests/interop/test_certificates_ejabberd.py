"""Certificates that are not good, between Ejabberd and a suite of ours."""

import pytest

from certificates import Certificates, Pair
from peers import Ejabberd


@pytest.fixture(scope="module")
def pair():
    with Pair(Ejabberd) as pair:
        yield pair


class TestEjabberd(Certificates):
    """What all do; on its own streams it says nothing, and closes them."""

    said = {"elsewhere": ["host name mismatch", "closed"], "expired": ["has expired", "closed"],
            "unknown": ["unable to verify", "closed"], "selfmade": ["self", "closed"]}
