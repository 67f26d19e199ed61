"""How another server is found and believed: SRV, addresses, DNSSEC, DANE, direct TLS, revocation (RFC 6120 section 3.2,
XEP-0368, RFC 7673, RFC 8305). "aldisctl peer show" says why in each case.

a.test asks a name server of the tests; the other suite has a domain for each case.
"""

import contextlib
import datetime
import hashlib
import random
import socket
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

import servers
from nameserver import Dns
from peer import EXTERNAL, Listener
from raw import NS, condition, text
from servers import Authority, Server, issue, authority
from suite import SLOW, CommandFailed, free_ports, make_certificate, wait_until

HOST = "127.%d.%d.%d" % tuple(random.randrange(2, 250) for _ in range(3))  # where port 5269 is ours alone
DOMAINS = ["srv.plain.test", "direct.plain.test", "both.plain.test", "address.plain.test", "happy.plain.test",
           "weights.plain.test", "bücher.plain.test", "named.wild.plain.test", "other.wild.plain.test", "dot.plain.test",
           "nowhere.plain.test", "self.plain.test", "forged.test", "good.signed.test", "wrong.signed.test",
           "pkix.signed.test", "authority.signed.test", "anchor.signed.test", "late.signed.test", "refused.wild.plain.test", "configured.plain.test"]
SELF_SIGNED = ["self.plain.test", "good.signed.test"]


def certificate(domain):
    ascii_name = domain.encode("idna").decode()
    if domain == "anchor.signed.test":  # which sends its authority along
        paths = issue(ascii_name)
        chain = servers.DIRECTORY / "chain.pem"
        chain.write_text(Path(paths[0]).read_text() + Path(authority.path).read_text())
        return str(chain), paths[1]
    return make_certificate(domain) if domain in SELF_SIGNED else issue(ascii_name)


def spki(paths):
    """The SHA-256 of a certificate's key: TLSA 3 1 1."""
    with open(paths[0], "rb") as f:
        found = x509.load_pem_x509_certificate(f.read())
    key = found.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).hexdigest()


def whole(found):
    return hashlib.sha256(found.public_bytes(serialization.Encoding.DER)).hexdigest()


@contextlib.contextmanager
def deaf():
    """A port on [::1] that takes no connection and refuses none: its backlog is full."""
    with Listener("::1", family=socket.AF_INET6, backlog=0) as listener:
        fill = []
        for _ in range(4):
            s = socket.socket(socket.AF_INET6)
            s.setblocking(False)
            s.connect_ex(("::1", listener.port))
            fill.append(s)
        yield listener.port
        for s in fill:
            s.close()


