"""Stream management: XEP-0198, acknowledgements and resumption."""

import os
import re
import signal
import time

import pytest

from clients import befriend, child, slix  # noqa: F401
from raw import NS, Closed, body, condition, local, q, text
from suite import wait_until

SM = NS["sm"]


def enable(client, resume=True, **attributes):
    """Enables stream management. Returns the <enabled/>; client.h counts what came since."""
    client.send("<enable xmlns='%s'%s%s/>" % (
        SM, " resume='true'" if resume else "", "".join(" %s='%s'" % a for a in attributes.items())))
    answer = client.wait(lambda e: e.tag in (q("sm", "enabled"), q("sm", "failed")))
    assert answer.tag == q("sm", "enabled"), text(answer)
    client.sm_id = answer.get("id")
    return answer


def ask(client, seconds=None):
    """Asks for an acknowledgement: its h."""
    client.send("<r xmlns='%s'/>" % SM)
    return int(client.wait(lambda e: e.tag == q("sm", "a"), seconds).get("h"))


def acknowledge(client, h):
    client.send("<a xmlns='%s' h='%d'/>" % (SM, h))


def authenticated(suite, account, worker=None):
    """A client that may bind or resume."""
    client = suite.stream(account.partition("@")[2])
    client.authenticate("SCRAM-SHA-256", account.partition("@")[0], suite.password(account))
    client.open(account.partition("@")[2])
    client.jid = None
    return client


def resume(suite, account, sm_id, h=0):
    """Resumes a session with a new connection. Returns the client and the answer."""
    client = authenticated(suite, account)
    client.send("<resume xmlns='%s' previd='%s' h='%d'/>" % (SM, sm_id, h))
    return client, client.wait(lambda e: e.tag in (q("sm", "resumed"), q("sm", "failed")))


def resumed(suite, old, h=0):
    """Resumes an old client's session, which must succeed."""
    account = old.jid.partition("/")[0]
    client, answer = resume(suite, account, old.sm_id, h)
    assert answer.tag == q("sm", "resumed") and answer.get("previd") == old.sm_id, text(answer)
    client.jid, client.sm_id, client.resumed_h = old.jid, old.sm_id, int(answer.get("h"))
    return client


def stanzas(client, count, seconds=None):
    """So many stanzas; elements of stream management are thrown away."""
    found = []
    while len(found) < count:
        element = client.next(seconds)
        if element.tag.startswith("{jabber:client}"):
            found.append(element)
    return found


@pytest.fixture
def two(suite):
    a, b = suite.accounts(2)
    return suite.login(a, "a"), suite.login(b, "b", available=0)


# -- enable, acknowledge -------------------------------------------------------------------------------


def test_feature(suite):
    client = authenticated(suite, suite.account())
    assert client.features.find(q("sm", "sm")) is not None


def test_enable(suite):
    client = suite.login(suite.account())
    answer = enable(client)
    assert answer.get("resume") in ("true", "1") and answer.get("id")
    assert int(answer.get("max")) > 0
    assert ask(client) == 0
    client.sync()
    assert ask(client) == 1


def test_enable_without_resume(suite):
    client = suite.login(suite.account())
    answer = enable(client, resume=False)
    assert answer.get("resume") in (None, "false", "0")
    assert ask(client) == 0


def test_enable_twice(suite):
    """Section 3: unexpected-request, and it stays enabled."""
    client = suite.login(suite.account())
    enable(client)
    client.send("<enable xmlns='%s'/>" % SM)
    failed = client.wait(lambda e: e.tag in (q("sm", "enabled"), q("sm", "failed")))
    assert failed.tag == q("sm", "failed")
    assert failed.find(q("stanzas", "unexpected-request")) is not None
    assert ask(client) == 0


def test_enable_before_bind(suite):
    """Section 3: only after binding."""
    client = authenticated(suite, suite.account())
    client.send("<enable xmlns='%s'/>" % SM)
    failed = client.next()
    assert failed.tag == q("sm", "failed")
    assert failed.find(q("stanzas", "unexpected-request")) is not None
    assert client.bind()


