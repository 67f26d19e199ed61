"""Owners of rooms (XEP-0045 section 10): creating, configuring and destroying, the lists of owners and admins."""

import pytest

from raw import NS, condition, local, q, text
from rooms import (Refused, affiliate, bare, codes, configure, enter, form, item, leave, people,  # noqa: F401
                   rooms_suite)
from suite import wait_until

OWNER = "<query xmlns='%s'>%%s</query>" % NS["muc#owner"]
ROOMCONFIG = "http://jabber.org/protocol/muc#roomconfig"


def get_form(client, room):
    return client.iq("get", OWNER % "", to=room)


def fields(answer):
    """name without prefix -> (type, values, options)."""
    return {f.get("var").replace("muc#roomconfig_", "").replace("muc#", ""):
            (f.get("type"), [v.text or "" for v in f.findall(q("data", "value"))],
             [o.findtext(q("data", "value")) for o in f.findall(q("data", "option"))])
            for f in answer.iter(q("data", "field"))}


def submit(client, room, **values):
    named = {("muc#" if name == "maxhistoryfetch" else "muc#roomconfig_") + name: value
             for name, value in values.items()}
    return client.iq("set", OWNER % form(ROOMCONFIG, named), to=room)


def announcement(client, room):
    """The status codes of the next message of the room itself."""
    return codes(client.wait(lambda e: local(e) == "message" and e.get("from") == room and codes(e)))


def gone(client, room, nick):
    return client.wait(lambda e: local(e) == "presence" and e.get("from") == "%s/%s" % (room, nick) and
                       e.get("type") == "unavailable")


def seen(client, room, nick):
    return client.wait(lambda e: local(e) == "presence" and e.get("from") == "%s/%s" % (room, nick) and
                       e.get("type") is None)


def new_room(people):
    """One that waits for its configuration, and its owner."""
    owner, room = people.session(), people.name()
    own = enter(owner, room, "owner")
    assert codes(own) >= {"110", "201"} and item(own).get("affiliation") == "owner"
    return owner, room


# -- 10.1 ----------------------------------------------------------------------------------------


def test_instant_room(people):
    owner, room = new_room(people)
    with pytest.raises(Refused) as reason:
        enter(people.session(), room, "other")
    assert reason.value.condition == "item-not-found"
    answer = owner.iq("set", OWNER % "<x xmlns='jabber:x:data' type='submit'/>", to=room)
    assert answer.get("type") == "result", text(answer)
    people.enter(room, "other")


def test_reserved_room(people):
    owner, room = new_room(people)
    offered = fields(get_form(owner, room))
    assert offered["FORM_TYPE"][1] == [ROOMCONFIG]
    # Each field of the registry.
    assert {"maxhistoryfetch", "allowpm", "allowinvites", "changesubject", "enablelogging", "getmemberlist", "lang",
            "pubsub", "maxusers", "membersonly", "moderatedroom", "passwordprotectedroom", "persistentroom",
            "presencebroadcast", "publicroom", "roomadmins", "roomdesc", "roomname", "roomowners", "roomsecret",
            "whois"} <= set(offered)
    assert offered["roomowners"] == ("jid-multi", [bare(owner)], [])
    answer = submit(owner, room, roomname="A Dark Cave", roomdesc="The place for all good witches!", lang="en",
                    persistentroom=True, roomadmins=["wiccarocks@localhost", "hecate@localhost"], maxusers="10",
                    passwordprotectedroom=True, roomsecret="cauldronburn")
    assert answer.get("type") == "result", text(answer)
    kept = fields(get_form(owner, room))
    assert kept["roomname"][1] == ["A Dark Cave"] and kept["maxusers"][1] == ["10"]
    assert kept["roomadmins"][1] == ["wiccarocks@localhost", "hecate@localhost"]
    assert kept["roomsecret"] == ("text-private", ["cauldronburn"], [])
    with pytest.raises(Refused) as reason:
        enter(people.session(), room, "x")
    assert reason.value.condition == "not-authorized"
    enter(people.session(), room, "x", "<password>cauldronburn</password>")


def test_cancelled_at_first(people):
    owner, room = new_room(people)
    answer = owner.iq("set", OWNER % "<x xmlns='jabber:x:data' type='cancel'/>", to=room)
    assert answer.get("type") == "result"
    assert gone(owner, room, "owner").find("%s/%s" % (q("muc#user", "x"), q("muc#user", "destroy"))) is not None
    assert condition(get_form(owner, room)) == "item-not-found"


def test_left_before_it_was_configured(people):
    owner, room = new_room(people)
    leave(owner, room, "owner")
    assert condition(get_form(owner, room)) == "item-not-found"


