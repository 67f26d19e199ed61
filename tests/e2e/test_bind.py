"""Resource binding: RFC 6120 section 7, RFC 7622 section 3.4, and the policy for conflicts."""

import pytest

from raw import NS, Closed, condition, q, text
from suite import wait_until


def authenticated(suite, account, **options):
    """A client after SASL and the third header."""
    domain = account.partition("@")[2]
    client = suite.stream(domain, **options)
    client.authenticate("SCRAM-SHA-256", account.partition("@")[0], suite.password(account))
    client.open(domain)
    client.domain = domain
    return client


def bind_iq(content, **attributes):
    given = {"type": "set", "id": "b", **attributes}
    return "<iq%s><bind xmlns='%s'>%s</bind></iq>" % (
        "".join(" %s='%s'" % (k, v) for k, v in given.items() if v is not None), NS["bind"], content)


# -- features and resources -------------------------------------------------------------------------


def test_features(suite):
    client = authenticated(suite, suite.account())
    assert client.features.find(q("bind", "bind")) is not None
    session = client.features.find(q("session", "session"))
    assert session is None or session.find(q("session", "optional")) is not None
    assert client.features.find(q("sm", "sm")) is not None
    assert client.features.find(q("rosterver", "ver")) is not None


def test_server_chooses(suite):
    """Each session gets another one, which cannot be guessed (section 7.6.2)."""
    account = suite.account()
    jids = {suite.login(account).jid for _ in range(3)}
    assert len(jids) == 3
    for jid in jids:
        bare, _, resource = jid.partition("/")
        assert bare == account and len(resource) >= 8


@pytest.mark.parametrize("content", ["<resource/>", "<resource></resource>"])
def test_empty_resource_is_the_servers_choice(suite, content):
    account = suite.account()
    client = authenticated(suite, account)
    client.send(bind_iq(content))
    answer = client.next()
    if answer.get("type") == "error":  # section 7.7.2.1 allows it
        assert condition(answer) == "bad-request"
    else:
        assert answer.findtext(".//" + q("bind", "jid")).startswith(account + "/")


RESOURCES = {
    "balcony": "balcony", "Balcony": "Balcony", "with space": "with space", "a/b@c": "a/b@c",
    "\u2603": "\u2603", "\ufb01": "\ufb01", "A\u030a": "\u00c5", "no\u00a0break": "no break",
    "<&>'\"": "<&>'\"", "x" * 1023: "x" * 1023,
}


@pytest.mark.parametrize("wanted", RESOURCES, ids=lambda r: ascii(r)[:20])
def test_wanted_resource(suite, wanted):
    """OpaqueString: NFC, other spaces become spaces, case and compatibility stay."""
    account = suite.account()
    if wanted == "\ufb01":
        client = authenticated(suite, account)
        client.send(bind_iq("<resource>%s</resource>" % wanted))
        assert client.next().get("type") in ("result", "error")
        return
    client = suite.login(account, wanted)
    assert client.jid == account + "/" + RESOURCES[wanted]
    client.sync()


@pytest.mark.parametrize("wanted", ["x" * 1024, "\u200bzero", "bell&#x85;", "\u0378", "a\u0600b"],
                         ids=lambda r: ascii(r)[:20])
def test_resource_that_cannot_be(suite, wanted):
    client = authenticated(suite, suite.account())
    client.send(bind_iq("<resource>%s</resource>" % wanted))
    answer = client.next()
    assert answer.get("type") == "error", text(answer)
    assert condition(answer) in ("bad-request", "jid-malformed", "not-acceptable")
    client.bind("fine")
    client.sync()


@pytest.mark.parametrize("stanza", [
    bind_iq("", id=None), bind_iq("", id=""),
    "<iq type='set' id='b'><bind xmlns='%s'/><bind xmlns='%s'/></iq>" % (NS["bind"], NS["bind"])])
def test_bind_that_is_none(suite, stanza):
    client = authenticated(suite, suite.account())
    client.send(stanza)
    answer = client.next()
    if answer.tag == q("stream", "error"):
        return
    assert answer.get("type") == "error" and condition(answer) == "bad-request", text(answer)
    client.bind()


@pytest.mark.parametrize("stanza", [bind_iq("", type="get"), "<iq type='set' id='b'><bind xmlns='jabber:x'/></iq>"])
def test_not_a_bind_request(suite, stanza):
    client = authenticated(suite, suite.account())
    client.send(stanza)
    answer = client.next()
    assert answer.tag == q("stream", "error") or answer.get("type") == "error", text(answer)


def test_bind_without_end_is_refused_at_last(suite):
    client = authenticated(suite, suite.account())
    with pytest.raises(Closed):
        for _ in range(200):
            client.send(bind_iq("<resource>\u0378</resource>"))
            element = client.next()
            if element.tag == q("stream", "error"):
                raise Closed(condition(element))
    client.await_end()


