"""Invitations: ad-hoc commands (XEP-0401), tokens in registration (XEP-0445), and tokens in subscription
requests (XEP-0379)."""

import asyncio
import re
import time

import pytest
import slixmpp

from clients import fence, slix  # noqa: F401
from raw import NS, condition, error_type, q, text
from suite import CommandFailed, Suite
from test_adhoc import command, fields, form, notes, run, values
from test_sasl import form as register
from test_transfer import document, run as aldisctl

INVITE = "urn:xmpp:invite#invite"
CREATE = "urn:xmpp:invite#create-account"
COMMANDS = "http://jabber.org/protocol/commands"
DOMAINS = {
    "localhost": {"registration": "invited", "invite": "all", "admins": ["chief@localhost"],
                  "invite-page": "https://localhost/i/#"},
    "open.test": {"registration": "yes", "invite": "nobody"},
    "shut.test": {"registration": "no", "invite": "all"},
}


@pytest.fixture(scope="module")
def suite(programs):
    with Suite(domains=DOMAINS, auth={"invitations": 4}) as made:
        made.account("chief")
        yield made


def token_of(uri):
    return re.search(r"preauth=([a-z0-9]+)", uri).group(1)


def invited(suite, *words):
    """A token made with aldisctl."""
    return token_of(suite.ctl("invite", *words)["uri"])


def preauth(client, token, kind="set"):
    return client.iq(kind, "<preauth xmlns='%s' token='%s'/>" % (NS["pars"], token))


def bring(suite, jid, inner, attributes=""):
    """Imports an account out of a file."""
    return aldisctl(suite, "account", "import", "-", input=document(jid, inner, attributes))


def newcomer(suite, token, name, domain="localhost"):
    """A new account; returns the answer to its registration."""
    client = suite.stream(domain)
    answer = preauth(client, token)
    assert answer.get("type") == "result", text(answer)
    return client.iq("set", register(name, "secret"))


def roster(client):
    answer = client.iq("get", "<query xmlns='%s'/>" % NS["roster"])
    return {i.get("jid"): i.get("subscription") for i in answer.iter(q("roster", "item"))}


def nodes(client, to):
    answer = client.iq("get", "<query xmlns='%s' node='%s'/>" % (NS["disco#items"], COMMANDS), to=to)
    return [i.get("node") for i in answer.iter(q("disco#items", "item"))]


# -- tokens in registration ---------------------------------------------------------------------------


def test_features(suite):
    for domain, offered in (("localhost", True), ("open.test", True), ("shut.test", False)):
        features = suite.stream(domain).features
        assert (features.find(q("ibr-token", "register")) is not None) == offered
        assert (features.find(q("register-feature", "register")) is not None) == offered


def test_closed_without_token(suite):
    client = suite.stream("localhost")
    for kind, payload in (("get", register()), ("set", register("mallory", "x"))):
        answer = client.iq(kind, payload)
        assert condition(answer) == "not-allowed", text(answer)
    with pytest.raises(CommandFailed):
        suite.ctl("user", "del", "mallory@localhost")


def test_token_makes_one_account(suite):
    said = suite.ctl("invite", "domain=localhost")
    assert re.fullmatch(r"xmpp:localhost\?register;preauth=[a-z0-9]{26,}", said["uri"])
    assert said["landing-url"] == "https://localhost/i/#" + said["uri"][len("xmpp:"):]
    assert said["expire"] > "2"
    token = token_of(said["uri"])
    late = suite.stream("localhost")
    assert preauth(late, token).get("type") == "result"
    client = suite.stream("localhost")
    assert preauth(client, token).get("type") == "result"
    fields = client.iq("get", register())
    assert fields.find(q("register", "query")).find(q("register", "password")) is not None
    answer = client.iq("set", register("one.er", "secret"))
    assert answer.get("type") == "result", text(answer)
    client.login("one.er@localhost", "secret", "r")
    assert condition(late.iq("set", register("two.er", "secret"))) == "not-allowed"
    assert condition(preauth(suite.stream("localhost"), token)) == "item-not-found"
    assert roster(client) == {}


