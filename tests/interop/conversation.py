"""conversation.py: what a suite of ours and another server have to be able to do with each other.

A module per server has the fixture `world` (World.of) and a class that inherits from Conversation, whose tests it
thereby has: once with a suite that it knows by its certificate (cert.example, SASL EXTERNAL), and once with one whose
certificate is of an authority that it does not know, nor that suite its own (back.example, dialback).

Juliet is ours, Romeo is theirs.
"""

import contextlib

import pytest

from lookup import Nameserver
from raw import NS, body, condition, local, q, text
from servers import Authority, Server, authority
from suite import SLOW, free_ports, wait_until

MANY = 300
LONG = 15 * SLOW    # seconds that a new connection may take, with what went before
MECHANISMS = ("EXTERNAL", "dialback")


class World(contextlib.ExitStack):
    """The other server and the two suites of ours."""

    def __init__(self, kind, direct=False, rooms=False, **options):
        """direct: it, and cert.example, are found by DNS for direct TLS alone (XEP-0368). rooms: all have them, which
        are found for STARTTLS: ours in rooms.cert.example and rooms.back.example, theirs in peer.rooms."""
        super().__init__()
        if kind.unavailable():
            pytest.skip(kind.unavailable())
        strangers = Authority("Strangers")
        self.nameserver = Nameserver()
        self.callback(self.nameserver.close)
        s2s = {"nameserver": "127.0.0.1@%d" % self.nameserver.port}

        def server(domain, authority, **own):
            service = "rooms." + domain
            return Server(domain, certificates={domain: authority.issue(domain, also=[service] if rooms else ())},
                          rooms={service: {}} if rooms else None, s2s={**own, **s2s})
        self.ours = {
            "EXTERNAL": server("cert.example", authority),
            "dialback": server("back.example", strangers, authentication="dialback", **{"ca-file": strangers.path}),
        }
        for ours in self.ours.values():
            for name in (ours.domain, *ours.rooms):
                self.nameserver.serves(name, ours.server_port)
        self.peer = kind(self.nameserver, "cert.example", rooms=rooms, **options)
        if direct:
            known = self.ours["EXTERNAL"]
            (port,) = free_ports(1)
            known.options["s2s"]["listen-tls"] = ["127.0.0.1:%d" % port]
            known.write_config()
            self.nameserver.serves(known.domain, None, port)
            self.nameserver.serves(self.peer.domain, None, self.peer.direct_port)
        try:
            self.enter_context(self.peer)
            for ours in self.ours.values():
                self.enter_context(ours)
        except BaseException:
            self.close()
            raise


def bare(client):
    return client.jid.partition("/")[0]


def steps(ours, domain, direction, step):
    """How a step of the streams with a domain went, of those where it went well."""
    attempts = ours.ctl("peer", "show", domain)["attempts"]
    return [s for a in attempts if a["direction"] == direction for s in a["steps"]
            if s["step"] == step and s["verdict"] != "failed"]


def mechanisms(ours, domain, direction):
    """By what streams with a domain were authenticated."""
    return {s["mechanism"] for s in steps(ours, domain, direction, "authentication")}


def is_message(element):
    return local(element) == "message" and element.get("type") != "error"


def bodies(client, count, seconds=LONG):
    """The bodies of the next messages."""
    return [body(client.wait(is_message, seconds)) for _ in range(count)]


def numbered(count, word="number"):
    return ["%s %d" % (word, n) for n in range(count)]


def await_delivery(ours, peer):
    """Has ours try to connect until nothing waits any more."""
    def is_done():
        ours.ctl("peer", "test", peer.domain)
        return not ours.ctl("queue", "list")
    wait_until(is_done, LONG, 0.5, "what waited is there")


def answer_requests(client, payload=""):
    """Answers the next request that a client gets."""
    request = client.wait(lambda e: local(e) == "iq" and e.get("type") in ("get", "set") and
                          e.find(q("ping", "ping")) is not None)
    client.send("<iq type='result' id='%s' to='%s'>%s</iq>" % (request.get("id"), request.get("from"), payload))
    return request


