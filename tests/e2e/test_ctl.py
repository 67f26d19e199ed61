"""aldisctl(8): every command, for people and as JSON, and what it says when it fails."""

import json
import os
import subprocess
import time

import pytest

import raw
from clients import fence
from raw import condition, local, q
from suite import BUILD, CommandFailed, names, wait_until


def run(suite, *words, input=None, socket=None, config=None):
    """aldisctl as a shell would have it: status, output, errors."""
    command = [str(BUILD / "bin/aldisctl"), "-s", str(socket or suite.socket)]
    if config:
        command += ["-c", str(config)]
    done = subprocess.run(command + list(words), input=input, capture_output=True, text=True, timeout=20,
                          stdin=subprocess.DEVNULL if input is None else None)
    return done.returncode, done.stdout, done.stderr


def fails(suite, status, *words, input=None):
    """It fails with this status, says why, and nothing on standard output. Returns what it says."""
    got, out, err = run(suite, *words, input=input)
    assert got == status, (got, out, err)
    assert err.strip() and not out.strip(), (out, err)
    return err


def fresh(domain="localhost"):
    return "ctl%d@%s" % (next(names), domain)


# -- the command line ---------------------------------------------------------------------------------


def test_help(suite):
    status, out, err = run(suite, "help")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    for command in ("account export FILE [JID]", "account import FILE [JID]", "archive show [JID]", "check", "help",
                    "queue list [JID]", "reload", "session kick JID", "session list [JID]", "show counters",
                    "status", "user add JID", "user del JID", "user import FILE",
                    "user list [DOMAIN]", "user passwd JID"):
        assert any(line.startswith(command + " ") for line in lines), command
    listed = suite.ctl("help")
    assert len(listed) == len(lines)
    assert all(set(c) == {"command", "arguments", "help"} and c["help"] for c in listed)


@pytest.mark.parametrize("words", [("stat",), ("sh", "c"), ("session", "l"), ("us", "l"), ("q", "l"), ("h",)])
def test_unique_prefixes(suite, words):
    status, out, err = run(suite, *words)
    assert (status, err) == (0, "")


@pytest.mark.parametrize("words,said", [
    (("s",), ("session", "show", "status")),
    (("user",), ("add", "del", "import", "list", "passwd", "revoke", "tokens")),
    (("u", "x"), ("add", "del", "import", "list", "passwd", "revoke", "tokens")),
    (("session", ""), ("kick", "list")),
    (("nonsense",), ("account", "archive", "check", "help", "invite", "peer", "queue", "reload", "report", "room",
                     "session", "show", "status", "user")),
])
def test_possibilities(suite, words, said):
    """What is possible is said, and nothing else."""
    err = fails(suite, 2, *words)
    possible = err.partition("possibilities are: ")[2].strip().split(", ")
    assert tuple(possible) == said


@pytest.mark.parametrize("words", [(), ("status", "x"), ("user", "add"), ("user", "add", "a@localhost", "password"),
                                   ("user", "del"), ("session", "kick"), ("queue", "list", "a", "b"),
                                   ("--nonsense", "status")])
def test_usage(suite, words):
    assert "usage" in fails(suite, 2, *words) or words == ()


def test_password_is_not_shown(suite):
    """A password on the command line is refused, and not repeated."""
    err = fails(suite, 2, "user", "add", fresh(), "s3cret-word")
    assert "s3cret-word" not in err


def test_no_suite(suite, tmp_path):
    status, out, err = run(suite, "status", socket=tmp_path / "none")
    assert status == 3 and err and not out


# -- status, counters ---------------------------------------------------------------------------------------


def test_status(suite):
    rows = suite.ctl("status")
    assert {r["process"] for r in rows} == {"router", "authd", "archived", "c2sd.0", "c2sd.1", "s2sd",
                                         "mucd"}
    for row in rows:
        assert row["state"] == "running" and row["pid"] > 1 and row["since"].endswith("Z")
        assert os.path.exists("/proc/%d" % row["pid"])
    status, out, err = run(suite, "status")
    lines = out.splitlines()
    assert (status, err) == (0, "") and len(lines) == len(rows) + 1
    assert lines[0].split() == ["process", "state", "pid", "restarts", "since"]
    assert str(suite.pid("router")) in out


