"""Moderators and admins of rooms (XEP-0045 sections 8 and 9): each use case of muc#admin, and each of its errors."""

import pytest

from raw import NS, condition, error_type, local, q, text
from rooms import Refused, affiliate, bare, codes, configure, enter, form, item, people, rooms_suite  # noqa: F401

ADMIN = "<query xmlns='%s'>%%s</query>" % NS["muc#admin"]


def change(client, room, *items):
    """Asks for changes; the answer."""
    return client.iq("set", ADMIN % "".join(items), to=room)


def changed(client, room, *items):
    answer = change(client, room, *items)
    assert answer.get("type") == "result", text(answer)


def refused(client, room, *items):
    """The condition with which a change is refused."""
    answer = change(client, room, *items)
    assert answer.get("type") == "error", text(answer)
    return condition(answer)


def items(client, room, which):
    """A list of the room, attributes of each item; or the condition with which it is refused."""
    answer = client.iq("get", ADMIN % ("<item %s/>" % which), to=room)
    if answer.get("type") == "error":
        return condition(answer)
    return [dict(i.attrib) for i in answer.find(q("muc#admin", "query"))]


def seen(client, room, nick, kind=None):
    """The next presence of an occupant."""
    return client.wait(lambda e: local(e) == "presence" and e.get("from") == "%s/%s" % (room, nick) and
                       e.get("type") == kind)


def gone(client, room, nick):
    return seen(client, room, nick, "unavailable")


def detail(presence, name):
    return item(presence).find(q("muc#user", name))


@pytest.fixture
def room(people):
    return people.room()


# -- section 8 -----------------------------------------------------------------------------------


def test_kick(people, room):
    witch, other = people.enter(room, "witch"), people.enter(room, "other")
    changed(people.owner, room, "<item nick='witch' role='none'><reason>Avaunt, you cullion!</reason></item>")
    own = gone(witch, room, "witch")
    assert codes(own) == {"307", "110"}
    assert item(own).get("role") == "none" and item(own).get("affiliation") == "none"
    assert detail(own, "reason").text == "Avaunt, you cullion!" and detail(own, "actor").get("nick") == "owner"
    assert codes(gone(other, room, "witch")) == {"307"}
    enter(witch, room, "witch")  # a kick is no ban


def test_kick_refused(people, room):
    mod, admin, some = people.enter(room, "mod"), people.enter(room, "admin"), people.enter(room, "some")
    changed(people.owner, room, "<item nick='mod' role='moderator'/>")
    affiliate(people.owner, room, bare(admin), "admin")
    assert refused(some, room, "<item nick='mod' role='none'/>") == "forbidden"
    assert refused(mod, room, "<item nick='admin' role='none'/>") == "not-allowed"
    assert refused(admin, room, "<item nick='owner' role='none'/>") == "not-allowed"
    assert refused(mod, room, "<item nick='nobody' role='none'/>") == "item-not-found"
    outside = people.session()
    assert refused(outside, room, "<item nick='some' role='none'/>") == "forbidden"
    changed(mod, room, "<item nick='mod' role='none'/>")
    assert codes(gone(mod, room, "mod")) == {"307", "110"}


def test_voice(people):
    room = people.room(moderatedroom=True)
    witch = people.enter(room, "witch")
    owner = people.owner
    witch.say(room, "may I?", "groupchat")
    assert condition(witch.wait(lambda e: local(e) == "message" and e.get("type") == "error")) == "forbidden"
    changed(owner, room, "<item nick='witch' role='participant'><reason>A worthy witch indeed!</reason></item>")
    own = seen(witch, room, "witch")
    assert item(own).get("role") == "participant" and detail(own, "reason").text == "A worthy witch indeed!"
    witch.say(room, "I may", "groupchat")
    assert owner.message().find(q("client", "body")).text == "I may"
    changed(owner, room, "<item nick='witch' role='visitor'/>")
    assert item(seen(witch, room, "witch")).get("role") == "visitor"
    affiliate(owner, room, bare(witch), "admin")
    assert item(seen(witch, room, "witch")).get("role") == "moderator"
    assert refused(owner, room, "<item nick='witch' role='visitor'/>") == "not-allowed"
    assert refused(owner, room, "<item nick='witch' role='participant'/>") == "not-allowed"