def test_failed_registration_uses_nothing(suite):
    suite.account("taken")
    token = invited(suite, "domain=localhost")
    client = suite.stream("localhost")
    preauth(client, token)
    assert condition(client.iq("set", register("taken", "x"))) == "conflict"
    assert condition(client.iq("set", register("fine", None))) == "not-acceptable"
    assert client.iq("set", register("fine", "x")).get("type") == "result"


def test_uses(suite):
    token = invited(suite, "domain=localhost", "uses=2")
    assert newcomer(suite, token, "twin1").get("type") == "result"
    assert newcomer(suite, token, "twin2").get("type") == "result"
    assert condition(preauth(suite.stream("localhost"), token)) == "item-not-found"


def test_reserved_name(suite):
    said = suite.ctl("invite", "domain=localhost", "account=Rosalin\u00e9")
    assert said["uri"].startswith("xmpp:rosalin%C3%A9@localhost?register;preauth=")
    token = token_of(said["uri"])
    other = invited(suite, "domain=localhost")
    assert condition(newcomer(suite, other, "rosalin\u00e9")) == "conflict"
    with pytest.raises(CommandFailed):
        suite.ctl("user", "add", "rosalin\u00e9@localhost", input="x\n")
    with pytest.raises(CommandFailed):
        suite.ctl("invite", "domain=localhost", "account=rosalin\u00e9")
    client = suite.stream("localhost")
    preauth(client, token)
    answer = client.iq("get", register())
    assert answer.find(q("register", "query")).findtext(q("register", "username")) == "rosalin\u00e9"
    assert condition(client.iq("set", register("somebody", "x"))) == "not-acceptable"
    assert client.iq("set", register("rosalin\u00e9", "x")).get("type") == "result"


def test_reserved_name_and_import(suite):
    """An account out of a file does not take a name that an invitation reserves, until that is revoked."""
    invited(suite, "domain=localhost", "account=benvolio")
    status, out, err = bring(suite, "benvolio@localhost", "", attributes=" password='x'")
    assert status == 1 and "an invitation reserves this name" in err, (out, err)
    row, = [r for r in suite.ctl("invite", "list") if r["account"] == "benvolio"]
    suite.ctl("invite", "revoke", row["id"])
    status, out, err = bring(suite, "benvolio@localhost", "", attributes=" password='x'")
    assert status == 0, (out, err)
    suite.login("benvolio@localhost", password="x")


def test_reserved_where_registration_is_open(suite):
    token = invited(suite, "domain=open.test", "account=prince")
    client = suite.stream("open.test")
    assert condition(client.iq("set", register("prince", "x"))) == "conflict"
    assert client.iq("set", register("pauper", "x")).get("type") == "result"
    assert newcomer(suite, token, "prince", "open.test").get("type") == "result"


def test_expiry_counts_when_the_token_is_shown(suite):
    token = invited(suite, "domain=localhost", "time=2s")
    client = suite.stream("localhost")
    assert preauth(client, token).get("type") == "result"
    time.sleep(2.5)
    late = suite.stream("localhost")
    assert condition(preauth(late, token)) == "item-not-found"
    assert condition(late.iq("set", register("late.comer", "x"))) == "not-allowed"
    assert client.iq("set", register("in.time", "x")).get("type") == "result"


@pytest.mark.parametrize("token", ["", "0x", "x", "0xaaaaaaaaaaaaaaaaaaaaaaaaaa", "ffffffffffffffffffx",
                                   "0x" + "a" * 500, "\u00e9"])
def test_no_token(suite, token):
    client = suite.stream("localhost")
    answer = preauth(client, token)
    assert (condition(answer), error_type(answer)) == ("item-not-found", "cancel"), text(answer)
    assert condition(client.iq("set", register("mallory", "x"))) == "not-allowed"


def test_requests_that_are_wrong(suite):
    token = invited(suite, "domain=localhost")
    client = suite.stream("localhost")
    assert condition(preauth(client, token, "get")) == "bad-request"
    assert condition(client.iq("set", "<preauth xmlns='%s'/>" % NS["pars"])) == "bad-request"
    shut = suite.stream("shut.test")
    shut.send("<iq type='set' id='p'><preauth xmlns='%s' token='x'/></iq>" % NS["pars"])
    assert shut.stream_error() == "not-authorized"
    juliet = suite.login(suite.account())
    answer = juliet.iq("set", "<preauth xmlns='%s' token='%s'/>" % (NS["pars"], token), to="localhost")
    assert condition(answer) == "not-allowed"


