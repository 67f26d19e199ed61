"""Rooms (XEP-0045): entering and its errors, messages to all, subject, nicks, several clients of one user, and what
happens when a process is killed."""

import os
import signal

import pytest

from clients import child
from raw import NS, body, condition, local, text
from rooms import (MUC, People, Refused, affiliate, bare, codes, configure, enter, item, leave,  # noqa: F401
                   people, rooms_suite)
from suite import Suite


def presence(client, sender, kind=None):
    return client.wait(lambda e: local(e) == "presence" and e.get("from") == sender and e.get("type") == kind)


def say(client, room, words, id=None):
    client.send("<message to='%s' type='groupchat' id='%s'><body>%s</body></message>" % (room, id or words, words))


def message(client):
    return client.wait(lambda e: local(e) == "message" and (body(e) is not None or e.get("type") == "error"))


def hear(client, count, seconds=20):
    """The next messages to all, as words."""
    return [body(client.wait(lambda e: local(e) == "message" and e.get("type") == "groupchat" and
                             body(e) is not None, seconds)) for _ in range(count)]


def refused(people, room, nick, x="", client=None):
    client = client or people.session()
    with pytest.raises(Refused) as why:
        enter(client, room, nick, x)
    return why.value.condition


# -- entering -------------------------------------------------------------------------------------------


def test_a_new_room(people):
    """Its maker owns it, and nobody else finds it before it was configured (7.2, 10.1)."""
    room, owner = people.name(), people.session()
    own = enter(owner, room, "owner")
    assert codes(own) == {"110", "170", "201"}
    assert (item(own).get("affiliation"), item(own).get("role")) == ("owner", "moderator")
    assert refused(people, room, "other") == "item-not-found"
    configure(owner, room)
    assert "110" in codes(enter(people.session(), room, "other"))


def test_one_who_knows_no_rooms(people):
    """An entry without <x/>: the room is there at once (groupchat 1.0)."""
    room, old = people.name(), people.session()
    old.send("<presence to='%s/old'/>" % room)
    assert "201" in codes(presence(old, room + "/old"))
    enter(people.session(), room, "new")
    presence(old, room + "/new")


def test_order(people):
    """Presences of the others, the own one, history, subject (7.1)."""
    room = people.room()
    people.enter(room, "a")
    say(people.owner, room, "before")
    message(people.owner)
    client = people.session()
    enter(client, room, "b", "", subject=True)
    came = client.pending()
    assert [local(e) + " " + e.get("from").partition("/")[2] for e in came if e.get("from", "").startswith(room)] == \
        ["presence owner", "presence a", "message owner"]
    assert child(came[-1], "delay", "delay") is not None


def test_errors(people):
    room = people.room(membersonly=True)
    assert refused(people, room, "x") == "registration-required"
    member = people.session()
    affiliate(people.owner, room, bare(member), "member")
    enter(member, room, "member")
    affiliate(people.owner, room, bare(member), "outcast")
    presence(member, room + "/member", "unavailable")
    assert refused(people, room, "member", client=member) == "forbidden"
    room = people.room(passwordprotectedroom=True, roomsecret="cauldron", maxusers="10")
    assert refused(people, room, "x") == "not-authorized"
    assert refused(people, room, "x", "<password>burn</password>") == "not-authorized"
    enter(people.session(), room, "x", "<password>cauldron</password>")
    assert refused(people, room, "x", "<password>cauldron</password>") == "conflict"
    client = people.session()
    client.send("<presence to='%s'><x xmlns='%s'/></presence>" % (room, MUC))
    assert condition(client.wait(lambda e: e.get("type") == "error")) == "jid-malformed"
    assert refused(people, "x@other.localhost", "x") == "not-allowed"
    assert refused(people, people.name(), "n" * 600) == "not-acceptable"


