"""Occupants who are elsewhere, at a component that says what we want it to: probes, errors, and who is gone."""

import pytest

from clients import child
from raw import condition, local, q
from rooms import DOMAIN, MUC, People, codes
from suite import Suite, wait_until
from test_component import Component

AWAY = "away.localhost"
SECRET = "s3cret"
FAR = "far@%s/1" % AWAY
ERROR = "<error type='%s'><%s xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
MARK = "<x xmlns='%s#user'/>" % MUC


@pytest.fixture(scope="module")
def suite(programs):
    with Suite(rooms={DOMAIN: {"create": "all"}}, components={AWAY: {"secret": SECRET}}) as suite:
        yield suite


@pytest.fixture
def scene(suite):
    """A room with its owner, and far@, who is at the component."""
    people = People(suite)
    people.place, people.far = people.room(), Component(suite, AWAY, SECRET).connect()
    people.far.send("<presence from='%s' to='%s/far'><x xmlns='%s'/></presence>" % (FAR, people.place, MUC))
    people.far.wait(lambda e: local(e) == "message" and e.find(q("client", "subject")) is not None)
    people.calm(people.owner)
    people.far.elements.clear()
    return people


def of(client, address, kind="presence"):
    return client.wait(lambda e: local(e) == kind and e.get("from") == address)


def test_probes(scene):
    far, room = scene.far, scene.place
    far.send("<presence type='probe' from='far@%s' to='%s/owner'/>" % (AWAY, room))
    told = of(far, room + "/owner")
    assert told.get("type") is None and told.get("to") == FAR and "110" not in codes(told)
    far.send("<presence type='probe' from='%s' to='%s/nobody'/>" % (FAR, room))
    assert of(far, room + "/nobody").get("type") == "unavailable"
    far.send("<presence type='probe' from='far@%s' to='%s'/>" % (AWAY, room))
    assert of(far, room + "/owner").get("type") is None
    assert "110" in codes(of(far, room + "/far"))
    far.send("<presence type='probe' from='stranger@%s' to='%s'/>" % (AWAY, room))
    far.send("<iq type='get' id='p' from='stranger@%s' to='%s'><ping xmlns='urn:xmpp:ping'/></iq>" % (AWAY, room))
    far.wait(lambda e: local(e) == "iq" and e.get("id") == "p")
    assert [e for e in far.elements if e.get("to", "").startswith("stranger")] == []


def test_a_link_that_is_down_removes_nobody(scene):
    far, owner, room = scene.far, scene.owner, scene.place
    for kind, condition_ in (("message", "remote-server-timeout"), ("presence", "recipient-unavailable")):
        far.send("<%s type='error' from='%s' to='%s/owner'>%s</%s>" % (kind, FAR, room, ERROR % ("wait", condition_),
                                                                       kind))
    owner.say(room, "still there?", "groupchat")
    assert of(far, room + "/owner", "message").findtext(q("client", "body")) == "still there?"
    far.send("<message type='error' from='%s' to='%s/owner'>%s</message>" % (FAR, room, ERROR % (
        "cancel", "item-not-found")))
    assert "333" in codes(owner.wait(lambda e: local(e) == "presence" and e.get("from") == room + "/far" and
                                     e.get("type") == "unavailable"))


def test_error_for_a_private_message(scene):
    far, owner, room = scene.far, scene.owner, scene.place
    owner.send("<message type='chat' id='pm' to='%s/far'><body>psst</body></message>" % room)
    message = of(far, room + "/owner", "message")
    assert child(message, "muc#user", "x") is not None and message.get("id") == "pm"
    far.send("<message type='error' id='pm' from='%s' to='%s/owner'><body>psst</body>%s%s</message>" % (
        FAR, room, MARK, ERROR % ("modify", "not-acceptable")))
    error = of(owner, room + "/far", "message")
    assert error.get("type") == "error" and error.get("id") == "pm" and condition(error) == "not-acceptable"
    assert error.find(q("client", "body")) is None
    owner.say(room, "all", "groupchat", id="gc")
    of(far, room + "/owner", "message")
    far.send("<message type='error' id='gc' from='%s' to='%s/owner'>%s</message>" % (
        FAR, room, ERROR % ("modify", "not-acceptable")))
    far.send("<message type='groupchat' from='%s' to='%s'><body>after</body></message>" % (FAR, room))
    while True:
        message = owner.message()
        assert message.get("type") != "error"
        if message.findtext(q("client", "body")) == "after":
            break


def test_a_component_that_has_gone(scene):
    """What is said meanwhile waits for it, in the order in which it was said."""
    scene.far.close()
    wait_until(lambda: scene.suite.counter("s2sd", "paths-up") == 0)
    scene.owner.send("<message type='chat' id='pm' to='%s/far'><body>psst</body></message>" % scene.place)
    scene.owner.say(scene.place, "away", "groupchat")
    scene.owner.wait(lambda e: local(e) == "message" and e.findtext(q("client", "body")) == "away")
    far = Component(scene.suite, AWAY, SECRET).connect()
    scene.owner.say(scene.place, "back", "groupchat")
    assert [of(far, scene.place + "/owner", "message").findtext(q("client", "body")) for _ in range(3)] == [
        "psst", "away", "back"]
