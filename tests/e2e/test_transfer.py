"""Accounts out of a file and into one: aldisctl account export and import (XEP-0227), also between kills, with
files that lie, and with Prosody's storage in the same format."""

import os
import re
import shutil
import socket
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest
from lxml import etree

from clients import child, fence  # noqa: F401
from raw import AuthFailed, Client, body, local, q
from suite import BUILD, Suite, die_with_parent, free_ports, wait_until
from test_mam import query

PIE = "urn:xmpp:pie:0"
MAM = "urn:xmpp:mam:2"


@pytest.fixture(scope="module")
def there(programs):
    """Another suite with the same domains, to which accounts move."""
    with Suite() as suite:
        yield suite


def run(suite, *words, input=None, seconds=60):
    """aldisctl as a shell would have it: status, output, errors."""
    command = [str(BUILD / "bin/aldisctl"), "-j", "-s", str(suite.socket), *words]
    done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=seconds,
                          stdin=subprocess.DEVNULL if input is None else None)
    return done.returncode, done.stdout, done.stderr


def furnish(suite):
    """An account with something of every kind. Returns it, a friend's, and their sessions."""
    jid, friend = suite.accounts(2)
    client, other = suite.login(jid, available=0), suite.login(friend, available=0)
    client.iq("set", "<query xmlns='jabber:iq:roster'><item jid='%s' name='A &lt;friend>'><group>G &amp; H</group>"
              "</item></query>" % friend)
    client.send("<presence to='%s' type='subscribe'/>" % friend)
    other.wait(lambda e: local(e) == "presence" and e.get("type") == "subscribe")
    other.send("<presence to='%s' type='subscribed'/>" % jid)
    fence(other)
    other.send("<presence to='%s' type='subscribe' id='please'><status>me&amp;you</status></presence>" % jid)
    fence(other)
    client.send("<presence to='%s' type='subscribed'/>" % "later@example.test")
    client.send("<presence to='%s' type='subscribe'/>" % "asked@example.test")
    client.iq("set", "<vCard xmlns='vcard-temp'><FN>x\n y</FN><PHOTO><BINVAL>%s</BINVAL></PHOTO></vCard>" % ("A" * 3000))
    client.iq("set", "<query xmlns='jabber:iq:private'><x xmlns='urn:x'><y z='&apos;'/></x></query>")
    client.iq("set", "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'/></query>")
    client.iq("set", "<block xmlns='urn:xmpp:blocking'><item jid='tybalt@example.test'/><item jid='bad.example'/></block>")
    other.say(jid, "seen & read")
    assert client.message() is not None
    client.send("<message to='%s' type='chat' id='m1' xml:lang='de'><body>said</body><active "
                "xmlns='http://jabber.org/protocol/chatstates'/></message>" % friend)
    assert other.message() is not None
    client.sync()
    client.end()
    wait_until(lambda: not suite.sessions(jid), message="the session ends")
    other.say(jid, "waits")
    other.sync()
    wait_until(lambda: len(suite.ctl("queue", "list", jid)) == 1)
    return jid, friend, other


def tree(path):
    return etree.fromstring(Path(path).read_bytes())


def user(path, jid):
    local_part, _, domain = jid.partition("@")
    return tree(path).xpath("p:host[@jid=$d]/p:user[@name=$n]", d=domain, n=local_part, namespaces={"p": PIE})


def canonical(path, jid):
    """An account's part of a file, in a form that can be compared."""
    element, = user(path, jid)
    for parent, tag in ((element, "{jabber:iq:roster}query"), (element, "{jabber:iq:private}query")):
        for found in parent.findall(tag):
            found[:] = sorted(found, key=lambda e: etree.tostring(e))
    return etree.tostring(element)


