"""Ad-hoc commands (XEP-0050) and service administration (XEP-0133): who may, forms, results, and what is wrong."""

import os
import signal
import subprocess
import time
from xml.sax.saxutils import escape, quoteattr

import aioxmpp
import aioxmpp.adhoc
import aioxmpp.forms
import pytest

from clients import slix  # noqa: F401
from raw import NS, AuthFailed, condition, error_type, q, text
from suite import BUILD, DOMAINS, SLOW, Suite, run_async, wait_until
from test_clients import aio_client, online

COMMANDS = NS["commands"]
ADMIN = "http://jabber.org/protocol/admin#"
OWN = "urn:x-aldis:command#"
INVITE = "urn:xmpp:invite#"
CHIEF, BOSS = "chief@localhost", "boss@example.test"  # of everything; of accounts of localhost
SET = ("add-user", "delete-user", "change-user-password", "end-user-session", "user-stats",
       "get-registered-users-num", "get-online-users-num", "get-active-users-num",
       "get-registered-users-list", "get-online-users-list", "get-active-users-list")


@pytest.fixture(scope="module")
def suite(programs):
    with Suite(top={"admins": [CHIEF.upper()]},
               domains={**DOMAINS, "localhost": {"admins": [BOSS, "nobody@localhost"]}}) as made:
        made.account("chief")
        made.account("boss", domain="example.test")
        yield made


@pytest.fixture
def chief(suite):
    return suite.login(CHIEF, available=0)


@pytest.fixture
def boss(suite):
    return suite.login(BOSS, available=0)


def form(**values):
    return "<x xmlns='jabber:x:data' type='submit'>%s</x>" % "".join(
        "<field var=%s>%s</field>" % (quoteattr(var.replace("_", "-")), "".join(
            "<value>%s</value>" % escape(v) for v in ([value] if isinstance(value, str) else value)))
        for var, value in values.items())


def run(client, node, content="", to="localhost", **attributes):
    """Sends a command; the answer's iq."""
    more = "".join(" %s=%s" % (k, quoteattr(v)) for k, v in attributes.items())
    return client.iq("set", "<command xmlns='%s' node=%s%s>%s</command>" % (
        COMMANDS, quoteattr(node), more, content), to=to)


def command(answer, status="completed"):
    assert answer.get("type") == "result", text(answer)
    found = answer.find(q("commands", "command"))
    assert found.get("status") == status and found.get("sessionid"), text(answer)
    return found


def notes(answer):
    return [(n.get("type"), n.text) for n in command(answer).iter(q("commands", "note"))]


def values(element, var):
    return [v.text for f in element.iter(q("data", "field")) if f.get("var") == var
            for v in f.iter(q("data", "value"))]


def fields(element):
    return {f.get("var"): f.get("type") for f in element.iter(q("data", "field")) if f.get("var") != "FORM_TYPE"}


def rows(answer):
    return [{f.get("var"): f.findtext(q("data", "value")) for f in item}
            for item in command(answer).iter(q("data", "item"))]


def items(client, to="localhost", node=COMMANDS):
    return client.iq("get", "<query xmlns='%s' node='%s'/>" % (NS["disco#items"], node), to=to)


def info(client, node, to="localhost"):
    return client.iq("get", "<query xmlns='%s' node='%s'/>" % (NS["disco#info"], node), to=to)


def nodes(answer):
    return [i.get("node") for i in answer.iter(q("disco#items", "item"))]


# -- who may --------------------------------------------------------------------------------------------


def test_list(suite, chief, boss):
    """All commands for those who may give all; the set of XEP-0133 for those of a domain; none for others."""
    everything = nodes(items(chief))
    helped = {c["command"] for c in suite.ctl("help") if c["command"] not in (
        "account export", "account import", "check", "room export", "user import")}
    assert {OWN + c.replace(" ", "-") for c in helped} <= set(everything)
    assert {ADMIN + n for n in SET} <= set(everything) and len(everything) == len(set(everything))
    assert INVITE + "invite" in everything
    assert nodes(items(chief, to="example.test")) == [n for n in everything if n != INVITE + "invite"]
    assert nodes(items(boss)) == [ADMIN + n for n in SET] + [INVITE + "create-account"]
    for client, to in ((boss, "example.test"), (suite.login(suite.account()), "localhost")):
        answer = items(client, to=to)
        assert answer.get("type") == "result" and nodes(answer) == []


