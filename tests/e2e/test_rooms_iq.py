"""Requests to rooms and between occupants: relayed, self-ping (XEP-0410), vCards (XEP-0054, XEP-0486, XEP-0153)."""

import base64
import hashlib

import pytest

from clients import child
from raw import NS, condition, error_type, local, q, text
from rooms import DOMAIN, Refused, bare, codes, configure, enter, leave, people, rooms_suite  # noqa: F401

PING = "<ping xmlns='%s'/>" % NS["ping"]
VCARD = "<vCard xmlns='vcard-temp'/>"


def asked(client, ns):
    """The next request with a child of this namespace."""
    return client.wait(lambda e: local(e) == "iq" and e.get("type") in ("get", "set") and len(e) and
                       e[0].tag.startswith("{%s}" % NS.get(ns, ns)))


def begin(client, to, payload, kind="get"):
    """Sends a request, and returns its id."""
    id = client.new_id()
    client.send("<iq type='%s' id='%s' to='%s'>%s</iq>" % (kind, id, to, payload))
    return id


def answer_of(client, id):
    return client.wait(lambda e: local(e) == "iq" and e.get("id") == id and e.get("type") in ("result", "error"))


@pytest.mark.parametrize("to", [DOMAIN, "room"])
def test_small_services(people, to):
    room = people.room()
    to = room if to == "room" else to
    assert people.owner.iq("get", PING, to=to).get("type") == "result"
    answer = people.owner.iq("get", "<query xmlns='%s'/>" % NS["version"], to=to)
    assert answer.findtext(".//" + q("version", "name")) == "Aldis"
    answer = people.owner.iq("get", "<time xmlns='%s'/>" % NS["time"], to=to)
    assert answer.findtext(".//" + q("time", "utc")).endswith("Z")
    for kind, payload, error in (("get", "<a xmlns='urn:a'/>", "service-unavailable"), ("get", "", "bad-request"),
                                 ("set", PING, "not-allowed")):
        assert condition(people.owner.iq(kind, payload, to=to)) == error


def test_no_room(people):
    client = people.session()
    for kind, payload in (("get", PING), ("get", VCARD), ("set", "<query xmlns='%s'/>" % NS["mam"]),
                          ("get", "<query xmlns='%s'/>" % NS["muc#owner"]), ("get", "<query xmlns='jabber:iq:register'/>")):
        assert condition(client.iq(kind, payload, to=people.name())) == "item-not-found"
    assert condition(client.iq("get", PING, to=DOMAIN + "/x")) == "item-not-found"


def test_relay(people):
    """Neither side learns the address of the other, and ids are those that each knows."""
    room = people.room()
    owner, second = people.owner, people.enter(room, "second")
    id = begin(owner, room + "/second", "<query xmlns='%s'/>" % NS["version"])
    request = asked(second, "version")
    assert request.get("from") == room + "/owner" and request.get("to") == second.jid
    assert bare(owner) not in text(request)
    second.send("<iq type='result' id='%s' to='%s'><query xmlns='%s'><name>Mine</name></query></iq>" % (
        request.get("id"), request.get("from"), NS["version"]))
    answer = answer_of(owner, id)
    assert answer.get("from") == room + "/second" and answer.findtext(".//" + q("version", "name")) == "Mine"
    assert bare(second) not in text(answer)
    # An error goes the same way, and an answer that nobody has asked for goes nowhere.
    id = begin(owner, room + "/second", "<a xmlns='urn:a'/>", "set")
    request = asked(second, "urn:a")
    forged = request.get("id")[:-1] + ("0" if request.get("id")[-1] != "0" else "1")
    second.send("<iq type='result' id='%s' to='%s'/>" % (forged, request.get("from")))
    second.send("<iq type='error' id='%s' to='%s'><error type='cancel' by='%s'><service-unavailable xmlns='%s'/>"
                "</error></iq>" % (request.get("id"), request.get("from"), second.jid, NS["stanzas"]))
    answer = answer_of(owner, id)
    assert condition(answer) == "service-unavailable" and answer.get("from") == room + "/second"
    assert bare(second) not in text(answer)
    second.sync()
    assert owner.pending("iq") == []


def test_relay_with_several_clients(people):
    """Of two clients of one nick the one that has asked gets the answer; one of them is asked."""
    room = people.room()
    account = people.suite.account()
    one, two = people.enter(room, "both", account, "one"), people.enter(room, "both", account, "two")
    for client in (one, two):
        id = begin(client, room + "/owner", PING)
        request = asked(people.owner, "ping")
        people.owner.send("<iq type='result' id='%s' to='%s'/>" % (request.get("id"), request.get("from")))
        assert answer_of(client, id).get("to") == client.jid
    assert one.pending("iq") == [] and two.pending("iq") == []


def test_the_answer_of_one_who_has_gone(people):
    """Its session has ended: the server answers in its place, and its address is not in that."""
    room = people.room()
    second = people.enter(room, "second")
    people.owner.pending()
    id = begin(people.owner, room + "/second", "<query xmlns='%s'/>" % NS["version"])
    asked(second, "version")
    second.end()
    people.owner.wait(lambda e: local(e) == "presence" and e.get("type") == "unavailable")
    answer = people.owner.iq("get", PING, to=room + "/second")
    assert condition(answer) == "item-not-found"
    assert id


