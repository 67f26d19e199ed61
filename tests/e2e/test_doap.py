"""test_doap.py: README's table of specifications, aldis.doap and what the server announces are one."""

import importlib.machinery
import importlib.util
import subprocess
import xml.etree.ElementTree as tree

from rooms import MUC, people, rooms_suite  # noqa: F401
from suite import ROOT

DISCO = "http://jabber.org/protocol/disco#info"

# Where the namespaces of features and of stream features come from.
SPECIFICATIONS = {
    "http://jabber.org/protocol/caps": "XEP-0115",
    "http://jabber.org/protocol/commands": "XEP-0050",
    "http://jabber.org/protocol/disco#info": "XEP-0030",
    "http://jabber.org/protocol/disco#items": "XEP-0030",
    "http://jabber.org/features/iq-register": "XEP-0077",
    "http://jabber.org/protocol/muc": "XEP-0045",
    "http://jabber.org/protocol/muc#self-ping-optimization": "XEP-0410",
    "http://jabber.org/protocol/muc#unique": "XEP-0307",
    "http://jabber.org/protocol/rsm": "XEP-0059",
    "jabber:iq:last": "XEP-0012",
    "jabber:iq:private": "XEP-0049",
    "jabber:iq:register": "XEP-0077",
    "jabber:iq:roster": "RFC 6121",
    "jabber:iq:version": "XEP-0092",
    "msgoffline": "XEP-0160",
    "urn:ietf:params:xml:ns:xmpp-bind": "RFC 6120",
    "urn:ietf:params:xml:ns:xmpp-sasl": "RFC 6120",
    "urn:ietf:params:xml:ns:xmpp-session": "RFC 6121",
    "urn:ietf:params:xml:ns:xmpp-tls": "RFC 6120",
    "urn:xmpp:bind:0": "XEP-0386",
    "urn:xmpp:blocking": "XEP-0191",
    "urn:xmpp:carbons:2": "XEP-0280",
    "urn:xmpp:carbons:rules:0": "XEP-0280",
    "urn:xmpp:csi:0": "XEP-0352",
    "urn:xmpp:extdisco:2": "XEP-0215",
    "urn:xmpp:features:pre-approval": "RFC 6121",
    "urn:xmpp:features:rosterver": "RFC 6121",
    "urn:xmpp:fast:0": "XEP-0484",
    "urn:xmpp:fulltext:0": "XEP-0431",
    "urn:xmpp:hats:0": "XEP-0317",
    "urn:xmpp:hats:commands": "XEP-0317",
    "urn:xmpp:iap:0": "XEP-0509",
    "urn:xmpp:invite": "XEP-0401",
    "urn:xmpp:mam:2": "XEP-0313",
    "urn:xmpp:mam:2#extended": "XEP-0313",
    "urn:xmpp:mam:2#groupchat-field": "XEP-0313",
    "urn:xmpp:message-moderate:1": "XEP-0425",
    "urn:xmpp:message-retract:1": "XEP-0424",
    "urn:xmpp:message-retract:1#tombstone": "XEP-0424",
    "urn:xmpp:occupant-id:0": "XEP-0421",
    "urn:xmpp:pars:0": "XEP-0379",
    "urn:xmpp:ibr-token:0": "XEP-0445",
    "urn:xmpp:ping": "XEP-0199",
    "urn:xmpp:push:0": "XEP-0357",
    "urn:xmpp:reporting:1": "XEP-0377",
    "urn:xmpp:sasl:2": "XEP-0388",
    "urn:xmpp:sasl:upgrade:0": "XEP-0480",
    "urn:xmpp:sasl-cb:0": "XEP-0440",
    "urn:xmpp:ssdp:0": "XEP-0474",
    "urn:xmpp:sid:0": "XEP-0359",
    "urn:xmpp:sm:3": "XEP-0198",
    "urn:xmpp:stream-limits:0": "XEP-0478",
    "urn:xmpp:time": "XEP-0202",
    "vcard-temp": "XEP-0054",
}


def tool():
    loader = importlib.machinery.SourceFileLoader("doap", str(ROOT / "tests/tools/doap"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("doap", loader))
    loader.exec_module(module)
    return module


def supported():
    return {name for name, _, _ in tool().specifications()}


def assert_known(namespaces):
    unknown = {ns for ns in namespaces if ns not in SPECIFICATIONS}
    assert not unknown
    missing = {SPECIFICATIONS[ns] for ns in namespaces} - supported()
    assert not missing, "README's table lacks what is announced"


def test_doap_is_what_the_table_says():
    assert subprocess.run([str(ROOT / "tests/tools/doap"), "--check"], timeout=60).returncode == 0, \
        "run tests/tools/doap"
    root = tree.parse(ROOT / "aldis.doap").getroot()
    xeps = {e.get("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}resource").rpartition("/")[2].partition(".")[0].upper()
            for e in root.iter("{https://linkmauve.fr/ns/xmpp-doap#}xep")}
    assert xeps == {name for name in supported() if name.startswith("XEP-")}


def test_titles_and_versions():
    for name, title, version in tool().specifications():
        assert title, name
        assert bool(version) == name.startswith("XEP-"), name


def test_service_discovery(suite):
    client = suite.login(suite.account(domain="example.test"))
    for to in ("example.test", client.jid.partition("/")[0]):
        answer = client.iq("get", "<query xmlns='%s'/>" % DISCO, to=to)
        features = [e.get("var") for e in answer.iter("{%s}feature" % DISCO)]
        assert len(features) > 3
        assert_known(features)


def test_stream_features(suite):
    client = suite.connect()
    client.open("example.test")
    assert_known(child.tag[1:].partition("}")[0] for child in client.features)
    client = suite.stream("example.test")
    assert_known(child.tag[1:].partition("}")[0] for child in client.features)
    jid = suite.account(domain="example.test")
    client.authenticate("SCRAM-SHA-256", jid.partition("@")[0], suite.password(jid))
    client.open("example.test")
    assert_known(child.tag[1:].partition("}")[0] for child in client.features)


def test_rooms(people):
    """What the domain of rooms and a room say of themselves."""
    client = people.session()
    for to in (people.domain, people.room()):
        answer = client.iq("get", "<query xmlns='%s'/>" % DISCO, to=to)
        features = {e.get("var") for e in answer.iter("{%s}feature" % DISCO)}
        assert len(features) > 10
        assert_known(f for f in features if f in SPECIFICATIONS or not f.startswith(("muc_", MUC + "#")))
