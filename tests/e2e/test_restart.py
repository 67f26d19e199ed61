"""Promises 1 and 2: any one process can be killed at any moment.

No acknowledged message is lost, no other daemon restarts, and the connections that other daemons hold stay
up. A stop of the whole suite keeps accounts, rosters and messages.
"""

import os
import signal
import time

import pytest

from raw import NS, AuthFailed, Closed, body, condition, error_type, q, text
from suite import SLOW, Suite, session_processes, wait_until

DAEMONS = ["router", "authd", "archived"]
RESTART = 12 * SLOW    # seconds that a restart may make anything wait


@pytest.fixture(scope="module")
def mortal(programs):
    with Suite() as suite:
        yield suite


def pair(suite, workers=(0, 1), **options):
    """Two accounts with a client each, at these workers."""
    juliet, romeo = suite.accounts(2)
    return (suite.login(juliet, "j", available=0, worker=workers[0], **options),
            suite.login(romeo, "r", available=0, worker=workers[1], **options))


def chat(one, other, words="hello"):
    """A message there and one back."""
    one.say(other.jid, words)
    message = other.message(RESTART)
    assert body(message) == words and message.get("from") == one.jid
    other.say(one.jid.partition("/")[0], words)
    message = one.message(RESTART)
    assert body(message) == words and message.get("from") == other.jid


def befriend(one, other):
    """Both subscribe to each other's presence."""
    mine, theirs = (c.jid.partition("/")[0] for c in (one, other))
    for sender, receiver, address in ((one, other, theirs), (other, one, mine)):
        sender.send("<presence to='%s' type='subscribe'/>" % address)
        receiver.wait(lambda e: e.get("type") == "subscribe")
        receiver.send("<presence to='%s' type='subscribed'/>" % (mine if sender is one else theirs))
        sender.wait(lambda e: e.get("type") == "subscribed")
    for client in (one, other):
        client.sync()
        client.elements.clear()


def numbers_of(client, count, seconds=RESTART):
    """Numbers in the messages that come until there are so many different ones, in their order."""
    deadline = time.monotonic() + seconds
    numbers = []
    while len(set(numbers)) < count:
        try:
            message = client.message(max(0.01, deadline - time.monotonic()))
        except (TimeoutError, Closed):
            break
        numbers.append(int(body(message)))
    return numbers


def in_order(numbers):
    """Without repetitions."""
    return list(dict.fromkeys(numbers))


# -- one daemon dies --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DAEMONS)
def test_connections_stay(mortal, name):
    juliet, romeo = pair(mortal)
    chat(juliet, romeo, "before")
    pids = {n: p["pid"] for n, p in mortal.status().items()}
    mortal.kill(name)
    chat(juliet, romeo, "after")
    assert not juliet.eof and not romeo.eof
    after = {n: p["pid"] for n, p in mortal.status().items()}
    assert [n for n in pids if pids[n] != after[n]] == [name]
    assert {juliet.jid, romeo.jid} <= set(mortal.sessions())
    assert all(mortal.sessions()[j]["available"] for j in (juliet.jid, romeo.jid))


@pytest.mark.parametrize("name", DAEMONS)
def test_messages_sent_meanwhile(mortal, name):
    """Not refused, not lost, not doubled, in order."""
    juliet, romeo = pair(mortal)
    mortal.kill(name, wait=False)
    for i in range(30):
        juliet.say(romeo.jid.partition("/")[0], str(i))
    numbers = numbers_of(romeo, 30)
    assert numbers == list(range(30))
    mortal.await_running(name, None)
    assert romeo.pending("message") == []
    assert not [e for e in juliet.pending() if e.get("type") == "error"]


@pytest.mark.parametrize("name", DAEMONS)
def test_request_meanwhile_is_answered(mortal, name):
    """With a result, or with an error of type wait: never with silence."""
    juliet, romeo = pair(mortal)
    mortal.kill(name, wait=False)
    for payload in ("<query xmlns='%s'/>" % NS["roster"], "<ping xmlns='%s'/>" % NS["ping"],
                    "<vCard xmlns='%s'/>" % NS["vcard"]):
        answer = juliet.iq("get", payload, seconds=RESTART)
        assert answer.get("type") == "result" or error_type(answer) == "wait" or \
            condition(answer) == "item-not-found", text(answer)
    mortal.await_running(name, None)
    chat(juliet, romeo)


