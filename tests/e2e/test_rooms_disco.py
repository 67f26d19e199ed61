"""Service discovery of rooms, their domain and their occupants (XEP-0045 section 6), with raw clients and slixmpp."""

import pytest

from clients import slix  # noqa: F401
from raw import NS, condition, q, text
from rooms import DOMAIN, affiliate, bare, codes, configure, enter, leave, people, rooms_suite  # noqa: F401

INFO = "<query xmlns='%s'/>" % NS["disco#info"]
ITEMS = "<query xmlns='%s'/>" % NS["disco#items"]


def info(client, to, node=None):
    answer = client.iq("get", "<query xmlns='%s'%s/>" % (NS["disco#info"], " node='%s'" % node if node else ""), to=to)
    assert answer.get("type") == "result", text(answer)
    query = answer[0]
    features = {f.get("var") for f in query.iterfind(q("disco#info", "feature"))}
    names = [i.get("name") for i in query.iterfind(q("disco#info", "identity"))]
    fields = {f.get("var"): [v.text for v in f.iterfind(q("data", "value"))]
              for f in query.iterfind("%s/%s" % (q("data", "x"), q("data", "field")))}
    return features, names, fields


def items(client, to, rsm=None):
    """JIDs and names of all items, and the set."""
    payload = ITEMS if rsm is None else "<query xmlns='%s'><set xmlns='%s'>%s</set></query>" % (
        NS["disco#items"], NS["rsm"], rsm)
    answer = client.iq("get", payload, to=to)
    assert answer.get("type") == "result", text(answer)
    return {i.get("jid"): i.get("name") for i in answer[0].iterfind(q("disco#items", "item"))}, \
        answer[0].find(q("rsm", "set"))


def test_domain(people):
    client = people.session()
    features, names, _ = info(client, DOMAIN)
    assert names == ["Rooms & more"]
    assert {NS["muc"], NS["disco#info"], NS["disco#items"], NS["muc"] + "#stable_id", NS["occupant-id"]} <= features
    found, _ = items(client, "localhost")
    assert DOMAIN in found


def test_kinds_of_rooms(people):
    """Each kind of room has its feature (section 15.3), and changes with the configuration."""
    room = people.room()
    client = people.session()
    kinds = {"publicroom": ("muc_public", "muc_hidden"), "persistentroom": ("muc_persistent", "muc_temporary"),
             "membersonly": ("muc_membersonly", "muc_open"), "moderatedroom": ("muc_moderated", "muc_unmoderated")}
    before, _, _ = info(client, room)
    assert {NS["muc"], NS["mam"], NS["sid"], NS["occupant-id"], NS["retract"], NS["moderate"], NS["register"],
            NS["muc"] + "#stable_id", NS["muc"] + "#self-ping-optimization", "vcard-temp",
            "muc_semianonymous", "muc_unsecured"} <= before
    for field, (yes, no) in kinds.items():
        for value in (True, False):
            configure(people.owner, room, **{field: value})
            features, _, _ = info(people.owner, room)
            assert (yes in features, no in features) == (value, not value), field
    configure(people.owner, room, whois="anyone", passwordprotectedroom=True, roomsecret="cauldron")
    features, _, _ = info(client, room)
    assert {"muc_nonanonymous", "muc_passwordprotected"} <= features


def test_form(people):
    room = people.room(roomname="A Dark Cave", roomdesc="For witches", lang="en", changesubject=True,
                       contactjid=["crone1@shakespeare.lit", "crone2@shakespeare.lit"])
    people.owner.send("<message type='groupchat' to='%s'><subject>Spells &amp; more</subject></message>" % room)
    people.enter(room, "second")
    client = people.session()
    _, names, fields = info(client, room)
    assert names == ["A Dark Cave"]
    assert fields["FORM_TYPE"] == [NS["muc"] + "#roominfo"]
    assert fields["muc#roominfo_description"] == ["For witches"]
    assert fields["muc#roominfo_lang"] == ["en"]
    assert fields["muc#roominfo_contactjid"] == ["crone1@shakespeare.lit", "crone2@shakespeare.lit"]
    assert fields["muc#roominfo_subject"] == ["Spells & more"]
    assert fields["muc#roominfo_subjectmod"] == ["1"]
    assert fields["muc#roominfo_occupants"] == ["2"]
    # What is said behind a password is not told in front of it.
    configure(people.owner, room, passwordprotectedroom=True, roomsecret="cauldron")
    _, _, fields = info(client, room)
    assert "muc#roominfo_subject" not in fields and "muc#roominfo_occupants" not in fields
    assert fields["muc#roominfo_description"] == ["For witches"]
    _, _, fields = info(people.owner, room)
    assert fields["muc#roominfo_subject"] == ["Spells & more"]


def test_lists_of_rooms(people):
    room = people.room(roomname="Listed", publicroom=True)
    hidden = people.room(publicroom=False)
    client = people.session()
    found, _ = items(client, DOMAIN)
    assert found[room] == "Listed" and hidden not in found
    new = people.name()
    enter(client, new, "nick")              # locked, as it was not configured
    assert new not in items(client, DOMAIN)[0]