LIES = ("<hats xmlns='urn:xmpp:hats:0'><hat title='Host' uri='urn:host'/></hats><x xmlns='jabber:x:delay' "
        "stamp='20020910T23:08:25'/><delay xmlns='urn:xmpp:delay' stamp='2002-09-10T23:08:25Z'/>"
        "<delay xmlns='urn:xmpp:delay' from='%(room)s' stamp='2002-09-10T23:08:25Z'/>"
        "<stanza-id xmlns='urn:xmpp:sid:0' by='%(room)s' id='forged'/><occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/>")


def test_what_a_room_alone_says(people):
    """Hats, delays and ids in the name of the room are not passed on, however its address is written."""
    room = people.room()
    liar = people.enter(room, "liar")
    lies = LIES % {"room": room.upper()}
    liar.send("<presence to='%s/liar'><show>away</show>%s</presence>" % (room, lies))
    liar.send("<message to='%s' type='groupchat' id='1'><body>to all</body>%s</message>" % (room, lies))
    liar.send("<message to='%s/owner' type='chat' id='2'><body>to one</body>%s</message>" % (room, lies))
    came = [people.owner.wait(lambda e: local(e) == "presence" and e.findtext("{jabber:client}show") == "away")]
    came += [message(people.owner) for _ in range(2)]
    assert sorted(body(e) for e in came[1:]) == ["to all", "to one"]
    for stanza in came:
        written = text(stanza)
        assert "forged" not in written and "hats" not in written and "delay" not in written


def test_full(rooms_suite):
    with Suite(rooms={"rooms.localhost": {"occupants": 2, "joined": 3, "rooms": 4, "rooms-per-user": 3}}) as suite:
        people = People(suite)
        room = people.room()
        people.enter(room, "a")
        assert refused(people, room, "b") == "service-unavailable"
        admin = people.session()
        affiliate(people.owner, room, bare(admin), "admin")
        enter(admin, room, "admin")
        for i in range(2):
            enter(people.owner, people.name(), "owner%d" % i)
        assert refused(people, people.name(), "x", client=people.owner) == "resource-constraint"
        enter(people.session(), people.name(), "x")
        assert refused(people, people.name(), "x") == "resource-constraint"


def test_anonymity(people):
    """Moderators see addresses, others do when the room is not anonymous (100)."""
    room = people.room()
    a, b = people.enter(room, "a"), people.session()
    assert "100" not in codes(enter(b, room, "b"))
    assert item(presence(a, room + "/b")).get("jid") is None
    assert item(presence(people.owner, room + "/b")).get("jid") == b.jid
    room = people.room(whois="anyone")
    a = people.enter(room, "a")
    assert "100" in codes(enter(b, room, "b"))
    assert item(presence(a, room + "/b")).get("jid") == b.jid


def test_hidden_roles(people):
    """Presence of visitors is not shown, but to themselves; when one is given voice it is."""
    room = people.room(moderatedroom=True, presencebroadcast=["moderator", "participant"])
    visitor = people.enter(room, "v")
    other = people.session()
    enter(other, room, "w")
    assert not [e for e in other.pending("presence") if e.get("from") == room + "/v"]
    people.owner.iq("set", "<query xmlns='%s'><item nick='v' role='participant'/></query>" % NS["muc#admin"], to=room)
    assert item(presence(other, room + "/v")).get("role") == "participant"
    people.owner.iq("set", "<query xmlns='%s'><item nick='v' role='visitor'/></query>" % NS["muc#admin"], to=room)
    presence(other, room + "/v", "unavailable")
    presence(visitor, room + "/v")


@pytest.mark.parametrize("history, count", [
    ("", 5), ("<history maxstanzas='2'/>", 2), ("<history maxchars='0'/>", 0), ("<history seconds='600'/>", 5),
    ("<history maxstanzas='0'/>", 0), ("<history since='2100-01-01T00:00:00Z'/>", 0)])