def test_voice_list(people):
    room = people.room(moderatedroom=True)
    one, two = people.enter(room, "one"), people.enter(room, "two")
    owner = people.owner
    assert items(owner, room, "role='participant'") == []
    changed(owner, room, "<item nick='one' role='participant'/>", "<item nick='two' role='participant'/>")
    listed = items(owner, room, "role='participant'")
    assert {(i["nick"], i["jid"], i["role"], i["affiliation"]) for i in listed} == {
        ("one", one.jid, "participant", "none"), ("two", two.jid, "participant", "none")}
    assert items(one, room, "role='participant'") == "forbidden"
    # All of it, or nothing.
    assert refused(owner, room, "<item nick='one' role='visitor'/>", "<item nick='owner' role='visitor'/>") == \
        "not-allowed"
    assert len(items(owner, room, "role='participant'")) == 2


# -- section 9 -----------------------------------------------------------------------------------


def test_ban(people, room):
    witch, other = people.enter(room, "witch"), people.enter(room, "other")
    owner = people.owner
    changed(owner, room, "<item affiliation='outcast' jid='%s'><reason>Treason</reason></item>" % witch.jid)
    own = gone(witch, room, "witch")
    assert codes(own) == {"301", "110"} and item(own).get("affiliation") == "outcast"
    assert detail(own, "reason").text == "Treason" and detail(own, "actor").get("nick") == "owner"
    assert codes(gone(other, room, "witch")) == {"301"}
    with pytest.raises(Refused) as reason:
        enter(witch, room, "witch")
    assert reason.value.condition == "forbidden"
    assert items(owner, room, "affiliation='outcast'") == [{"affiliation": "outcast", "jid": bare(witch)}]
    changed(owner, room, "<item affiliation='none' jid='%s'/>" % bare(witch))
    assert items(owner, room, "affiliation='outcast'") == []
    enter(witch, room, "witch")


def test_ban_of_who_is_not_there(people, room):
    stranger = people.session()
    mod = people.enter(room, "mod")
    changed(people.owner, room, "<item nick='mod' role='moderator'/>")
    seen(mod, room, "mod")
    changed(people.owner, room, "<item affiliation='outcast' jid='%s'><reason>So</reason></item>" % bare(stranger))
    told = mod.wait(lambda e: local(e) == "message" and e.get("from") == room)
    assert item(told).get("jid") == bare(stranger) and item(told).get("affiliation") == "outcast"
    assert item(told).get("role") == "none" and detail(told, "reason").text == "So"
    with pytest.raises(Refused):
        enter(stranger, room, "x")


def test_ban_of_a_domain(people, room, rooms_suite):
    witch = people.enter(room, "witch", account=rooms_suite.account(domain="example.test"))
    member = people.enter(room, "member", account=rooms_suite.account(domain="example.test"))
    affiliate(people.owner, room, bare(member), "member")
    changed(people.owner, room, "<item affiliation='outcast' jid='example.test'/>")
    assert codes(gone(witch, room, "witch")) == {"301", "110"}
    with pytest.raises(Refused):
        enter(witch, room, "witch")
    member.say(room, "still here", "groupchat")
    assert people.owner.message().find(q("client", "body")).text == "still here"
    assert refused(people.owner, room, "<item affiliation='owner' jid='example.test'/>") == "not-acceptable"


def test_ban_refused(people, room):
    admin, some = people.enter(room, "admin"), people.enter(room, "some")
    owner = people.owner
    affiliate(owner, room, bare(admin), "admin")
    assert refused(admin, room, "<item affiliation='outcast' jid='%s'/>" % bare(owner)) == "not-allowed"
    assert refused(admin, room, "<item affiliation='outcast' jid='%s'/>" % bare(admin)) == "conflict"
    assert refused(owner, room, "<item affiliation='outcast' jid='%s'/>" % bare(owner)) == "conflict"
    assert refused(some, room, "<item affiliation='outcast' jid='%s'/>" % bare(admin)) == "forbidden"
    assert refused(admin, room, "<item affiliation='outcast' jid='%s'/>" % bare(some),
                   "<item affiliation='outcast' jid='%s'/>" % bare(owner)) == "not-allowed"
    assert items(admin, room, "affiliation='outcast'") == []


def test_members(people, room):
    witch = people.enter(room, "witch")
    owner = people.owner
    changed(owner, room, "<item affiliation='member' jid='%s' nick='thirdwitch'/>" % bare(witch))
    assert item(seen(witch, room, "witch")).get("affiliation") == "member"
    assert items(owner, room, "affiliation='member'") == [
        {"affiliation": "member", "jid": bare(witch), "nick": "thirdwitch", "role": "participant"}]
    with pytest.raises(Refused) as reason:  # the nick is reserved
        enter(people.session(), room, "thirdwitch")
    assert reason.value.condition == "conflict"
    changed(owner, room, "<item affiliation='none' jid='%s'/>" % bare(witch))
    assert item(seen(witch, room, "witch")).get("affiliation") == "none"
    people.enter(room, "thirdwitch")