def test_pages(people):
    """All rooms in pages, forwards and backwards, and how many there are (XEP-0059)."""
    rooms = {people.room(publicroom=True) for _ in range(7)}
    client = people.session()
    seen, after, pages, total = {}, "", 0, 0
    while True:
        found, rsm = items(client, DOMAIN, "<max>3</max>" + after)
        total = int(rsm.findtext(q("rsm", "count")))
        if not found:
            break
        assert len(found) <= 3 and not set(found) & set(seen)
        assert rsm.find(q("rsm", "first")).get("index") == str(len(seen))
        seen.update(found)
        after = "<after>%s</after>" % rsm.findtext(q("rsm", "last"))
        pages += 1
    assert rooms <= set(seen) and total == len(seen)
    found, rsm = items(client, DOMAIN, "<max>3</max><before/>")
    assert list(found) == list(seen)[-3:]
    found, _ = items(client, DOMAIN, "<max>2</max><before>%s</before>" % rsm.findtext(q("rsm", "first")))
    assert list(found) == list(seen)[-5:-3]
    found, rsm = items(client, DOMAIN, "<max>0</max>")
    assert not found and rsm.findtext(q("rsm", "count")) == str(total)
    for wrong, error in (("<max>x</max>", "bad-request"), ("<after>nothing</after>", "item-not-found")):
        answer = client.iq("get", "<query xmlns='%s'><set xmlns='%s'>%s</set></query>" % (
            NS["disco#items"], NS["rsm"], wrong), to=DOMAIN)
        assert condition(answer) == error


def test_occupants_are_for_occupants(people):
    room = people.room()
    there = people.enter(room, "second")
    assert items(there, room)[0] == {room + "/owner": "owner", room + "/second": "second"}
    assert items(people.session(), room)[0] == {}


def test_hidden_rooms(people):
    """Who may not enter a hidden room does not learn that it is there; who may is told what it is like."""
    room = people.room(publicroom=False, membersonly=True)
    stranger, member = people.session(), people.session()
    none = people.name()
    for payload in (INFO, ITEMS, "<vCard xmlns='vcard-temp'/>", "<query xmlns='%s'/>" % NS["version"]):
        answers = [stranger.iq("get", payload, to=to) for to in (room, none)]
        assert [condition(a) for a in answers] == ["item-not-found"] * 2
        assert [[text(c) for c in a] for a in answers][0] == [[text(c) for c in a] for a in answers][1]
    affiliate(people.owner, room, bare(member), "member")
    assert "muc_hidden" in info(member, room)[0]
    configure(people.owner, room, membersonly=False)
    assert "muc_hidden" in info(stranger, room)[0]
    affiliate(people.owner, room, bare(stranger), "outcast")
    assert condition(stranger.iq("get", INFO, to=room)) == "item-not-found"


def test_reserved_nick(people):
    """Section 7.12."""
    room = people.room()
    client = people.session()
    assert info(client, room, "x-roomuser-item") == (set(), [], {})
    answer = people.owner.iq("set", "<query xmlns='%s'><item jid='%s' affiliation='member' nick='third'/></query>" % (
        NS["muc#admin"], bare(client)), to=room)
    assert answer.get("type") == "result", text(answer)
    assert info(client, room, "x-roomuser-item")[1] == ["third"]
    enter(client, room, "fourth")
    assert info(client, room, "x-roomuser-item")[1] == ["third"]


@pytest.mark.parametrize("node, error", [("nothing", "item-not-found"), (NS["muc"] + "#traffic", "service-unavailable")])
def test_other_nodes(people, node, error):
    room = people.room()
    answer = people.owner.iq("get", "<query xmlns='%s' node='%s'/>" % (NS["disco#info"], node), to=room)
    assert condition(answer) == error


def test_no_room(people):
    client = people.session()
    for payload in (INFO, ITEMS):
        assert condition(client.iq("get", payload, to=people.name())) == "item-not-found"


def test_destroyed_rooms_are_gone(people):
    room = people.room(publicroom=True)
    leave(people.owner, room, "owner")      # temporary
    client = people.session()
    assert room not in items(client, DOMAIN)[0]
    assert condition(client.iq("get", INFO, to=room)) == "item-not-found"


def test_unique(people):
    """A name that nobody has (XEP-0307)."""
    client = people.session()
    names = set()
    for _ in range(3):
        answer = client.iq("get", "<unique xmlns='%s'/>" % NS["muc#unique"], to=DOMAIN)
        names.add(answer.findtext(q("muc#unique", "unique")))
    assert len(names) == 3 and None not in names
    room = "%s@%s" % (names.pop(), DOMAIN)
    assert "201" in codes(enter(client, room, "nick"))
    assert condition(client.iq("get", "<unique xmlns='%s'/>" % NS["muc#unique"], to="other.localhost")) == "not-allowed"


def test_slixmpp(people, slix):  # noqa: F811
    room = people.room(roomname="For slixmpp", publicroom=True)
    client = slix(people.suite, people.suite.account(), "r", available=0, plugins=("xep_0030", "xep_0045"))
    found = client.run(client.xmpp["xep_0030"].get_info(jid=room))
    assert ("conference", "text", None, "For slixmpp") in found["disco_info"]["identities"]
    found = client.run(client.xmpp["xep_0030"].get_items(jid=DOMAIN))
    assert (room, None, "For slixmpp") in found["disco_items"]["items"]