def test_there_and_back(suite, there, tmp_path):
    """All of an account is the same on the other side, and again when it comes back."""
    jid, friend, other = furnish(suite)
    one, two = str(tmp_path / "one.xml"), str(tmp_path / "two.xml")
    said = suite.ctl("account", "export", one, jid)
    assert said == {"accounts": 1, "messages": 4}
    assert stat.S_IMODE(os.stat(one).st_mode) == 0o600 and os.listdir(tmp_path) == ["one.xml"]
    element, = user(one, jid)
    assert [e.get("mechanism") for e in element.iter("{%s#scram}scram-credentials" % PIE)] == [
        "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"]
    assert suite.password(jid).encode() not in Path(one).read_bytes()
    items = {e.get("jid"): (e.get("subscription"), e.get("ask"), e.get("approved"))
             for e in element.iter("{jabber:iq:roster}item")}
    assert items[friend] == ("to", None, None)
    assert items["asked@example.test"] == ("none", "subscribe", None)
    assert items["later@example.test"] == ("none", None, "true")
    request, = element.findall("{jabber:client}presence")
    assert (request.get("from"), request.get("id")) == (friend, "please")
    assert [e.get("value") for e in element.iter("{jabber:iq:privacy}item")] == ["bad.example", "tybalt@example.test"]
    bodies = [e.text for e in element.iter("{jabber:client}body")]
    assert bodies == ["waits", "seen & read", "said", "waits"]

    said = there.ctl("account", "import", one)
    assert said == {"accounts": 1, "skipped": 0, "messages": 4, "known": 0, "left-out": 0}
    there.ctl("account", "export", two, jid)
    assert canonical(one, jid) == canonical(two, jid)
    # and it works: the password, the archive with its ids, what waits, the request, the block list
    for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"):
        client = there.login(jid, password=suite.password(jid), mechanism=mechanism)
        client.end()
    client = there.login(jid, password=suite.password(jid))
    client.available(0)
    waiting = client.message()
    assert body(waiting) == "waits"
    page = query(client)
    assert page.bodies == ["seen & read", "said", "waits"]
    ids = [e.get("id") for e in element.iter("{%s}result" % MAM)]
    assert page.ids == ids
    assert waiting.find(q("sid", "stanza-id")).get("id") == ids[-1]
    assert page.messages[1].get("{http://www.w3.org/XML/1998/namespace}lang") == "de"
    pending = client.wait(lambda e: local(e) == "presence" and e.get("type") == "subscribe")
    assert pending.get("from") == friend
    blocked = client.iq("get", "<blocklist xmlns='urn:xmpp:blocking'/>")
    assert {e.get("jid") for e in blocked.iter("{urn:xmpp:blocking}item")} == {"bad.example", "tybalt@example.test"}
    # new messages come behind those that were brought
    client.say(jid, "a note")
    assert client.message() is not None
    assert query(client).bodies[-1] == "a note"
    there.ctl("user", "del", jid)


def test_existing_account(suite, tmp_path):
    """It is left alone, or replaced with all that it had; its contacts are not told."""
    jid, friend, other = furnish(suite)
    path = str(tmp_path / "x.xml")
    suite.ctl("account", "export", path, jid)
    client = suite.login(jid)
    client.available(0)
    assert body(client.message()) == "waits"
    client.say(jid, "after the export")
    assert client.message() is not None
    status, out, err = run(suite, "account", "import", path)
    assert status == 1 and "exists already" in err and '"skipped": 1' in out
    other.pending()
    status, out, err = run(suite, "account", "import", path, "--replace")
    assert status == 0, (out, err)
    assert client.stream_error() is not None
    client = suite.login(jid)
    client.available(0)
    assert body(client.message()) == "waits"
    assert query(client).bodies == ["seen & read", "said", "waits"]
    assert not [e for e in other.pending("presence") if e.get("type") in ("unsubscribe", "unsubscribed")]
    # what both have is shared: it stays when one of them is deleted
    suite.ctl("user", "del", jid)
    assert query(other).bodies[:3] == ["seen & read", "said", "waits"]