def test_member_of_a_members_only_room(people):
    room = people.room(membersonly=True)
    owner, witch = people.owner, people.session()
    witch.available()
    with pytest.raises(Refused) as reason:
        enter(witch, room, "witch")
    assert reason.value.condition == "registration-required"
    changed(owner, room, "<item affiliation='member' jid='%s'/>" % bare(witch))
    invitation = witch.wait(lambda e: local(e) == "message" and e.get("from") == room)
    assert invitation.find("%s/%s" % (q("muc#user", "x"), q("muc#user", "invite"))).get("from") == bare(owner)
    enter(witch, room, "witch")
    changed(owner, room, "<item affiliation='none' jid='%s'/>" % bare(witch))
    own = gone(witch, room, "witch")
    assert codes(own) == {"321", "110"} and item(own).get("affiliation") == "none"
    assert codes(gone(owner, room, "witch")) == {"321"}


def test_who_reads_the_lists(people):
    room = people.room()
    owner, admin, member, some = (people.owner, people.enter(room, "admin"), people.enter(room, "member"),
                                  people.enter(room, "some"))
    affiliate(owner, room, bare(admin), "admin")
    affiliate(owner, room, bare(member), "member")
    outside = people.session()
    assert items(admin, room, "affiliation='member'")[0]["jid"] == bare(member)
    assert items(admin, room, "affiliation='owner'") == "forbidden"
    for client in member, some, outside:
        for affiliation in "owner", "admin", "member", "outcast":
            assert items(client, room, "affiliation='%s'" % affiliation) == "forbidden"
    assert items(admin, room, "role='moderator'")
    configure(owner, room, whois="anyone")
    for client in admin, member, some:
        assert items(client, room, "affiliation='owner'")[0]["jid"] == bare(owner)
        assert items(client, room, "affiliation='member'")[0]["jid"] == bare(member)
    assert items(some, room, "affiliation='outcast'") == "forbidden"
    assert items(outside, room, "affiliation='member'") == "forbidden"
    configure(owner, room, getmemberlist=["moderator"])
    assert items(some, room, "affiliation='member'") == "forbidden"


def test_moderators(people, room):
    admin, witch = people.enter(room, "admin"), people.enter(room, "witch")
    owner = people.owner
    affiliate(owner, room, bare(admin), "admin")
    assert refused(witch, room, "<item nick='witch' role='moderator'/>") == "forbidden"
    changed(admin, room, "<item nick='witch' role='moderator'/>")
    assert item(seen(witch, room, "witch")).get("role") == "moderator"
    assert {i["nick"] for i in items(admin, room, "role='moderator'")} == {"owner", "admin", "witch"}
    assert items(witch, room, "role='moderator'") == "forbidden"
    changed(admin, room, "<item nick='witch' role='participant'/>")
    assert item(seen(witch, room, "witch")).get("role") == "participant"
    assert refused(admin, room, "<item nick='owner' role='participant'/>") == "not-allowed"


@pytest.mark.parametrize("what, error", [
    ("", "bad-request"), ("<item/>", "bad-request"), ("<item role='none'/>", "bad-request"),
    ("<item role='king' nick='owner'/>", "bad-request"), ("<item affiliation='king' jid='a@b'/>", "bad-request"),
    ("<item affiliation='member'/>", "bad-request"), ("<item affiliation='member' jid='@'/>", "jid-malformed"),
    ("<item affiliation='member' role='visitor' nick='owner' jid='a@localhost'/>", "bad-request"),
    ("<item affiliation='member' jid='a@localhost'/><item affiliation='admin' jid='A@localhost'/>", "bad-request"),
    ("<item affiliation='member' jid='a@localhost' nick='owner'/>", "conflict"),
    ("<item affiliation='member' jid='a@localhost'><reason>%s</reason></item>" % ("x" * 1025), "not-acceptable"),
    ("<item role='visitor' nick='nobody'/>", "item-not-found"),
], ids=str)
def test_malformed(people, room, what, error):
    answer = change(people.owner, room, what)
    assert condition(answer) == error and error_type(answer) in ("modify", "cancel")
    assert items(people.owner, room, "affiliation='member'") == []