def test_who_may_ask(people):
    room = people.room()
    second, stranger = people.enter(room, "second"), people.session()
    info = "<query xmlns='%s'/>" % NS["disco#info"]
    answer = stranger.iq("get", info, to=room + "/second")
    assert (condition(answer), error_type(answer)) == ("bad-request", "modify")
    assert condition(stranger.iq("get", VCARD, to=room + "/second")) == "not-acceptable"
    assert condition(second.iq("get", VCARD, to=room + "/nobody")) == "item-not-found"
    configure(people.owner, room, allowpm="moderators")
    assert condition(second.iq("get", info, to=room + "/owner")) == "forbidden"
    configure(people.owner, room, allowpm="none")
    assert condition(people.owner.iq("get", info, to=room + "/second")) == "forbidden"


def test_self_ping(people):
    """XEP-0410: the room answers, whatever the clients do; what is wrong has its own error."""
    room = people.room()
    account = people.suite.account()
    one, other = people.enter(room, "both", account, "one"), people.session(account, "other")
    assert one.iq("get", PING, to=room + "/both").get("type") == "result"
    assert condition(other.iq("get", PING, to=room + "/both")) == "not-acceptable"
    assert condition(one.iq("get", PING, to=room + "/nobody")) == "item-not-found"
    assert condition(one.iq("get", PING, to=people.name() + "/both")) == "not-acceptable"
    leave(one, room, "both")
    assert condition(one.iq("get", PING, to=room + "/both")) == "not-acceptable"
    assert one.pending("iq") == [] and other.pending("iq") == []


def test_self_ping_after_a_kill(people):
    """Who was in the room is in it when mucd has come back."""
    room = people.room(persistentroom=True)
    second = people.enter(room, "second")
    people.suite.kill("mucd")
    assert second.iq("get", PING, to=room + "/second").get("type") == "result"
    id = begin(people.owner, room + "/second", PING)
    request = asked(second, "ping")
    people.suite.kill("mucd")
    second.send("<iq type='result' id='%s' to='%s'/>" % (request.get("id"), request.get("from")))
    assert answer_of(people.owner, id).get("type") == "result"


def test_vcard_of_an_occupant(people):
    """It is that of the account, without its address."""
    room = people.room()
    second = people.enter(room, "second")
    second.iq("set", "<vCard xmlns='vcard-temp'><FN>Hecate</FN><JABBERID>%s</JABBERID></vCard>" % bare(second))
    answer = people.owner.iq("get", VCARD, to=room + "/second")
    assert answer.findtext(".//" + q("vcard", "FN")) == "Hecate" and answer.get("from") == room + "/second", text(answer)
    third = people.enter(room, "third")
    answer = third.iq("get", VCARD, to=room + "/second")
    assert answer.findtext(".//" + q("vcard", "FN")) == "Hecate"
    assert bare(second) not in text(answer)
    assert second.pending("iq") == []


def test_vcard_of_a_room(people):
    """Owners set it; hashes are in the information of the room and in a presence, and code 104 tells of it."""
    room = people.room()
    second = people.enter(room, "second")
    people.calm(people.owner)
    photo = b"not really a picture"
    vcard = "<vCard xmlns='vcard-temp'><PHOTO><TYPE>image/png</TYPE><BINVAL>%s</BINVAL></PHOTO></vCard>" % (
        base64.b64encode(photo).decode())
    assert condition(second.iq("get", VCARD, to=room)) == "item-not-found"
    answer = second.iq("set", vcard, to=room)
    assert (condition(answer), error_type(answer)) == ("forbidden", "auth")
    assert people.owner.iq("set", vcard, to=room).get("type") == "result"
    message = second.message()
    assert message.get("from") == room and message.get("type") == "groupchat" and codes(message) == {"104"}
    digest = hashlib.sha1(photo).hexdigest()

    def photo_of(client):
        presence = client.wait(lambda e: local(e) == "presence" and e.get("from") == room)
        return presence.findtext("%s/%s" % (q("vcard-update", "x"), q("vcard-update", "photo")))
    assert photo_of(second) == digest
    outside = people.session()
    assert child(outside.iq("get", VCARD, to=room), "vcard", "vCard") is not None
    info = outside.iq("get", "<query xmlns='%s'/>" % NS["disco#info"], to=room)
    hashes = [f for f in info.iter(q("data", "field")) if f.get("var") == "muc#roominfo_avatarhash"]
    assert [v.text for v in hashes[0]] == [digest]
    enter(outside, room, "third")
    assert photo_of(outside) == digest
    assert people.owner.iq("set", VCARD, to=room).get("type") == "result"
    assert photo_of(outside) in (None, "")
    for wrong, error in (("<PHOTO><BINVAL>%%%</BINVAL></PHOTO>", "bad-request"),
                         ("<NOTE>%s</NOTE>" % ("x" * 70000), "policy-violation")):
        answer = people.owner.iq("set", "<vCard xmlns='vcard-temp'>%s</vCard>" % wrong, to=room)
        assert condition(answer) == error
    answer = outside.iq("get", VCARD, to=DOMAIN)
    assert answer.findtext(".//" + q("vcard", "FN")) == "Rooms & more"


def test_the_vcard_survives(people):
    room = people.room(persistentroom=True)
    assert people.owner.iq("set", "<vCard xmlns='vcard-temp'><FN>Cave</FN></vCard>", to=room).get("type") == "result"
    people.suite.kill("mucd")
    assert people.owner.iq("get", VCARD, to=room).findtext(".//" + q("vcard", "FN")) == "Cave"