def test_domain_and_all(suite, there, tmp_path):
    a, b = suite.accounts(2)
    c = suite.account(domain="example.test")
    path = str(tmp_path / "all.xml")
    suite.ctl("account", "export", path)
    assert user(path, a) and user(path, b) and user(path, c)
    suite.ctl("account", "export", path, "example.test")
    assert user(path, c) and not user(path, a)
    status, out, err = run(suite, "account", "export", "-", a)
    assert status == 0 and len(etree.fromstring(out.encode())[0]) == 1
    suite.ctl("account", "export", path)
    status, out, err = run(there, "account", "import", path, b)
    assert status == 0 and '"accounts": 1' in out
    there.login(b, password=suite.password(b))
    assert a not in {u["account"] for u in there.ctl("user", "list")}
    for words in (("nobody@localhost",), ("elsewhere.example",), ("a@b@c",), (a + "/r",)):
        before = os.listdir(tmp_path)
        status, out, err = run(suite, "account", "export", str(tmp_path / "none"), *words)
        assert status != 0 and err and os.listdir(tmp_path) == before


def document(jid, inner, attributes="", host=None):
    name, _, domain = jid.partition("@")
    return "<?xml version='1.0'?>\n<server-data xmlns='%s'><host jid='%s'>\n<user name='%s'%s>%s</user>\n</host></server-data>" % (
        PIE, host or domain, name, attributes, inner)


def result(number, jid, sender, text="x", stamp="2020-01-01T00:00:%02dZ", id="foreign"):
    return ("<result xmlns='urn:xmpp:mam:2' id='%s-%d'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' "
            "stamp='%s'/><message xmlns='jabber:client' to='%s' from='%s' type='chat' id='%d'><body>%s</body>"
            "<stanza-id xmlns='urn:xmpp:sid:0' by='%s' id='forged'/></message></forwarded></result>" % (
                id, number, stamp % (number % 60) if "%" in stamp else stamp, jid, sender, number, text, jid))


names = iter(range(1000))


def fresh():
    return "moved%d-%d@localhost" % (os.getpid(), next(names))


def bring(suite, jid, inner, *words, attributes="", status=0, host=None):
    got, out, err = run(suite, "account", "import", "-", *words, input=document(jid, inner, attributes, host))
    assert got == status, (got, out, err)
    return out, err


def test_password_and_prefixes(suite):
    """A file of another make: a password, prefixes, other names for the same things."""
    jid = fresh()
    text = ("<a:server-data xmlns:a='urn:xmpp:pie:0' xmlns:r='jabber:iq:roster' xmlns:c='jabber:client'><a:host jid='LOCALHOST'>"
            "<a:user name='%s' password='s3cret &amp; more'><r:query><r:item jid='Nurse@Example.TEST/x' subscription='both'/>"
            "<r:item jid='%s' subscription='both'/><r:item jid='@' subscription='both'/><r:item jid='x@example.test' "
            "subscription='remove'/></r:query><a:offline-messages><c:message from='nurse@example.test/y' type='chat'><c:body>hey"
            "</c:body><delay xmlns='urn:xmpp:delay' stamp='2020-02-03T04:05:06Z'>Offline Storage</delay></c:message>"
            "</a:offline-messages><unknown xmlns='urn:unknown'/></a:user></a:host></a:server-data>") % (
                jid.partition("@")[0].upper(), jid)
    status, out, err = run(suite, "account", "import", "-", input=text)
    assert status == 0, err
    assert '"left-out": 4' in out and "own roster" in err and "urn:unknown" in err
    client = suite.login(jid, password="s3cret & more")
    roster = client.iq("get", "<query xmlns='jabber:iq:roster'/>")
    assert [(i.get("jid"), i.get("subscription")) for i in roster.iter(q("roster", "item"))] == [
        ("nurse@example.test", "both")]
    client.available(0)
    message = client.message()
    assert body(message) == "hey" and message.get("from") == "nurse@example.test/y"
    assert message.find(q("delay", "delay")).get("stamp").startswith("2020-02-03T04:05:06")