@pytest.mark.parametrize("name", DAEMONS)
def test_login_meanwhile(mortal, name):
    """A login waits, or fails with temporary-auth-failure; soon it works."""
    account = mortal.account()
    mortal.kill(name, wait=False)
    deadline = time.monotonic() + RESTART
    while True:
        try:
            mortal.login(account).sync()
            break
        except AuthFailed as reason:
            assert reason.condition == "temporary-auth-failure"
        except (AssertionError, TimeoutError, Closed) as reason:
            assert time.monotonic() < deadline, reason
        time.sleep(0.1)
    mortal.await_running(name, None)


def test_presence_survives_the_router(mortal):
    """Subscriptions, priorities and directed presence are known to the new one."""
    juliet, romeo = pair(mortal)
    befriend(juliet, romeo)
    other = mortal.login(mortal.account(), "o", available=0)
    juliet.send("<presence><show>away</show><priority>7</priority></presence><presence to='%s'/>" % other.jid)
    romeo.wait(lambda e: e.findtext(q("client", "show")) == "away")
    other.presence()
    mortal.kill("router")
    juliet.sync(RESTART)
    assert mortal.sessions()[juliet.jid]["priority"] == 7
    romeo.elements.clear()
    again = mortal.login(romeo.jid.partition("/")[0], "again")
    again.available()
    presence = again.wait(lambda e: e.get("from") == juliet.jid)
    assert presence.findtext(q("client", "show")) == "away"
    juliet.end()
    assert romeo.wait(lambda e: e.get("from") == juliet.jid).get("type") == "unavailable"
    assert other.wait(lambda e: e.get("from") == juliet.jid).get("type") == "unavailable"


def test_roster_survives_authd(mortal):
    juliet, romeo = pair(mortal)
    befriend(juliet, romeo)
    mortal.kill("authd")
    roster = juliet.iq("get", "<query xmlns='%s'/>" % NS["roster"], seconds=RESTART)
    item = roster.find("%s/%s" % (q("roster", "query"), q("roster", "item")))
    assert item.get("jid") == romeo.jid.partition("/")[0] and item.get("subscription") == "both"
    answer = juliet.iq("set", "<query xmlns='%s'><item jid='x@localhost' name='X'/></query>" % NS["roster"])
    assert answer.get("type") == "result", text(answer)


def test_password_change_while_authd_dies(mortal):
    """When it was answered, it holds."""
    account = mortal.account()
    client = mortal.login(account)
    client.send("<iq type='set' id='p'><query xmlns='%s'><username>%s</username><password>new</password></query></iq>"
                % (NS["register"], account.partition("@")[0]))
    mortal.kill("authd")
    answer = client.wait(lambda e: e.get("id") == "p", RESTART)
    mortal.login(account, password="new" if answer.get("type") == "result" else None).sync()


def test_client_daemon_dies(mortal):
    """Its clients are cut off and come back; those of the other notice a contact that goes and comes."""
    juliet, romeo = pair(mortal)
    befriend(juliet, romeo)
    mortal.kill("c2sd.0", wait=False)
    juliet.await_end(RESTART)
    for i in range(5):
        romeo.say(juliet.jid.partition("/")[0], str(i))
    romeo.sync(RESTART)
    account = juliet.jid.partition("/")[0]
    again = mortal.login(account, "j")
    again.available()
    assert in_order(numbers_of(again, 5)) == list(range(5))
    mortal.await_running("c2sd.0", None)
    chat(again, romeo)
    assert not romeo.eof
    assert not [e for e in romeo.elements if e.get("type") == "error"]


def test_clients_that_do_not_come_back_are_unavailable(mortal):
    """After a grace time."""
    juliet, romeo = pair(mortal)
    befriend(juliet, romeo)
    mortal.kill("c2sd.0")
    gone = romeo.wait(lambda e: e.tag == q("client", "presence") and e.get("from") == juliet.jid, 10 * SLOW)
    assert gone.get("type") == "unavailable"
    wait_until(lambda: juliet.jid not in mortal.sessions(), message="session is gone")