def test_enable_before_authentication(suite):
    client = suite.stream()
    client.send("<enable xmlns='%s' resume='true'/>" % SM)
    try:
        answer = client.next()
        assert answer.tag in (q("sm", "failed"), q("stream", "error"))
    except Closed:
        pass


def test_counters(two):
    """h counts stanzas, all three kinds, and nothing else."""
    a, b = two
    enable(a)
    for i in range(3):
        a.say(b.jid.partition("/")[0], str(i))
    a.send("<presence to='%s'/> <iq type='result' id='x' to='%s'/>" % (b.jid, b.jid))
    a.send("  \n <r xmlns='%s'/>" % SM)
    assert int(a.wait(lambda e: e.tag == q("sm", "a")).get("h")) == 5
    a.send("<message to='a b@x'/><iq type='get' id='e'><x xmlns='y'/></iq>")  # errors count too
    assert ask(a) == 7


def test_server_asks(two):
    """The server asks for acknowledgements of what it sends."""
    a, b = two
    enable(b)
    a.say(b.jid, "x")
    b.message()
    b.wait(lambda e: e.tag == q("sm", "r"))
    acknowledge(b, 1)
    a.say(b.jid, "y")
    b.message()
    b.wait(lambda e: e.tag == q("sm", "r"))


def test_unacknowledged_stay_on_disk(suite, two):
    """A message is off the spool when the client has acknowledged it, not before."""
    a, b = two
    account = b.jid.partition("/")[0]
    enable(b)
    for i in range(3):
        a.say(account, str(i))
    for i in range(3):
        b.message()
    b.sync()
    assert len(suite.ctl("queue", "list", account)) == 3
    acknowledge(b, 2)
    wait_until(lambda: len(suite.ctl("queue", "list", account)) == 1, message="queue shrinks")
    acknowledge(b, 4)  # with the ping's result
    wait_until(lambda: suite.ctl("queue", "list", account) == [], message="queue is empty")


def test_h_after_commit_only(make_suite):
    """With archived stopped h does not move; it does when archived goes on."""
    suite = make_suite()
    x, y = suite.accounts(2)
    a, b = suite.login(x), suite.login(y, available=0)
    enable(a)
    a.say(y, "first")
    b.message()
    assert ask(a) == 1
    pid = suite.pid("archived")
    os.kill(pid, signal.SIGSTOP)
    try:
        a.say(y, "second")
        a.send("<r xmlns='%s'/>" % SM)
        with pytest.raises(TimeoutError):
            b.message(1.5)
        for element in [e for e in a.elements if e.tag == q("sm", "a")]:
            assert element.get("h") == "1"
        a.elements.clear()
        a.send("<r xmlns='%s'/>" % SM)
        try:
            assert a.wait(lambda e: e.tag == q("sm", "a"), 1.5).get("h") == "1"
        except TimeoutError:
            pass
    finally:
        os.kill(pid, signal.SIGCONT)
    assert body(b.message()) == "second"
    wait_until(lambda: ask(a) == 2, message="h moves")
    suite.killed["archived"] = 0


def test_h_too_high(two):
    """Section 4: undefined-condition with handled-count-too-high."""
    a, b = two
    enable(b)
    a.say(b.jid, "x")
    b.message()
    acknowledge(b, 50)
    assert b.stream_error() == "undefined-condition"
    detail = b.error.find(q("sm", "handled-count-too-high"))
    assert (detail.get("h"), detail.get("send-count")) == ("50", "1")


@pytest.mark.parametrize("what", ["<a xmlns='%s'/>", "<a xmlns='%s' h='x'/>", "<a xmlns='%s' h='-1'/>",
                                  "<a xmlns='%s' h='4294967296'/>"])
def test_bad_acknowledgement(suite, what):
    client = suite.login(suite.account())
    enable(client)
    client.send(what % SM)
    assert client.stream_error() in ("bad-format", "invalid-xml", "undefined-condition", "policy-violation")


