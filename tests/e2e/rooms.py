"""rooms.py: what tests of rooms share: a suite with a domain of rooms, and clients that enter them.

    def test_hello(people):
        room = people.room(public=True)                     # a new one, its owner is in it
        juliet = people.enter(room, "juliet")               # a fresh account's session
        juliet.say(room, "hello", "groupchat")
        assert body(people.owner.message()) == "hello"
"""

import itertools
import uuid
from xml.sax.saxutils import escape, quoteattr

import pytest

from clients import child
from raw import NS, condition, local, q, text
from suite import Suite

DOMAIN = "rooms.localhost"
MUC = "http://jabber.org/protocol/muc"
NS.update({"muc": MUC, "muc#user": MUC + "#user", "muc#owner": MUC + "#owner", "muc#admin": MUC + "#admin",
           "muc#roomconfig": MUC + "#roomconfig", "muc#request": MUC + "#request", "muc#unique": MUC + "#unique",
           "conference": "jabber:x:conference", "occupant-id": "urn:xmpp:occupant-id:0",
           "retract": "urn:xmpp:message-retract:1", "moderate": "urn:xmpp:message-moderate:1",
           "vcard-update": "vcard-temp:x:update", "fulltext": "urn:xmpp:fulltext:0"})

numbers = itertools.count(1)


class Refused(AssertionError):
    """A room has not let somebody in: .condition."""

    def __init__(self, stanza):
        super().__init__(text(stanza))
        self.condition = condition(stanza)


def codes(stanza):
    """Status codes of a presence or message, as a set."""
    x = child(stanza, "muc#user", "x")
    return {s.get("code") for s in x.iterfind(q("muc#user", "status"))} if x is not None else set()


def item(presence):
    """The <item/> of a presence: affiliation, role, perhaps jid and nick."""
    return presence.find("%s/%s" % (q("muc#user", "x"), q("muc#user", "item")))


def is_subject(stanza):
    return local(stanza) == "message" and stanza.find(q("client", "subject")) is not None and \
        stanza.find(q("client", "body")) is None


def enter(client, room, nick, x="<history maxstanzas='0'/>", subject=True):
    """Enters, and waits for the own presence (returned) and the subject, behind which all is live. What came of
    others before stays in client.elements. Refused with an error."""
    client.send("<presence to=%s><x xmlns='%s'>%s</x></presence>" % (quoteattr("%s/%s" % (room, nick)), MUC, x))

    def done(e):
        return local(e) == "presence" and (e.get("from") or "").startswith(room) and \
            ("110" in codes(e) or e.get("type") == "error")
    own = client.wait(done)
    if own.get("type") == "error":
        raise Refused(own)
    if subject:
        client.wait(lambda e: is_subject(e) and e.get("from").startswith(room))
    return own


def leave(client, room, nick):
    client.send("<presence type='unavailable' to=%s/>" % quoteattr("%s/%s" % (room, nick)))
    return client.wait(lambda e: local(e) == "presence" and e.get("from") == "%s/%s" % (room, nick) and
                       e.get("type") == "unavailable")


def form(form_type, fields, kind="submit"):
    """A form; fields: name -> value or list of values; booleans are written as such."""
    def values(value):
        if isinstance(value, bool):
            value = "1" if value else "0"
        return "".join("<value>%s</value>" % escape(v) for v in ([value] if isinstance(value, str) else value))
    return "<x xmlns='jabber:x:data' type='%s'>%s</x>" % (kind, "".join(
        "<field var=%s>%s</field>" % (quoteattr(name), values(value))
        for name, value in {"FORM_TYPE": form_type, **fields}.items()))


def configure(client, room, **fields):
    """Submits a configuration: configure(owner, room, membersonly=True); names without their prefix."""
    named = {("muc#" if name == "maxhistoryfetch" else "muc#roomconfig_") + name: value
             for name, value in fields.items()}
    answer = client.iq("set", "<query xmlns='%s'>%s</query>" % (NS["muc#owner"], form(NS["muc#roomconfig"], named)),
                       to=room)
    assert answer.get("type") == "result", text(answer)


def affiliate(client, room, jid, affiliation):
    answer = client.iq("set", "<query xmlns='%s'><item jid=%s affiliation='%s'/></query>" % (
        NS["muc#admin"], quoteattr(jid), affiliation), to=room)
    assert answer.get("type") == "result", text(answer)


class People:
    """Those who are in the rooms of a test."""

    def __init__(self, suite, domain=DOMAIN):
        self.suite, self.domain, self.owner = suite, domain, None

    def session(self, account=None, resource="r"):
        return self.suite.login(account or self.suite.account(), resource, available=0)

    def name(self):
        return "room-%s@%s" % (uuid.uuid4().hex[:12], self.domain)

    def room(self, nick="owner", **config):
        """A new room with such a configuration; self.owner is in it."""
        room = self.name()
        self.owner = self.session()
        own = enter(self.owner, room, nick)
        assert "201" in codes(own), text(own)
        configure(self.owner, room, **config)
        self.calm(self.owner)
        return room

    def enter(self, room, nick, account=None, resource="r", **options):
        """Somebody new, who is in the room; what came to it on the way is forgotten."""
        client = self.session(account, resource)
        enter(client, room, nick, **options)
        self.calm(client)
        return client

    @staticmethod
    def calm(*clients):
        """Forgets what has come."""
        for client in clients:
            client.pending()


@pytest.fixture(scope="session")
def rooms_suite(programs):
    with Suite(rooms={DOMAIN: {"name": "Rooms & more"}, "other.localhost": {"create": "nobody"}}) as suite:
        yield suite


@pytest.fixture
def people(rooms_suite):
    return People(rooms_suite)


def bare(client):
    return client.jid.partition("/")[0]