def test_info(chief, suite):
    answer = info(chief, COMMANDS)
    assert [(i.get("category"), i.get("type")) for i in answer.iter(q("disco#info", "identity"))] == [
        ("automation", "command-list")]
    for node in (ADMIN + "add-user", OWN + "session-list"):
        answer = info(chief, node)
        assert [(i.get("category"), i.get("type")) for i in answer.iter(q("disco#info", "identity"))] == [
            ("automation", "command-node")]
        assert {f.get("var") for f in answer.iter(q("disco#info", "feature"))} == {COMMANDS, NS["data"]}
        assert nodes(items(chief, node=node)) == []
        assert condition(info(suite.login(suite.account()), node)) == "forbidden"
    assert condition(info(chief, OWN + "nothing")) == "item-not-found"
    assert condition(info(chief, OWN + "export-domains")) == "item-not-found"  # for aldisctl alone
    plain = chief.iq("get", "<query xmlns='%s'/>" % NS["disco#info"], to="localhost")
    assert COMMANDS in {f.get("var") for f in plain.iter(q("disco#info", "feature"))}


@pytest.mark.parametrize("node", (ADMIN + "add-user", OWN + "status", "nothing"))
def test_forbidden(suite, boss, node):
    """A payload is not even read of those who may not."""
    stranger = suite.login(suite.account())
    for client, to in ((stranger, "localhost"), (stranger, "example.test"), (boss, "example.test")):
        for content in ("", form(accountjid="x@localhost", password="y")):
            answer = run(client, node, content, to=to)
            assert (condition(answer), error_type(answer)) == ("forbidden", "auth")
    victim = suite.account()
    run(stranger, ADMIN + "delete-user", form(accountjids=victim))
    suite.login(victim)


def test_domain_admin_has_no_other_commands(boss):
    for node in ("status", "user-del", "reload", "show-counters"):
        assert condition(run(boss, OWN + node)) == "item-not-found"


def test_domain_admin_has_no_other_accounts(suite, boss):
    """Only accounts of the domain: of several, one that is not ends all."""
    here, there = suite.account(), suite.account(domain="example.test")
    for account in (there, "@", "localhost", "x@elsewhere.test", "", there + "/x"):
        for content in (form(accountjids=[here, account]), form(accountjids=[account])):
            found = notes(run(boss, ADMIN + "delete-user", content))
            assert found == [("error", "This is not an account that you administer")]
    for node in ("add-user", "change-user-password", "user-stats"):
        found = notes(run(boss, ADMIN + node, form(accountjid=there, password="x", password_verify="x")))
        assert found == [("error", "This is not an account that you administer")]
    suite.login(there)
    assert notes(run(boss, ADMIN + "delete-user", form(accountjids=[here]))) == [("info", "Done")]
    with pytest.raises(AuthFailed):
        suite.login(here)
    suite.login(there)


def test_rights_are_reloaded(make_suite):
    suite = make_suite()
    juliet = suite.account()
    client = suite.login(juliet)
    assert condition(run(client, OWN + "status")) == "forbidden"
    pid = suite.pid("router")
    suite.options["top"]["admins"] = [juliet]
    suite.write_config()
    suite.ctl("reload")
    assert rows(run(client, OWN + "status"))
    suite.options["top"]["admins"] = []
    suite.write_config()
    suite.ctl("reload")
    assert condition(run(client, OWN + "status")) == "forbidden"
    assert suite.pid("router") == pid


# -- the commands of aldisctl -------------------------------------------------------------------------------


def test_table(suite, chief):
    """The same as aldisctl says."""
    assert {r["process"] for r in rows(run(chief, OWN + "status"))} == set(suite.status())
    (row,) = rows(run(chief, OWN + "session-list", form(jid=CHIEF)))
    assert row["session"] == chief.jid and row["available"] == "true"
    counters = rows(run(chief, OWN + "show-counters", action="execute"))
    assert {r["process"] for r in counters} >= {"router", "authd", "archived", "c2sd.0", "c2sd.1"}
    assert notes(run(chief, OWN + "queue-list", form(jid=CHIEF))) == [("info", "None")]


def test_form(suite, chief):
    answer = command(run(chief, OWN + "user-add"), "executing")
    assert answer.find(q("commands", "actions")).get("execute") == "complete"
    assert fields(answer) == {"jid": "text-single", "password": "text-private"}
    session = answer.get("sessionid")
    account = "made-by-form@localhost"
    done = run(chief, OWN + "user-add", form(jid=account, password="a b&c"), sessionid=session, action="complete")
    assert command(done).get("sessionid") == session and notes(done) == [("info", "Done")]
    suite.login(account, password="a b&c")
    answer = run(chief, OWN + "user-add", form(jid=account, password="x"))
    assert notes(answer) == [("error", "this account exists already")]
    assert notes(run(chief, OWN + "user-add", form(jid=account))) == [("error", "Something is missing")]


def test_reload(chief):
    assert command(run(chief, OWN + "reload", action="complete"))