def test_token_of_another_domain(suite):
    assert condition(preauth(suite.stream("localhost"), invited(suite, "domain=open.test"))) == "item-not-found"


def test_registration_does_not_wait_for_an_answer(suite):
    """A token counts when the server has said that it is good."""
    token = invited(suite, "domain=localhost")
    client = suite.stream("localhost")
    client.send("<iq type='set' id='p'><preauth xmlns='%s' token='%s'/></iq><iq type='set' id='q'>%s</iq>" % (
        NS["pars"], token, register("hasty", "x")))
    answers = {e.get("id"): e for e in (client.next(), client.next())}
    assert answers["p"].get("type") == "result"
    assert condition(answers["q"]) == "not-allowed"


@pytest.mark.timeout(120)
def test_authd_restarts_between(suite):
    token = invited(suite, "domain=localhost")
    client = suite.stream("localhost")
    preauth(client, token)
    suite.kill("authd")
    answer = client.iq("set", register("survivor", "x"))
    assert answer.get("type") == "result", text(answer)
    assert condition(preauth(suite.stream("localhost"), token)) == "item-not-found"


def test_slixmpp_registers(suite, slix):  # noqa: F811
    """Its own registration (XEP-0077), with the token before it."""
    token = invited(suite, "domain=localhost")
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    xmpp = slixmpp.ClientXMPP("slixer@localhost", "slixpass")
    xmpp.loop = loop
    xmpp.ca_certs = str(suite.ca)
    xmpp.register_plugin("xep_0077")
    done = loop.create_future()
    ask = xmpp["xep_0077"].get_registration

    async def ask_with_token(*arguments, **options):
        show = xmpp.make_iq_set(ito="localhost")
        show.append(slixmpp.xmlstream.ET.Element("{%s}preauth" % NS["pars"], token=token))
        await show.send()
        return await ask(*arguments, **options)

    async def on_register(_):
        answer = xmpp.make_iq_set()
        answer["register"]["username"] = "slixer"
        answer["register"]["password"] = "slixpass"
        await answer.send()

    xmpp._always_send_everything = True  # it holds back stanzas before a session, but for those that it knows
    xmpp["xep_0077"].get_registration = ask_with_token
    xmpp.add_event_handler("register", on_register)
    xmpp.add_event_handler("session_start", lambda e: done.done() or done.set_result(str(xmpp.boundjid.bare)))
    for event in ("failed_all_auth", "disconnected"):
        xmpp.add_event_handler(event, lambda e: done.done() or done.set_result("failed"))
    xmpp.connect(("127.0.0.1", suite.port))
    try:
        assert loop.run_until_complete(asyncio.wait_for(done, 20)) == "slixer@localhost"
    finally:
        xmpp.abort()
        loop.run_until_complete(asyncio.sleep(0.05))
        asyncio.set_event_loop(None)
        loop.close()


# -- ad-hoc commands ----------------------------------------------------------------------------------


def test_who_sees_what(suite):
    user, chief = suite.login(suite.account()), suite.login("chief@localhost")
    assert nodes(user, "localhost") == [INVITE]
    assert {INVITE, CREATE} < set(nodes(chief, "localhost"))
    assert nodes(user, "open.test") == nodes(user, "shut.test") == []
    assert condition(run(user, CREATE)) == "item-not-found"
    assert condition(run(user, "http://jabber.org/protocol/admin#add-user")) == "forbidden"
    assert condition(run(user, "urn:x-aldis:command#invite")) == "forbidden"
    assert condition(run(user, INVITE, to="open.test")) == "forbidden"
    info = user.iq("get", "<query xmlns='%s' node='%s'/>" % (NS["disco#info"], INVITE), to="localhost")
    assert info.find(".//" + q("disco#info", "identity")).get("type") == "command-node"