def test_port_is_served_while_a_client_daemon_is_away(mortal):
    """Connections wait in the socket that the supervisor keeps, or another takes them."""
    mortal.kill("c2sd.1", wait=False)
    for _ in range(6):
        client = mortal.connect()
        client.header()
        assert client.next(RESTART).tag == q("stream", "features")
        client.end()
    mortal.await_running("c2sd.1", None)


# -- under load -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DAEMONS)
def test_kill_under_load(mortal, name):
    """All that was acknowledged arrives, once, in order."""
    count = 1500 // SLOW
    juliet, romeo = pair(mortal)
    juliet.enable()
    for i in range(count):
        juliet.say(romeo.jid.partition("/")[0], str(i))
        if i == count // 3:
            mortal.kill(name, wait=False)
    juliet.await_handled(count, RESTART)
    numbers = numbers_of(romeo, count)
    assert numbers == list(range(count))
    mortal.await_running(name, None)
    assert romeo.pending("message") == []


def test_reports_of_delivery_survive_the_router(make_suite):
    """What was delivered and could not be reported before the router died does not come again."""
    count = 900 // SLOW
    suite = make_suite(c2s={"queue-bytes": "64M", "queue-stanzas": 100000})
    juliet, romeo = suite.accounts("juliet", "romeo")
    there = suite.login(romeo, available=0, receive_buffer=4096)
    client = suite.login(juliet)
    client.enable()
    for i in range(count):
        client.send("<message to='%s' type='chat'><body>%d</body><x xmlns='u:x'>%s</x></message>" % (
            romeo, i, "x" * 8000))
    client.await_handled(count)
    archived = suite.pid("archived")
    os.kill(archived, signal.SIGSTOP)
    try:
        assert numbers_of(there, count) == list(range(count))
        suite.kill("router", wait=False)
        wait_until(lambda: suite.log_text().count("info: daemon ready name=c2sd") >= 4, message="router is back")
    finally:
        os.kill(archived, signal.SIGCONT)
    assert there.pending("message") == []
    client.say(romeo, str(count))
    assert numbers_of(there, 1) == [count]


def test_kill_the_senders_daemon_under_load(mortal):
    """What was acknowledged to a sender before its daemon died arrives."""
    count = 1000 // SLOW
    juliet, romeo = pair(mortal)
    juliet.enable()
    for i in range(count):
        juliet.say(romeo.jid.partition("/")[0], str(i))
    handled = juliet.ask(RESTART)
    mortal.kill("c2sd.0", wait=False)
    numbers = numbers_of(romeo, handled)
    assert numbers[:handled] == list(range(handled))
    mortal.await_running("c2sd.0", None)


def test_kill_the_receivers_daemon_under_load(mortal):
    """What was not seen for certain comes again."""
    count = 1000 // SLOW
    juliet, romeo = pair(mortal, (1, 0))
    juliet.enable()
    for i in range(count):
        juliet.say(romeo.jid.partition("/")[0], str(i))
        if i == count // 3:
            mortal.kill("c2sd.0", wait=False)
    juliet.await_handled(count, RESTART)
    seen = []
    try:
        while True:
            seen.append(int(body(romeo.message(RESTART))))
    except Closed:
        pass
    assert seen == list(range(len(seen)))
    again = mortal.login(romeo.jid.partition("/")[0], "r", available=0)
    later = []
    while len(seen) < count and later[-1:] != [count - 1]:  # some of what was seen is in it
        later.append(int(body(again.message(RESTART))))
    assert in_order(later) == sorted(set(later))
    assert set(seen) | set(later) == set(range(count))


@pytest.mark.timeout(60 * SLOW)
def test_each_in_turn_under_load(mortal):
    """Router, archived and authd die one after the other while two talk."""
    juliet, romeo = pair(mortal)
    for client in (juliet, romeo):
        client.enable()
    sent = 0
    for name in ("archived", "router", "authd", "router"):
        pid = mortal.kill(name, wait=False)
        end = time.monotonic() + 1.2
        while time.monotonic() < end:
            for one, other in ((juliet, romeo), (romeo, juliet)):
                one.say(other.jid.partition("/")[0], str(sent))
            sent += 1
            time.sleep(0.01)
        mortal.await_running(name, pid)
    for client in (juliet, romeo):
        client.await_handled(sent, RESTART)
    assert numbers_of(romeo, sent) == list(range(sent))
    assert numbers_of(juliet, sent) == list(range(sent))


