"""gathering.py: rooms between a suite of ours and another server.

A module per server has the fixture `world` (World.of, with rooms) and a class that inherits from Rooms, whose tests it
thereby has: once in a room of ours, with a guest from there, and once in one of theirs, with a guest of ours.
"""

import pytest

from conversation import LONG, bare
from raw import NS, body, condition, local, q
from rooms import (People, affiliate, codes, enter, is_subject, item, leave)
from test_rooms_mam import page

COUNT = 20


def words_of(client, count):
    """The next messages with words that came from rooms."""
    return [client.wait(lambda e: local(e) == "message" and e.get("type") == "groupchat" and body(e) is not None, LONG)
            for _ in range(count)]


def presence_of(client, address, kind=None):
    return client.wait(lambda e: local(e) == "presence" and e.get("from") == address and e.get("type") == kind, LONG)


class Scene:
    """A room with its owner, who is at home there, and a guest from the other side."""

    def __init__(self, home, domain, away):
        self.home, self.away = home, away
        people = People(home, domain)
        self.room = people.room(persistentroom=True)
        self.owner = people.owner
        self.guest = self.visitor("guest")

    def visitor(self, nick, history="<history maxstanzas='0'/>"):
        """Another one from the other side, who is in the room."""
        client = self.away.login(self.away.account(), "r", available=0)
        client.seen = enter(client, self.room, nick, history)
        presence_of(self.owner, "%s/%s" % (self.room, nick))
        return client

    def close(self):
        self.owner.close()
        self.guest.close()


