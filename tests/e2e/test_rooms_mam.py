"""Archives of rooms (XEP-0313): who may ask, what is in them, ids that are the same everywhere, words (XEP-0431)."""

import time

import pytest

from clients import child, slix, stanza_id  # noqa: F401
from raw import NS, body, condition, local, q, text
from rooms import affiliate, bare, configure, enter, item, leave, people, rooms_suite  # noqa: F401
from suite import wait_until
from test_mam import FORM_TYPE, Page


def ask(client, room, fields=None, rsm=None, kind="query"):
    form = ""
    if fields:
        form = "<x xmlns='jabber:x:data' type='submit'>%s%s</x>" % (FORM_TYPE, "".join(
            "<field var='%s'><value>%s</value></field>" % f for f in fields.items()))
    if rsm is not None:
        form += "<set xmlns='%s'>%s</set>" % (NS["rsm"], rsm)
    return client.iq("set", "<query xmlns='%s' queryid='q'>%s</query>" % (NS["mam"], form), to=room)


def page(client, room, fields=None, rsm=None):
    answer = ask(client, room, fields, rsm)
    assert answer.get("type") == "result", text(answer)
    results = [e for e in client.elements if child(e, "mam", "result") is not None]
    for e in results:
        client.elements.remove(e)
        assert e.get("from") == room and child(e, "mam", "result").get("queryid") == "q"
    return Page(results, answer)


def heard(client):
    """The next message of the room with a body."""
    return client.wait(lambda e: local(e) == "message" and e.get("type") == "groupchat" and body(e) is not None)


def test_ids_are_the_same_everywhere(people):
    """Live, in the history of who enters, and in the archive."""
    room = people.room()
    second = people.enter(room, "second")
    live = []
    for i in range(5):
        people.owner.say(room, "m%d" % i, "groupchat", id="own%d" % i)
        one, other = heard(people.owner), heard(second)
        assert stanza_id(one) == stanza_id(other)
        assert child(one, "sid", "stanza-id").get("by") == room
        live.append(stanza_id(one))
    assert None not in live and live == sorted(live)
    found = page(second, room)
    assert found.ids == live and found.bodies == ["m%d" % i for i in range(5)] and found.complete
    assert all(m.get("from") == room + "/owner" and m.get("type") == "groupchat" for m in found.messages)
    assert [m.get("id") for m in found.messages] == ["own%d" % i for i in range(5)]
    third = people.session()
    enter(third, room, "third", "<history maxstanzas='3'/>", subject=False)
    history = [heard(third) for _ in range(3)]
    assert [stanza_id(m) for m in history] == live[2:]
    assert all(child(m, "delay", "delay") is not None for m in history)
    occupant = {child(m, "occupant-id", "occupant-id").get("id") for m in history + found.messages}
    assert len(occupant) == 1


def test_pages(people):
    room = people.room()
    for i in range(10):
        people.owner.say(room, "m%d" % i, "groupchat")
        heard(people.owner)
    first = page(people.owner, room, rsm="<max>4</max>")
    assert first.bodies == ["m0", "m1", "m2", "m3"] and not first.complete
    second = page(people.owner, room, rsm="<max>4</max><after>%s</after>" % first.last)
    assert second.bodies == ["m4", "m5", "m6", "m7"]
    last = page(people.owner, room, rsm="<max>3</max><before/>")
    assert last.bodies == ["m7", "m8", "m9"]
    answer = people.owner.iq("get", "<metadata xmlns='%s'/>" % NS["mam"], to=room)
    assert child(answer, "mam", "metadata").find(q("mam", "start")).get("id") == first.first
    assert child(answer, "mam", "metadata").find(q("mam", "end")).get("id") == last.last
    answer = people.owner.iq("get", "<query xmlns='%s'/>" % NS["mam"], to=room)
    fields = {f.get("var") for f in answer.iter(q("data", "field"))}
    assert {"with", "start", "end", "{%s}fulltext" % NS["fulltext"]} <= fields


def test_words(people):
    room = people.room()
    for words in ("the cauldron boils", "a toad", "boiling oil"):
        people.owner.say(room, words, "groupchat")
        heard(people.owner)
    wait_until(lambda: page(people.owner, room, {"{%s}fulltext" % NS["fulltext"]: "cauldron"}).bodies ==
               ["the cauldron boils"])
    other = people.room()
    assert page(people.owner, other, {"{%s}fulltext" % NS["fulltext"]: "cauldron"}).bodies == []