@pytest.fixture(scope="module")
def zones():
    """Both suites, and the ports: closed and deaf are those of nobody."""
    with contextlib.ExitStack() as stack:
        port, direct, closed = free_ports(3)
        silent = stack.enter_context(deaf())
        there = Server("srv.plain.test", domains={name: {} for name in DOMAINS},
                       certificates={name: certificate(name) for name in DOMAINS},
                       s2s={"listen": ["127.0.0.1:%d" % port, HOST + ":5269"], "listen-tls": ["127.0.0.1:%d" % direct]})
        ports = {"port": port, "direct": direct, "closed": closed, "silent": silent, "host": HOST,
                 "good": spki(certificate("good.signed.test")), "other": spki(issue("somebody.test")),
                 "pkix": spki(certificate("pkix.signed.test")), "authority": whole(authority.certificate)}
        plain = """
            h A 127.0.0.1
            deaf AAAA ::1
            deaf A 127.0.0.1
            _xmpp-server._tcp.srv SRV 10 0 {port} h
            _xmpp-server._tcp.srv SRV 5 0 {closed} h
            _xmpps-server._tcp.direct SRV 0 0 {direct} h
            _xmpp-server._tcp.direct SRV 0 0 0 .
            _xmpps-server._tcp.both SRV 5 0 {direct} h
            _xmpp-server._tcp.both SRV 10 0 {port} h
            address A {host}
            _xmpp-server._tcp.happy SRV 0 0 {silent} deaf
            _xmpp-server._tcp.happy SRV 0 0 {port} h
            _xmpp-server._tcp.weights SRV 0 0 {closed} h
            _xmpp-server._tcp.weights SRV 0 65535 {port} h
            _xmpp-server._tcp.xn--bcher-kva SRV 0 0 {port} h
            _xmpp-server._tcp.named.wild SRV 0 0 {closed} h
            *.wild A 192.0.2.1
            _xmpp-server._tcp.dot SRV 0 0 0 .
            _xmpps-server._tcp.dot SRV 0 0 0 .
            dot A {host}
            _xmpp-server._tcp.self SRV 0 0 {port} h
            _{port}._tcp.h TLSA 3 1 1 {good}
            """.format(**ports)
        signed = "h A 127.0.0.1\n" + "".join("""
            _xmpp-server._tcp.{0} SRV 0 0 {port} {0}-host
            {0}-host A 127.0.0.1
            _{port}._tcp.{0}-host TLSA {1}
            """.format(name, record.format(**ports), **ports) for name, record in (
                ("good", "3 1 1 {good}"), ("wrong", "3 1 1 {other}"), ("pkix", "1 1 1 {pkix}"),
                ("authority", "2 0 1 {authority}"), ("anchor", "2 0 1 {authority}")))
        # The first address has a record that its certificate does not meet; the next has one that it meets.
        signed += """
            _xmpp-server._tcp.late SRV 0 0 {port} late-one
            _xmpp-server._tcp.late SRV 9 0 {direct} late-two
            late-one A 127.0.0.1
            _{port}._tcp.late-one TLSA 3 1 1 {other}
            _xmpps-server._tcp.late SRV 9 0 {direct} late-two
            late-two A 127.0.0.1
            """.format(**ports)
        dns = stack.enter_context(Dns({
            "plain.test": plain, "signed.test": signed,
            "forged.test": "_xmpp-server._tcp SRV 0 0 %d h\nh A 127.0.0.1" % port}, ["signed.test"], ["forged.test"]))
        here = Server("a.test", s2s={"nameserver": dns.address, "trust-anchor": dns.anchors, "dnssec": True,
                                     "login-time": 30},
                      peers={"*.wild.plain.test": {"address": ["127.0.0.1:%d" % port]},
                             "refused.wild.plain.test": {"policy": "refuse"},
                             "configured.plain.test": {"address": ["127.0.0.1:%d" % direct], "direct-tls": True}})
        there.peers["a.test"] = {"address": ["127.0.0.1:%d" % here.server_port]}
        there.write_config()
        stack.enter_context(there)
        stack.enter_context(here)
        here.juliet = here.login(here.account(), "balcony")
        yield here, ports


def ask(suite, domain, seconds=20 * SLOW):
    """A request to a domain: None when it was answered, else the condition; and the steps."""
    answer = suite.juliet.iq("get", "<query xmlns='%s'/>" % NS["disco#info"], to=domain, seconds=seconds)
    attempt = next(a for a in suite.ctl("peer", "show", domain)["attempts"] if a["direction"] == "out")
    assert attempt["verdict"] == ("ok" if answer.get("type") == "result" else "failed"), attempt
    return condition(answer), attempt["steps"]


def pick(steps, step, **fields):
    return [s for s in steps if s["step"] == step and all(s.get(k) == v for k, v in fields.items())]


def test_priorities(zones):
    """The closed port comes first."""
    suite, ports = zones
    error, steps = ask(suite, "srv.plain.test")
    assert error is None
    assert [(s["address"], s["priority"]) for s in pick(steps, "connect", verdict="noted")] == [
        ("127.0.0.1:%d" % ports["closed"], "5"), ("127.0.0.1:%d" % ports["port"], "10")]
    assert "refused" in pick(steps, "connect", verdict="failed")[0]["reason"]
    found = pick(steps, "dns", name="_xmpp-server._tcp.srv.plain.test")
    assert [(s["outcome"], s["records"], s["secure"]) for s in found] == [("ok", "2", "no")]
    assert pick(steps, "dns", name="_xmpps-server._tcp.srv.plain.test")[0]["outcome"] == "nxdomain"