def test_user_invites(suite):
    user = suite.login(suite.account(), available=0)
    bare = user.jid.partition("/")[0]
    roster(user)
    answer = run(user, INVITE)
    said = command(answer)
    assert values(said, "FORM_TYPE") == ["urn:xmpp:invite#invitation"]
    uri, = values(said, "uri")
    assert re.fullmatch(re.escape("xmpp:" + bare) + r"\?roster;preauth=[a-z0-9]+;ibr=y", uri)
    assert values(said, "landing-url") == ["https://localhost/i/#" + uri[len("xmpp:"):]]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", values(said, "expire")[0])
    assert newcomer(suite, token_of(uri), "guest1").get("type") == "result"
    push = user.wait(lambda e: e.get("type") == "set" and e.find(q("roster", "query")) is not None)
    item = push.find(".//" + q("roster", "item"))
    assert (item.get("jid"), item.get("subscription")) == ("guest1@localhost", "both")
    guest = suite.stream("localhost")
    guest.login("guest1@localhost", "secret", "g")
    assert roster(guest) == {bare: "both"}
    guest.available()
    assert user.wait(lambda e: e.get("from") == guest.jid and e.get("type") is None) is not None
    assert guest.wait(lambda e: e.get("from") == user.jid and e.get("type") is None) is not None


def test_without_registration_no_ibr(suite):
    user = suite.login(suite.account(domain="shut.test"))
    uri, = values(command(run(user, INVITE, to="shut.test")), "uri")
    assert uri.startswith("xmpp:" + user.jid.partition("/")[0] + "?roster;preauth=") and "ibr" not in uri


def test_too_many_are_open(suite):
    user = suite.login(suite.account())
    for _ in range(4):
        command(run(user, INVITE))
    assert notes(run(user, INVITE)) == [("error", "too many invitations are open")]
    mine = [i for i in suite.ctl("invite", "list") if i["inviter"] == user.jid.partition("/")[0]]
    assert len(mine) == 4
    suite.ctl("invite", "revoke", mine[0]["id"])
    command(run(user, INVITE))
    assert suite.counter("authd", "invitations-refused") > 0


def test_admin_creates_account(suite):
    chief = suite.login("chief@localhost", available=0)
    roster(chief)
    asked = command(run(chief, CREATE), "executing")
    assert fields(asked) == {"username": "text-single", "roster-subscription": "boolean"}
    answer = run(chief, CREATE, form(username="nurse", roster_subscription="1"),
                 sessionid=asked.get("sessionid"))
    uri, = values(command(answer), "uri")
    assert re.fullmatch(r"xmpp:nurse@localhost\?register;preauth=[a-z0-9]+", uri)
    assert notes(run(chief, CREATE, form(username="nurse"))) == [("error", "this name is taken")]
    assert newcomer(suite, token_of(uri), "nurse").get("type") == "result"
    assert roster(chief)["nurse@localhost"] == "both"
    uri, = values(command(run(chief, CREATE, form(username=""))), "uri")
    assert re.fullmatch(r"xmpp:localhost\?register;preauth=[a-z0-9]+", uri)
    assert newcomer(suite, token_of(uri), "plain").get("type") == "result"
    assert "plain@localhost" not in roster(chief)
    assert notes(run(chief, CREATE, form(username="a b"))) == [
        ("error", "this cannot be the name of an account")]


# -- tokens in subscription requests -------------------------------------------------------------------


def subscribe(client, to, token):
    client.send("<presence to='%s' type='subscribe'><preauth xmlns='%s' token='%s'/></presence>" % (
        to, NS["pars"], token))


def is_subscription(kind, sender):
    return lambda e: e.tag == q("client", "presence") and e.get("type") == kind and e.get("from") == sender


def test_contact_takes_an_invitation(suite):
    romeo = suite.login(suite.account(), available=0)
    juliet = suite.login(suite.account(domain="open.test"), available=0)
    his, hers = (c.jid.partition("/")[0] for c in (romeo, juliet))
    token = token_of(values(command(run(romeo, INVITE)), "uri")[0])
    juliet.send("<presence to='%s' type='subscribed'/>" % his)
    subscribe(juliet, his, token)
    juliet.wait(is_subscription("subscribed", his))
    romeo.wait(is_subscription("subscribed", hers))
    assert roster(romeo)[hers] == roster(juliet)[his] == "both"
    assert not [e for e in romeo.pending() if e.get("type") == "subscribe"], "nobody has to approve"
    assert condition(preauth(suite.stream("localhost"), token)) == "item-not-found"