def test_archive_of_another_server(suite):
    """Order and times are kept, ids are ours, forged ones are left out; twice is once."""
    jid = fresh()
    inner = "<archive xmlns='urn:xmpp:pie:0#mam'>%s</archive>" % "".join(
        result(i, jid, "nurse@example.test/x", "m%d" % i) for i in range(30))
    out, err = bring(suite, jid, inner, attributes=" password='p'")
    assert '"messages": 30' in out and '"left-out": 0' in out, (out, err)
    client = suite.login(jid, password="p")
    page = query(client)
    assert page.bodies == ["m%d" % i for i in range(30)]
    assert page.ids == sorted(set(page.ids)) and all(re.fullmatch("[0-9a-f]{16}", i) for i in page.ids)
    assert all(m.find(q("sid", "stanza-id")) is None for m in page.messages)
    page = query(client, {"start": "2020-01-01T00:00:10Z", "end": "2020-01-01T00:00:12Z"})
    assert page.bodies == ["m10", "m11", "m12"]
    assert query(client, {"with": "nurse@example.test"}, "<max>2</max><before/>").bodies == ["m28", "m29"]


def test_same_second(suite):
    """Many messages of one moment, equal ones among them, and what is no message of this account."""
    jid = fresh()
    stamp = "2021-05-05T05:05:05Z"
    inner = "".join(result(i, jid, "nurse@example.test/x", "m%d" % i, stamp) for i in range(40))
    inner += result(3, jid, "nurse@example.test/x", "m3", stamp)                                 # again
    inner += result(50, "a@example.test", "b@example.test", "not mine", stamp)
    inner += result(51, jid, "nurse@example.test/x", "to come", "2099-01-01T00:00:00Z")
    inner += result(52, jid, "@@", "no address", stamp) + "<result xmlns='urn:xmpp:mam:2' id='x'/><other xmlns='urn:o'/>"
    out, err = bring(suite, jid, "<archive xmlns='urn:xmpp:pie:0#mam'>%s</archive>" % inner, attributes=" password='p'")
    assert '"messages": 40' in out and '"known": 1' in out, (out, err)
    client = suite.login(jid, password="p")
    page = query(client, rsm="<max>50</max>")
    assert sorted(page.bodies) == sorted("m%d" % i for i in range(40)) and len(set(page.ids)) == 40


def test_old_archive(suite):
    """Messages from before the time of the first id keep their order and are found by time."""
    jid = fresh()
    stamps = ["1999-12-31T23:59:59Z", "2004-02-29T12:00:00.001Z", "2004-02-29T12:00:00.002Z", "2019-12-31T23:59:59Z",
              "2020-01-01T00:00:00Z", "2020-01-01T20:00:00Z", "2020-01-01T23:59:59.999Z", "2020-01-02T00:00:00Z",
              "2020-01-02T00:00:00.001Z", "2024-05-06T07:08:09Z"]
    inner = "".join(result(i, jid, "nurse@example.test/x", "m%d" % i, stamp) for i, stamp in enumerate(stamps))
    inner += "".join(result(i, jid, "nurse@example.test/x", "n%d" % i, "2015-01-01T00:00:00Z") for i in range(100, 130))
    out, err = bring(suite, jid, "<archive xmlns='urn:xmpp:pie:0#mam'>%s</archive>" % inner, attributes=" password='p'")
    assert '"messages": 40' in out, (out, err)
    client = suite.login(jid, password="p")
    bodies = query(client, rsm="<max>50</max>").bodies
    assert [b for b in bodies if b[0] == "m"] == ["m%d" % i for i in range(10)]
    assert {b for b in bodies[3:33]} == {"n%d" % i for i in range(100, 130)}
    for first, last in ((0, 0), (1, 2), (0, 2), (3, 4), (4, 6), (5, 8), (7, 7), (8, 9), (9, 9)):
        page = query(client, {"start": stamps[first], "end": stamps[last]}, "<max>50</max>")
        assert [b for b in page.bodies if b[0] == "m"] == ["m%d" % i for i in range(first, last + 1)], (first, last)
        assert bodies.index(page.bodies[0]) == bodies.index("m%d" % first)
    assert query(client, {"end": stamps[0]}).bodies == ["m0"]
    assert query(client, {"start": stamps[9]}, "<max>5</max><before/>").bodies == ["m9"]