@pytest.mark.parametrize("domain, refused", [("direct.plain.test", "."), ("both.plain.test", None)])
def test_direct_tls_by_srv(zones, domain, refused):
    suite, ports = zones
    error, steps = ask(suite, domain)
    assert error is None
    assert [(s["address"], s["tls"]) for s in pick(steps, "connect")] == [("127.0.0.1:%d" % ports["direct"], "direct")]


def test_direct_tls_by_configuration(zones):
    suite, ports = zones
    error, steps = ask(suite, "configured.plain.test")
    assert error is None and not pick(steps, "dns")
    assert [(s["address"], s["tls"]) for s in pick(steps, "connect")] == [("127.0.0.1:%d" % ports["direct"], "direct")]


def test_it_is_not_offered(zones):
    """Though the domain has an address."""
    suite, _ = zones
    error, steps = ask(suite, "dot.plain.test")
    assert error == "remote-server-not-found"
    assert not pick(steps, "connect") and not pick(steps, "dns", type="A")


def test_no_records_at_all(zones):
    suite, _ = zones
    error, steps = ask(suite, "nowhere.plain.test")
    assert error == "remote-server-not-found"
    assert {s["outcome"] for s in pick(steps, "dns")} == {"nxdomain"}


def test_addresses_without_srv(zones):
    suite, _ = zones
    error, steps = ask(suite, "address.plain.test")
    assert error is None
    assert [s["address"] for s in pick(steps, "connected")] == [HOST]
    assert pick(steps, "connect")[0]["address"] == HOST + ":5269"


def test_an_address_that_does_not_answer(zones):
    """IPv6 begins, and the others need not wait until it is given up."""
    suite, ports = zones
    for _ in range(3):
        error, steps = ask(suite, "happy.plain.test")
        assert error is None
        tried = [s["address"] for s in pick(steps, "connect", verdict="noted")]
        assert pick(steps, "connected")[0]["at"] < 2000 * SLOW, steps
        if "[::1]:%d" % ports["silent"] in tried:
            return
        suite.kill("s2sd")
    pytest.fail("the deaf address was not tried: %s" % steps)


def test_weights(zones):
    """A weight of 0 is chosen hardly ever, and the other is there then."""
    suite, ports = zones
    error, steps = ask(suite, "weights.plain.test")
    assert error is None
    assert {s["weight"] for s in pick(steps, "connect")} <= {"0", "65535"}


def test_an_international_name(zones):
    suite, _ = zones
    error, steps = ask(suite, "BÜCHER.plain.test")
    assert error is None
    assert pick(steps, "dns", name="_xmpp-server._tcp.xn--bcher-kva.plain.test", outcome="ok")
    assert pick(steps, "certificate", check="name")[0]["verdict"] == "ok"


def test_peers_by_wildcard(zones):
    """What the configuration says of all subdomains stands above DNS; what it says of one, above that."""
    suite, ports = zones
    for domain in ("named.wild.plain.test", "other.wild.plain.test"):
        error, steps = ask(suite, domain)
        assert error is None and not pick(steps, "dns")
        assert pick(steps, "policy")[0]["name"] == "*.wild.plain.test"
    error, steps = ask(suite, "refused.wild.plain.test")
    assert error == "remote-server-not-found"
    assert pick(steps, "policy", verdict="failed") and not pick(steps, "connect")


def test_dnssec_that_is_forged(zones):
    suite, _ = zones
    error, steps = ask(suite, "forged.test")
    assert error == "remote-server-timeout"
    assert pick(steps, "dns", outcome="bogus", verdict="failed") and not pick(steps, "connect")


