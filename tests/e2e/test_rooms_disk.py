"""The disk of mucd is full for a while: what it has acknowledged stays true, nothing is lost or done twice, and it goes
on by itself when there is room."""

import os
import signal
import time

import pytest

from clients import child
from disk import MB, fill, small_disk
from raw import NS, body, local, q, text
from rooms import DOMAIN, People, affiliate, bare
from suite import CommandFailed, Suite, wait_until


@pytest.fixture
def full():
    """People whose mucd has a small disk."""
    suite = Suite(rooms={DOMAIN: {"message-rate": 0}})
    state = suite.directory / "state" / "mucd"
    with small_disk(state, 4 * MB), suite:
        yield People(suite)


def ballast(people):
    return people.suite.directory / "state" / "mucd" / "ballast"


def commits_fail(people, since):
    """Whether the last that mucd said of its commits is that they fail."""
    log = people.suite.log_text(since)
    return log.rfind("commit failed") > log.rfind("commits again")


def position(people):
    return len(people.suite.log_text().encode())


def fill_up(people, speak):
    """Fills the disk, and has somebody speak until mucd has no place for it. Returns how often."""
    since, count = position(people), 0
    fill(ballast(people))
    end, failing = time.monotonic() + 20, 0
    while failing < 150:
        assert time.monotonic() < end
        failing = failing + 1 if commits_fail(people, since) else 0
        if failing < 50:
            speak(count)
            count += 1
        time.sleep(0.01)
    return count


def came(client):
    """What everybody has said, as words; errors are of type wait."""
    errors = [e for e in client.elements if e.get("type") == "error"]
    assert all(e.find(q("client", "error")).get("type") == "wait" for e in errors), [text(e) for e in errors]
    return [body(e) for e in client.elements if local(e) == "message" and e.get("type") == "groupchat" and body(e)]


def members(people, room):
    answer = people.owner.iq("get", "<query xmlns='%s'><item affiliation='member'/></query>" % NS["muc#admin"], to=room)
    return [e.get("jid") for e in child(answer, "muc#admin", "query")]


def commanded(people, room, jid):
    """Whether an administrator could make somebody a member."""
    try:
        people.suite.ctl("room", "affiliate", room, jid, "member", "z" * 1000)
    except CommandFailed:
        return False
    return True


@pytest.mark.parametrize("killed", [False, True], ids=["goes on", "killed"])
def test_messages(full, killed):
    """Each comes once and in order, also when mucd is killed while it cannot write."""
    room = full.room(persistentroom=True)
    second = full.enter(room, "second")
    full.owner.enable(resume=False)
    mucd = full.suite.pid("mucd")
    count = fill_up(full, lambda n: full.owner.say(room, "%d %s" % (n, "x" * 2000), "groupchat"))
    for n in range(count, count + 50):
        full.owner.say(room, "%d %s" % (n, "x" * 2000), "groupchat")
    count += 50
    time.sleep(1)
    second.sync()
    full.owner.sync()
    heard, handled = came(second), full.owner.ask()
    assert len(heard) < count and handled < count
    if killed:
        full.suite.kill("mucd", wait=False)
        time.sleep(0.5)
    ballast(full).unlink()
    if killed:
        full.suite.await_running("mucd", mucd)
    full.owner.await_handled(count, 20)
    # What was said before is what comes first, and all of it comes once.
    wait_until(lambda: second.sync() or len(came(second)) >= count, 20, 0.2, "all messages")
    words = [w.partition(" ")[0] for w in came(second)]
    assert words == [str(n) for n in range(count)]
    assert [w.partition(" ")[0] for w in heard] == words[:len(heard)]
    third = full.enter(room, "third")
    third.say(room, "all is well", "groupchat")
    second.wait(lambda e: body(e) == "all is well")
    assert killed or full.suite.pid("mucd") == mucd


def test_full_of_what_rooms_say(full):
    """While archived does not answer, what was said fills the disk: when it does, the rows go first, and make room."""
    room = full.room(persistentroom=True)
    second = full.enter(room, "second")
    full.owner.enable(resume=False)
    archived, since, count = full.suite.pid("archived"), position(full), 0
    os.kill(archived, signal.SIGSTOP)
    try:
        while not commits_fail(full, since):
            assert count < 1000
            full.owner.say(room, "%d %s" % (count, "x" * 20000), "groupchat")
            count += 1
            time.sleep(0.005)
        time.sleep(2)
    finally:
        os.kill(archived, signal.SIGCONT)
    full.owner.await_handled(count, 20)
    wait_until(lambda: second.sync() or len(came(second)) >= count, 20, 0.2, "all messages")
    assert [w.partition(" ")[0] for w in came(second)] == [str(n) for n in range(count)]


def test_affiliations(full):
    """What an owner has an answer for is so after a kill; what it had none for is answered later."""
    room, reason = full.room(persistentroom=True), "y" * 1000
    guests = []

    def grant(n):
        guests.append("guest%d@localhost" % n)
        full.owner.send("<iq type='set' id='g%d' to='%s'><query xmlns='%s'><item affiliation='member' jid='%s'><reason>%s"
                        "</reason></item></query></iq>" % (n, room, NS["muc#admin"], guests[-1], reason))

    def granted():
        return [guests[int(e.get("id")[1:])] for e in full.owner.elements if local(e) == "iq" and e.get("type") == "result"
                and e.get("id").startswith("g")]
    fill_up(full, grant)
    time.sleep(1)
    full.owner.sync()
    done = granted()
    assert len(done) < len(guests)
    came(full.owner)
    # A command says whether it is done: what is small may find a place.
    others = ["other%d@localhost" % n for n in range(5)]
    told = [commanded(full, room, other) for other in others]
    old = full.suite.pid("mucd")
    full.suite.kill("mucd", wait=False)
    ballast(full).unlink()
    full.suite.await_running("mucd", old)
    wait_until(lambda: full.owner.sync() or len(granted()) == len(guests), 20, 0.2, "all answers")
    assert granted()[:len(done)] == done
    assert sorted(members(full, room)) == sorted(guests + [o for o, is_done in zip(others, told) if is_done])


def test_entering(full):
    """Who enters meanwhile is in when there is room, and nobody else is told before."""
    room = full.room(persistentroom=True)
    guest = full.session()
    fill_up(full, lambda n: full.owner.say(room, "%d %s" % (n, "x" * 2000), "groupchat"))
    guest.send("<presence to='%s/guest'><x xmlns='%s'><history maxstanzas='0'/></x></presence>" % (room, NS["muc"]))
    time.sleep(0.5)
    guest.sync()
    full.owner.sync()
    assert [e for e in full.owner.elements + guest.elements if (e.get("from") or "") == room + "/guest"] == []
    ballast(full).unlink()
    own = guest.wait(lambda e: local(e) == "presence" and e.get("from") == room + "/guest", 20)
    assert own.get("type") is None
    full.owner.wait(lambda e: local(e) == "presence" and e.get("from") == room + "/guest", 20)
    since = position(full)
    affiliate(full.owner, room, bare(guest), "member")
    assert not commits_fail(full, since)
