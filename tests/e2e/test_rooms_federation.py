"""Rooms of one of our servers, and users of another: entering, talking, history, archive, kills, and a server that goes."""

import os
import signal

import pytest

from clients import child, stanza_id
from raw import NS, body, condition, local, q, text
from rooms import (MUC, People, affiliate, bare, codes, configure, enter, item, leave)  # noqa: F401
from servers import federation, issue
from suite import wait_until
from test_rooms_invite import invite, user
from test_rooms_mam import heard, page

DOMAIN = "rooms.a.test"


@pytest.fixture(scope="module")
def pair(programs):
    """Rooms of a.test, and b.test, which knows the way to them."""
    certificate = issue("a.test", also=(DOMAIN,))
    with federation(a_rooms={DOMAIN: {"create": "all"}}, a_certificate=certificate) as (a, b):
        yield a, b


@pytest.fixture
def scene(pair):
    """A room with its owner of a.test, and somebody of b.test in it."""
    a, b = pair
    here = People(a, DOMAIN)
    here.place = here.room(persistentroom=True)
    here.far = b.login(b.account(), "r", available=0)
    own = enter(here.far, here.place, "far")
    assert item(own).get("role") == "participant"
    here.calm(here.far, here.owner)
    here.b = b
    return here


def test_talk(scene):
    """Both see the same messages with the same ids in the same order."""
    for i in range(10):
        (scene.owner, scene.far)[i % 2].say(scene.place, "m%d" % i, "groupchat")
    heard_here = [heard(scene.owner) for _ in range(10)]
    heard_far = [heard(scene.far) for _ in range(10)]
    assert sorted(body(m) for m in heard_here) == sorted("m%d" % i for i in range(10))
    assert [(body(m), stanza_id(m)) for m in heard_here] == [(body(m), stanza_id(m)) for m in heard_far]
    assert page(scene.far, scene.place).ids == [stanza_id(m) for m in heard_far]


def test_history_and_subject(scene):
    scene.owner.say(scene.place, "before", "groupchat")
    heard(scene.owner)
    other = scene.b.login(scene.b.account(), "r", available=0)
    enter(other, scene.place, "other", "<history maxstanzas='5'/>", subject=False)
    message = heard(other)
    assert body(message) == "before" and child(message, "delay", "delay") is not None
    assert other.wait(lambda e: local(e) == "message" and e.find(q("client", "subject")) is not None)


def test_requests(scene):
    info = scene.far.iq("get", "<query xmlns='%s'/>" % NS["disco#info"], to=scene.place)
    assert any(f.get("var") == MUC for f in info.iter(q("disco#info", "feature")))
    assert scene.far.iq("get", "<ping xmlns='%s'/>" % NS["ping"], to=scene.place + "/far").get("type") == "result"
    id = scene.owner.new_id()
    scene.owner.send("<iq type='get' id='%s' to='%s/far'><ping xmlns='%s'/></iq>" % (id, scene.place, NS["ping"]))
    request = scene.far.wait(lambda e: local(e) == "iq" and e.get("type") == "get")
    assert request.get("from") == scene.place + "/owner"
    scene.far.send("<iq type='result' id='%s' to='%s'/>" % (request.get("id"), request.get("from")))
    answer = scene.owner.wait(lambda e: local(e) == "iq" and e.get("id") == id)
    assert answer.get("type") == "result" and answer.get("from") == scene.place + "/far"
    scene.far.iq("set", "<vCard xmlns='vcard-temp'><FN>Far</FN></vCard>")
    answer = scene.owner.iq("get", "<vCard xmlns='vcard-temp'/>", to=scene.place + "/far")
    assert answer.findtext(".//" + q("vcard", "FN")) == "Far"


def test_private_messages(scene):
    scene.owner.say(scene.place + "/far", "psst")
    message = scene.far.wait(lambda e: local(e) == "message" and e.get("type") == "chat")
    assert body(message) == "psst" and message.get("from") == scene.place + "/owner"
    scene.far.say(scene.place + "/owner", "yes?")
    assert body(scene.owner.wait(lambda e: local(e) == "message" and e.get("type") == "chat")) == "yes?"


def test_invitation(scene):
    """To somebody of the other server who is away, too."""
    account = scene.b.account()
    invite(scene.owner, scene.place, account)
    scene.owner.sync()
    guest = scene.b.login(account, "r", available=0)
    found = user(guest.message(), "invite")
    assert found.get("from") == bare(scene.owner)
    guest.send("<message to='%s'><x xmlns='%s'><decline to='%s'/></x></message>" % (
        scene.place, NS["muc#user"], found.get("from")))
    assert user(scene.owner.wait(lambda e: user(e, "decline") is not None), "decline").get("from") == account


def test_a_session_ends(scene):
    scene.far.end()
    presence = scene.owner.presence()
    assert presence.get("type") == "unavailable" and presence.get("from") == scene.place + "/far"


def test_kick_and_ban(scene):
    affiliate(scene.owner, scene.place, bare(scene.far), "outcast")
    presence = scene.far.presence()
    assert presence.get("type") == "unavailable" and "301" in codes(presence)
    scene.far.say(scene.place, "still here", "groupchat", id="no")
    error = scene.far.wait(lambda e: local(e) == "message" and e.get("type") == "error")
    assert condition(error) in ("not-acceptable", "forbidden")