@pytest.mark.parametrize("text,said", [
    ("<server-data xmlns='urn:xmpp:pie:0'><host jid='localhost'><user name='x'>", "too early"),
    ("<other xmlns='urn:xmpp:pie:0'/>", "not a file in the format"),
    ("<server-data/>", "not a file in the format"),
    ("<!DOCTYPE x [<!ENTITY a 'b'>]><server-data xmlns='urn:xmpp:pie:0'/>", "restricted-xml"),
    ("<server-data xmlns='urn:xmpp:pie:0'><host jid='localhost'>&a;</host></server-data>", ""),
    ("<server-data xmlns='urn:xmpp:pie:0'><!-- x --></server-data>", "restricted-xml"),
    ("<server-data xmlns='urn:xmpp:pie:0'><host jid='localhost'></user></host></server-data>", "not-well-formed"),
    ("", "too early"),
    ("\0", "unsupported-encoding"),
    ("<server-data xmlns='urn:xmpp:pie:0'><host jid='elsewhere.example'><user name='x'/></host></server-data>", "no such domain"),
    ("<server-data xmlns='urn:xmpp:pie:0'><host jid='localhost'><user name='a b'/></host></server-data>", "cannot be the name"),
    ("<server-data xmlns='urn:xmpp:pie:0'><host jid='localhost'><user/></host></server-data>", "cannot be the name"),
    ("<server-data xmlns='urn:xmpp:pie:0'><host jid='localhost'><user name='a@b/c'/></host></server-data>", "cannot be the name"),
])
def test_bad_files(suite, text, said):
    text = text.replace("name='x'", "name='%s'" % fresh().partition("@")[0])
    status, out, err = run(suite, "account", "import", "-", input=text)
    assert status == 1 and said in err and err.strip(), (out, err)


def test_bad_credentials(suite):
    """Keys that are none are left out, and an account without any gets a password later."""
    jid = fresh()
    keys = "<scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='%s'><iter-count>%s</iter-count><salt>%s</salt>" \
           "<server-key>%s</server-key><stored-key>%s</stored-key></scram-credentials>"
    good = "0pXWGK0GZJ6TR73AIUN3ITYtA1g="
    inner = "".join(keys % k for k in (
        ("SCRAM-SHA-1", "0", "c2FsdA==", good, good), ("SCRAM-SHA-1", "-1", "c2FsdA==", good, good),
        ("SCRAM-SHA-1", "99999999999", "c2FsdA==", good, good), ("SCRAM-SHA-1", "4096", "", good, good),
        ("SCRAM-SHA-1", "4096", "!!", good, good), ("SCRAM-SHA-1", "4096", "c2FsdA==", good, "c2FsdA=="),
        ("SCRAM-SHA-256", "4096", "c2FsdA==", good, good), ("SCRAM-MD5", "4096", "c2FsdA==", good, good),
        ("SCRAM-SHA-1", "4096", "c2Fs" * 40, good, good)))
    out, err = bring(suite, jid, inner)
    assert err.count("malformed keys") == 8 and "needs a new password" in err
    for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256", "PLAIN"):
        client = suite.stream()
        with pytest.raises(AuthFailed):
            client.login(jid, "x", None, mechanism)
        client.close()
    suite.ctl("user", "passwd", jid, input="new\n")
    suite.login(jid, password="new")


def test_one_mechanism(suite, there, tmp_path):
    """Keys of SCRAM-SHA-1 alone, as other servers have them: those and PLAIN get in, others when PLAIN has."""
    jid = suite.account()
    path = tmp_path / "x.xml"
    suite.ctl("account", "export", str(path), jid)
    text = path.read_text()
    text = re.sub(r"<scram-credentials [^>]*mechanism='SCRAM-SHA-(256|512)'.*?</scram-credentials>\n", "", text, flags=re.S)
    status, out, err = run(there, "account", "import", "-", input=text)
    assert status == 0, err
    there.login(jid, password=suite.password(jid), mechanism="SCRAM-SHA-1")
    client = there.stream()
    with pytest.raises(AuthFailed):
        client.login(jid, suite.password(jid), None, "SCRAM-SHA-256")
    client.close()
    for mechanism in ("PLAIN", "SCRAM-SHA-256"):
        there.login(jid, password=suite.password(jid), mechanism=mechanism)