def test_no_such_room(people):
    client = people.session()
    assert refused(client, people.name(), "<item nick='x' role='none'/>") == "item-not-found"


def test_several_clients_of_one_user_leave_together(people, room, rooms_suite):
    account = rooms_suite.account()
    one, two = people.enter(room, "both", account, "a"), people.enter(room, "both", account, "b")
    changed(people.owner, room, "<item nick='both' role='none'/>")
    assert "307" in codes(gone(one, room, "both")) and "307" in codes(gone(two, room, "both"))
    left = gone(people.owner, room, "both")
    assert codes(left) == {"307"}


# -- registration (7.10, 9.9) ----------------------------------------------------------------------


REGISTER = "<query xmlns='jabber:iq:register'>%s</query>"


def registration(nick):
    return REGISTER % form("http://jabber.org/protocol/muc#register", {"muc#register_roomnick": nick})


def test_registration(people, room):
    witch = people.enter(room, "witch")
    answer = witch.iq("get", REGISTER % "", to=room)
    fields = {f.get("var") for f in answer.iter(q("data", "field"))}
    assert {"FORM_TYPE", "muc#register_roomnick", "muc#register_email", "muc#register_faqentry"} <= fields
    assert condition(witch.iq("set", REGISTER % "", to=room)) == "bad-request"
    assert condition(witch.iq("set", registration("owner"), to=room)) == "conflict"
    assert witch.iq("set", registration("hag"), to=room).get("type") == "result"
    assert item(seen(witch, room, "witch")).get("affiliation") == "member"
    answer = witch.iq("get", REGISTER % "", to=room)
    assert answer.find("%s/%s" % (q("register", "query"), q("register", "registered"))) is not None
    assert answer.find("%s/%s" % (q("register", "query"), q("register", "username"))).text == "hag"
    assert condition(people.session().iq("set", registration("hag"), to=room)) == "conflict"
    assert witch.iq("set", REGISTER % "<remove/>", to=room).get("type") == "result"
    assert item(seen(witch, room, "witch")).get("affiliation") == "none"
    assert condition(witch.iq("get", REGISTER % "", to=people.name())) == "item-not-found"
    affiliate(people.owner, room, bare(witch), "outcast")
    assert condition(witch.iq("get", REGISTER % "", to=room)) == "not-allowed"


def test_registration_is_approved(people):
    room = people.room(membersonly=True)
    owner, witch = people.owner, people.session()
    owner.available()
    assert witch.iq("set", registration("hag"), to=room).get("type") == "result"
    asked = owner.wait(lambda e: local(e) == "message" and e.find(q("data", "x")) is not None)
    values = {f.get("var"): f.findtext(q("data", "value")) for f in asked.iter(q("data", "field"))}
    assert values["muc#register_roomnick"] == "hag" and values["muc#register_allow"] == "0"
    assert bare(witch) in values.values()
    assert condition(witch.iq("set", registration("hag"), to=room)) == "resource-constraint"
    with pytest.raises(Refused):
        enter(witch, room, "hag")
    form_type = values.pop("FORM_TYPE")
    witch.send("<message to='%s'>%s</message>" % (room, form(form_type, {**values, "muc#register_allow": "1"})))
    assert condition(witch.message()) == "forbidden"
    owner.send("<message to='%s'>%s</message>" % (room, form(form_type, {**values, "muc#register_allow": "1"})))
    told = owner.wait(lambda e: local(e) == "message" and e.get("from") == room and item(e) is not None)
    assert item(told).get("affiliation") == "member" and item(told).get("jid") == bare(witch)
    enter(witch, room, "hag")


def test_reserved_nick_is_used(people):
    """Where the room says so, who has reserved a nick gets it whatever it asks for, and cannot take another."""
    room = people.room(reservednicks=True)
    witch, other = people.session(), people.enter(room, "other")
    assert witch.iq("set", registration("hag"), to=room).get("type") == "result"
    own = enter(witch, room, "crone")
    assert own.get("from") == room + "/hag" and codes(own) >= {"110", "210"}
    assert codes(seen(other, room, "hag")) == set()
    witch.send("<presence to='%s/crone'/>" % room)
    refused = witch.wait(lambda e: local(e) == "presence" and e.get("type") == "error")
    assert condition(refused) == "not-acceptable"
    with pytest.raises(Refused) as reason:
        enter(people.session(), room, "hag")
    assert reason.value.condition == "conflict"