@pytest.mark.parametrize("who, name", [("a", "mucd"), ("a", "router"), ("a", "archived"), ("b", "router")])
def test_kills(pair, scene, who, name):
    """Nothing is lost and nothing comes twice to those who stay connected, and nobody has to enter again."""
    victim = dict(zip("ab", pair))[who]
    for i in range(20):
        scene.owner.say(scene.place, "k%d" % i, "groupchat")
        if i == 10:
            victim.kill(name)
    far = [heard(scene.far) for _ in range(20)]
    here = [heard(scene.owner) for _ in range(20)]
    assert [body(m) for m in here] == ["k%d" % i for i in range(20)]
    assert [body(m) for m in far] == ["k%d" % i for i in range(20)]
    assert [stanza_id(m) for m in far] == [stanza_id(m) for m in here]
    scene.far.say(scene.place, "still here", "groupchat")
    assert body(heard(scene.owner)) == "still here"


def so_far(client, last):
    """What a client is told up to a message: the bodies of messages, and who has come or gone."""
    told = []
    while not told or told[-1][1] != last:
        stanza = client.wait(lambda e: local(e) in ("message", "presence"), seconds=20)
        told.append((stanza_id(stanza), body(stanza)) if local(stanza) == "message" else
                    (None, (stanza.get("from").partition("/")[2], stanza.get("type", "here"))))
    return told


@pytest.mark.parametrize("who", ["a", "b"])
def test_s2sd_is_killed(pair, scene, who):
    """Nothing that the room said is lost to who is elsewhere, neither messages nor who came and went, and its order
    holds; what was on its way when s2sd was killed may come twice, with the same id: also what the guest was told on
    entering, which ends with a subject."""
    victim, guest = dict(zip("ab", pair))[who], scene.session()
    for i in range(30):
        scene.owner.say(scene.place, "k%d" % i, "groupchat")
        if i % 10 == 5:
            enter(guest, scene.place, "guest%d" % i)
            victim.kill("s2sd")
        if i % 10 == 7:
            leave(guest, scene.place, "guest%d" % (i - 2))
    here = so_far(scene.owner, "k29")
    assert [what for id, what in here if id is not None] == ["k%d" % i for i in range(30)]
    assert len(here) == 36
    far = [(id, what) for id, what in so_far(scene.far, "k29")
           if id is not None or isinstance(what, tuple) and what[0].startswith("guest")]
    assert list(dict.fromkeys(far)) == here
    assert page(scene.far, scene.place).ids == [id for id, _ in here if id is not None]
    scene.far.say(scene.place, "still here", "groupchat")
    assert body(heard(scene.owner)) == "still here"


def test_server_does_not_answer(pair, scene):
    """The room goes on while the server of an occupant does not answer, and our s2sd dies; then that gets all of it."""
    a, b = pair
    guest = scene.session()
    os.kill(b.pid("s2sd"), signal.SIGSTOP)
    try:
        for i in range(5):
            scene.owner.say(scene.place, "w%d" % i, "groupchat")
        enter(guest, scene.place, "guest")
        a.kill("s2sd")
        scene.owner.say(scene.place, "last", "groupchat")
        so_far(scene.owner, "last")
    finally:
        os.kill(b.pid("s2sd"), signal.SIGCONT)
    told = so_far(scene.far, "last")
    assert list(dict.fromkeys(what for _, what in told if isinstance(what, str))) == \
        ["w%d" % i for i in range(5)] + ["last"]
    assert (None, ("guest", "here")) in told


def test_history_is_kept_too(pair, scene):
    """Who enters from elsewhere is told everything in its order, whoever is killed meanwhile."""
    for i in range(10):
        scene.owner.say(scene.place, "h%d" % i, "groupchat")
        heard(scene.owner)
    other = scene.b.login(scene.b.account(), "r", available=0)
    other.send("<presence to='%s/other'><x xmlns='%s'><history maxstanzas='5'/></x></presence>" % (scene.place, MUC))
    pair[0].kill("s2sd")
    scene.owner.say(scene.place, "live", "groupchat")
    told = list(dict.fromkeys(what for _, what in so_far(other, "live")))
    said = [what for what in told if isinstance(what, str)]
    assert said == ["h%d" % i for i in range(5, 10)] + ["live"]
    assert ("other", "here") in told[:told.index("h5")]


def test_rooms_made_from_elsewhere(scene):
    """create = all: users of other servers make rooms as well."""
    room = "made-far-%s@%s" % (scene.place.partition("@")[0], DOMAIN)
    assert "201" in codes(enter(scene.far, room, "maker"))
    configure(scene.far, room)
    enter(scene.owner, room, "guest")
    scene.far.say(room, "welcome", "groupchat")
    assert body(heard(scene.owner)) == "welcome"
    leave(scene.far, room, "maker")
    wait_until(lambda: any(e.get("type") == "unavailable" for e in scene.owner.pending("presence")))
    assert text(scene.owner.iq("get", "<ping xmlns='%s'/>" % NS["ping"], to=room + "/guest")).find("error") < 0