def test_includes(suite, tmp_path):
    """XInclude: files below this one, with their own declarations; nothing else is opened."""
    one, two = fresh(), fresh()
    xi = " xmlns:xi='http://www.w3.org/2001/XInclude'"
    (tmp_path / "localhost").mkdir()
    (tmp_path / "main.xml").write_text(
        "<?xml version='1.0'?><server-data xmlns='urn:xmpp:pie:0'%s><xi:include href='localhost.xml'/></server-data>" % xi)
    (tmp_path / "localhost.xml").write_text(
        "<?xml version='1.0' encoding='UTF-8'?>\n<host jid='localhost' xmlns='urn:xmpp:pie:0'%s><xi:include "
        "href='localhost/one%%2exml'/><xi:include href='localhost/two.xml'/></host>" % xi)
    (tmp_path / "localhost/one.xml").write_text("<user name='%s' xmlns='urn:xmpp:pie:0' password='1'/>" % one.partition("@")[0])
    (tmp_path / "localhost/two.xml").write_text(
        "<user name='%s' xmlns='urn:xmpp:pie:0' password='2'%s><xi:include href='roster.xml'/>"
        "<query xmlns='jabber:iq:private'><xi:include href='roster.xml'/></query></user>" % (two.partition("@")[0], xi))
    (tmp_path / "localhost/roster.xml").write_text("<query xmlns='jabber:iq:roster'><item jid='n@example.test'/></query>")
    status, out, err = run(suite, "account", "import", str(tmp_path / "main.xml"))
    assert status == 0 and '"accounts": 2' in out and '"left-out": 0' in out, (out, err)
    suite.login(one, password="1")
    client = suite.login(two, password="2")
    assert len(list(client.iq("get", "<query xmlns='jabber:iq:roster'/>").iter(q("roster", "item")))) == 1
    answer = client.iq("get", "<query xmlns='jabber:iq:private'><include xmlns='http://www.w3.org/2001/XInclude'/></query>")
    assert answer.find(".//{http://www.w3.org/2001/XInclude}include").get("href") == "roster.xml"
    os.symlink("/etc/passwd", tmp_path / "link.xml")
    (tmp_path / "sub").mkdir()
    for href in ("/etc/passwd", "../x", "file:///etc/passwd", "link.xml", "none.xml", "%00", "", "sub/../../x"):
        (tmp_path / "bad.xml").write_text(
            "<server-data xmlns='urn:xmpp:pie:0'%s><xi:include href='%s'/></server-data>" % (xi, href))
        status, out, err = run(suite, "account", "import", str(tmp_path / "bad.xml"))
        assert '"accounts": 0' in out and '"left-out": 1' in out and "root:" not in err, (href, out, err)
    (tmp_path / "loop.xml").write_text("<server-data xmlns='urn:xmpp:pie:0'%s><xi:include href='loop2.xml'/></server-data>" % xi)
    (tmp_path / "loop2.xml").write_text("<host jid='localhost' xmlns='urn:xmpp:pie:0'%s><xi:include href='loop2.xml'/></host>" % xi)
    status, out, err = run(suite, "account", "import", str(tmp_path / "loop.xml"))
    assert '"accounts": 0' in out and '"left-out": 1' in out


