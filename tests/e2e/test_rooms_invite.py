"""Invitations by way of a room, how they are declined (XEP-0045 section 7.8.2), and requests for voice (7.13, 8.6)."""

import pytest

from clients import child, slix  # noqa: F401
from raw import NS, condition, local, q, text
from rooms import (affiliate, bare, codes, configure, enter, form, is_subject, item, people,  # noqa: F401
                   rooms_suite)


def user(message, name):
    """<invite/> or <decline/> of a message of a room."""
    x = child(message, "muc#user", "x")
    return x.find(q("muc#user", name)) if x is not None else None


def send(client, room, payload, id="m1"):
    client.send("<message to='%s' id='%s'>%s</message>" % (room, id, payload))


def invite(client, room, to, inner="", id="m1"):
    send(client, room, "<x xmlns='%s'><invite to='%s'>%s</invite></x>" % (NS["muc#user"], to, inner), id)


def error_of(client, id="m1"):
    return condition(client.wait(lambda e: local(e) == "message" and e.get("id") == id and e.get("type") == "error"))


def handled(client, room):
    """What was sent to the room before has been handled."""
    client.iq("get", "<ping xmlns='%s'/>" % NS["ping"], to=room.partition("@")[2])


def decline(client, room, to, reason="No"):
    send(client, room, "<x xmlns='%s'><decline to='%s'><reason>%s</reason></decline></x>" % (NS["muc#user"], to, reason))


def test_invite_and_decline(people):
    room = people.room()
    guest = people.session()
    invite(people.owner, room, bare(guest), "<reason>Come &amp; see</reason><continue thread='t1'/>")
    message = guest.message()
    assert message.get("from") == room and message.get("type") is None
    found = user(message, "invite")
    assert found.get("from") == bare(people.owner) and found.findtext(q("muc#user", "reason")) == "Come & see"
    assert found.find(q("muc#user", "continue")).get("thread") == "t1"
    assert child(message, "muc#user", "x").find(q("muc#user", "password")) is None
    decline(guest, room, found.get("from"), "Not now")
    message = people.owner.wait(lambda e: user(e, "decline") is not None)
    assert message.get("from") == room
    assert user(message, "decline").get("from") == bare(guest)
    assert user(message, "decline").findtext(q("muc#user", "reason")) == "Not now"


def test_invite_several_who_are_away(people):
    """What nobody reads yet waits, with the password."""
    room = people.room(passwordprotectedroom=True, roomsecret="cauldron & co")
    accounts = people.suite.accounts(2)
    send(people.owner, room, "<x xmlns='%s'>%s</x>" % (NS["muc#user"], "".join(
        "<invite to='%s'/>" % a for a in accounts)))
    people.owner.sync()
    for account in accounts:
        guest = people.session(account)
        x = child(guest.message(), "muc#user", "x")
        password = x.findtext(q("muc#user", "password"))
        assert password == "cauldron & co"
        enter(guest, room, account.partition("@")[0], "<password>cauldron &amp; co</password>")


def test_who_may_invite(people):
    room = people.room()
    second, stranger, guest = people.enter(room, "second"), people.session(), people.suite.account()
    invite(stranger, room, guest)
    assert error_of(stranger) == "not-acceptable"
    invite(second, room, "@@")
    assert error_of(second) == "jid-malformed"
    send(second, room, "<x xmlns='%s'><invite/></x>" % NS["muc#user"])
    assert error_of(second) == "bad-request"
    send(second, people.name(), "<x xmlns='%s'><invite to='%s'/></x>" % (NS["muc#user"], guest))
    assert error_of(second) == "item-not-found"
    affiliate(people.owner, room, guest, "outcast")
    invite(second, room, guest)
    assert error_of(second) == "forbidden"


def test_members_only(people):
    """Admins make members by inviting; members do when the owners say so."""
    room = people.room(membersonly=True)
    member, guest, other = people.suite.account(), people.session(), people.session()
    affiliate(people.owner, room, member, "member")
    member = people.enter(room, "member", member)
    invite(member, room, bare(guest))
    assert error_of(member) == "forbidden"
    invite(people.owner, room, bare(guest))
    assert user(guest.message(), "invite") is not None
    assert item(enter(guest, room, "guest")).get("affiliation") == "member"
    configure(people.owner, room, allowinvites=True)
    invite(member, room, bare(other))
    assert user(other.message(), "invite") is not None
    assert item(enter(other, room, "other")).get("affiliation") == "member"


def test_nobody_has_this_address(people):
    """Who invites an account that does not exist learns so (section 7.8.2), with the id that it knows."""
    room = people.room()
    invite(people.owner, room, "nobody-at-all@localhost", id="lost")
    error = people.owner.wait(lambda e: local(e) == "message" and e.get("type") == "error")
    assert error.get("id") == "lost" and error.get("from") == room
    assert condition(error) in ("item-not-found", "service-unavailable")