def test_same_daemon_again_and_again(mortal):
    """It is started again at most once a second, and at once if it has lived longer."""
    juliet, romeo = pair(mortal)
    for _ in range(3):
        began = time.monotonic()
        mortal.kill("archived")
        assert time.monotonic() - began < 4 * SLOW
    chat(juliet, romeo)


# -- the whole suite --------------------------------------------------------------------------------


def test_stop_and_start_keeps_everything(make_suite):
    suite = make_suite()
    juliet, romeo = suite.accounts("juliet", "romeo")
    other = suite.account("benvolio", domain="example.test")
    one, two = suite.login(juliet, available=0), suite.login(romeo, available=0)
    befriend(one, two)
    one.iq("set", "<query xmlns='%s'><item jid='%s' name='My Romeo'><group>Verona</group></item></query>" % (
        NS["roster"], romeo))
    one.iq("set", "<query xmlns='%s'><x xmlns='u:x'>kept</x></query>" % NS["private"])
    one.iq("set", "<vCard xmlns='%s'><FN>Juliet</FN></vCard>" % NS["vcard"])
    two.end()
    for i in range(20):
        one.say(romeo, str(i))
    one.sync()
    one.end()
    suite.restart()
    two = suite.login(romeo, available=0)
    messages = [two.message() for _ in range(20)]
    assert [body(m) for m in messages] == [str(i) for i in range(20)]
    for message in messages:
        assert message.get("from").startswith(juliet + "/")
        assert message.find(q("delay", "delay")) is not None
    one = suite.login(juliet)
    item = one.iq("get", "<query xmlns='%s'/>" % NS["roster"]).find(".//" + q("roster", "item"))
    assert (item.get("jid"), item.get("name"), item.get("subscription")) == (romeo, "My Romeo", "both")
    assert item.findtext(q("roster", "group")) == "Verona"
    private = one.iq("get", "<query xmlns='%s'><x xmlns='u:x'/></query>" % NS["private"])
    assert private.find(".//{u:x}x").text == "kept"
    assert one.iq("get", "<vCard xmlns='%s'/>" % NS["vcard"]).find(".//" + q("vcard", "FN")).text == "Juliet"
    suite.login(other).sync()
    with pytest.raises(AuthFailed):
        suite.login(juliet, password="wrong")


def test_stop_under_load(make_suite):
    """What was acknowledged when SIGTERM came is there after the next start."""
    suite = make_suite()
    juliet, romeo = suite.accounts("juliet", "romeo")
    client = suite.login(juliet)
    client.enable()
    for i in range(500):
        client.say(romeo, str(i))
    handled = client.ask()
    suite.restart()
    there = suite.login(romeo, available=0)
    assert numbers_of(there, handled)[:handled] == list(range(handled))


def test_supervisor_dies(make_suite):
    """The suite stops with it, and the next start recovers everything."""
    suite = make_suite()
    juliet, romeo = suite.accounts("juliet", "romeo")
    client = suite.login(juliet, available=0)
    client.enable()
    for i in range(100):
        client.say(romeo, str(i))
    client.await_handled(100)
    pid = suite.process.pid
    os.kill(pid, signal.SIGKILL)
    suite.process.wait()
    wait_until(lambda: not session_processes(pid), message="all processes have ended")
    client.await_end()
    suite.process.stdout.close()
    suite.start()
    there = suite.login(romeo, available=0)
    assert numbers_of(there, 100) == list(range(100))


def test_all_daemons_at_once(make_suite):
    suite = make_suite()
    juliet, romeo = suite.accounts("juliet", "romeo")
    client = suite.login(juliet)
    client.enable()
    for i in range(100):
        client.say(romeo, str(i))
    client.await_handled(100)
    names = ["router", "authd", "archived", "c2sd.0", "c2sd.1"]
    pids = {n: suite.pid(n) for n in names}
    for name in names:
        suite.killed[name] = 1
        os.kill(pids[name], signal.SIGKILL)
    for name in names:
        suite.await_running(name, pids[name])
    there = suite.login(romeo, available=0)
    assert numbers_of(there, 100) == list(range(100))
