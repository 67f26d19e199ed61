"""certificates.py: what becomes of certificates that are not good, with another server: theirs here, and ours there.

A module per server has the fixture `pair` and a class that inherits from Certificates. The other server has a domain
for each certificate of THEIRS, and our suite one for each of OURS; neither side takes dialback for an answer. Each row
is tried from both sides: whoever sends gets an error, and `aldisctl peer show` has the reason, or what they said.

Juliet is ours, Romeo is theirs.
"""

import contextlib

import pytest

from conversation import LONG, bare, bodies, is_message
from lookup import Nameserver
from nameserver import Dns
from raw import NS, condition, local, text
from servers import Authority, Server, issue
from suite import CommandFailed, make_certificate, wait_until
from test_peer_dns import pick, revocation_list, spki

OURS_IS = "ours.example"
STRANGERS = Authority("Unknown")

# What may be wrong with a certificate, and how one is made for a name.
KINDS = {
    "good": issue,
    "elsewhere": lambda name: issue("elsewhere.example"),
    "expired": lambda name: issue(name, days=-2),
    "unknown": STRANGERS.issue,
    "selfmade": make_certificate,
    "revoked": issue,
    "daneright": make_certificate,
    "danewrong": issue,
}

# Their certificate: what comes of our stream to them, and of theirs to us (None: it is good), and the reason.
THEIRS = [
    ("good", None, None, ""),
    ("elsewhere", "name", "name", "dNSName "),  # ejabberd shows one of another of its domains
    ("expired", "dates", "dates", "expired"),
    ("unknown", "chain", "chain", "no trust anchor"),
    ("selfmade", "chain", "chain", "no trust anchor"),
    ("revoked", "crl", "crl", "revoked"),
    ("daneright", None, "chain", "no trust anchor"),  # DNS names who is connected to, not who connects
    ("danewrong", "dane", None, "TLSA"),
]

# Ours, as they see it: they have neither our lists nor DNSSEC.
OURS = ["elsewhere", "expired", "unknown", "selfmade"]


class Pair(contextlib.ExitStack):
    """The other server and a suite of ours. own: the kind of the certificate of the other server's own domain."""

    def __init__(self, kind, theirs=[row[0] for row in THEIRS], ours=OURS, own="good", s2s=None, **options):
        super().__init__()
        if kind.unavailable():
            pytest.skip(kind.unavailable())
        names = Nameserver()
        self.callback(names.close)
        zone = kind.name + ".example"
        hosts = {"%s.%s" % (name, zone): KINDS[name]("%s.%s" % (name, zone)) for name in theirs}
        # For each of ours one of theirs of its own, so that the histories are apart.
        hosts.update({"%s-%s.%s" % (way, name, zone): issue("%s-%s.%s" % (way, name, zone))
                      for way in ("from", "to") for name in ours})
        domains = {OURS_IS: {}, **{"%s.%s" % (name, OURS_IS): {} for name in ours}}
        self.ours = Server(OURS_IS, domains=domains, certificates={
            "%s.%s" % (name, OURS_IS): KINDS[name]("%s.%s" % (name, OURS_IS)) for name in ours})
        for domain in domains:
            names.serves(domain, self.ours.server_port)
        certificate = KINDS[own](zone)
        self.peer = kind(names, OURS_IS, hosts=hosts, certificate=certificate, dialback=False, **options)
        revoked = [certificate] if own == "revoked" else [hosts[name] for name in hosts if "revoked" in name]
        try:
            dns = self.enter_context(Dns({zone: self.records(zone, own, certificate)}, signed=[zone]))
            self.ours.options["s2s"].update({
                "nameserver": dns.address, "trust-anchor": dns.anchors, "dnssec": True,
                "crl-files": [revocation_list(*revoked, name="%s-%s.crl" % (kind.name, own))], **(s2s or {})})
            self.ours.write_config()
            self.enter_context(self.peer)
            self.enter_context(self.ours)
        except BaseException:
            self.close()
            raise

    def records(self, zone, own, certificate):
        """A target of its own for each domain, with the records that DANE wants."""
        port, lines = self.peer.server_port, []
        for domain, paths in {zone: certificate, **self.peer.hosts}.items():
            name = "own" if domain == zone else domain.partition(".")[0]
            kind = own if domain == zone else name
            lines += ["_xmpp-server._tcp.%s. SRV 0 0 %d %s-host" % (domain, port, name), "%s-host A 127.0.0.1" % name]
            if kind.startswith("dane"):
                named = paths if kind == "daneright" else issue("another.example")
                lines.append("_%d._tcp.%s-host TLSA 3 1 1 %s" % (port, name, spki(named)))
        return "\n".join(lines)

    def attempt(self, domain, direction):
        """The newest attempt with a domain, ended or good."""
        def find():
            try:
                shown = self.ours.ctl("peer", "show", domain)["attempts"]
            except CommandFailed:  # nothing is known of it yet
                return None
            return next((a for a in shown if a["direction"] == direction and (
                "verdict" in a or pick(a["steps"], "authentication", verdict="ok"))), None)
        return wait_until(find, LONG, 0.1, "an attempt with " + domain)