def test_contact_who_approves_later(suite):
    romeo = suite.login(suite.account())
    juliet = suite.login(suite.account(), available=0)
    his, hers = (c.jid.partition("/")[0] for c in (romeo, juliet))
    subscribe(juliet, his, token_of(values(command(run(romeo, INVITE)), "uri")[0]))
    juliet.wait(is_subscription("subscribed", his))
    juliet.wait(is_subscription("subscribe", his))
    assert roster(romeo)[hers] == "from"
    juliet.send("<presence to='%s' type='subscribed'/>" % his)
    fence(juliet)
    assert roster(romeo)[hers] == "both"


@pytest.mark.parametrize("why", ["other", "nonsense", "spent", "expired", "blocked", "not for contacts"])
def test_what_is_no_invitation(suite, why):
    romeo, third = suite.login(suite.account(), available=0), suite.login(suite.account())
    juliet = suite.login(suite.account(), available=0)
    his, hers = (c.jid.partition("/")[0] for c in (romeo, juliet))
    if why == "other":
        token = token_of(values(command(run(third, INVITE)), "uri")[0])
    elif why == "nonsense":
        token = "1xabc"
    elif why == "not for contacts":
        token = invited(suite, "domain=localhost")
    elif why == "expired":
        token = invited(suite, "contact=" + his, "time=1s")
        time.sleep(1.1)
    else:
        token = token_of(values(command(run(romeo, INVITE)), "uri")[0])
    if why == "spent":
        subscribe(third, his, token)
        third.sync()
    if why == "blocked":
        romeo.iq("set", "<block xmlns='%s'><item jid='%s'/></block>" % (NS["blocking"], hers))
    romeo.pending()
    subscribe(juliet, his, token)
    if why != "blocked":
        romeo.wait(is_subscription("subscribe", hers))
    juliet.sync()
    assert roster(romeo).get(hers) is None
    assert roster(juliet)[his] == "none"


# -- administration -----------------------------------------------------------------------------------


def test_list_and_revoke(suite):
    token = invited(suite, "domain=localhost", "account=ghost", "time=2h")
    row, = [i for i in suite.ctl("invite", "list", "localhost") if i["account"] == "ghost"]
    assert row["uses"] == 1 and row["inviter"] is None and row["created"] < row["expire"]
    assert token not in str(suite.ctl("invite", "list"))
    assert not [i for i in suite.ctl("invite", "list", "open.test") if i["account"] == "ghost"]
    suite.ctl("invite", "revoke", row["id"])
    assert condition(preauth(suite.stream("localhost"), token)) == "item-not-found"
    with pytest.raises(CommandFailed):
        suite.ctl("invite", "revoke", row["id"])
    suite.ctl("user", "add", "ghost@localhost", input="x\n")


@pytest.mark.parametrize("words", [
    [], ["domain=shut.test"], ["domain=nowhere"], ["domain=localhost", "time=0"], ["domain=localhost", "time=367d"],
    ["domain=localhost", "uses=0"], ["domain=localhost", "uses=1001"], ["domain=localhost", "account=a@b"],
    ["domain=localhost", "account=chief"], ["contact=nobody@localhost"], ["contact=localhost"], ["x=y"], ["list=1"],
    ["domain=localhost", "account=a", "uses=2"]])
def test_what_aldisctl_refuses(suite, words):
    with pytest.raises(CommandFailed):
        suite.ctl("invite", *words)


def test_invitations_go_with_the_account(suite):
    user = suite.account()
    token = invited(suite, "contact=" + user, "account=orphan")
    suite.ctl("user", "del", user)
    assert condition(preauth(suite.stream("localhost"), token)) == "item-not-found"
    suite.ctl("user", "add", "orphan@localhost", input="x\n")


def test_it_is_on_disk_and_no_token_in_the_log(suite):
    token = invited(suite, "domain=localhost")
    suite.kill("authd")
    assert newcomer(suite, token, "durable").get("type") == "result"
    assert token not in suite.log_text()