@pytest.mark.parametrize("values", [
    {"passwordprotectedroom": True}, {"passwordprotectedroom": True, "roomsecret": ""}, {"lang": "not a tag"},
    {"maxusers": "0"}, {"maxusers": "100000"}, {"maxusers": "many"}, {"whois": "nobody"}, {"allowpm": "owners"},
    {"membersonly": "maybe"}, {"presencebroadcast": ["owner"]}, {"roomadmins": ["@"]}, {"roomadmins": ["localhost"]},
    {"maxhistoryfetch": "100000"}, {"maxhistoryfetch": "-1"}, {"roomname": ["a", "b"]}, {"roomname": "x" * 1025},
    {"pubsub": "http://localhost/"}, {"roomname": "two\nlines"},
], ids=str)
def test_unacceptable(people, values):
    owner, room = new_room(people)
    answer = submit(owner, room, roomdesc="not kept", **values)
    assert condition(answer) == "not-acceptable"
    assert answer.find(".//" + q("stanzas", "text")).text
    assert fields(get_form(owner, room))["roomdesc"][1] == []
    with pytest.raises(Refused):  # it waits still
        enter(people.session(), room, "other")


def test_other_forms(people):
    owner, room = new_room(people)
    for content in ("", "<x xmlns='jabber:x:data'/>", "<x xmlns='jabber:x:data' type='form'/>",
                    form("http://jabber.org/protocol/muc#register", {"a": "b"}),
                    "<x xmlns='jabber:x:data' type='submit'><field var='a'/><field var='a'/></x>"):
        assert condition(owner.iq("set", OWNER % content, to=room)) == "bad-request"
    assert submit(owner, room, unheard_of="x").get("type") == "result"  # is ignored


# -- 10.2 ----------------------------------------------------------------------------------------


def test_who_configures(people):
    room = people.room()
    admin = people.enter(room, "admin")
    affiliate(people.owner, room, bare(admin), "admin")
    for client in admin, people.session():
        assert condition(get_form(client, room)) == "forbidden"
        assert condition(submit(client, room, roomname="x")) == "forbidden"
        assert condition(client.iq("set", OWNER % "<destroy/>", to=room)) == "forbidden"
    assert people.owner.iq("set", OWNER % "<x xmlns='jabber:x:data' type='cancel'/>", to=room).get("type") == "result"
    admin.say(room, "it is still there", "groupchat")
    assert people.owner.wait(lambda e: e.findtext(q("client", "body")) == "it is still there") is not None


def test_changes_are_told(people):
    room = people.room()
    other = people.enter(room, "other")
    owner = people.owner
    for values, expected in (({"roomname": "Cave"}, {"104"}), ({"whois": "anyone"}, {"172"}),
                             ({"whois": "moderators"}, {"173"}), ({"enablelogging": False}, {"171"}),
                             ({"enablelogging": True, "roomname": "Den"}, {"170", "104"})):
        configure(owner, room, **values)
        assert announcement(other, room) == expected
    assert submit(owner, room, roomname="Den").get("type") == "result"
    configure(owner, room, roomname="Lair")
    assert announcement(other, room) == {"104"}  # nothing was told of what has not changed
    assert not [e for e in other.pending("message") if codes(e)]


def test_members_only_now(people):
    room = people.room()
    member, other = people.enter(room, "member"), people.enter(room, "other")
    affiliate(people.owner, room, bare(member), "member")
    configure(people.owner, room, membersonly=True)
    own = gone(other, room, "other")
    assert codes(own) == {"322", "110"}
    assert codes(gone(member, room, "other")) == {"322"}
    member.say(room, "I stay", "groupchat")
    assert people.owner.wait(lambda e: e.findtext(q("client", "body")) == "I stay") is not None


def test_lists_in_the_form(people):
    room = people.room()
    admin, second = people.enter(room, "admin"), people.enter(room, "second")
    owner = people.owner
    configure(owner, room, roomadmins=[bare(admin)])
    own = item(seen(admin, room, "admin"))
    assert (own.get("affiliation"), own.get("role")) == ("admin", "moderator")
    configure(owner, room, roomadmins=[])
    own = item(seen(admin, room, "admin"))
    assert (own.get("affiliation"), own.get("role")) == ("none", "participant")
    assert condition(submit(owner, room, roomowners=[])) == "conflict"
    configure(owner, room, roomowners=[bare(second)])
    assert item(seen(second, room, "second")).get("affiliation") == "owner"
    assert item(seen(owner, room, "owner")).get("affiliation") == "admin"
    assert condition(get_form(owner, room)) == "forbidden"
    assert fields(get_form(second, room))["roomadmins"][1] == [bare(owner)]


def test_roles_that_are_not_shown(people):
    room = people.room(moderatedroom=True)
    visitor = people.enter(room, "visitor")
    owner = people.owner
    configure(owner, room, presencebroadcast=["moderator", "participant"])
    gone(owner, room, "visitor")
    configure(owner, room, presencebroadcast=["moderator", "participant", "visitor"])
    seen(owner, room, "visitor")
    assert visitor.pending("presence") == []


