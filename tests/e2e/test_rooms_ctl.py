"""Rooms by aldisctl(8), and by ad-hoc commands of the administrators of a domain with rooms."""

import json
import stat
import xml.etree.ElementTree as tree

import pytest

from raw import NS, condition, local, q, text
from rooms import DOMAIN, People, Refused, affiliate, bare, codes, configure, enter, item, people, rooms_suite  # noqa: F401
from suite import CommandFailed, Suite, wait_until
from test_adhoc import form, run
from test_rooms_hats import command, done

OWN = "urn:x-aldis:command#"


def failed(suite, *words):
    """What aldisctl says when it fails."""
    with pytest.raises(CommandFailed) as reason:
        suite.ctl(*words)
    return str(reason.value)


def gone(client, room, nick):
    return client.wait(lambda e: local(e) == "presence" and e.get("from") == "%s/%s" % (room, nick) and
                       e.get("type") == "unavailable")


def test_create_and_show(people, rooms_suite):
    room, owner = people.name(), people.session()
    assert rooms_suite.ctl("room", "create", room.upper().replace("ROOMS.LOCALHOST", "Rooms.Localhost"),
                           bare(owner)) is True
    assert "exists already" in failed(rooms_suite, "room", "create", room)
    shown = rooms_suite.ctl("room", "show", room)
    assert shown["room"] == room and shown["persistentroom"] is True and shown["configured"] is True
    assert shown["roomowners"] == bare(owner) and shown["occupants"] == 0 and shown["roomsecret"] is None
    assert shown["presencebroadcast"] == "moderator,participant,visitor"
    listed = {r["room"]: r for r in rooms_suite.ctl("room", "list", DOMAIN)}
    assert listed[room]["persistent"] is True and listed[room]["members-only"] is False
    assert room in {r["room"] for r in rooms_suite.ctl("room", "list")}
    assert rooms_suite.ctl("room", "list", "other.localhost") == []
    assert room in rooms_suite.ctl("room", "list", json_output=False)
    own = enter(owner, room, "me")
    assert item(own).get("affiliation") == "owner" and "201" not in codes(own)


def test_configure(people, rooms_suite):
    room = people.room(persistentroom=True)
    other = people.enter(room, "other")
    assert rooms_suite.ctl("room", "configure", room, "roomname=A Dark Cave", "whois=anyone",
                           "getmemberlist=moderator,participant", "roomsecret=x", "maxusers=7") is True
    shown = rooms_suite.ctl("room", "show", room)
    assert (shown["roomname"], shown["whois"], shown["maxusers"], shown["getmemberlist"], shown["roomsecret"]) == (
        "A Dark Cave", "anyone", "7", "moderator,participant", "(set)")
    assert codes(other.wait(lambda e: local(e) == "message" and codes(e))) == {"104", "172"}
    before = rooms_suite.ctl("room", "show", room)
    for words, said in ((("lang=not a tag",), "lang is no tag"), (("roomname=x", "whois=nobody"), "whois"),
                        (("nothing=1",), "no such setting"), (("roomname",), "no such setting"),
                        (("passwordprotectedroom=1", "roomsecret="), "needs a password"),
                        (("roomowners=",), "needs an owner"), (("roomadmins=@",), "no address")):
        assert said in failed(rooms_suite, "room", "configure", room, *words)
        assert rooms_suite.ctl("room", "show", room) == before
    assert rooms_suite.ctl("room", "configure", room, "membersonly=1") is True
    assert codes(gone(other, room, "other")) == {"322", "110"}


def test_affiliations(people, rooms_suite):
    room = people.room(persistentroom=True)
    witch, owner = people.enter(room, "witch"), people.owner
    assert rooms_suite.ctl("room", "affiliate", room, bare(witch), "admin", "well done") is True
    told = witch.wait(lambda e: local(e) == "presence" and e.get("from") == room + "/witch")
    assert item(told).get("affiliation") == "admin" and item(told).findtext(q("muc#user", "reason")) == "well done"
    listed = rooms_suite.ctl("room", "affiliations", room)
    assert {(r["jid"], r["affiliation"], r["reason"]) for r in listed} == {
        (bare(owner), "owner", None), (bare(witch), "admin", "well done")}
    assert rooms_suite.ctl("room", "affiliate", room, bare(witch), "outcast") is True
    assert codes(gone(witch, room, "witch")) == {"301", "110"}
    with pytest.raises(Refused):
        enter(witch, room, "witch")
    assert rooms_suite.ctl("room", "affiliate", room, "bad.test", "outcast") is True
    assert "last owner" in failed(rooms_suite, "room", "affiliate", room, bare(owner), "none")
    assert "an affiliation is" in failed(rooms_suite, "room", "affiliate", room, bare(witch), "king")
    assert "domain" in failed(rooms_suite, "room", "affiliate", room, "bad.test", "owner")
    assert "affiliation" in failed(rooms_suite, "room", "affiliate", room, "@", "member")