@pytest.mark.parametrize("what", ["r", "a h='0'"])
def test_not_enabled(suite, what):
    """Acknowledgements without stream management: a stream error, or nothing."""
    client = suite.login(suite.account())
    client.send("<%s xmlns='%s'/>" % (what, SM))
    try:
        assert client.stream_error(2) in ("unsupported-stanza-type", "policy-violation")
    except TimeoutError:
        client.sync()


# -- resumption -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "abort"])
def test_resume(suite, two, how):
    """A broken connection: the session goes on with what was not acknowledged, once each."""
    a, b = two
    enable(b)
    for i in range(3):
        a.say(b.jid, str(i))
    for i in range(3):
        b.message()
    getattr(b, how)()
    for i in range(3, 6):
        a.say(b.jid.partition("/")[0], str(i))
    a.sync()
    c = resumed(suite, b, h=2)
    assert c.resumed_h == 0
    assert [body(m) for m in stanzas(c, 4)] == ["2", "3", "4", "5"]
    assert c.pending("message") == []
    c.say(a.jid, "still " + b.jid)
    assert a.message().get("from") == b.jid


def test_no_unavailable_meanwhile(suite, two):
    """Contacts do not notice."""
    a, b = two
    befriend(a, b)
    a.available()
    a.pending()
    enable(b)
    b.abort()
    time.sleep(0.3)
    c = resumed(suite, b)
    c.sync()
    assert a.pending("presence") == []
    c.available(3)
    a.wait(lambda e: local(e) == "presence" and e.get("from") == b.jid)


def test_resume_tells_h(suite, two):
    """The client learns what of its own had arrived, and sends the rest again."""
    a, b = two
    enable(a)
    for i in range(4):
        a.say(b.jid, str(i))
    a.abort()
    c = resumed(suite, a)
    n = c.resumed_h
    for i in range(n, 4):
        c.say(b.jid, str(i))
    assert [body(b.message()) for _ in range(4)] == ["0", "1", "2", "3"]
    wait_until(lambda: ask(c) == 4, message="all is counted")
    assert b.pending("message") == []


def test_resume_while_old_looks_alive(suite, two):
    """The old connection is still open: it ends with a stream error, and the new one goes on."""
    a, b = two
    enable(b)
    a.say(b.jid, "x")
    b.message()
    c = resumed(suite, b, h=0)
    assert body(c.message()) == "x"
    assert b.stream_error() == "conflict"
    a.say(b.jid, "y")
    assert body(c.message()) == "y"


def test_resume_by_one_process(make_suite):
    """Resumed again and again by the c2sd that has the session."""
    resume_often(make_suite(c2s={"workers": 1}), 0)


@pytest.mark.parametrize("there", [0, 1])
def test_resume_by_another_process(suite, there):
    """Whichever c2sd the new connections come to, they get the session."""
    resume_often(suite, there)


def resume_often(suite, there):
    x, y = suite.accounts(2)
    a = suite.login(x)
    b = suite.login(y, "r", available=0, worker=there)
    for round_ in range(6):
        if round_ == 0:
            enable(b)
            seen = 0
        b.abort()
        a.say(y, str(round_))
        b = resumed(suite, b, h=seen)
        assert body(stanzas(b, 1)[0]) == str(round_)
        seen += 1
    assert suite.sessions(y).keys() == {b.jid}


def test_resume_twice_over(suite, two):
    """Counters go on over resumptions."""
    a, b = two
    enable(b)
    h = sent = 0
    for round_ in range(5):
        for i in range(3):
            a.say(b.jid, "%d.%d" % (round_, i))
        got = stanzas(b, 3)
        h += 3
        assert [body(m) for m in got] == ["%d.%d" % (round_, i) for i in range(3)]
        b.say(a.jid, "from b %d" % round_)
        sent += 1
        assert body(a.message()) == "from b %d" % round_
        wait_until(lambda: ask(b) == sent, message="h")
        b.abort()
        b = resumed(suite, b, h)
        assert b.resumed_h == sent


def refused(suite, answer, what):
    assert answer.tag == q("sm", "failed"), text(answer)
    assert answer.find(q("stanzas", what)) is not None, text(answer)


