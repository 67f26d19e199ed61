"""Messages of rooms that are taken back: by moderators (XEP-0425), and by who has sent them (XEP-0424)."""

import pytest

from clients import child, stanza_id
from raw import NS, body, condition, local, q, text
from rooms import configure, enter, people, rooms_suite  # noqa: F401
from suite import wait_until
from test_rooms_mam import heard, page

RETRACT = "<retract xmlns='%s'/>" % NS["retract"]


def moderate(client, room, id, inner=RETRACT):
    return client.iq("set", "<moderate xmlns='%s' id='%s'>%s</moderate>" % (NS["moderate"], id, inner), to=room)


def retraction(client):
    return client.wait(lambda e: local(e) == "message" and child(e, "retract", "retract") is not None)


def tombstone(client, room, id):
    """What is in the archive in a message's place, when it is."""
    found = page(client, room)
    message = found.messages[found.ids.index(id)]
    return child(message, "retract", "retracted"), message


@pytest.fixture
def scene(people):
    """A room, and somebody in it who has said something with this id."""
    people.place = people.room()
    people.second = people.enter(people.place, "second")
    people.second.say(people.place, "inappropriate", "groupchat", id="bad-1")
    people.id = stanza_id(heard(people.second))
    heard(people.owner)
    return people


def test_a_moderator_takes_back(scene):
    room, id = scene.place, scene.id
    answer = moderate(scene.owner, room, id, RETRACT + "<reason>Un &amp; kind</reason>")
    assert answer.get("type") == "result", text(answer)
    for client in (scene.owner, scene.second):
        message = retraction(client)
        assert message.get("from") == room and message.get("type") == "groupchat"
        found = child(message, "retract", "retract")
        assert found.get("id") == id and found.findtext(q("retract", "reason")) == "Un & kind"
        moderated = found.find(q("moderate", "moderated"))
        assert moderated.get("by") == room + "/owner"
        assert moderated.find(q("occupant-id", "occupant-id")).get("id")
        of_retraction = stanza_id(message)
        retraction_id = message.get("id")
    assert of_retraction
    wait_until(lambda: tombstone(scene.second, room, id)[0] is not None)
    stone, message = tombstone(scene.second, room, id)
    assert body(message) is None and "inappropriate" not in text(message)
    assert message.get("from") == room + "/second" and message.get("id") == "bad-1"
    assert child(message, "occupant-id", "occupant-id") is not None
    assert stone.get("stamp").endswith("Z") and stone.get("id") == retraction_id
    assert stone.find(q("moderate", "moderated")).get("by") == room + "/owner"
    assert of_retraction in page(scene.second, room).ids


def test_it_is_not_in_the_history(scene):
    moderate(scene.owner, scene.place, scene.id)
    retraction(scene.owner)
    wait_until(lambda: tombstone(scene.owner, scene.place, scene.id)[0] is not None)
    third = scene.session()
    enter(third, scene.place, "third", "<history maxstanzas='20'/>", subject=False)
    third.sync()
    assert "inappropriate" not in "".join(text(e) for e in third.pending())
    wait_until(lambda: page(third, scene.place, {"{%s}fulltext" % NS["fulltext"]: "inappropriate"}).ids == [])


def test_who_may(scene):
    room, id = scene.place, scene.id
    for client, who in ((scene.second, "a participant"), (scene.session(), "a stranger")):
        assert condition(moderate(client, room, id)) == "forbidden", who
    assert condition(moderate(scene.owner, room, "nothing")) == "item-not-found"
    assert condition(moderate(scene.owner, room, id, "<edit/>")) == "feature-not-implemented"
    assert condition(moderate(scene.owner, room, id, RETRACT + "<reason>%s</reason>" % ("x" * 2000))) == "policy-violation"
    configure(scene.owner, room, moderation=False)
    assert condition(moderate(scene.owner, room, id)) == "service-unavailable"
    assert tombstone(scene.owner, room, id)[0] is None


def test_unknown(scene):
    """A message that is not there is not taken back, and nobody is told."""
    room = scene.place
    assert condition(moderate(scene.owner, room, "0000000000000001")) == "item-not-found"
    assert condition(moderate(scene.owner, room, scene.id[:-1] + ("0" if scene.id[-1] != "0" else "1"))) == "item-not-found"
    for client in (scene.owner, scene.second):
        client.sync()
        assert [e for e in client.pending("message") if child(e, "retract", "retract") is not None] == []
    assert moderate(scene.owner, room, scene.id, RETRACT + "<reason>%s</reason>" % ("x" * 1024)).get("type") == "result"
    assert len(child(retraction(scene.second), "retract", "retract").findtext(q("retract", "reason"))) == 1024


def test_another_rooms_message(scene):
    """An id of one room's archive is none of another's, whoever moderates that."""
    mine = scene.room()
    owner = scene.owner  # of the other room by now
    assert condition(moderate(owner, mine, scene.id)) == "item-not-found"
    owner.sync()
    assert [e for e in owner.pending("message") if child(e, "retract", "retract") is not None] == []
    assert tombstone(scene.second, scene.place, scene.id)[0] is None


def test_the_sender_takes_back(scene):
    room, id = scene.place, scene.id
    scene.second.send("<message type='groupchat' to='%s' id='undo'><retract xmlns='%s' id='%s'/>"
                      "<body>/me took a message back</body></message>" % (room, NS["retract"], id))
    for client in (scene.owner, scene.second):
        message = retraction(client)
        assert message.get("from") == room + "/second" and child(message, "retract", "retract").get("id") == id
    wait_until(lambda: tombstone(scene.owner, room, id)[0] is not None)
    stone, message = tombstone(scene.owner, room, id)
    assert stone.get("id") == "undo" and body(message) is None
    assert stone.find(q("moderate", "moderated")) is None


def test_nobody_takes_back_anothers(scene):
    """A participant's retraction of what another has said is a message like others, and changes nothing."""
    room, id = scene.place, scene.id
    third = scene.enter(room, "third")
    third.send("<message type='groupchat' to='%s' id='undo'><retract xmlns='%s' id='%s'/><body>ha</body></message>" % (
        room, NS["retract"], id))
    retraction(third)
    third.sync()
    stone, message = tombstone(third, room, id)
    assert stone is None and body(message) == "inappropriate"


def test_it_survives_a_kill(scene):
    moderate(scene.owner, scene.place, scene.id)
    for name in ("mucd", "archived"):
        scene.suite.kill(name)
    wait_until(lambda: tombstone(scene.owner, scene.place, scene.id)[0] is not None)