# -- 10.3 to 10.8 --------------------------------------------------------------------------------


def test_owners_and_admins(people):
    room = people.room(whois="anyone")
    second, admin = people.enter(room, "second"), people.enter(room, "admin")
    owner = people.owner
    affiliate(owner, room, second.jid, "owner")  # of its bare address
    assert item(seen(second, room, "second")).get("affiliation") == "owner"
    affiliate(owner, room, bare(admin), "admin")
    absent = people.session()
    affiliate(second, room, bare(absent), "owner")
    told = admin.wait(lambda e: local(e) == "message" and e.get("from") == room and item(e) is not None)
    assert (item(told).get("jid"), item(told).get("affiliation"), item(told).get("role")) == (
        bare(absent), "owner", "none")

    def refused(client, jid, affiliation):
        return condition(client.iq("set", "<query xmlns='%s'><item jid='%s' affiliation='%s'/></query>" % (
            NS["muc#admin"], jid, affiliation), to=room))
    assert refused(admin, bare(admin), "owner") == "forbidden"
    assert refused(admin, bare(absent), "admin") == "forbidden"
    assert refused(admin, "x@localhost", "admin") == "forbidden"
    affiliate(owner, room, bare(absent), "none")
    affiliate(owner, room, bare(second), "admin")
    assert refused(owner, bare(owner), "admin") == "conflict"
    affiliate(owner, room, bare(second), "owner")
    affiliate(owner, room, bare(owner), "none")  # there is another one
    assert refused(owner, bare(second), "none") == "forbidden"


# -- 10.9 ----------------------------------------------------------------------------------------


def test_destroy(people):
    room = people.room(persistentroom=True)
    other = people.enter(room, "other")
    owner = people.owner
    assert condition(owner.iq("set", OWNER % "<destroy jid='@'/>", to=room)) == "jid-malformed"
    answer = owner.iq("set", OWNER % "<destroy jid='coven@rooms.localhost'><reason>Macbeth doth come.</reason>"
                      "<password>p</password></destroy>", to=room)
    assert answer.get("type") == "result", text(answer)
    for client, nick in (other, "other"), (owner, "owner"):
        own = gone(client, room, nick)
        destroy = own.find("%s/%s" % (q("muc#user", "x"), q("muc#user", "destroy")))
        assert destroy.get("jid") == "coven@rooms.localhost"
        assert destroy.findtext(q("muc#user", "reason")) == "Macbeth doth come."
        assert destroy.findtext(q("muc#user", "password")) == "p"
        assert (item(own).get("affiliation"), item(own).get("role")) == ("none", "none")
        # To each only its own.
        assert not [e for e in client.pending("presence") if e.get("type") == "unavailable"]
    assert condition(get_form(owner, room)) == "item-not-found"
    own = enter(other, room, "mine")  # the name is free
    assert "201" in codes(own)


# -- what is kept --------------------------------------------------------------------------------


def test_kept_over_the_death_of_mucd(people, rooms_suite):
    room = people.room(persistentroom=True, roomname="Kept", moderatedroom=True)
    owner, witch = people.owner, people.enter(room, "witch")
    affiliate(owner, room, bare(witch), "admin")
    seen(witch, room, "witch")
    configure(owner, room, roomdesc="also kept")
    rooms_suite.kill("mucd")
    wait_until(lambda: "description" and fields(get_form(owner, room)).get("roomdesc"), message="mucd is back")
    kept = fields(get_form(owner, room))
    assert kept["roomname"][1] == ["Kept"] and kept["roomdesc"][1] == ["also kept"]
    assert kept["moderatedroom"][1] == ["1"] and kept["roomadmins"][1] == [bare(witch)]


def test_admins_of_the_domain_are_owners(people, programs):
    from rooms import People
    from suite import Suite
    with Suite(rooms={"rooms.localhost": {"admins": ["boss@localhost"], "rooms-per-user": 2}}) as suite:
        suite.account("boss")
        those = People(suite)
        room = those.room()
        boss = suite.login("boss@localhost", available=0)
        assert fields(get_form(boss, room))["roomowners"][1] == [bare(those.owner)]
        own = enter(boss, room, "boss")
        assert (item(own).get("affiliation"), item(own).get("role")) == ("owner", "moderator")
        answer = those.owner.iq("set", "<query xmlns='%s'><item jid='boss@localhost' affiliation='outcast'/></query>" %
                                NS["muc#admin"], to=room)
        assert condition(answer) == "not-allowed"
        # As many rooms as one may have.
        again, third = those.name(), those.name()
        enter(those.owner, again, "x")
        with pytest.raises(Refused) as reason:
            enter(those.owner, third, "x")
        assert reason.value.condition in ("not-allowed", "resource-constraint")
