"""ejabberd, as Debian has it, and a suite of ours. From it to cert.example, and from ours to it, TLS is direct."""

import time

import pytest

from conversation import Conversation, World, bodies, steps
from gathering import Rooms
from peers import Ejabberd


@pytest.fixture(scope="module")
def world():
    with World(Ejabberd, direct=True, rooms=True) as world:
        yield world


class TestEjabberd(Conversation):
    """What all do, and direct TLS (XEP-0368) both ways."""

    @staticmethod
    def settle(peer):
        """Its log of transactions is written every two seconds."""
        time.sleep(3)

    def test_direct_tls(self, talkers, ours, peer):
        juliet, romeo = talkers
        juliet.say(romeo.jid, "out")
        assert bodies(romeo, 1) == ["out"]
        romeo.say(juliet.jid, "in")
        assert bodies(juliet, 1) == ["in"]
        assert {s["tls"] for s in steps(ours, peer.domain, "out", "connect")} == {"direct"}
        expected = "direct" if ours.domain == "cert.example" else "starttls"
        assert {s["tls"] for s in steps(ours, peer.domain, "in", "accepted")} == {expected}


class TestRooms(Rooms):
    """What all do in rooms."""

    settle = staticmethod(TestEjabberd.settle)