def test_daemon_dies(make_suite):
    """Whose command a daemon has when it dies is told at once, by aldisctl too: nobody knows whether it is done."""
    suite = make_suite(top={"admins": ["chief@localhost"]})
    suite.account("chief")
    client = suite.login("chief@localhost")
    pid = suite.pid("archived")
    os.kill(pid, signal.SIGSTOP)
    client.send("<iq type='set' id='c1' to='localhost'><command xmlns='%s' node='%squeue-list'>%s</command></iq>" % (
        COMMANDS, OWN, form(jid="x@localhost")))
    asked = subprocess.Popen([str(BUILD / "bin/aldisctl"), "-s", str(suite.socket), "queue", "list"],
                             stderr=subprocess.PIPE, text=True)
    time.sleep(0.5)
    began = time.monotonic()
    suite.kill("archived", wait=False)
    said = "the daemon has ended meanwhile; it may be done or not"
    assert notes(client.wait(lambda e: e.get("id") == "c1", 20)) == [("error", said)]
    assert said in asked.communicate(timeout=20)[1] and asked.returncode != 0
    assert time.monotonic() - began < 5
    suite.await_running("archived", pid)


def test_daemon_away(make_suite):
    """There is always an answer."""
    suite = make_suite(top={"admins": ["chief@localhost"]})
    suite.account("chief")
    client = suite.login("chief@localhost")
    suite.kill("archived", wait=False)
    # It may have got the command and died with it.
    answer = client.iq("set", "<command xmlns='%s' node='%squeue-list'>%s</command>" % (
        COMMANDS, OWN, form(jid="x@localhost")), to="localhost", seconds=20 * SLOW)
    assert notes(answer) in ([("info", "None")], [("error", "the daemon is away, try again")],
                             [("error", "the daemon has ended meanwhile; it may be done or not")])
    suite.kill("router")
    wait_until(lambda: rows(run(client, OWN + "status")))


# -- XEP-0133 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ("chief", "boss"))
def test_accounts(suite, who, request):
    """Add, change the password, end sessions, delete."""
    admin = request.getfixturevalue(who)
    account = "by-%s@localhost" % who
    asked = command(run(admin, ADMIN + "add-user"), "executing")
    assert values(asked, "FORM_TYPE") == [ADMIN[:-1]]
    assert fields(asked) == {"accountjid": "jid-single", "password": "text-private", "password-verify": "text-private"}
    answer = run(admin, ADMIN + "add-user", form(accountjid=account, password="one", password_verify="two"))
    assert notes(answer) == [("error", "The two passwords are not the same")]
    answer = run(admin, ADMIN + "add-user", form(accountjid=account.upper(), password="one", password_verify="one"))
    assert notes(answer) == [("info", "Done")]
    client = suite.login(account, "r1", password="one")
    answer = run(admin, ADMIN + "change-user-password", form(accountjid=account, password="two"))
    assert notes(answer) == [("info", "Done")]
    with pytest.raises(AuthFailed):
        suite.login(account, password="one")
    suite.login(account, "r2", password="two")
    found = command(run(admin, ADMIN + "user-stats", form(accountjid=account)))
    assert sorted(values(found, "onlineresources")) == ["r1", "r2"]
    answer = run(admin, ADMIN + "end-user-session", form(accountjids=account))
    assert notes(answer) == [("info", "Done")]
    assert client.stream_error() == "policy-violation"
    answer = run(admin, ADMIN + "delete-user", form(accountjids=[account, "missing@localhost"]))
    assert notes(answer) == [("error", "no such account")]
    with pytest.raises(AuthFailed):
        suite.login(account, password="two")


def test_numbers(suite, chief, boss):
    """Of the domain that is asked, each account once."""
    account = suite.account(domain="localhost")
    suite.login(account, "one", available=0)
    suite.login(account, "two")
    quiet = suite.account(domain="localhost")
    suite.login(quiet)
    for admin in (chief, boss):
        registered = [a["account"] for a in suite.ctl("user", "list", "localhost")]
        answer = command(run(admin, ADMIN + "get-registered-users-num"))
        assert values(answer, "registeredusersnum") == [str(len(registered))]
        answer = command(run(admin, ADMIN + "get-registered-users-list"))
        assert sorted(values(answer, "registereduserjids")) == sorted(registered)
        online_ = {jid.partition("/")[0] for jid in suite.sessions()}
        here = {a for a in online_ if a.endswith("@localhost")}
        answer = command(run(admin, ADMIN + "get-online-users-list"))
        assert set(values(answer, "onlineuserjids")) == here and BOSS not in here
        answer = command(run(admin, ADMIN + "get-online-users-num"))
        assert values(answer, "onlineusersnum") == [str(len(here))]
        active = values(command(run(admin, ADMIN + "get-active-users-list")), "activeuserjids")
        assert account in active and quiet not in active
        answer = command(run(admin, ADMIN + "get-active-users-num"))
        assert values(answer, "activeusersnum") == [str(len(active))]


