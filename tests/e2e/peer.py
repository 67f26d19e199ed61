"""peer.py: another server on a bare socket, both as it connects and as it is connected to.

    caller = Caller(suite, "b.test", "a.test")       # from b.test to a suite's a.test
    caller.secure(issue("b.test"))                   # header, STARTTLS with a certificate, header; caller.features
    caller.external()                                # SASL EXTERNAL, and the header and features after it

    with Listener() as listener:                     # .port
        callee = listener.accept()                   # what a suite has opened to us
        callee.secure(issue("b.test"), features=EXTERNAL)
        callee.accept_external()                     # until stanzas come

Both are raw.Client; stanzas and features are given with the namespace of clients, so that q("client", ...) finds them.
"""

import select
import socket
import time

from OpenSSL import SSL

import raw
from raw import NS, Closed, encode64, local, q, text
from suite import SLOW

SERVER = "jabber:server"
DIALBACK = "jabber:server:dialback"
STARTTLS = "<starttls xmlns='%s'><required/></starttls>" % NS["tls"]
EXTERNAL = "<mechanisms xmlns='%s'><mechanism>EXTERNAL</mechanism></mechanisms>" % NS["sasl"]
OFFER_DIALBACK = "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>"
MANAGEMENT = "<sm xmlns='%s'/>" % NS["sm"]


def db(name, **attributes):
    """A <db:result/> or <db:verify/>: from_, to, id, type, and key as its text."""
    key = attributes.pop("key", "")
    given = "".join(" %s='%s'" % (k.rstrip("_"), v) for k, v in attributes.items())
    return "<db:%s%s>%s</db:%s>" % (name, given, key, name)


class Peer(raw.Client):
    """What both directions have in common."""

    def take(self, data):
        super().take(data)
        for element in self.elements:
            for part in element.iter():
                part.tag = part.tag.replace("{%s}" % SERVER, "{%s}" % NS["client"])

    def server_header(self, own, other, **attributes):
        self.header(other, ns=SERVER, xmlns_db=DIALBACK, **{"from": own}, **attributes)

    def start_tls(self, certificate, client, sni=None, alpn=None, staple=None):
        """TLS now, as its client or server. certificate: paths of it and its key, None: none. staple: DER of a
        response of OCSP."""
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        if certificate is not None:
            context.use_certificate_chain_file(certificate[0])
            context.use_privatekey_file(certificate[1])
        if not client:
            context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
            context.set_alpn_select_callback(
                lambda connection, offered: b"xmpp-server" if b"xmpp-server" in offered else SSL.NO_OVERLAPPING_PROTOCOLS)
        if staple is not None:
            context.set_ocsp_server_callback(lambda connection, data: staple)
        if client and alpn:
            context.set_alpn_protos([a.encode() for a in alpn])
        tls = SSL.Connection(context, None)
        tls.set_connect_state() if client else tls.set_accept_state()
        if sni:
            tls.set_tlsext_host_name(sni.encode("idna"))
        deadline = time.monotonic() + self.timeout
        self.tls = tls
        while True:
            try:
                tls.do_handshake()
                done = True
            except SSL.WantReadError:
                done = False
            self.flush(read=False)
            if done:
                break
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                raise TimeoutError("TLS handshake")
            try:
                data = self.socket.recv(65536)
            except OSError as reason:
                raise Closed("in the handshake: %s" % reason) from None
            if not data:
                raise Closed("in the handshake")
            tls.bio_write(data)
        self.restart()
        self.elements.clear()
        self.read_tls()


class Caller(Peer):
    """A connection to a suite, as a server."""

    def __init__(self, suite, own, other, port=None, **options):
        super().__init__("127.0.0.1", port or suite.server_port, timeout=raw.TIMEOUT * SLOW, **options)
        self.own, self.other = own, other
        suite.clients.append(self)

    def begin(self, **attributes):
        """A header; waits for the features, or raises Closed with the condition of an error."""
        self.server_header(self.own, self.other, **attributes)
        element = self.next()
        if element.tag != q("stream", "features"):
            raise Closed(raw.condition(element) or text(element))
        self.features = element
        return self

    def secure(self, certificate=None):
        self.begin()
        self.send("<starttls xmlns='%s'/>" % NS["tls"])
        answer = self.next()
        assert answer.tag == q("tls", "proceed"), text(answer)
        self.start_tls(certificate, True, sni=self.other)
        return self.begin()

    def external(self, bidi=False):
        if bidi:
            self.send("<bidi xmlns='urn:xmpp:bidi'/>")
        self.send("<auth xmlns='%s' mechanism='EXTERNAL'>%s</auth>" % (NS["sasl"], encode64(self.own)))
        answer = self.next()
        assert answer.tag == q("sasl", "success"), text(answer)
        self.restart()
        return self.begin()


class Callee(Peer):
    """A connection that a suite has opened."""

    def __init__(self, accepted):
        self.timeout = raw.TIMEOUT * SLOW
        self.tls = self.reset = self.jid = self.features = None
        self.eof = False
        self.numbers = 0
        self.round_trips, self.unanswered = 0, False
        self.socket = accepted
        self.socket.setblocking(False)
        self.elements = raw.collections.deque()
        self.restart()

    def answer(self, features, own=None, id="theirs"):
        """Waits for the header, and answers with one and these features."""
        self.names = self.await_header()
        self.header(self.names["from"], ns=SERVER, xmlns_db=DIALBACK, id=id, **{"from": own or self.names["to"]})
        self.send("<stream:features>%s</stream:features>" % features)

    def secure(self, certificate, features=EXTERNAL, id="theirs", staple=None):
        self.answer(STARTTLS)
        element = self.next()
        assert element.tag == q("tls", "starttls"), text(element)
        self.send("<proceed xmlns='%s'/>" % NS["tls"])
        self.start_tls(certificate, False, staple=staple)
        self.answer(features, id=id)
        return self

    def accept_external(self, features=""):
        element = self.wait(lambda e: e.tag == q("sasl", "auth"))
        self.send("<success xmlns='%s'/>" % NS["sasl"])
        self.restart()
        self.answer(features)
        return element


class Listener:
    """A socket on which suites find a server."""

    def __init__(self, address="127.0.0.1", port=0, family=socket.AF_INET, backlog=64):
        self.socket = socket.socket(family)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address, port))
        self.socket.listen(backlog)
        self.socket.settimeout(raw.TIMEOUT * SLOW)
        self.port = self.socket.getsockname()[1]
        self.callees = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.forget()
        self.socket.close()

    def accept(self, seconds=None):
        self.socket.settimeout(seconds or raw.TIMEOUT * SLOW)
        callee = Callee(self.socket.accept()[0])
        self.callees.append(callee)
        return callee

    def forget(self):
        """Closes what nobody has accepted, for the next test."""
        for callee in self.callees:
            callee.close()
        self.callees.clear()
        self.socket.settimeout(0.05)
        try:
            while True:
                self.socket.accept()[0].close()
        except (TimeoutError, socket.timeout):
            pass
