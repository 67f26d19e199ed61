"""Private keys of TLS in authd: every kind of key with every version of TLS, and resumption (DESIGN
promise 3; RFC 8446, RFC 5246)."""

import re
import subprocess

import pytest

from suite import KEYS, SLOW, Suite

DOMAINS = {"%s.test" % kind: {"kind": kind} for kind in KEYS}
VERSIONS = ["1.2", "1.3"]
# Name of the cipher with which TLS 1.2 has the client send a secret that the server's RSA key decrypts.
RSA_TRANSPORT = "AES128-GCM-SHA256"
STREAM = ("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
          "to='%s' version='1.0'></stream:stream>\n")


@pytest.fixture(scope="module")
def keys(programs):
    with Suite(domains=DOMAINS) as suite:
        yield suite


def signatures(suite):
    return suite.counter("authd", "signatures")


def log_in(suite, client, domain):
    """Logs in on a client after its handshake, bound to the channel."""
    client.open(domain)
    jid = suite.account(domain=domain)
    client.login(jid, suite.password(jid), "r", "SCRAM-SHA-256-PLUS")
    client.sync()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KEYS)
def test_handshake_and_resumption(keys, kind, version):
    """The first handshake has authd sign once; the second, resumed, not at all."""
    domain = kind + ".test"
    before = signatures(keys)
    first = keys.connect()
    first.starttls(domain, version=version)
    assert first.tls.get_protocol_version_name() == "TLSv" + version
    assert not first.resumed()
    log_in(keys, first, domain)
    assert signatures(keys) == before + 1
    for _ in range(20):  # a process that has just started may not have the key of tickets yet
        second = keys.connect()
        second.starttls(domain, version=version, session=first.session())
        if second.resumed():
            break
        second.close()
    assert second.resumed(), "no session was resumed"
    before = signatures(keys)
    log_in(keys, second, domain)
    assert signatures(keys) == before


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KEYS)
def test_gnutls_client(keys, kind, version):
    """The same with GnuTLS for a client, over direct TLS; the certificate is verified."""
    domain = kind + ".test"
    said = ""
    for _ in range(20):
        done = subprocess.run(
            ["gnutls-cli", "--resume", "--alpn=xmpp-client", "--sni-hostname=" + domain,
             "--verify-hostname=" + domain, "--x509cafile=%s" % keys.ca, "--port=%d" % keys.tls_port,
             "--priority=NORMAL:-VERS-ALL:+VERS-TLS" + version, "127.0.0.1"],
            input=STREAM % domain, capture_output=True, text=True, timeout=20 * SLOW)
        said = done.stdout + done.stderr
        assert said.count("Handshake was completed") == 2, said
        assert "</stream:features>" in said and "<stream:error>" not in said, said
        assert "- Status: The certificate is trusted." in said, said
        assert "- Description: (TLS" + version in said, said
        if re.search(r"\*\*\* This is a resumed session", said):
            break
    assert "*** This is a resumed session" in said, said


def test_key_transport(make_suite):
    """RSA without a signature, for those who turn it on: authd decrypts."""
    suite = make_suite(c2s={"tls-priority": "NORMAL:-VERS-ALL:+VERS-TLS1.2:+RSA"},
                       domains={"rsa.test": {"kind": "rsa"}})
    before = signatures(suite)
    client = suite.connect()
    client.starttls("rsa.test", version="1.2", ciphers=RSA_TRANSPORT)
    assert client.tls.get_cipher_name() == RSA_TRANSPORT
    log_in(suite, client, "rsa.test")
    assert signatures(suite) == before + 1


def test_key_that_the_client_cannot_use(keys):
    """No cipher in common: this handshake fails, the next does not."""
    client = keys.connect()
    with pytest.raises(Exception, match="handshake failure|in the handshake"):
        client.starttls("ed25519.test", version="1.2", ciphers="ECDHE-RSA-AES128-GCM-SHA256")
    client = keys.connect()
    client.starttls("rsa.test", version="1.2", ciphers="ECDHE-RSA-AES128-GCM-SHA256")
    log_in(keys, client, "rsa.test")