# -- what is wrong ---------------------------------------------------------------------------------------------


def specific(answer):
    error = answer.find(q("client", "error"))
    assert condition(answer) == "bad-request" and error.get("type") == "modify", text(answer)
    return [e.tag for e in error if e.tag.startswith("{%s}" % COMMANDS)]


@pytest.mark.parametrize("what,content,attributes", (
    ("malformed-action", "", {"action": "destroy"}),
    ("malformed-action", "", {"action": ""}),
    ("bad-action", "", {"action": "prev"}),
    ("bad-action", "", {"action": "next"}),
    ("bad-sessionid", "", {"sessionid": "x" * 5000}),
    ("bad-payload", "<x xmlns='jabber:x:data'/>", {}),
    ("bad-payload", "<x xmlns='jabber:x:data' type='form'/>", {}),
    ("bad-payload", form() + form(), {}),
    ("bad-payload", form(accountjid="a@localhost\nx"), {}),
    ("bad-payload", form(accountjid="a@localhost\t"), {}),
    ("bad-payload", form(accountjid="a" * 5000), {}),
    ("bad-payload", form(accountjid=["a@localhost"] * 65), {}),
))
def test_malformed(chief, what, content, attributes):
    assert specific(run(chief, ADMIN + "add-user", content, **attributes)) == [q("commands", what)]


def test_cancel(chief):
    answer = run(chief, ADMIN + "add-user", action="cancel", sessionid="it's mine & thine")
    assert command(answer, "canceled").get("sessionid") == "it's mine & thine"
    assert condition(chief.iq("get", "<command xmlns='%s' node='%sadd-user'/>" % (COMMANDS, ADMIN),
                              to="localhost")) == "not-allowed"
    assert condition(run(chief, "")) == "item-not-found"


def test_many(suite, chief):
    """More than may be under way at once: all get an answer."""
    ids = []
    for _ in range(200):
        ids.append(chief.new_id())
        chief.send("<iq type='set' id='%s' to='localhost'><command xmlns='%s' node='%squeue-list'>%s</command></iq>" %
                   (ids[-1], COMMANDS, OWN, form(jid="x@localhost")))
    answers = [chief.wait(lambda e, i=i: e.get("id") == i) for i in ids]
    for answer in answers:
        assert answer.get("type") == "result" or condition(answer) == "resource-constraint"
    assert answers[0].get("type") == "result"
    assert suite.counter("router", "adhoc") == 0


# -- other clients ------------------------------------------------------------------------------------------------


def test_slixmpp(suite, slix):  # noqa: F811
    client = slix(suite, CHIEF, plugins=["xep_0004", "xep_0030", "xep_0050", "xep_0133"])
    found = client.run(client.xmpp["xep_0050"].get_commands("localhost"))["disco_items"]["items"]
    assert ADMIN + "add-user" in {item[1] for item in found}
    done, account = [], "by-slixmpp@localhost"

    def asked(iq, session):
        answer = client.xmpp["xep_0004"].make_form(ftype="submit")
        assert {"accountjid", "password", "password-verify"} <= set(iq["command"]["form"].get_fields())
        for var, value in (("accountjid", account), ("password", "pw"), ("password-verify", "pw")):
            answer.add_field(var=var, value=value)
        session.update(payload=answer, next=lambda iq, session: (done.append(iq), client.news.set()))
        client.xmpp["xep_0050"].complete_command(session)

    client.xmpp["xep_0133"].add_user(jid="localhost", session={"next": asked, "error": lambda iq, s: done.append(iq)})
    client.until(lambda: done or None)
    assert done[0]["type"] == "result" and done[0]["command"]["status"] == "completed"
    suite.login(account, password="pw")


def test_aioxmpp(suite):
    async def administer():
        client = aio_client(suite, CHIEF, "aio")
        adhoc = client.summon(aioxmpp.AdHocClient)
        server = aioxmpp.JID.fromstr("localhost")
        async with online(client):
            assert await adhoc.supports_commands(server)
            assert ADMIN + "user-stats" in {item.node for item in await adhoc.get_commands(server)}
            assert (await adhoc.get_command_info(server, ADMIN + "user-stats")).identities
            session = await adhoc.execute(server, ADMIN + "user-stats")
            reply = session.first_payload
            for field in reply.fields:
                if field.var == "accountjid":
                    field.values[:] = [CHIEF]
            reply.type_ = aioxmpp.forms.DataType.SUBMIT
            await session.proceed(action=aioxmpp.adhoc.xso.ActionType.COMPLETE, payload=[reply])
            found = [f.values[:] for f in session.first_payload.fields if f.var == "onlineresources"]
            assert "aio" in found[0]

    run_async(administer())