@pytest.mark.parametrize("previd", ["", "x", "0000000000000000-" + "0" * 36, "&lt;&amp;", "z" * 5000])
def test_wrong_id(suite, previd):
    """Section 5: item-not-found; then the client can bind."""
    account = suite.account()
    client, answer = resume(suite, account, previd)
    refused(suite, answer, "item-not-found")
    assert client.bind("fresh") == account + "/fresh"
    client.sync()


def test_other_accounts_id(suite, two):
    """A session of somebody else is not to be had, and does not notice."""
    a, b = two
    enable(b)
    client, answer = resume(suite, suite.account(), b.sm_id)
    refused(suite, answer, "item-not-found")
    client.bind()
    a.say(b.jid, "x")
    assert body(b.message()) == "x"
    assert ask(b) == 0


def test_other_accounts_id_detached(suite, two):
    a, b = two
    enable(b)
    b.abort()
    for _ in range(4):  # both processes
        client, answer = resume(suite, a.jid.partition("/")[0], b.sm_id)
        refused(suite, answer, "item-not-found")
    a.say(b.jid, "x")
    c = resumed(suite, b)
    assert body(stanzas(c, 1)[0]) == "x"


def test_resume_h_too_high(suite, two):
    """A client that has counted more than was sent: not resumed, whatever the form of the answer."""
    a, b = two
    enable(b)
    b.abort()
    client = authenticated(suite, b.jid.partition("/")[0])
    client.send("<resume xmlns='%s' previd='%s' h='1000'/>" % (SM, b.sm_id))
    answer = client.next()
    assert answer.tag in (q("sm", "failed"), q("stream", "error")), text(answer)
    if answer.tag == q("stream", "error"):
        assert condition(answer) == "undefined-condition"


def test_closed_stream_is_not_resumed(suite, two):
    """Section 5: a stream that was closed properly is over."""
    a, b = two
    enable(b)
    b.end()
    client, answer = resume(suite, b.jid.partition("/")[0], b.sm_id)
    refused(suite, answer, "item-not-found")


def test_resume_time(make_suite):
    """After the time the session is over: contacts are told, messages are there for the next one."""
    suite = make_suite(c2s={"resume-time": 1})
    x, y = suite.accounts(2)
    a, b = suite.login(x, available=0), suite.login(y, "b", available=0)
    befriend(a, b)
    answer = enable(b)
    assert answer.get("max") == "1"
    a.say(b.jid, "seen, not acknowledged")
    b.message()
    b.abort()
    a.say(b.jid, "not seen")
    a.send("<iq type='get' id='q' to='%s'><x xmlns='y'/></iq>" % b.jid)
    a.wait(lambda e: local(e) == "presence" and e.get("type") == "unavailable" and e.get("from") == b.jid)
    error = a.wait(lambda e: e.get("id") == "q")
    assert error.get("type") == "error"
    client, answer = resume(suite, y, b.sm_id)
    refused(suite, answer, "item-not-found")
    client.bind("again")
    client.available()
    got = [client.message() for _ in range(2)]
    assert [body(m) for m in got] == ["seen, not acknowledged", "not seen"]
    assert all(child(m, "delay", "delay") is not None for m in got)
    assert client.pending("message") == []


def test_without_resumption_comes_again(suite, two):
    """Stream management without resumption: what was not acknowledged goes to the next session."""
    a, b = two
    account = b.jid.partition("/")[0]
    enable(b, resume=False)
    for i in range(4):
        a.say(account, str(i))
    for i in range(4):
        b.message()
    acknowledge(b, 2)
    b.sync()
    b.abort()
    c = suite.login(account, "next", available=0)
    assert [body(c.message()) for _ in range(2)] == ["2", "3"]
    c.sync()
    assert c.pending("message") == []


