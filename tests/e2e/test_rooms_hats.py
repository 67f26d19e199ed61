"""Hats of rooms (XEP-0317): given by an admin with a client's ad-hoc commands, seen by all, kept over a restart."""

import asyncio

from clients import child, slix  # noqa: F401
from raw import NS, condition, local, q, text
from rooms import DOMAIN, affiliate, bare, enter, form, leave, people, rooms_suite  # noqa: F401
from suite import SLOW

NS.update({"hats": "urn:xmpp:hats:0", "commands": "http://jabber.org/protocol/commands"})
COMMANDS = "urn:xmpp:hats:commands"
TEACHER = "http://tech.example.edu/hats#Teacher"
WAIT = 8 * SLOW


def command(client, room, name, **fields):
    """Gives a command with its form filled in; returns the answer."""
    x = form(COMMANDS, {"hats#" + key: value for key, value in fields.items()}) if fields else ""
    return client.iq("set", "<command xmlns='%s' node='%s:%s' action='execute'>%s</command>" % (
        NS["commands"], COMMANDS, name, x), to=room)


def done(answer):
    found = child(answer, "commands", "command")
    assert answer.get("type") == "result" and found.get("status") == "completed", text(answer)
    return found


def hats(presence):
    """URI -> title of the hats in a presence."""
    return {h.get("uri"): h.get("title") for h in presence.iterfind("%s/%s" % (q("hats", "hats"), q("hats", "hat")))}


def presence_of(client, room, nick):
    return client.wait(lambda e: local(e) == "presence" and e.get("from") == "%s/%s" % (room, nick))


def test_given_and_kept(people):
    room = people.room(persistentroom=True)
    owner, admin, student = people.owner, people.enter(room, "admin"), people.enter(room, "student")
    affiliate(owner, room, bare(admin), "admin")
    people.calm(owner, admin, student)
    assert condition(command(student, room, "create", title="Me", uri="urn:me")) == "forbidden"
    done(command(owner, room, "create", title="Teacher & more", uri=TEACHER, hue="12.5"))
    changed = student.wait(lambda e: local(e) == "message" and child(e, "muc#user", "x") is not None)
    assert changed.find("%s/%s" % (q("muc#user", "x"), q("muc#user", "status"))).get("code") == "104"
    done(command(admin, room, "assign", jid=bare(student), uri=TEACHER))
    for client in (owner, admin, student):
        assert hats(presence_of(client, room, "student")) == {TEACHER: "Teacher & more"}
    # What a client says of its hats is not passed on.
    student.send("<presence to='%s/student'><hats xmlns='%s'><hat uri='urn:king' title='King'/></hats></presence>" % (
        room, NS["hats"]))
    assert hats(presence_of(owner, room, "student")) == {TEACHER: "Teacher & more"}
    assert "King" not in text(presence_of(admin, room, "student"))
    people.suite.kill("mucd")
    newcomer = people.session()
    enter(newcomer, room, "newcomer")
    assert hats(presence_of(newcomer, room, "student")) == {TEACHER: "Teacher & more"}
    leave(student, room, "student")
    people.calm(owner, admin, student)
    enter(student, room, "again")
    assert hats(presence_of(owner, room, "again")) == {TEACHER: "Teacher & more"}
    done(command(owner, room, "destroy", uri=TEACHER))
    assert hats(presence_of(owner, room, "again")) == {}
    assert condition(command(owner, room, "assign", jid=bare(student), uri=TEACHER)) == "item-not-found"


def test_discovered(people):
    room = people.room()
    done(command(people.owner, room, "create", title="Teacher", uri=TEACHER))
    done(command(people.owner, room, "assign", jid="terry@example.edu", uri=TEACHER))
    stranger = people.session()
    info = stranger.iq("get", "<query xmlns='%s'/>" % NS["disco#info"], to=room)
    assert NS["hats"] in {f.get("var") for f in info.iter(q("disco#info", "feature"))}
    fields = {f.get("var"): f.findtext(q("data", "value")) for f in info.iter(q("data", "field"))}
    assert len(fields["hats#hash"]) == 40
    listed = done(command(people.owner, room, "list-assigned"))
    values = [f.findtext(q("data", "value")) for f in listed.find("%s/%s" % (q("data", "x"), q("data", "item")))]
    assert values == ["terry@example.edu", TEACHER, "Teacher"]
    assert condition(command(stranger, room, "list-assigned")) == "forbidden"
    items = people.owner.iq("get", "<query xmlns='%s' node='%s'/>" % (NS["disco#items"], NS["commands"]), to=room)
    assert len(list(items.iter(q("disco#items", "item")))) == 6


def test_slixmpp(rooms_suite, slix):  # noqa: F811
    """The ad-hoc commands of a client that knows nothing of hats: it fills in the form that it gets."""
    one = slix(rooms_suite, rooms_suite.account(), available=0, plugins=("xep_0045", "xep_0050", "xep_0004"))
    room = "hats@" + DOMAIN
    one.run(one.xmpp["xep_0045"].join_muc_wait(room, "one", timeout=WAIT))
    commands = one.run(one.xmpp["xep_0050"].get_commands(room))
    nodes = {item[1] for item in commands["disco_items"]["items"]}
    assert COMMANDS + ":create" in nodes
    answered = asyncio.Queue()

    def filled(iq, session):
        x = iq["command"]["form"]
        x["type"] = "submit"
        x.set_values({"hats#title": "Host", "hats#uri": "urn:hats:host"})
        session["payload"] = x
        session["next"] = lambda answer, session: answered.put_nowait(answer)
        one.xmpp["xep_0050"].complete_command(session)

    one.xmpp["xep_0050"].start_command(room, COMMANDS + ":create", {
        "next": filled, "error": lambda iq, session: answered.put_nowait(iq)})
    answer = one.run(asyncio.wait_for(answered.get(), WAIT))
    assert answer["type"] == "result" and answer["command"]["status"] == "completed"