def test_status_after_a_kill(make_suite):
    suite = make_suite()
    old = suite.pid("authd")
    suite.kill("authd")
    row = suite.status()["authd"]
    assert row["restarts"] == 1 and row["pid"] != old and row["state"] == "running"
    assert suite.status()["router"]["restarts"] == 0


def test_counters(suite):
    a, b = suite.accounts(2)
    before = {(c["process"], c["counter"]): c["value"] for c in suite.ctl("show", "counters")}
    sender, receiver = suite.login(a), suite.login(b, available=0)
    for i in range(10):
        sender.say(b, str(i))
    for i in range(10):
        receiver.message()
    after = {(c["process"], c["counter"]): c["value"] for c in suite.ctl("show", "counters")}

    def grown(*name):
        return sum(v - before.get(k, 0) for k, v in after.items() if k[1].replace("-", "_") in name)

    assert grown("messages_stored") == 10
    assert grown("logins") == 2 and grown("handshakes") == 2
    assert grown("messages_routed") >= 10
    assert grown("stanzas_in") >= 11 and grown("stanzas_out") >= 10
    assert {k[0] for k in after} >= {"router", "authd", "archived"}
    status, out, err = run(suite, "show", "counters")
    assert status == 0 and len(out.splitlines()) > 10


# -- accounts -----------------------------------------------------------------------------------------------


def test_user_add_list_passwd_del(suite):
    jid = fresh()
    assert run(suite, "user", "add", jid, input="first\n")[0] == 0
    rows = [r for r in suite.ctl("user", "list") if r["account"] == jid]
    assert len(rows) == 1 and rows[0]["created"].endswith("Z") and rows[0]["last"] is None
    suite.login(jid, password="first").end()
    wait_until(lambda: [r["last"] for r in suite.ctl("user", "list") if r["account"] == jid] != [None])
    assert run(suite, "user", "passwd", jid, input="second\n")[0] == 0
    with pytest.raises(raw.AuthFailed):
        suite.login(jid, password="first")
    suite.login(jid, password="second")
    assert run(suite, "user", "del", jid)[0] == 0
    assert jid not in [r["account"] for r in suite.ctl("user", "list")]
    with pytest.raises(raw.AuthFailed):
        suite.login(jid, password="second")


def test_user_list_by_domain(suite):
    here, there = fresh(), fresh("example.test")
    for jid in (here, there):
        suite.ctl("user", "add", jid, input="x\n")
    listed = [r["account"] for r in suite.ctl("user", "list", "example.test")]
    assert there in listed and here not in listed
    assert listed == sorted(listed)
    out = run(suite, "user", "list", "example.test")[1]
    assert there in out and out.split()[:3] == ["account", "created", "last"]
    fails(suite, 1, "user", "list", "nowhere.invalid")


def test_address_is_prepared(suite):
    jid = fresh()
    suite.ctl("user", "add", jid.upper(), input="x\n")
    assert jid in [r["account"] for r in suite.ctl("user", "list")]
    fails(suite, 1, "user", "add", jid, input="x\n")
    suite.ctl("user", "del", jid.title())


@pytest.mark.parametrize("jid", ["localhost", "a@nowhere.invalid", "a b@localhost", "a@localhost/r", "@localhost", ""])
def test_user_add_bad_address(suite, jid):
    fails(suite, 1, "user", "add", jid, input="x\n")


def test_user_add_errors(suite):
    jid = fresh()
    fails(suite, 1, "user", "add", jid, input="")
    fails(suite, 1, "user", "add", jid, input="\n")
    fails(suite, 1, "user", "add", jid, input="x" * 2000 + "\n")
    assert jid not in [r["account"] for r in suite.ctl("user", "list")]
    suite.ctl("user", "add", jid, input="x\n")
    assert "exists" in fails(suite, 1, "user", "add", jid, input="y\n")
    suite.login(jid, password="x")
    fails(suite, 1, "user", "passwd", fresh(), input="x\n")
    fails(suite, 1, "user", "del", fresh())