def subscribe(asker, giver):
    """One subscribes to another, who agrees and is then seen."""
    asker.send("<presence type='subscribe' to='%s'/>" % bare(giver))
    request = giver.wait(lambda e: e.get("type") == "subscribe", LONG)
    assert request.get("from") == bare(asker)
    giver.send("<presence type='subscribed' to='%s'/>" % bare(asker))
    agreed = asker.wait(lambda e: e.get("type") == "subscribed", LONG)
    assert agreed.get("from") == bare(giver)
    return asker.wait(lambda e: local(e) == "presence" and e.get("from") == giver.jid and e.get("type") is None, LONG)


class Conversation:
    """The tests that all other servers have to pass with us."""

    attribute_namespace = "urn:example:inner"   # of an attribute, which is that of its element

    @pytest.fixture(scope="class")
    def peer(self, world):
        return world.peer

    @pytest.fixture(scope="class", params=MECHANISMS)
    def ours(self, world, request):
        return world.ours[request.param]

    @pytest.fixture
    def talkers(self, ours, peer):
        juliet = ours.login(ours.account(), "balcony", available=0)
        romeo = peer.login(peer.account(), "orchard", available=0)
        yield juliet, romeo
        juliet.close()
        romeo.close()
        ours.check()

    def test_how_they_prove_themselves(self, world, talkers, ours, peer):
        juliet, romeo = talkers
        juliet.say(romeo.jid, "Wherefore art thou")
        assert bodies(romeo, 1) == ["Wherefore art thou"]
        romeo.say(bare(juliet), "here")
        message = juliet.wait(is_message, LONG)
        assert body(message) == "here"
        assert message.get("from") == romeo.jid and message.get("to") in (juliet.jid, bare(juliet))
        expected = {next(m for m, suite in world.ours.items() if suite is ours)}
        assert mechanisms(ours, peer.domain, "out") == expected
        assert mechanisms(ours, peer.domain, "in") == expected

    def test_order(self, talkers):
        juliet, romeo = talkers
        for words in numbered(MANY):
            juliet.say(romeo.jid, words)
            romeo.say(juliet.jid, words)
        assert bodies(romeo, MANY) == numbered(MANY)
        assert bodies(juliet, MANY) == numbered(MANY)

    def test_what_is_in_a_message(self, talkers):
        payload = ("<subject xml:lang='fr'>Le sujet</subject><body>&lt;é&amp;\U0001f339&gt; \" ' %s</body>"
                   "<x xmlns='urn:example:foreign' a='1&amp;2'><y:z xmlns:y='urn:example:inner' xmlns:w='%s' w:b='c'>"
                   "deep</y:z></x><request xmlns='urn:xmpp:receipts'/>" % ("long " * 8000, self.attribute_namespace))
        for sender, receiver in (talkers, talkers[::-1]):
            sender.send("<message to='%s' type='normal' id='content' xml:lang='en'>%s</message>" % (
                receiver.jid, payload))
            message = receiver.wait(is_message, LONG)
            assert message.get("id") == "content"
            assert body(message) == "<é&\U0001f339> \" ' " + "long " * 8000
            assert message.find(q("client", "subject")).get("{http://www.w3.org/XML/1998/namespace}lang") == "fr"
            inner = message.find("{urn:example:foreign}x/{urn:example:inner}z")
            assert inner.text == "deep" and inner.get("{%s}b" % self.attribute_namespace) == "c"
            assert message.find("{urn:xmpp:receipts}request") is not None

    def test_requests_to_servers(self, talkers, ours, peer):
        juliet, romeo = talkers
        for client, server in ((juliet, peer.domain), (romeo, ours.domain)):
            answer = client.iq("get", "<query xmlns='%s'/>" % NS["disco#info"], to=server, seconds=LONG)
            assert answer.get("type") == "result" and answer.get("from") == server, text(answer)
            identities = answer.findall("*/" + q("disco#info", "identity"))
            assert "server" in {e.get("category") for e in identities}
            assert client.iq("get", "<query xmlns='%s'/>" % NS["disco#items"], to=server).get("type") == "result"
            answer = client.iq("get", "<query xmlns='%s'/>" % NS["version"], to=server)
            assert answer.get("type") == "result" and answer.get("from") == server, text(answer)

    def test_requests_between_clients(self, talkers):
        for asker, asked in (talkers, talkers[::-1]):
            asker.send("<iq type='get' id='p1' to='%s'><ping xmlns='urn:xmpp:ping'/></iq>" % asked.jid)
            request = answer_requests(asked)
            assert request.get("from") == asker.jid
            answer = asker.wait(lambda e: e.get("id") == "p1" and e.get("type") == "result", LONG)
            assert answer.get("from") == asked.jid and answer.get("to") == asker.jid

    def test_errors(self, talkers, ours, peer):
        """Each request gets one answer, that says whose it is."""
        juliet, romeo = talkers
        for client, other, server in ((juliet, romeo, peer.domain), (romeo, juliet, ours.domain)):
            for to in (server, bare(other), other.jid + "-gone", "nobody-at-all@" + server):
                answer = client.iq("get", "<query xmlns='urn:example:unknown'/>", to=to, seconds=LONG)
                assert answer.get("type") == "error" and answer.get("from") == to, text(answer)
                assert condition(answer) in ("service-unavailable", "feature-not-implemented", "item-not-found",
                                             "recipient-unavailable", "not-allowed"), text(answer)

    def test_a_clients_error(self, talkers):
        """An error that a client makes reaches who asked."""
        for asker, asked in (talkers, talkers[::-1]):
            asker.send("<iq type='set' id='e1' to='%s'><query xmlns='urn:example:unknown'/></iq>" % asked.jid)
            request = asked.wait(lambda e: local(e) == "iq" and e.get("type") == "set", LONG)
            asked.send("<iq type='error' id='e1' to='%s'><error type='auth'><forbidden xmlns='%s'/><text xmlns='%s'>"
                       "never</text></error></iq>" % (request.get("from"), NS["stanzas"], NS["stanzas"]))
            answer = asker.wait(lambda e: e.get("id") == "e1" and e.get("type") == "error", LONG)
            assert condition(answer) == "forbidden" and answer.get("from") == asked.jid

    def test_a_message_to_nobody_comes_back(self, talkers, ours, peer):
        juliet, romeo = talkers
        for client, server in ((juliet, peer.domain), (romeo, ours.domain)):
            client.say("nobody-at-all@" + server, "lost", id="m1")
            error = client.wait(lambda e: local(e) == "message" and e.get("type") == "error", LONG)
            assert error.get("id") == "m1" and error.get("from") == "nobody-at-all@" + server
            assert condition(error) in ("service-unavailable", "item-not-found", "recipient-unavailable"), text(error)

    def test_vcard(self, talkers):
        juliet, romeo = talkers
        card = "<vCard xmlns='vcard-temp'><FN>Romeo Montague</FN><NICKNAME>Romeo</NICKNAME></vCard>"
        assert romeo.iq("set", card).get("type") == "result"
        answer = juliet.iq("get", "<vCard xmlns='vcard-temp'/>", to=bare(romeo), seconds=LONG)
        assert answer.get("type") == "result" and answer.get("from") == bare(romeo), text(answer)
        assert answer.findtext("{vcard-temp}vCard/{vcard-temp}FN") == "Romeo Montague"
        # Ours may have vCards or not; an answer there is.
        answer = romeo.iq("get", "<vCard xmlns='vcard-temp'/>", to=bare(juliet), seconds=LONG)
        assert answer.get("from") == bare(juliet), text(answer)

    def test_subscription_and_presence(self, talkers):
        for asker, giver in (talkers, talkers[::-1]):
            subscribe(asker, giver)
            giver.send("<presence><show>away</show><status>déjà</status></presence>")
            shown = asker.wait(lambda e: local(e) == "presence" and e.get("from") == giver.jid and
                               e.find(q("client", "show")) is not None, LONG)
            assert shown.findtext(q("client", "show")) == "away"
            assert shown.findtext(q("client", "status")) == "déjà"
        juliet, romeo = talkers
        roster = juliet.iq("get", "<query xmlns='%s'/>" % NS["roster"])
        items = [(e.get("jid"), e.get("subscription")) for e in roster.iter(q("roster", "item"))]
        assert items == [(bare(romeo), "both")]
        romeo.send("<presence type='unsubscribed' to='%s'/>" % bare(juliet))
        assert juliet.wait(lambda e: e.get("type") == "unsubscribed", LONG).get("from") == bare(romeo)
        juliet.send("<presence type='unsubscribed' to='%s'/>" % bare(romeo))
        assert romeo.wait(lambda e: e.get("type") == "unsubscribed", LONG).get("from") == bare(juliet)

    def test_presence_of_who_comes_later(self, talkers, ours, peer):
        """Probes (RFC 6121 section 4.3): who comes sees who is there; who goes is seen to go."""
        juliet, romeo = talkers
        subscribe(juliet, romeo)
        subscribe(romeo, juliet)
        for suite, client, other in ((ours, juliet, romeo), (peer, romeo, juliet)):
            late = suite.login(bare(client), "late", available=1)
            late.wait(lambda e: local(e) == "presence" and e.get("from") == other.jid and e.get("type") is None, LONG)
            other.wait(lambda e: local(e) == "presence" and e.get("from") == late.jid and e.get("type") is None, LONG)
            late.end()
            other.wait(lambda e: e.get("type") == "unavailable" and e.get("from") == late.jid, LONG)

    def test_offline_messages(self, talkers, ours, peer):
        juliet, romeo = talkers
        for client, server, other in ((juliet, peer, romeo), (romeo, ours, juliet)):
            account = server.account()
            for words in numbered(5, "later"):
                client.say(account, words)
            # What follows is behind them on the same stream.
            client.say(other.jid, "that was all")
            assert bodies(other, 1) == ["that was all"]
            late = server.login(account, "late")
            late.send("<presence/>")
            found = bodies(late, 5)
            assert found == numbered(5, "later")
            late.close()

    def test_directed_presence(self, talkers):
        """To those who are no contacts (RFC 6121 section 4.6), and its end when who sent it goes."""
        for sender, receiver in (talkers, talkers[::-1]):
            sender.send("<presence to='%s'><status>hello</status></presence>" % receiver.jid)
            shown = receiver.wait(lambda e: local(e) == "presence" and e.get("from") == sender.jid, LONG)
            assert shown.findtext(q("client", "status")) == "hello"
            sender.send("<presence type='unavailable'/>")
            receiver.wait(lambda e: e.get("type") == "unavailable" and e.get("from") == sender.jid, LONG)
            sender.send("<presence/>")

    def test_s2sd_is_killed(self, talkers, ours, peer):
        juliet, romeo = talkers
        juliet.say(romeo.jid, "before")
        assert bodies(romeo, 1) == ["before"]
        romeo.say(juliet.jid, "before")
        assert bodies(juliet, 1) == ["before"]
        await_delivery(ours, peer)  # else it might come once more
        ours.kill("s2sd")
        juliet.say(romeo.jid, "after")
        assert bodies(romeo, 1) == ["after"]
        romeo.say(juliet.jid, "after")
        assert bodies(juliet, 1) == ["after"]

    def test_the_other_server_is_killed(self, talkers, ours, peer):
        """What we have for it waits on our disk, and comes in order when it is back."""
        juliet, romeo = talkers
        account = bare(romeo)
        juliet.say(romeo.jid, "before")
        assert bodies(romeo, 1) == ["before"]
        romeo.say(juliet.jid, "before")
        assert bodies(juliet, 1) == ["before"]
        await_delivery(ours, peer)
        self.settle(peer)
        peer.kill()
        for words in numbered(20, "while away"):
            juliet.say(account, words)
        # A request does not wait.
        answer = juliet.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to=peer.domain, seconds=LONG)
        assert condition(answer) == "remote-server-timeout" and answer.get("from") == peer.domain, text(answer)
        peer.start()
        await_delivery(ours, peer)
        again = peer.login(account, "orchard", available=0)
        assert bodies(again, 20) == numbered(20, "while away")
        again.say(juliet.jid, "here again")
        assert bodies(juliet, 1) == ["here again"]

    @staticmethod
    def settle(peer):
        """Waits until the accounts of a server are on its disk."""
