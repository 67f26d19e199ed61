"""Jabberd2, as Debian has it, and a suite of ours."""

import pytest

from conversation import Conversation, World
from peers import Jabberd2


@pytest.fixture(scope="module")
def world():
    with World(Jabberd2) as world:
        yield world


class TestJabberd2(Conversation):
    """It knows dialback alone, whatever the certificates are."""

    # Where an element and an attribute of it are of one namespace, it loses that of the attribute.
    attribute_namespace = "urn:example:attribute"

    @pytest.fixture(scope="class", params=["dialback"])
    def ours(self, world, request):
        return world.ours[request.param]