def test_kick_and_destroy(people, rooms_suite):
    room = people.room(persistentroom=True)
    witch, owner = people.enter(room, "witch"), people.owner
    assert rooms_suite.ctl("room", "kick", room, "witch", "Avaunt, you cullion!") is True
    own = gone(witch, room, "witch")
    assert codes(own) == {"307", "110"} and item(own).findtext(q("muc#user", "reason")) == "Avaunt, you cullion!"
    assert "goes by this nick" in failed(rooms_suite, "room", "kick", room, "witch")
    assert rooms_suite.ctl("room", "destroy", room, "no more") is True
    own = gone(owner, room, "owner")
    assert own.find(".//" + q("muc#user", "destroy")).findtext(q("muc#user", "reason")) == "no more"
    assert "no such room" in failed(rooms_suite, "room", "show", room)


def history(client, room, nick):
    """Bodies of what somebody gets who enters, and leaves again."""
    enter(client, room, nick, x="")
    bodies = [e.findtext(q("client", "body")) for e in client.pending("message")
              if e.get("type") == "groupchat" and e.find(q("client", "body")) is not None]
    client.send("<presence type='unavailable' to='%s/%s'/>" % (room, nick))
    gone(client, room, nick)
    return bodies


def said(people, room, *words):
    for word in words:
        people.owner.say(room, word, "groupchat")
        people.owner.wait(lambda e: e.findtext(q("client", "body")) == word)


def test_clear(people, rooms_suite):
    room = people.room(persistentroom=True)
    other = people.session()
    said(people, room, "one", "two")
    wait_until(lambda: history(other, room, "other") == ["one", "two"], message="history")
    assert rooms_suite.ctl("room", "clear", room) is True
    assert history(other, room, "other") == []
    said(people, room, "three")
    assert history(other, room, "other") == ["three"]


def test_export(people, rooms_suite, tmp_path):
    room = people.room(persistentroom=True, roomname="Cave & more")
    witch = people.enter(room, "witch")
    affiliate(people.owner, room, bare(witch), "admin")
    done(command(people.owner, room, "create", title="Scribe", uri="urn:hats:scribe"))
    done(command(people.owner, room, "assign", jid=bare(witch), uri="urn:hats:scribe"))
    said(people, room, "one", "two <3")
    path = tmp_path / "room.xml"
    assert rooms_suite.ctl("room", "export", room, str(path)) == {"room": room, "messages": 2}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    root = tree.parse(path).getroot()
    assert root.tag == "{urn:x-aldis:room}room" and root.get("jid") == room
    fields = {f.get("var"): f.findtext(q("data", "value")) for f in root.iter(q("data", "field"))}
    assert fields["muc#roomconfig_roomname"] == "Cave & more" and fields["muc#roomconfig_persistentroom"] == "1"
    assert {(i.get("jid"), i.get("affiliation")) for i in root.findall(q("muc#admin", "item"))} == {
        (bare(people.owner), "owner"), (bare(witch), "admin")}
    assert fields["hats#title"] == "Scribe" and fields["hats#jid"] == bare(witch)
    assert [b.text for b in root.iter(q("client", "body"))] == ["one", "two <3"]
    assert bare(people.owner) in path.read_text()
    assert rooms_suite.ctl("room", "export", room, json_output=False) == path.read_text()
    assert "no such room" in failed(rooms_suite, "room", "export", people.name(), str(tmp_path / "other"))
    assert not (tmp_path / "other").exists()


def test_refused(people, rooms_suite):
    assert "no rooms here" in failed(rooms_suite, "room", "list", "localhost")
    assert "no rooms here" in failed(rooms_suite, "room", "create", "x@localhost")
    for room in "rooms.localhost", "@", "a@rooms.localhost/x":
        assert "name@domain" in failed(rooms_suite, "room", "show", room)
        assert "name@domain" in failed(rooms_suite, "room", "create", room)
    assert "user@domain" in failed(rooms_suite, "room", "create", people.name(), "localhost")
    for words in ("configure", "roomname=x"), ("destroy",), ("clear",), ("affiliations",), ("kick", "x"):
        assert "no such room" in failed(rooms_suite, "room", words[0], people.name(), *words[1:])