def test_killed(make_suite):
    """Whatever is killed: who gives the command again has the account, each message once, and before nobody can log in."""
    suite = make_suite()
    jid = fresh()
    archive = "<archive xmlns='urn:xmpp:pie:0#mam'>%s</archive>" % "".join(
        result(i, jid, "nurse@example.test/x", "m%d %s" % (i, "y" * 2000), "2020-01-%02dT%02d:%02d:%02dZ" % (
            1 + i // 86400, i // 3600 % 24, i // 60 % 60, i % 60)) for i in range(3000))
    text = document(jid, archive, " password='p'")
    half = text[:len(text) // 2]
    status, out, err = run(suite, "account", "import", "-", input=half)
    assert status == 1 and "is not finished" in err and "too early" in err
    client = suite.stream()
    with pytest.raises(AuthFailed):
        client.login(jid, "p", None, "PLAIN")
    client.close()
    assert suite.ctl("account", "export", str(suite.directory / "x"), "localhost")["accounts"] == 0
    for name in ("archived", "authd", "router"):
        process = subprocess.Popen([str(BUILD / "bin/aldisctl"), "-s", str(suite.socket), "account", "import", "-"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        feeder = threading.Thread(target=lambda: feed(process, text.encode()), daemon=True)
        feeder.start()
        time.sleep(0.05)
        suite.kill(name)
        feeder.join(60)
        process.wait(60)
        for stream in (process.stdout, process.stderr):
            stream.close()
        if process.returncode == 0:
            break
    if process.returncode != 0:
        status, out, err = run(suite, "account", "import", "-", input=text)
        assert status == 0, err
    suite.login(jid, password="p")
    path = suite.directory / "y"
    assert suite.ctl("account", "export", str(path), jid) == {"accounts": 1, "messages": 3000}


def feed(process, data):
    try:
        process.stdin.write(data)
        process.stdin.close()
    except OSError:
        pass


def test_not_for_clients(suite):
    """What moves accounts is not among the commands that are listed, and no form gives it."""
    assert not [c for c in suite.ctl("help") if c["command"].split()[0] in ("export", "import")]
    for words in (("export", "domains"), ("import", "begin", fresh())):
        assert run(suite, *words)[0] == 2


# -- Prosody keeps accounts in files of this format, one each -----------------------------------------------

PROSODY = """
interfaces = { "127.0.0.1" }
c2s_ports = { %(port)d }
c2s_direct_tls_ports = { }
s2s_ports = { }
http_ports = { }
https_ports = { }
pidfile = "%(directory)s/pid"
data_path = "%(directory)s/data"
run_as_root = true
daemonize = false
modules_enabled = { "roster"; "saslauth"; "private"; "vcard" }
modules_disabled = { "s2s"; "tls" }
c2s_require_encryption = false
authentication = "internal_hashed"
default_storage = "memory"
storage = { accounts = "xep0227"; roster = "xep0227"; vcard = "xep0227"; private = "xep0227" }
log = { info = "%(directory)s/log" }
VirtualHost "localhost"
"""


class Prosody:
    """Debian's Prosody on a port of its own, with a directory of files."""

    def __init__(self, directory):
        self.directory = directory
        self.port, = free_ports(1)
        self.data = directory / "data"
        self.data.mkdir()
        self.config = directory / "prosody.cfg.lua"
        self.config.write_text(PROSODY % {"port": self.port, "directory": directory})

    def __enter__(self):
        self.output = open(self.directory / "output", "wb")
        self.process = subprocess.Popen(["prosody", "-F", "--config", str(self.config)], stdin=subprocess.DEVNULL,
                                        stdout=self.output, stderr=self.output, preexec_fn=die_with_parent)
        wait_until(self.listens, 30, message="Prosody listens")
        return self

    def __exit__(self, *failure):
        self.process.terminate()
        self.process.wait(20)
        self.output.close()

    def listens(self):
        assert self.process.poll() is None, (self.directory / "output").read_text()
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def login(self, jid, password):
        client = Client("127.0.0.1", self.port)
        client.open(jid.partition("@")[2])
        client.login(jid, password, "r", "SCRAM-SHA-1")
        return client


needs_prosody = pytest.mark.skipif(shutil.which("prosody") is None, reason="Prosody is not installed")


@needs_prosody
def test_from_prosody(suite, tmp_path):
    """What Prosody has written is an account here: password, roster, requests, vCard, private XML."""
    one, two = fresh(), fresh()
    prosody = Prosody(tmp_path)
    for jid in (one, two):
        name, _, domain = jid.partition("@")
        subprocess.run(["prosodyctl", "--config", str(prosody.config), "register", name, domain, "pass of " + name],
                       check=True, capture_output=True, timeout=60)
    with prosody:
        client = prosody.login(one, "pass of " + one.partition("@")[0])
        other = prosody.login(two, "pass of " + two.partition("@")[0])
        for c in (client, other):
            c.send("<presence/>")
            c.wait(lambda e: local(e) == "presence")
        client.iq("set", "<query xmlns='jabber:iq:roster'><item jid='%s' name='R'><group>G &amp; H</group></item></query>" % two)
        client.iq("set", "<vCard xmlns='vcard-temp'><FN>Juliet &amp; co</FN></vCard>")
        client.iq("set", "<query xmlns='jabber:iq:private'><x xmlns='urn:x'><y/></x></query>")
        client.send("<presence to='%s' type='subscribe'/>" % two)
        other.wait(lambda e: local(e) == "presence" and e.get("type") == "subscribe")
        other.send("<presence to='%s' type='subscribed'/>" % one)
        client.wait(lambda e: local(e) == "presence" and e.get("from", "").startswith(two + "/"))
        other.send("<presence to='%s' type='subscribe'/>" % one)
        client.wait(lambda e: local(e) == "presence" and e.get("type") == "subscribe")
        client.iq("get", "<query xmlns='jabber:iq:roster'/>")
        client.close()
        other.close()
    for jid in (one, two):
        status, out, err = run(suite, "account", "import", str(prosody.data / (jid + ".xml")))
        assert status == 0 and '"accounts": 1' in out and '"left-out": 0' in out, (out, err)
    client = suite.login(one, password="pass of " + one.partition("@")[0], mechanism="SCRAM-SHA-1")
    item, = client.iq("get", "<query xmlns='jabber:iq:roster'/>").iter(q("roster", "item"))
    assert (item.get("jid"), item.get("name"), item.get("subscription"), item[0].text) == (two, "R", "to", "G & H")
    assert client.iq("get", "<vCard xmlns='vcard-temp'/>").find(".//{vcard-temp}FN").text == "Juliet & co"
    answer = client.iq("get", "<query xmlns='jabber:iq:private'><x xmlns='urn:x'/></query>")
    assert answer.find(".//{urn:x}y") is not None
    client.available(0)
    assert client.wait(lambda e: local(e) == "presence" and e.get("type") == "subscribe").get("from") == two
    suite.login(two, password="pass of " + two.partition("@")[0], mechanism="PLAIN")


def test_archive_as_prosody_has_it(suite):
    """Messages to oneself stand there twice and name no receiver; times are whole seconds."""
    jid = fresh()
    note = ("<result id='%s' xmlns='urn:xmpp:mam:2'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' "
            "stamp='2022-11-28T03:00:23Z'/><message xml:lang='en' xmlns='jabber:client' from='%s/r' id='r2' type='chat'>"
            "<body>a note</body></message></forwarded></result>")
    out, err = bring(suite, jid, "<archive xmlns='urn:xmpp:pie:0#mam'>%s%s</archive>" % (
        note % ("2i9RQVqbk3L_qYZOJpcuzmSy", jid), note % ("iyA94H0-dePKU1F7J01GpEaI", jid)), attributes=" password='p'")
    assert '"messages": 1' in out and '"known": 1' in out
    page = query(suite.login(jid, password="p"))
    assert page.bodies == ["a note"] and page.messages[0].get("to") == jid


@needs_prosody
def test_to_prosody(suite, tmp_path):
    """What is written here is an account there."""
    jid, friend, other = furnish(suite)
    prosody = Prosody(tmp_path)
    suite.ctl("account", "export", str(prosody.data / (jid + ".xml")), jid)
    with prosody:
        client = prosody.login(jid, suite.password(jid))
        items = {i.get("jid"): i for i in client.iq("get", "<query xmlns='jabber:iq:roster'/>").iter(q("roster", "item"))}
        assert items[friend].get("subscription") == "to" and items[friend].get("name") == "A <friend>"
        assert items[friend][0].text == "G & H" and items["asked@example.test"].get("ask") == "subscribe"
        assert len(client.iq("get", "<vCard xmlns='vcard-temp'/>").find(".//{vcard-temp}BINVAL").text) == 3000
        answer = client.iq("get", "<query xmlns='jabber:iq:private'><x xmlns='urn:x'/></query>")
        assert answer.find(".//{urn:x}y").get("z") == "'"
        client.send("<presence/>")
        assert client.wait(lambda e: local(e) == "presence" and e.get("type") == "subscribe").get("from") == friend
        client.close()