def test_invite_an_occupant_of_another_room(people):
    """By the address there, which is all that is known."""
    first = people.room()
    inviter, guest = people.enter(first, "inviter"), people.enter(first, "guest")
    second = people.name()
    enter(inviter, second, "owner")
    configure(inviter, second)
    invite(inviter, second, first + "/guest")
    message = guest.wait(lambda e: user(e, "invite") is not None)
    assert message.get("from") == second and message.get("to").startswith(bare(guest))
    invite(inviter, second, first + "/nobody", id="m2")
    assert error_of(inviter, "m2") == "item-not-found"
    assert bare(guest) not in "".join(text(e) for e in inviter.pending())
    affiliate(inviter, second, bare(guest), "outcast")
    invite(inviter, second, first + "/guest", id="m3")
    handled(inviter, second)
    assert [e for e in inviter.pending("message") if e.get("type") == "error"] == []
    assert guest.pending("message") == []


def test_whom_a_decline_reaches(people):
    """Those in the room, and nobody else: it is no way to write to strangers, nor to find out who is there."""
    room = people.room()
    victim, guest = people.session(), people.session()
    decline(guest, room, bare(victim))
    decline(guest, room, room + "/nobody")
    handled(guest, room)
    assert guest.pending("message") == []
    assert victim.pending("message") == []
    decline(guest, room, room + "/owner")
    assert user(people.owner.wait(lambda e: user(e, "decline") is not None), "decline").get("from") == bare(guest)


ASK = form(NS["muc#request"], {"muc#role": "participant"})


def request_of(message):
    x = child(message, "data", "x")
    return {f.get("var"): f.findtext(q("data", "value")) for f in x.iterfind(q("data", "field"))} if x is not None else {}


def test_voice(people):
    room = people.room(moderatedroom=True)
    visitor = people.enter(room, "visitor")
    people.calm(people.owner)
    send(visitor, room, ASK)
    message = people.owner.wait(lambda e: child(e, "data", "x") is not None)
    assert message.get("from") == room and child(message, "data", "x").get("type") == "form"
    fields = request_of(message)
    assert fields["FORM_TYPE"] == NS["muc#request"] and fields["muc#role"] == "participant"
    assert fields["muc#jid"] == visitor.jid and fields["muc#roomnick"] == "visitor"
    assert fields["muc#request_allow"] in ("0", "false")
    send(visitor, room, ASK, "m2")
    assert error_of(visitor, "m2") == "resource-constraint"
    # Nobody grants itself anything, and what a moderator does not allow does not happen.
    grant = {k: v for k, v in fields.items() if k != "FORM_TYPE"}
    send(visitor, room, form(NS["muc#request"], {**grant, "muc#request_allow": "true"}), "m3")
    assert error_of(visitor, "m3") == "forbidden"
    send(people.owner, room, form(NS["muc#request"], {**grant, "muc#request_allow": "false"}))
    people.owner.sync()
    assert visitor.pending("presence") == []
    send(people.owner, room, form(NS["muc#request"], {**grant, "muc#request_allow": "true"}))
    presence = visitor.presence()
    assert presence.get("from") == room + "/visitor" and item(presence).get("role") == "participant"
    assert "110" in codes(presence)
    visitor.say(room, "I can speak", "groupchat")
    assert people.owner.wait(lambda e: local(e) == "message" and e.get("type") == "groupchat" and not is_subject(e))
    send(visitor, room, ASK, "m4")
    assert error_of(visitor, "m4") == "not-allowed"


def test_voice_of_one_who_has_left(people):
    room = people.room(moderatedroom=True)
    for nick, jid in (("nobody", "a@b.test/r"), ("owner", "a@b.test/r")):
        send(people.owner, room, form(NS["muc#request"], {
            "muc#role": "participant", "muc#jid": jid, "muc#roomnick": nick, "muc#request_allow": "1"}), nick)
        assert error_of(people.owner, nick) == "item-not-found"


@pytest.mark.parametrize("role, error", [("moderator", "bad-request"), ("none", "bad-request")])
def test_no_other_role(people, role, error):
    room = people.room(moderatedroom=True)
    visitor = people.enter(room, "visitor")
    send(visitor, room, form(NS["muc#request"], {"muc#role": role}))
    assert error_of(visitor) == error


def test_slixmpp_invites(people, slix):  # noqa: F811
    """With the library's own words."""
    room = people.room()
    client = slix(people.suite, people.suite.account(), "r", available=0, plugins=("xep_0045",))
    enter(client, room, "slix")
    guest = people.session()
    client.xmpp["xep_0045"].invite(room, bare(guest), reason="Come")
    client.sync()
    assert user(guest.message(), "invite").findtext(q("muc#user", "reason")) == "Come"