def test_history(people, history, count):
    room = people.room()
    for i in range(5):
        say(people.owner, room, "m%d" % i)
    hear(people.owner, 5)
    client = people.session()
    enter(client, room, "late", history)
    words = [body(m) for m in client.pending("message") if body(m)]
    assert words == ["m%d" % i for i in range(5)][5 - count:]


# -- in a room ------------------------------------------------------------------------------------------


def test_messages(people):
    """All get the same in the same order, with ids of the room; what a client may not say is left out."""
    room = people.room()
    everyone = [people.owner, people.enter(room, "a"), people.enter(room, "b")]
    for i in range(30):
        say(everyone[i % 3], room, "m%d" % i)
    heard = [hear(c, 30) for c in everyone]
    assert heard[0] == heard[1] == heard[2] and sorted(heard[0]) == sorted("m%d" % i for i in range(30))
    assert [m for m in heard[0] if int(m[1:]) % 3 == 1] == ["m%d" % i for i in range(1, 30, 3)]
    everyone[1].send("<message to='%s' type='groupchat'><body>x</body><x xmlns='%s#user'><status code='301'/></x>"
                     "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/></message>" % (room, MUC))
    m = message(people.owner)
    assert child(m, "muc#user", "x") is None and len(child(m, "occupant-id", "occupant-id").get("id")) == 64


def test_voice_and_subject(people):
    room = people.room(moderatedroom=True)
    visitor = people.enter(room, "v")
    say(visitor, room, "x")
    assert condition(message(visitor)) == "forbidden"
    visitor.send("<message to='%s' type='groupchat'><subject>mine</subject></message>" % room)
    assert condition(message(visitor)) == "forbidden"
    people.owner.send("<message to='%s' type='groupchat'><subject>ours</subject></message>" % room)
    visitor.wait(lambda e: "ours" in text(e))
    late = people.session()
    own = enter(late, room, "late", subject=False)
    assert own is not None
    subject = late.wait(lambda e: "ours" in text(e))
    assert subject.get("from") == room + "/owner" and child(subject, "delay", "delay") is not None
    stranger = people.session()
    say(stranger, room, "x")
    assert condition(message(stranger)) == "not-acceptable"


def test_nick(people):
    room = people.room()
    a, b = people.enter(room, "a"), people.enter(room, "b")
    people.calm(a, b, people.owner)
    a.send("<presence to='%s/b'/>" % room)
    assert condition(a.wait(lambda e: e.get("type") == "error")) == "conflict"
    a.send("<presence to='%s/c'/>" % room)
    gone = presence(b, room + "/a", "unavailable")
    assert "303" in codes(gone) and item(gone).get("nick") == "c"
    presence(b, room + "/c")
    assert codes(presence(a, room + "/a", "unavailable")) == {"110", "303"}
    assert "110" in codes(presence(a, room + "/c"))


def test_several_clients(people):
    """One who leaves while others of the same nick stay tells only itself; all of them get what is for the nick."""
    room = people.room()
    first = people.enter(room, "two", resource="1")
    second = people.session(bare(first), "2")
    enter(second, room, "two")
    people.calm(people.owner, first, second)
    people.owner.send("<message to='%s/two' type='chat'><body>psst</body></message>" % room)
    assert body(message(first)) == body(message(second)) == "psst"
    leave(second, room, "two")
    say(first, room, "still")
    assert body(message(people.owner)) == "still"
    assert not [e for e in people.owner.pending("presence") if e.get("type") == "unavailable"]


def test_entering_again(people):
    """One who is in and enters gets all of it again, and the others see no change."""
    room = people.room()
    a = people.enter(room, "a")
    people.calm(people.owner)
    enter(a, room, "a")
    assert [e for e in a.pending("presence") if e.get("from") == room + "/owner"]