def test_dane_instead_of_an_authority(zones):
    suite, _ = zones
    error, steps = ask(suite, "good.signed.test")
    assert error is None
    assert pick(steps, "certificate", check="chain")[0]["verdict"] == "failed"
    assert pick(steps, "certificate", check="dane")[0]["verdict"] == "ok"
    assert pick(steps, "dns", type="TLSA", secure="yes", records="1")
    assert pick(steps, "authentication", verdict="ok")


@pytest.mark.parametrize("domain, verdict", [
    ("pkix.signed.test", "ok"), ("anchor.signed.test", "ok"),
    ("authority.signed.test", "failed")])  # a digest of what it does not send (RFC 7671 section 5.2.2)
def test_dane_with_an_authority(zones, domain, verdict):
    suite, _ = zones
    error, steps = ask(suite, domain)
    assert (error is None) == (verdict == "ok"), steps
    assert [s["verdict"] for s in pick(steps, "certificate", check="dane")] == [verdict], steps


def test_dane_that_is_wrong(zones):
    """The authority is trusted, the name is right, and yet it is not the key that DNS names."""
    suite, _ = zones
    error, steps = ask(suite, "wrong.signed.test")
    assert error == "remote-server-timeout"
    assert {s["verdict"] for s in pick(steps, "certificate") if s["check"] in ("chain", "name")} == {"ok"}
    dane = pick(steps, "certificate", check="dane", verdict="failed")
    assert dane and "TLSA" in dane[0]["reason"]
    assert "TLSA" in pick(steps, "policy", verdict="failed")[0]["reason"]


def test_dane_of_the_next_address(zones):
    """Where TLSA does not fit is not the end: the next target is tried."""
    suite, ports = zones
    error, steps = ask(suite, "late.signed.test")
    assert error is None
    assert [s["verdict"] for s in pick(steps, "certificate", check="dane")] == ["failed", "skipped"]
    assert pick(steps, "connect", verdict="noted")[-1]["address"] == "127.0.0.1:%d" % ports["direct"]


def test_dane_that_is_not_secure(zones):
    """TLSA records without DNSSEC are nobody's word: the certificate of no authority is not good."""
    suite, _ = zones
    error, steps = ask(suite, "self.plain.test")
    assert error == "remote-server-timeout"
    assert pick(steps, "certificate", check="dane")[0]["verdict"] == "skipped"
    assert pick(steps, "certificate", check="chain")[0]["verdict"] == "failed"


def test_dane_is_not_made_up_for_by_dialback():
    """Whoever has another key than DNS says is somebody else, who may well answer about keys."""
    with Listener() as listener:
        with Dns({"signed.test": "_xmpp-server._tcp SRV 0 0 {0} h\nh A 127.0.0.1\n_{0}._tcp.h TLSA 3 1 1 {1}".format(
                listener.port, spki(issue("other.signed.test")))}, ["signed.test"]) as dns:
            with Server("a.test", s2s={"nameserver": dns.address, "trust-anchor": dns.anchors, "dnssec": True,
                                       "authentication": "dialback"}) as suite:
                suite.juliet = suite.login(suite.account(), "balcony")
                suite.juliet.send("<iq type='get' id='x' to='signed.test'><ping xmlns='%s'/></iq>" % NS["ping"])
                callee = listener.accept()
                callee.secure(issue("signed.test"))
                answer = suite.juliet.wait(lambda e: e.get("id") == "x", 20 * SLOW)
                assert condition(answer) == "remote-server-timeout", text(answer)
                callee.await_end()
                assert b"<auth" not in callee.received and b"db:result" not in callee.received


# -- revocation -------------------------------------------------------------------------------------


def load(paths):
    with open(paths[0], "rb") as f:
        return x509.load_pem_x509_certificate(f.read())


def day(days):
    return datetime.datetime.utcnow() + datetime.timedelta(days=days)


