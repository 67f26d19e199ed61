"""servers.py: suites that federate, on loopback, with certificates of one test authority.

    with federation() as (a, b):     # a.test and b.test
        juliet = a.login(a.account(), "balcony", available=0)

Each is the other's configured peer: no DNS is asked. An option of s2s or peer of one side is given as a_s2s=...,
b_peer=...
"""

import contextlib
import datetime
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

import suite as suites
from suite import Suite

DIRECTORY = Path(tempfile.mkdtemp(prefix="aldis-ca-"))


def write(name, certificate, key):
    """Writes both as PEM; returns their paths."""
    paths = DIRECTORY / (name + ".crt.pem"), DIRECTORY / (name + ".key.pem")
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                           serialization.NoEncryption()))
    return tuple(map(str, paths))


class Authority:
    """An authority that issues certificates."""

    def __init__(self, name="Test authority"):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.issued = {}
        builder = self.builder(self.name, self.key, 30)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False),
                                        critical=True)
        self.certificate = builder.sign(self.key, hashes.SHA256())
        self.path, self.key_path = write(name.replace(" ", "-"), self.certificate, self.key)

    def builder(self, subject, key, days):
        now = datetime.datetime.utcnow()
        begin = now - datetime.timedelta(days=60 if days < 0 else 1)
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(begin)
                .not_valid_after(now + datetime.timedelta(days=days)))

    def issue(self, name, days=30, also=(), responder=None):
        """A certificate for a name, and others, and its key: paths. days: that it is still good, may be negative.
        responder: the URL at which its authority is asked (OCSP)."""
        wanted = (name, days, tuple(also), responder)
        if wanted not in self.issued:
            key = ec.generate_private_key(ec.SECP256R1())
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
            builder = self.builder(subject, key, days)
            for extension in (
                    x509.SubjectAlternativeName([x509.DNSName(n) for n in (name, *also)]),
                    x509.BasicConstraints(ca=False, path_length=None),
                    x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])):
                builder = builder.add_extension(extension, critical=False)
            if responder:
                builder = builder.add_extension(x509.AuthorityInformationAccess([x509.AccessDescription(
                    AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(responder))]), critical=False)
            self.issued[wanted] = write("%s-%d" % (name, len(self.issued)), builder.sign(self.key, hashes.SHA256()), key)
        return self.issued[wanted]


authority = Authority()
issue = authority.issue


class Server(Suite):
    """A suite whose domains have certificates of the authority; certificate: others, by domain."""

    def __init__(self, domain, s2s=None, certificates=None, **options):
        for name in options.get("domains", {domain: {}}):
            suites.certificates[name, "ca"] = (certificates or {}).get(name) or issue(name)
        domains = {name: {"kind": "ca", **given} for name, given in options.pop("domains", {domain: {}}).items()}
        super().__init__(domains=domains, s2s={"federation": True, "ca-file": authority.path, "dnssec": False,
                                               **(s2s or {})}, **options)
        self.domain = domain

    def account(self, *words, domain=None, **options):
        return super().account(*words, domain=domain or self.domain, **options)


def pair(a_s2s=None, b_s2s=None, a_peer=None, b_peer=None, a_certificate=None, b_certificate=None, a_components=None,
         a_rooms=None, **options):
    """Two suites, a.test and b.test, that have not been started. b.test finds the components and the domains with rooms
    of a.test where a.test is."""
    a = Server("a.test", s2s=a_s2s, certificates={"a.test": a_certificate}, components=a_components, **options)
    b = Server("b.test", s2s=b_s2s, certificates={"b.test": b_certificate}, **options)
    a.peers["b.test"] = {"address": ["127.0.0.1:%d" % b.server_port], **(a_peer or {})}
    a.rooms = a_rooms or {}
    for name in ("a.test", *(a_components or {}), *a.rooms):
        b.peers[name] = {"address": ["127.0.0.1:%d" % a.server_port], **(b_peer or {})}
    a.write_config()
    b.write_config()
    return a, b


@contextlib.contextmanager
def federation(**options):
    """Two suites, a.test and b.test, running; options: see pair()."""
    a, b = pair(**options)
    with a, b:
        yield a, b