def test_private_messages(people):
    room = people.room(allowpm="moderators")
    a = people.enter(room, "a")
    a.send("<message to='%s/owner' type='chat'><body>x</body></message>" % room)
    assert condition(message(a)) == "forbidden"
    people.owner.send("<message to='%s/nobody' type='chat'><body>x</body></message>" % room)
    assert condition(message(people.owner)) == "item-not-found"
    people.owner.send("<message to='%s/a' type='chat'><body>x</body></message>" % room)
    assert message(a).get("from") == room + "/owner"


def test_session_ends(people):
    room = people.room()
    a = people.enter(room, "a")
    a.close()
    presence(people.owner, room + "/a", "unavailable")


def test_rate(people):
    """Ten messages a second, thirty at once; the others are refused, and said to be."""
    room = people.room()
    a = people.enter(room, "a")
    for i in range(60):
        say(a, room, "m%d" % i)
    kinds = [m.get("type") for m in (message(a) for _ in range(60))]
    assert kinds.count("groupchat") >= 30 and kinds.count("error") >= 10


# -- kills ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("process", ["mucd", "router", "archived"])
def test_kills(process):
    """Everybody stays in the room, no entry is repeated, nothing is lost or comes twice, and the order is the same for
    all."""
    with Suite(rooms={"rooms.localhost": {"message-rate": 0}}) as suite:
        people = People(suite)
        room = people.room(persistentroom=True)
        everyone = [people.owner, people.enter(room, "a"), people.enter(room, "b")]
        people.calm(*everyone)
        for n in range(3):
            for i in range(40):
                say(everyone[i % 3], room, "%d-%d" % (n, i))
            suite.kill(process)
            for i in range(40, 60):
                say(everyone[i % 3], room, "%d-%d" % (n, i))
        heard = [hear(c, 180, 30) for c in everyone]
        assert len(set(heard[0])) == 180
        assert heard[0] == heard[1] == heard[2]
        for n in range(3):
            for k in range(3):
                mine = [w for w in heard[0] if w.startswith("%d-" % n) and int(w.split("-")[1]) % 3 == k]
                assert mine == ["%d-%d" % (n, i) for i in range(k, 60, 3)]
        for c in everyone:
            c.sync()
            assert not [e for e in c.pending() if local(e) == "presence" or body(e)]


def test_router_restarts_without_mucd():
    """A router that was started while mucd is away takes a domain of rooms for nobody else's: what is said waits."""
    with Suite(rooms={"rooms.localhost": {}}) as suite:
        people = People(suite)
        room = people.room(persistentroom=True)
        a = people.enter(room, "a")
        people.calm(people.owner, a)
        suite.kill("mucd")
        suite.kill("mucd", wait=False)      # it is started again after a second
        suite.kill("router")
        say(a, room, "is anybody there")
        assert body(message(people.owner)) == "is anybody there"
        assert message(a).get("type") == "groupchat"


def test_gone_while_away(people, rooms_suite):
    """A session that has ended while mucd was away is noticed when it is back."""
    with Suite(rooms={"rooms.localhost": {}}) as suite:
        people = People(suite)
        room = people.room(persistentroom=True)
        a = people.enter(room, "a")
        people.calm(people.owner)
        pid = [p["pid"] for p in suite.ctl("status") if p["process"] == "mucd"][0]
        os.kill(pid, signal.SIGSTOP)
        a.close()
        os.kill(pid, signal.SIGCONT)
        suite.kill("mucd")
        presence(people.owner, room + "/a", "unavailable")


def test_reload():
    """A domain that is added restarts the daemon; everybody stays in the rooms."""
    with Suite(rooms={"rooms.localhost": {}}) as suite:
        people, more = People(suite), People(suite, "more.localhost")
        room = people.room(persistentroom=True)
        a = people.enter(room, "a")
        people.calm(people.owner)
        suite.rooms = {"rooms.localhost": {}, "more.localhost": {}}
        suite.write_config()
        suite.killed["mucd"] = 1
        suite.ctl("reload")
        assert more.room()
        say(a, room, "still here")
        assert body(message(people.owner)) == "still here"
        assert not people.owner.pending("presence")