def test_user_import(suite, tmp_path):
    good = [fresh() for _ in range(200)]
    file = tmp_path / "accounts"
    file.write_text("# comment\n\n" + "".join("%s pass word %d\n" % (j, i) for i, j in enumerate(good)))
    assert suite.ctl("user", "import", str(file)) == {"added": 200, "failed": 0}
    suite.login(good[7], password="pass word 7")
    again = fresh()
    status, out, err = run(suite, "--json", "user", "import", "-", input="%s x\nno-password\n%s y\na b@x z\n" % (
        good[0], again))
    assert status == 1 and json.loads(out) == {"added": 1, "failed": 3}
    assert [line.partition(":")[0] for line in err.splitlines()] and "line 1" in err and "line 2" in err
    assert "line 3" not in err and "line 4" in err
    suite.login(again, password="y")
    assert run(suite, "user", "import", str(tmp_path / "none"))[0] == 1


def test_deleted_account_leaves_nothing(suite):
    """Its sessions end, and who gets the name next finds nothing of it."""
    jid, friend = suite.accounts(2)
    name = jid.partition("@")[0]
    client, other = suite.login(jid, "r", available=0), suite.login(friend, available=0)
    client.iq("get", "<query xmlns='jabber:iq:roster'/>")
    client.iq("set", "<query xmlns='jabber:iq:roster'><item jid='%s' name='n'/></query>" % friend)
    client.iq("set", "<vCard xmlns='vcard-temp'><FN>x</FN></vCard>")
    client.iq("set", "<query xmlns='jabber:iq:private'><x xmlns='urn:x'>secret</x></query>")
    client.send("<presence to='%s' type='subscribe'/>" % friend)
    other.wait(lambda e: local(e) == "presence" and e.get("type") == "subscribe")
    other.send("<presence to='%s' type='subscribed'/>" % jid)
    fence(other)
    client.available(-1)
    other.say(jid, "waits")
    other.sync()
    assert len(suite.ctl("queue", "list", jid)) == 1
    other.pending()
    suite.ctl("user", "del", jid)
    assert client.stream_error() == "not-authorized"
    wait_until(lambda: not suite.sessions(jid), message="sessions end")
    other.say(jid, "too late")
    assert condition(other.message()) == "service-unavailable"
    suite.account(name)
    client = suite.login(jid, "r", available=0)
    assert len(client.iq("get", "<query xmlns='jabber:iq:roster'/>").find(q("roster", "query"))) == 0
    assert condition(client.iq("get", "<vCard xmlns='vcard-temp'/>")) == "item-not-found"
    answer = client.iq("get", "<query xmlns='jabber:iq:private'><x xmlns='urn:x'/></query>")
    assert answer.find(".//{urn:x}x").text is None
    assert [e for e in client.pending("message")] == []
    assert suite.ctl("queue", "list", jid) == []
    other.available(1)
    assert [e.get("from") for e in client.pending("presence") if e.get("from") != client.jid] == []


def test_deleted_while_offline(suite):
    """The same when nobody was logged in; also for messages that wait on disk."""
    jid, friend = suite.accounts(2)
    other = suite.login(friend)
    other.say(jid, "waits")
    other.sync()
    wait_until(lambda: len(suite.ctl("queue", "list", jid)) == 1)
    suite.ctl("user", "del", jid)
    suite.account(jid.partition("@")[0])
    client = suite.login(jid, available=0)
    assert [e for e in client.pending("message")] == []


# -- sessions -----------------------------------------------------------------------------------------------


def test_session_list(suite):
    a, b = suite.accounts(2)
    one, two = suite.login(a, "one", available=5), suite.login(a, "two")
    suite.login(b, "x")
    rows = {r["session"]: r for r in suite.ctl("session", "list", a)}
    assert set(rows) == {one.jid, two.jid}
    assert rows[one.jid]["available"] is True and rows[one.jid]["priority"] == 5
    assert rows[two.jid]["available"] is False and rows[two.jid]["c2sd"] in (0, 1)
    assert b + "/x" in {r["session"] for r in suite.ctl("session", "list")}
    out = run(suite, "session", "list", a)[1].splitlines()
    assert len(out) == 3 and out[0].startswith("session")
    one.end()
    wait_until(lambda: set(suite.sessions(a)) == {two.jid})
    assert suite.ctl("session", "list", fresh()) == []