@pytest.mark.parametrize("workers", [1, 2])
def test_many_disconnects(make_suite, workers):
    """200 messages over 10 broken connections on both sides: none lost, none twice, in order."""
    suite = make_suite(c2s={"workers": workers})
    x, y = suite.accounts(2)
    a, b = suite.login(x), suite.login(y, "b", available=0)
    enable(a)
    enable(b)
    got, h, sent, acked = [], 0, 0, 0
    for round_ in range(10):
        for i in range(20):
            a.say(y, str(sent + i))
        sent += 20
        a.abort()
        for element in stanzas(b, 5 + round_):
            h += 1
            got.append(body(element))
        b.abort()
        a = resumed(suite, a)
        acked = a.resumed_h
        for i in range(acked, sent):
            a.say(y, str(i))
        b = resumed(suite, b, h)
    while len(got) < 200:
        got += [body(e) for e in stanzas(b, 1)]
    assert got == [str(i) for i in range(200)]
    a.sync()
    assert b.pending("message") == []


def test_with_slixmpp(suite, slix):  # noqa: F811
    """A client resumes by its own means after its connection broke."""
    x, y = suite.accounts(2)
    a = suite.login(x)
    b = slix(suite, y, "b", available=0, plugins=["xep_0198"])
    b.until(lambda: b.xmpp["xep_0198"].enabled_in)
    for i in range(5):
        a.say(b.jid, str(i))
    assert [body(b.message()) for _ in range(5)] == ["0", "1", "2", "3", "4"]
    jid = b.jid
    b.abort()
    for i in range(5, 8):
        a.say(y, str(i))
    a.sync()
    b.connect()
    assert b.jid == jid
    assert [body(b.message()) for _ in range(3)] == ["5", "6", "7"]
    b.say(a.jid, "back")
    assert a.message().get("from") == jid
    b.sync()
    assert [e for e in b.pending("message")] == []


def test_thousands_to_a_detached_session(suite):
    """It is paused, they wait on disk, and all come in order after resumption."""
    x, y = suite.accounts(2)
    a, b = suite.login(x), suite.login(y, "b", available=0)
    enable(b)
    b.abort()
    count = 2000
    for at in range(0, count, 200):
        a.send("".join("<message to='%s' type='chat'><body>%d</body></message>" % (y, i)
                       for i in range(at, at + 200)))
    a.sync()
    c = resumed(suite, b)
    got, h = [], 0
    while len(got) < count:
        element = c.next()
        if local(element) == "message":
            got.append(body(element))
            h += 1
            if h % 50 == 0:
                acknowledge(c, h)
        elif element.tag == q("sm", "r"):
            acknowledge(c, h)
    assert got == [str(i) for i in range(count)]
    acknowledge(c, h)
    c.sync()
    assert c.pending("message") == []
    acknowledge(c, h + 2)
    wait_until(lambda: suite.ctl("queue", "list", y) == [], message="queue is empty")
    a.say(y, "live again")
    assert body(c.message()) == "live again"


@pytest.mark.parametrize("same", [True, False])
def test_resume_waits_for_the_commit(make_suite, same):
    """What was read before the connection broke and is not on disk yet is counted when the session is
    resumed, by the same c2sd or another: else the client sends it again, and the receiver gets it twice."""
    suite = make_suite()
    x, y = suite.accounts(2)
    a, b = suite.login(x), suite.login(y, "b", available=0)
    enable(a)
    there = suite.sessions(x)[a.jid]["c2sd"]
    for _ in range(50):
        new = authenticated(suite, x)
        at = int(re.findall(r"c2sd\.(\d)\[\d+\]: info: login jid=%s " % re.escape(x), suite.log_text())[-1])
        if (at == there) == same:
            break
        new.close()
    pid = suite.pid("archived")
    os.kill(pid, signal.SIGSTOP)
    try:
        a.say(y, "once")
        time.sleep(0.2)
        a.abort()
        new.send("<resume xmlns='%s' previd='%s' h='0'/>" % (SM, a.sm_id))
        time.sleep(0.5)
    finally:
        os.kill(pid, signal.SIGCONT)
    answer = new.wait(lambda e: e.tag in (q("sm", "resumed"), q("sm", "failed")))
    assert answer.tag == q("sm", "resumed"), text(answer)
    assert answer.get("h") == "1"
    new.jid = a.jid
    new.sync()
    assert [body(m) for m in b.pending("message")] == ["once"]