def test_second_bind(suite):
    """Section 7.6: one resource for a stream; the session goes on."""
    account = suite.account()
    client = suite.login(account, "one")
    answer = client.iq("set", "<bind xmlns='%s'><resource>two</resource></bind>" % NS["bind"])
    assert answer.get("type") == "error" and condition(answer) == "not-allowed", text(answer)
    client.sync()
    assert set(suite.sessions(account)) == {account + "/one"}


@pytest.mark.parametrize("to", [None, "localhost"])
def test_session_element_is_tolerated(suite, to):
    """RFC 3921; an optional no-operation by RFC 6121."""
    client = suite.login(suite.account())
    answer = client.iq("set", "<session xmlns='%s'/>" % NS["session"], to=to)
    assert answer.get("type") == "result", text(answer)


def test_pipelined_presence_after_bind(suite):
    """A client that knows its resource need not wait for the answer. It may be refused, not lost."""
    account = suite.account()
    client = authenticated(suite, account)
    client.send(bind_iq("<resource>r</resource>") + "<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
    first = client.next()
    assert first.get("id") == "b" or condition(first) == "not-authorized", text(first)


def test_stream_that_never_binds_leaves_nothing(suite):
    account = suite.account()
    authenticated(suite, account).close()
    authenticated(suite, account).end()
    assert not suite.sessions(account)


# -- conflicts --------------------------------------------------------------------------------------


def test_conflict_replace(suite):
    """The default: the older session ends with <conflict/> (section 7.7.2.2)."""
    account, other = suite.accounts(2)
    old = suite.login(account, "balcony", available=0)
    new = suite.login(account, "balcony")
    assert new.jid == account + "/balcony"
    assert old.stream_error() == "conflict"
    new.available()
    new.sync()
    talker = suite.login(other)
    talker.say(account + "/balcony", "hello")
    assert new.message().get("from") == talker.jid
    assert set(suite.sessions(account)) == {account + "/balcony"}


def test_conflict_replace_again_and_again(suite):
    account = suite.account()
    clients = [suite.login(account, "balcony")]
    for _ in range(8):
        clients.append(suite.login(account, "balcony"))
        assert clients[-2].stream_error() == "conflict"
    clients[-1].sync()


def test_same_resource_of_another_account_is_no_conflict(suite):
    one, two = suite.accounts(2)
    first, second = suite.login(one, "r"), suite.login(two, "r")
    first.sync()
    second.sync()


def test_resources_that_differ_in_case_are_two(suite):
    account = suite.account()
    first, second = suite.login(account, "r"), suite.login(account, "R")
    first.sync()
    second.sync()


def test_conflict_refuse(make_suite):
    suite = make_suite(c2s={"resource-conflict": "refuse"})
    account = suite.account()
    old = suite.login(account, "balcony")
    new = authenticated(suite, account)
    answer = new.iq("set", "<bind xmlns='%s'><resource>balcony</resource></bind>" % NS["bind"])
    assert answer.get("type") == "error" and condition(answer) == "conflict", text(answer)
    assert new.bind("garden") == account + "/garden"
    old.sync()
    old.end()
    wait_until(lambda: account + "/balcony" not in suite.sessions(account))
    assert suite.login(account, "balcony").jid == account + "/balcony"


def test_conflict_rename(make_suite):
    suite = make_suite(c2s={"resource-conflict": "rename"})
    account = suite.account()
    old = suite.login(account, "balcony")
    new = suite.login(account, "balcony")
    assert new.jid != old.jid and new.jid.startswith(account + "/")
    old.sync()
    new.sync()
    assert set(suite.sessions(account)) == {old.jid, new.jid}


def test_limit_of_sessions(make_suite):
    """RFC 6120 section 7.6.2.1: resource-constraint. A replaced session frees its place."""
    suite = make_suite(c2s={"sessions-per-account": 3})
    account, other = suite.accounts(2)
    clients = [suite.login(account, "r%d" % i) for i in range(3)]
    late = authenticated(suite, account)
    answer = late.iq("set", "<bind xmlns='%s'/>" % NS["bind"])
    assert answer.get("type") == "error", text(answer)
    assert condition(answer) in ("resource-constraint", "policy-violation")
    suite.login(other).sync()
    again = suite.login(account, "r0")
    assert clients[0].stream_error() == "conflict"
    again.sync()
    clients[1].end()
    wait_until(lambda: len(suite.sessions(account)) == 2)
    assert late.bind("r9") == account + "/r9"


def test_kick(suite):
    account = suite.account()
    one, two = suite.login(account, "one"), suite.login(account, "two")
    suite.ctl("session", "kick", one.jid)
    assert one.stream_error() == "policy-violation"
    two.sync()
    suite.ctl("session", "kick", account)
    two.stream_error()
    assert not suite.sessions(account)