def test_is_on_disk_when_answered(people, rooms_suite):
    room = people.name()
    rooms_suite.ctl("room", "create", room)
    rooms_suite.ctl("room", "configure", room, "roomname=kept")
    rooms_suite.kill("mucd")
    wait_until(lambda: rooms_suite.ctl("room", "show", room)["roomname"] == "kept", message="the room is back")


# -- ad-hoc commands -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def administered(programs):
    with Suite(top={"admins": ["chief@localhost"]}, rooms={DOMAIN: {"admins": ["boss@localhost"]},
                                                           "other.localhost": {}}) as suite:
        for name in "chief", "boss", "nobody":
            suite.account(name)
        yield suite


def commands(client, to):
    answer = client.iq("get", "<query xmlns='%s' node='%s'/>" % (NS["disco#items"], NS["commands"]), to=to)
    return condition(answer) or {i.get("node") for i in answer.iter(q("disco#items", "item"))}


def done(answer):
    command = answer.find(q("commands", "command"))
    assert command is not None and command.get("status") == "completed", text(answer)
    notes = [(n.get("type"), n.text) for n in command.findall(q("commands", "note"))]
    values = [v.text for v in command.iter(q("data", "value"))]
    return notes, values


def test_adhoc_of_a_domain(administered):
    chief, boss, nobody = (administered.login(name + "@localhost", available=0) for name in ("chief", "boss", "nobody"))
    those = People(administered)
    room = those.room(persistentroom=True)
    witch = those.enter(room, "witch")
    wanted = {OWN + "room-" + name for name in ("list", "show", "create", "configure", "destroy", "clear", "affiliations",
                                                "affiliate", "kick")}
    assert commands(boss, DOMAIN) == commands(chief, DOMAIN) == wanted
    assert wanted <= commands(chief, "localhost") and len(commands(chief, "localhost")) > len(wanted)
    assert commands(nobody, DOMAIN) == set() and commands(boss, "other.localhost") == set()
    assert condition(run(nobody, OWN + "room-list", to=DOMAIN)) == "forbidden"
    assert condition(run(boss, OWN + "room-list", to="other.localhost")) == "forbidden"
    assert condition(run(boss, OWN + "user-list", to=DOMAIN)) == "item-not-found"
    for client in boss, chief:
        assert room in done(run(client, OWN + "room-list", to=DOMAIN))[1]
    assert room in done(run(chief, OWN + "room-list", form(domain=DOMAIN), to="localhost"))[1]
    asked = run(boss, OWN + "room-configure", to=DOMAIN)
    assert [(f.get("var"), f.get("type")) for f in asked.iter(q("data", "field"))] == [
        ("room", "text-single"), ("setting", "text-multi")]
    notes, _ = done(run(boss, OWN + "room-configure", form(room=room, setting=["roomname=Two words", "lang=en"]),
                        to=DOMAIN))
    assert notes == [("info", "Done")]
    assert "Two words" in done(run(boss, OWN + "room-show", form(room=room), to=DOMAIN))[1]
    notes, _ = done(run(boss, OWN + "room-kick", form(room=room, nick="witch", reason="so it is"), to=DOMAIN))
    assert notes == [("info", "Done")]
    assert item(gone(witch, room, "witch")).findtext(q("muc#user", "reason")) == "so it is"
    for other in "x@other.localhost", "x@localhost", "", "@":
        notes, _ = done(run(boss, OWN + "room-create", form(room=other), to=DOMAIN))
        assert notes[0][0] == "error"
    assert administered.ctl("room", "list", "other.localhost") == []
    notes, _ = done(run(boss, OWN + "room-destroy", form(room=room), to=DOMAIN))
    assert notes == [("info", "Done")]


def test_discovery_of_commands(administered):
    boss = administered.login("boss@localhost", available=0)
    answer = boss.iq("get", "<query xmlns='%s' node='%sroom-list'/>" % (NS["disco#info"], OWN), to=DOMAIN)
    assert answer.find(".//" + q("disco#info", "identity")).get("type") == "command-node"
    answer = boss.iq("get", "<query xmlns='%s'/>" % NS["disco#info"], to=DOMAIN)
    assert NS["commands"] in {f.get("var") for f in answer.iter(q("disco#info", "feature"))}
    assert condition(boss.iq("get", "<command xmlns='%s' node='x'/>" % NS["commands"], to=DOMAIN)) == "not-allowed"