def test_who_may_ask(people):
    """Nobody sees more than it would see in the room."""
    room = people.room()
    people.owner.say(room, "secret", "groupchat")
    heard(people.owner)
    stranger, member = people.session(), people.session()
    assert page(stranger, room).bodies == ["secret"]        # who could enter, and see the history
    configure(people.owner, room, passwordprotectedroom=True, roomsecret="cauldron")
    assert condition(ask(stranger, room)) == "forbidden"
    enter(stranger, room, "stranger", "<password>cauldron</password>")
    assert page(stranger, room).bodies == ["secret"]
    leave(stranger, room, "stranger")
    affiliate(people.owner, room, bare(member), "member")
    assert page(member, room).bodies == ["secret"]
    configure(people.owner, room, passwordprotectedroom=False, membersonly=True)
    assert condition(ask(stranger, room)) == "forbidden"
    assert page(member, room).bodies == ["secret"]
    configure(people.owner, room, membersonly=False)
    affiliate(people.owner, room, bare(stranger), "outcast")
    assert condition(ask(stranger, room)) == "forbidden"
    configure(people.owner, room, enablelogging=False)
    assert condition(ask(people.owner, room)) == "service-unavailable"
    assert condition(people.owner.iq("get", "<prefs xmlns='%s'/>" % NS["mam"], to=room)) == "feature-not-implemented"


def test_real_addresses(people):
    """In a semi-anonymous room for moderators alone, and asking for an address tells others nothing."""
    room = people.room()
    second = people.enter(room, "second")
    second.say(room, "who am I?", "groupchat")
    heard(people.owner)
    heard(second)
    third = people.enter(room, "third")

    def address(client):
        message = page(client, room).messages[0]
        found = item(message)
        return found.get("jid") if found is not None else None
    assert address(people.owner).partition("/")[0] == bare(second)
    assert address(third) is None
    assert page(people.owner, room, {"with": bare(second)}).bodies == ["who am I?"]
    answer = ask(third, room, {"with": bare(second)})
    assert answer.get("type") == "error" or page(third, room, {"with": bare(second)}).bodies == []
    configure(people.owner, room, whois="anyone")
    assert address(third).partition("/")[0] == bare(second)


def test_private_messages_are_not_in_it(people):
    room = people.room()
    second = people.enter(room, "second")
    people.owner.say(room + "/second", "between us")
    assert body(second.wait(lambda e: local(e) == "message" and e.get("type") == "chat")) == "between us"
    people.owner.say(room, "for all", "groupchat")
    heard(people.owner)
    assert page(people.owner, room).bodies == ["for all"]


def test_nothing_is_lost_by_kills(people):
    """mucd and archived are killed while somebody talks: each message is there once, in the order in which it was seen."""
    room = people.room(persistentroom=True)
    second = people.enter(room, "second")
    for i in range(30):
        people.owner.say(room, "k%d" % i, "groupchat")
        if i == 10:
            people.suite.kill("mucd")
        if i == 20:
            people.suite.kill("archived")
    seen = [heard(second) for _ in range(30)]
    assert [body(m) for m in seen] == ["k%d" % i for i in range(30)]
    found = page(second, room)
    assert found.ids == [stanza_id(m) for m in seen] and found.bodies == [body(m) for m in seen]


def test_a_removed_room_has_no_archive(people):
    """Another room of this name begins anew."""
    room = people.room()
    people.owner.say(room, "old", "groupchat")
    heard(people.owner)
    leave(people.owner, room, "owner")      # temporary
    other = people.session()
    assert condition(ask(other, room)) == "item-not-found"
    time.sleep(0.2)
    enter(other, room, "new")
    configure(other, room)
    assert page(other, room).bodies == []


def test_slixmpp(people, slix):  # noqa: F811
    room = people.room()
    for i in range(3):
        people.owner.say(room, "m%d" % i, "groupchat")
        heard(people.owner)
    client = slix(people.suite, people.suite.account(), "r", available=0, plugins=("xep_0313", "xep_0059", "xep_0297"))

    async def collect():
        return [m["mam_result"]["forwarded"]["stanza"]["body"]
                async for m in client.xmpp["xep_0313"].iterate(jid=room)]
    assert client.run(collect()) == ["m0", "m1", "m2"]


@pytest.mark.parametrize("to", ["none", "domain"])
def test_no_archive(people, to):
    client = people.session()
    answer = ask(client, people.name() if to == "none" else people.domain)
    assert condition(answer) == ("item-not-found" if to == "none" else "service-unavailable")