def test_session_list_with_wide_characters(suite):
    """A resource of any script is shown as it is, and the columns stay straight."""
    a = suite.account()
    for resource in ("電話", "phone", "ж☎ x"):
        suite.login(a, resource)
    status, out, err = run(suite, "session", "list", a)
    assert (status, err) == (0, "")
    assert a + "/電話" in out and a + "/ж☎ x" in out
    assert {r["session"] for r in suite.ctl("session", "list", a)} == {a + "/電話", a + "/phone", a + "/ж☎ x"}


def test_session_kick(suite):
    a = suite.account()
    one, two, three = (suite.login(a, r, available=0) for r in ("one", "two", "three"))
    assert suite.ctl("session", "kick", two.jid) == {"kicked": 1}
    assert two.stream_error() == "policy-violation"
    one.wait(lambda e: local(e) == "presence" and e.get("type") == "unavailable" and e.get("from") == two.jid)
    one.sync()
    assert suite.ctl("session", "kick", a) == {"kicked": 2}
    assert one.stream_error() == "policy-violation" and three.stream_error() == "policy-violation"
    wait_until(lambda: not suite.sessions(a))
    assert "no such session" in fails(suite, 1, "session", "kick", a)
    fails(suite, 1, "session", "kick", "@@")
    suite.login(a)


def test_session_kick_detached(suite):
    """Also a session whose client is away; it cannot be resumed then."""
    a = suite.account()
    client = suite.login(a, "r")
    client.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
    client.wait(lambda e: e.tag == q("sm", "enabled"))
    client.abort()
    time.sleep(0.1)
    assert suite.ctl("session", "kick", a) == {"kicked": 1}
    wait_until(lambda: not suite.sessions(a))


# -- the queue ------------------------------------------------------------------------------------------------


def test_queue_list(suite):
    a, b = suite.accounts(2)
    sender = suite.login(a, "s")
    assert suite.ctl("queue", "list", b) == []
    for i in range(3):
        sender.say(b, "secret words")
    sender.sync()
    rows = wait_until(lambda: suite.ctl("queue", "list", b))
    assert len(rows) == 3
    for row in rows:
        assert a + "/s" in row.values(), row
    assert "secret words" not in json.dumps(rows)
    totals = [r for r in suite.ctl("queue", "list") if b in r.values()]
    assert len(totals) == 1 and 3 in totals[0].values()
    assert run(suite, "queue", "list", b)[0] == 0
    fails(suite, 1, "queue", "list", "@@")


# -- the configuration ------------------------------------------------------------------------------------------


def test_check(suite, tmp_path):
    status, out, err = run(suite, "check", config=suite.config)
    assert status == 0, err


@pytest.mark.parametrize("change,said", [
    (lambda c: c.replace("c2s {", "c2s {\n\tnonsense = 1"), "nonsense"),
    (lambda c: c.replace("c2s {", 'c2s {\n\tstanza-size = "many"'), "stanza-size"),
    (lambda c: c.replace("c2s {", 'c2s {\n\tresource-conflict = "sometimes"'), "resource-conflict"),
    (lambda c: c + "c2s {", ""),
    (lambda c: c.replace(".pem", ".none"), ".none"),
    (lambda c: "", "domain"),
    (lambda c: c.replace("127.0.0.1:", "127.0.0.1.5:"), "listen"),
])
def test_check_finds(suite, tmp_path, change, said):
    """A mistake is named with the file, without touching the running suite; the suite need not run."""
    file = tmp_path / "aldis.conf"
    file.write_text(change(suite.config.read_text()))
    status, out, err = run(suite, "check", config=file, socket=tmp_path / "none")
    assert status == 1, (out, err)
    assert said in out + err and (out + err).strip()


def test_reload_of_a_bad_file_changes_nothing(make_suite):
    suite = make_suite()
    pids = {n: p["pid"] for n, p in suite.status().items()}
    client = suite.login(suite.account())
    good = suite.config.read_text()
    suite.config.write_text(good.replace("c2s {", "c2s {\n\tnonsense = 1"))
    with pytest.raises(CommandFailed, match="the log says why"):
        suite.ctl("reload")
    wait_until(lambda: "nonsense" in suite.log_text(), message="the log names the mistake")
    client.sync()
    assert {n: p["pid"] for n, p in suite.status().items()} == pids
    suite.config.write_text(good)