def refusal(juliet, domain):
    """The condition with which a request to a domain is answered."""
    return condition(juliet.iq("get", "<query xmlns='%s'/>" % NS["disco#info"], to=domain, seconds=LONG))


def answer_to(romeo, juliet):
    """What becomes of a message from theirs to ours: None when it was delivered, else the error that he gets."""
    romeo.say(bare(juliet), "O", id="m1")

    def find():
        for client, good in ((juliet, True), (romeo, False)):
            client.sync()
            for element in client.pending("message"):
                if good == is_message(element):
                    return [None if good else element]
        return None
    return wait_until(find, LONG, 0.1, "the message or an error")[0]


def failed(steps):
    return {s["check"]: s["reason"] for s in pick(steps, "certificate", verdict="failed")}


def what_they_said(attempt):
    return [s["reason"] for s in attempt["steps"] if s["verdict"] == "failed" and "reason" in s]


class Certificates:
    """The tests. said: words of what they say of each certificate of OURS, on our stream, and on theirs."""

    said = {}

    @pytest.fixture
    def juliet(self, pair):
        juliet = pair.ours.login(pair.ours.account(), "balcony", available=0)
        yield juliet
        juliet.close()
        pair.ours.check()

    @pytest.mark.parametrize("kind, check, reason", [(kind, out, reason) for kind, out, _, reason in THEIRS])
    def test_theirs_when_we_connect(self, pair, juliet, kind, check, reason):
        domain = "%s.%s" % (kind, pair.peer.domain)
        if check is None:  # an answer would come on a stream of theirs
            romeo = pair.peer.login(pair.peer.account(domain), "orchard", available=0)
            juliet.say(romeo.jid, "O")
            assert bodies(romeo, 1) == ["O"]
            assert pick(pair.attempt(domain, "out")["steps"], "authentication", verdict="ok")
            romeo.close()
            return
        assert refusal(juliet, domain) == "remote-server-timeout"
        attempt = pair.attempt(domain, "out")
        assert attempt["verdict"] == "failed" and reason in failed(attempt["steps"])[check], attempt
        assert "The certificate is not good" in attempt["result"]
        assert not pick(attempt["steps"], "authentication"), attempt

    @pytest.mark.parametrize("kind, check, reason", [(kind, into, reason) for kind, _, into, reason in THEIRS])
    def test_theirs_when_they_connect(self, pair, juliet, kind, check, reason):
        domain = "%s.%s" % (kind, pair.peer.domain)
        romeo = pair.peer.login(pair.peer.account(domain), "orchard", available=0)
        error = answer_to(romeo, juliet)
        attempt = pair.attempt(domain, "in")
        assert (error is None) == (check is None), (attempt, text(error))
        if check:
            assert attempt["verdict"] == "failed" and reason in failed(attempt["steps"])[check], attempt
            assert pick(attempt["steps"], "policy", verdict="failed") or pick(
                attempt["steps"], "authentication", verdict="failed"), attempt
        romeo.close()

    @pytest.mark.parametrize("kind", OURS)
    def test_ours_when_we_connect(self, pair, kind):
        """They refuse it, and the history has their words."""
        domain = "to-%s.%s" % (kind, pair.peer.domain)
        juliet = pair.ours.login(pair.ours.account(domain="%s.%s" % (kind, OURS_IS)), "balcony")
        assert refusal(juliet, domain) == "remote-server-timeout"
        attempt = pair.attempt(domain, "out")
        assert attempt["verdict"] == "failed" and not failed(attempt["steps"]), attempt
        assert any(self.said[kind][0] in reason for reason in what_they_said(attempt)), attempt
        juliet.close()

    @pytest.mark.parametrize("kind", OURS)
    def test_ours_when_they_connect(self, pair, kind):
        """Their sender gets an error; nobody is authenticated."""
        domain = "from-%s.%s" % (kind, pair.peer.domain)
        juliet = pair.ours.login(pair.ours.account(domain="%s.%s" % (kind, OURS_IS)), "balcony",
                                 available=0)
        romeo = pair.peer.login(pair.peer.account(domain), "orchard", available=0)
        error = answer_to(romeo, juliet)
        assert error is not None and local(error) == "message"
        attempt = pair.attempt(domain, "in")
        assert attempt["verdict"] == "failed" and not pick(attempt["steps"], "authentication", verdict="ok"), attempt
        assert self.said[kind][1] in attempt["result"], attempt
        romeo.close()
        juliet.close()