class Rooms:
    """The tests that rooms of ours and of other servers have to pass with users of the other side."""

    @pytest.fixture(params=["ours", "theirs"])
    def scene(self, world, request):
        ours, peer = world.ours["EXTERNAL"], world.peer
        made = Scene(ours, "rooms." + ours.domain, peer) if request.param == "ours" else Scene(peer, peer.rooms, ours)
        yield made
        made.close()
        ours.check()

    @pytest.fixture
    def here(self, world):
        """A room of ours."""
        ours = world.ours["EXTERNAL"]
        made = Scene(ours, "rooms." + ours.domain, world.peer)
        yield made
        made.close()
        ours.check()

    def test_who_is_there(self, scene):
        third = scene.away.login(scene.away.account(), "r", available=0)
        own = enter(third, scene.room, "third")
        assert item(own).get("role") == "participant" and item(own).get("affiliation") == "none"
        for nick, affiliation in (("owner", "owner"), ("guest", "none")):
            assert item(presence_of(third, "%s/%s" % (scene.room, nick))).get("affiliation") == affiliation
        for client in (scene.owner, scene.guest):
            presence_of(client, scene.room + "/third")
        third.send("<presence to='%s/third'><show>away</show></presence>" % scene.room)
        for client in (scene.owner, scene.guest):
            assert presence_of(client, scene.room + "/third").findtext(q("client", "show")) == "away"
        third.end()
        for client in (scene.owner, scene.guest):
            presence_of(client, scene.room + "/third", "unavailable")

    def test_talk(self, scene):
        for number in range(COUNT):
            for client, word in ((scene.owner, "o%d"), (scene.guest, "g%d")):
                client.say(scene.room, word % number, "groupchat")
        heard = [[(body(m), m.get("from")) for m in words_of(c, 2 * COUNT)] for c in (scene.owner, scene.guest)]
        assert heard[0] == heard[1]
        for nick in ("owner", "guest"):
            assert [w for w, who in heard[0] if who == "%s/%s" % (scene.room, nick)] == \
                ["%s%d" % (nick[0], n) for n in range(COUNT)]

    def test_history_and_subject(self, scene):
        for number in range(3):
            scene.owner.say(scene.room, "before %d" % number, "groupchat")
        scene.owner.send("<message to='%s' type='groupchat'><subject>Tonight</subject></message>" % scene.room)
        for client in (scene.owner, scene.guest):
            assert client.wait(is_subject, LONG).findtext(q("client", "subject")) == "Tonight"
        late = scene.away.login(scene.away.account(), "r", available=0)
        late.send("<presence to='%s/late'><x xmlns='%s'/></presence>" % (scene.room, NS["muc"]))
        found = words_of(late, 3)
        assert [body(m) for m in found] == ["before %d" % n for n in range(3)]
        assert all(m.find(q("delay", "delay")) is not None for m in found)
        assert late.wait(is_subject, LONG).findtext(q("client", "subject")) == "Tonight"
        late.close()

    def test_nick_change(self, scene):
        scene.guest.send("<presence to='%s/other'/>" % scene.room)
        for client in (scene.owner, scene.guest):
            gone = presence_of(client, scene.room + "/guest", "unavailable")
            assert "303" in codes(gone) and item(gone).get("nick") == "other"
            presence_of(client, scene.room + "/other")
        scene.guest.send("<presence to='%s/owner'/>" % scene.room)
        error = scene.guest.wait(lambda e: local(e) == "presence" and e.get("type") == "error", LONG)
        assert condition(error) == "conflict"

    def test_leaving(self, scene):
        leave(scene.guest, scene.room, "guest")
        presence_of(scene.owner, scene.room + "/guest", "unavailable")
        scene.guest.say(scene.room, "not there", "groupchat")
        error = scene.guest.wait(lambda e: local(e) == "message" and e.get("type") == "error", LONG)
        assert condition(error) == "not-acceptable"

    def test_private_messages(self, scene):
        for sender, receiver, nick, to in ((scene.owner, scene.guest, "owner", "guest"),
                                           (scene.guest, scene.owner, "guest", "owner")):
            sender.say("%s/%s" % (scene.room, to), "psst")
            message = receiver.wait(lambda e: local(e) == "message" and e.get("type") == "chat", LONG)
            assert body(message) == "psst" and message.get("from") == "%s/%s" % (scene.room, nick)

    def test_kick_and_ban(self, scene):
        scene.owner.iq("set", "<query xmlns='%s'><item nick='guest' role='none'><reason>out</reason></item></query>" % (
            NS["muc#admin"]), to=scene.room)
        for client in (scene.owner, scene.guest):
            gone = presence_of(client, scene.room + "/guest", "unavailable")
            assert "307" in codes(gone) and item(gone).findtext(q("muc#user", "reason")) == "out"
        enter(scene.guest, scene.room, "guest")
        presence_of(scene.owner, scene.room + "/guest")
        affiliate(scene.owner, scene.room, bare(scene.guest), "outcast")
        for client in (scene.owner, scene.guest):
            assert "301" in codes(presence_of(client, scene.room + "/guest", "unavailable"))
        scene.guest.send("<presence to='%s/guest'><x xmlns='%s'/></presence>" % (scene.room, NS["muc"]))
        error = scene.guest.wait(lambda e: local(e) == "presence" and e.get("type") == "error", LONG)
        assert condition(error) == "forbidden"

    def test_destroyed(self, scene):
        scene.owner.iq("set", "<query xmlns='%s'><destroy jid='next@%s'><reason>moved</reason></destroy></query>" % (
            NS["muc#owner"], scene.room.partition("@")[2]), to=scene.room)
        gone = presence_of(scene.guest, scene.room + "/guest", "unavailable")
        destroy = gone.find("%s/%s" % (q("muc#user", "x"), q("muc#user", "destroy")))
        assert destroy.get("jid").startswith("next@") and destroy.findtext(q("muc#user", "reason")) == "moved"

    def test_requests(self, scene):
        """To the room, which answers, and through it to who is in it."""
        for client in (scene.owner, scene.guest):
            answer = client.iq("get", "<query xmlns='%s'/>" % NS["disco#info"], to=scene.room, seconds=LONG)
            assert any(f.get("var") == NS["muc"] for f in answer.iter(q("disco#info", "feature")))
        answer = scene.guest.iq("get", "<ping xmlns='%s'/>" % NS["ping"], to=scene.room + "/guest", seconds=LONG)
        assert answer.get("type") == "result"
        scene.guest.send("<iq type='get' id='v' to='%s/owner'><query xmlns='%s'/></iq>" % (scene.room, NS["version"]))
        request = scene.owner.wait(lambda e: local(e) == "iq" and e.get("type") == "get", LONG)
        assert request.get("from") == scene.room + "/guest"
        scene.owner.send("<iq type='result' id='%s' to='%s'><query xmlns='%s'><name>x</name></query></iq>" % (
            request.get("id"), request.get("from"), NS["version"]))
        answer = scene.guest.wait(lambda e: local(e) == "iq" and e.get("id") == "v", LONG)
        assert answer.get("type") == "result" and answer.get("from") == scene.room + "/owner"

    def test_archive(self, here):
        """A guest of another server reads ours as those of the house do."""
        for number in range(5):
            here.owner.say(here.room, "m%d" % number, "groupchat")
        ids = [m.find(q("sid", "stanza-id")).get("id") for m in words_of(here.guest, 5)]
        assert page(here.guest, here.room).ids == ids

    @pytest.mark.parametrize("name", ["mucd", "router"])
    def test_kills(self, here, name):
        """The guest is in the room still; nothing is lost, nothing comes twice."""
        for number in range(COUNT):
            here.owner.say(here.room, "k%d" % number, "groupchat")
            if number == COUNT // 2:
                words_of(here.guest, number)
                here.home.kill(name)
        here.guest.say(here.room, "last", "groupchat")
        rest = COUNT - COUNT // 2
        assert [body(m) for m in words_of(here.guest, rest + 1) if body(m) != "last"] == [
            "k%d" % n for n in range(COUNT // 2, COUNT)]
        assert sorted(body(m) for m in words_of(here.owner, COUNT + 1)) == sorted(
            ["last", *("k%d" % n for n in range(COUNT))])
        for client in (here.owner, here.guest):
            assert not [e for e in client.pending("presence") if e.get("type") == "unavailable"]

    def test_dialback(self, world):
        ours, peer = world.ours["dialback"], world.peer
        for scene in (Scene(ours, "rooms." + ours.domain, peer), Scene(peer, peer.rooms, ours)):
            scene.owner.say(scene.room, "from home", "groupchat")
            scene.guest.wait(lambda e: body(e) == "from home", LONG)
            scene.guest.say(scene.room, "from away", "groupchat")
            scene.owner.wait(lambda e: body(e) == "from away", LONG)
            scene.close()
        ours.check()

    def test_z_their_server_stops(self, here):
        """While it is away what is said waits for it, and nobody leaves; then who is not there any more is noticed to
        have gone (status 333), and may come back at once."""
        account = bare(here.guest)
        self.settle(here.away)
        here.away.kill()
        for i in range(3):
            here.owner.say(here.room, "anybody?", "groupchat")
            assert body(here.owner.wait(lambda e: local(e) == "message")) == "anybody?"
        assert here.owner.pending("presence") == []
        here.away.start()
        gone = presence_of(here.owner, here.room + "/guest", "unavailable")
        assert "333" in codes(gone)
        back = here.away.login(account, "r", available=0)
        enter(back, here.room, "guest")
        assert item(presence_of(here.owner, here.room + "/guest")).get("jid") == back.jid

    @staticmethod
    def settle(peer):
        """Waits until the accounts of a server are on its disk."""