def revocation_list(*revoked, name, days=2):
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.name).last_update(day(-3)).next_update(day(days))
    for paths in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(load(paths).serial_number).revocation_date(day(-1)).build())
    path = servers.DIRECTORY / name
    path.write_bytes(builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return str(path)


def test_revocation_lists():
    """One that is revoked is refused in both directions, and the others are good."""
    crl = revocation_list(issue("revoked.test"), name="one.crl")
    with Server("revoked.test", domains={"revoked.test": {}, "fine.test": {}}) as there:
        with Server("a.test", s2s={"crl-files": [crl]}, peers={
                "revoked.test": {"address": ["127.0.0.1:%d" % there.server_port]},
                "fine.test": {"address": ["127.0.0.1:%d" % there.server_port]}}) as suite:
            suite.juliet = suite.login(suite.account(), "balcony")
            error, steps = ask(suite, "revoked.test")
            assert error == "remote-server-timeout"
            crl = pick(steps, "certificate", check="crl", verdict="failed")
            assert crl and "revoked" in crl[0]["reason"], steps
            there.peers["a.test"] = {"address": ["127.0.0.1:%d" % suite.server_port]}
            there.write_config()
            old = there.pid("s2sd")
            there.killed["s2sd"] = 1  # a peer is no option that is taken while it runs
            there.ctl("reload")
            there.await_running("s2sd", old)
            there.ctl("peer", "test", "a.test", "revoked.test")

            def refused():
                try:
                    shown = suite.ctl("peer", "show", "revoked.test")["attempts"]
                except CommandFailed:  # nothing is known of it yet
                    return None
                return [a for a in shown if a["direction"] == "in" and a.get("verdict") == "failed"]
            attempt = wait_until(refused)[0]
            assert pick(attempt["steps"], "certificate", check="crl", verdict="failed"), attempt
            error, steps = ask(suite, "fine.test")
            assert error is None and pick(steps, "certificate", check="crl", verdict="ok"), steps


def response(paths, status=ocsp.OCSPCertStatus.GOOD, days=2, by=authority):
    revoked = {"revocation_time": None, "revocation_reason": None}
    if status == ocsp.OCSPCertStatus.REVOKED:
        revoked = {"revocation_time": day(-1), "revocation_reason": x509.ReasonFlags.key_compromise}
    builder = ocsp.OCSPResponseBuilder().add_response(
        load(paths), authority.certificate, hashes.SHA1(), status, day(-5), day(days), **revoked)
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, by.certificate)
    return builder.sign(by.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize("case, verdict, reason", [
    ("good", "ok", ""), ("revoked", "failed", "revoked"), ("late", "failed", ""), ("forged", "failed", "signed"),
    ("another", "failed", "another certificate"), ("malformed", "failed", "malformed"), ("none", "skipped", "")])
def test_stapled_responses(case, verdict, reason):
    own, other = issue("b.test"), issue("c.test")
    staple = {"good": lambda: response(own), "revoked": lambda: response(own, ocsp.OCSPCertStatus.REVOKED),
              "late": lambda: response(own, days=-2), "forged": lambda: response(own, by=Authority("Nobody")),
              "another": lambda: response(other), "malformed": lambda: b"\x30\x03\x0a\x01", "none": lambda: None}[case]()
    with Listener() as listener, Server("a.test", peers={
            "b.test": {"address": ["127.0.0.1:%d" % listener.port]}}) as suite:
        juliet = suite.login(suite.account(), "balcony")
        juliet.send("<iq type='get' id='x' to='b.test'><ping xmlns='%s'/></iq>" % NS["ping"])
        callee = listener.accept()
        callee.secure(own, features=EXTERNAL, staple=staple)
        if verdict == "failed":
            answer = juliet.wait(lambda e: e.get("id") == "x", 20 * SLOW)
            assert condition(answer) == "remote-server-timeout", text(answer)
        else:
            callee.accept_external()
            callee.wait(lambda e: e.get("id") == "x")
        steps = suite.ctl("peer", "show", "b.test")["attempts"][0]["steps"]
        found = pick(steps, "certificate", check="ocsp")[0]
        assert found["verdict"] == verdict and reason in found.get("reason", ""), found
