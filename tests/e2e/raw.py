"""raw.py: an XMPP client on a bare socket, for what no client would send.

It parses what comes with a lenient incremental parser, and sends whatever it is told. Elements are
xml.etree Elements with names as "{namespace}local"; NS has the namespaces, q("client", "message") makes
such a name.

    client = Client("127.0.0.1", 5222)
    client.open("localhost")                 # header; returns the features (also client.features)
    client.starttls("localhost")             # header too when none was sent; TLS
    client.open("localhost")
    client.authenticate("SCRAM-SHA-256", "juliet", "secret")   # AuthFailed with .condition
    client.authenticate2("SCRAM-SHA-256", "juliet", "secret")  # XEP-0388: <success/>, same stream
    client.bind("balcony")                   # the full JID, also client.jid; restarts the stream itself
    client.send("<message to='...'/>")       # text or bytes
    element = client.next()                  # TimeoutError, Closed
    client.message()                         # the next message; other elements stay for later
    client.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="localhost")   # the answer
    client.sync()                            # a round trip through the server
    client.pending()                         # what has come so far, after a round trip
    client.stream_error()                    # waits for a stream error and the end: its condition
    client.end()                             # </stream:stream>, and waits for the server's

TLS is that of pyOpenSSL on memory buffers: it has keying material for tls-exporter (RFC 9266), which
Python's ssl has not.
"""

import base64
import collections
import hashlib
import hmac
import os
import select
import socket
import time
import xml.etree.ElementTree as tree
from xml.sax.saxutils import escape, quoteattr

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from OpenSSL._util import lib as openssl

TIMEOUT = 8.0

NS = {
    "client": "jabber:client",
    "stream": "http://etherx.jabber.org/streams",
    "streams": "urn:ietf:params:xml:ns:xmpp-streams",
    "stanzas": "urn:ietf:params:xml:ns:xmpp-stanzas",
    "tls": "urn:ietf:params:xml:ns:xmpp-tls",
    "sasl": "urn:ietf:params:xml:ns:xmpp-sasl",
    "sasl-cb": "urn:xmpp:sasl-cb:0",
    "sasl2": "urn:xmpp:sasl:2",
    "bind": "urn:ietf:params:xml:ns:xmpp-bind",
    "session": "urn:ietf:params:xml:ns:xmpp-session",
    "bind2": "urn:xmpp:bind:0",
    "fast": "urn:xmpp:fast:0",
    "iap": "urn:xmpp:iap:0",
    "limits": "urn:xmpp:stream-limits:0",
    "sm": "urn:xmpp:sm:3",
    "roster": "jabber:iq:roster",
    "rosterver": "urn:xmpp:features:rosterver",
    "disco#info": "http://jabber.org/protocol/disco#info",
    "disco#items": "http://jabber.org/protocol/disco#items",
    "time": "urn:xmpp:time",
    "version": "jabber:iq:version",
    "ping": "urn:xmpp:ping",
    "last": "jabber:iq:last",
    "vcard": "vcard-temp",
    "private": "jabber:iq:private",
    "register": "jabber:iq:register",
    "register-feature": "http://jabber.org/features/iq-register",
    "caps": "http://jabber.org/protocol/caps",
    "commands": "http://jabber.org/protocol/commands",
    "data": "jabber:x:data",
    "delay": "urn:xmpp:delay",
    "sid": "urn:xmpp:sid:0",
    "hints": "urn:xmpp:hints",
    "carbons": "urn:xmpp:carbons:2",
    "csi": "urn:xmpp:csi:0",
    "blocking": "urn:xmpp:blocking",
    "mam": "urn:xmpp:mam:2",
    "rsm": "http://jabber.org/protocol/rsm",
    "reporting": "urn:xmpp:reporting:1",
    "pars": "urn:xmpp:pars:0",
    "ibr-token": "urn:xmpp:ibr-token:0",
    "forward": "urn:xmpp:forward:0",
    "chatstates": "http://jabber.org/protocol/chatstates",
}


class Closed(Exception):
    """The stream or the connection has ended."""


class AuthFailed(Exception):
    """SASL failed: .condition is the element's name (RFC 6120 section 6.5)."""

    def __init__(self, condition):
        super().__init__(condition)
        self.condition = condition


def q(ns, name):
    """The full name of an element: q("client", "message")."""
    return "{%s}%s" % (NS.get(ns, ns), name)


def local(element):
    """The local name of an element."""
    return element.tag.rpartition("}")[2]


def text(element):
    """An element as XML, for messages of assertions."""
    return tree.tostring(element, "unicode") if element is not None else "none"


def condition(element):
    """The defined condition in a stream error, a stanza of type error, or a SASL failure."""
    for error in (element, element.find(q("client", "error"))):
        for child in error if error is not None else ():
            if child.tag.rpartition("}")[0][1:] in (NS["streams"], NS["stanzas"], NS["sasl"]) and \
                    local(child) != "text":
                return local(child)
    return None


def error_type(stanza):
    """The type attribute of the error of a stanza."""
    error = stanza.find(q("client", "error"))
    return error.get("type") if error is not None else None


def body(message):
    """The text of the body of a message, None without one."""
    return message.findtext(q("client", "body"))


def mechanisms(features):
    return [m.text for m in features.iterfind("%s/%s" % (q("sasl", "mechanisms"), q("sasl", "mechanism")))]


def mechanisms2(features):
    """The same of XEP-0388."""
    return [m.text for m in features.iterfind("%s/%s" % (q("sasl2", "authentication"), q("sasl2", "mechanism")))]


def bindings(features):
    """Channel binding types that the features name (XEP-0440)."""
    return [b.get("type") for b in features.iterfind(
        "%s/%s" % (q("sasl-cb", "sasl-channel-binding"), q("sasl-cb", "channel-binding")))]


def offer_hash(name, mechanisms, bindings):
    """The attribute h of a server-first-message (XEP-0474)."""
    text = "\x1e".join(sorted(mechanisms))
    if bindings:
        text += "\x1f" + "\x1e".join(sorted(bindings))
    return encode64(hashlib.new(name, text.encode()).digest())


def encode64(data):
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def decode64(data):
    return base64.b64decode(data or "")


# -- SCRAM ------------------------------------------------------------------------------------------


class Scram:
    """The client's side of SCRAM (RFC 5802). flag: "n", "y", or a channel binding type for "p"."""

    def __init__(self, mechanism, user, password, flag="n", binding=b"", authzid=None):
        name = mechanism[len("SCRAM-"):].replace("-PLUS", "")
        self.hash = {"SHA-1": "sha1", "SHA-256": "sha256", "SHA-512": "sha512"}[name]
        self.password = password.encode()
        user = user.replace("=", "=3D").replace(",", "=2C")
        start = flag if flag in ("n", "y") else "p=" + flag
        self.gs2 = "%s,%s," % (start, "a=" + authzid if authzid else "")
        self.binding = binding
        self.nonce = encode64(os.urandom(18))
        self.bare = "n=%s,r=%s" % (user, self.nonce)
        self.fields = None        # of the server-first-message
        self.salt = None
        self.iterations = None

    def hmac(self, key, data):
        return hmac.new(key, data, self.hash).digest()

    def first(self):
        return self.gs2 + self.bare

    def final(self, server_first):
        """The client-final-message for a server-first-message."""
        fields = dict(f.split("=", 1) for f in server_first.split(","))
        if not fields["r"].startswith(self.nonce) or fields["r"] == self.nonce:
            raise AssertionError("server nonce does not extend ours: " + server_first)
        self.fields = fields
        self.salt, self.iterations = decode64(fields["s"]), int(fields["i"])
        salted = hashlib.pbkdf2_hmac(self.hash, self.password, self.salt, self.iterations)
        client_key = self.hmac(salted, b"Client Key")
        stored = hashlib.new(self.hash, client_key).digest()
        channel = encode64(self.gs2.encode() + self.binding)
        without = "c=%s,r=%s" % (channel, fields["r"])
        message = ",".join((self.bare, server_first, without)).encode()
        signature = self.hmac(stored, message)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.expected = self.hmac(self.hmac(salted, b"Server Key"), message)
        return "%s,p=%s" % (without, encode64(proof))

    def verify(self, server_final):
        """Checks the server's signature."""
        assert server_final == "v=" + encode64(self.expected), "server signature: " + server_final


# -- the client -------------------------------------------------------------------------------------


class Client:
    """One connection. All waits end after timeout seconds, or those given."""

    def __init__(self, host, port, source=None, timeout=TIMEOUT, receive_buffer=None):
        self.timeout = timeout
        self.tls = None
        self.eof = False          # the server has closed TCP (or TLS)
        self.reset = None         # the error with which the connection broke
        self.jid = None
        self.features = None
        self.numbers = 0
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.socket.bind((source, 0))
        self.socket.settimeout(timeout)
        self.socket.connect((host, port))
        self.round_trips = 1      # times that we had to wait for the server
        self.unanswered = False   # something was sent since the last wait
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.elements = collections.deque()
        self.restart()

    # -- bytes

    def restart(self):
        """Expects a new stream: after TLS and SASL. What came before is kept in self.elements."""
        self.parser = tree.XMLPullParser(("start", "end"))
        self.depth = 0
        self.root = None
        self.ended = False        # </stream:stream> has come
        self.received = b""       # all that came on this stream

    def take(self, data):
        """Feeds bytes of the stream to the parser, and gathers top-level elements."""
        self.received += data
        if self.ended:
            return
        self.parser.feed(data)
        for event, element in self.parser.read_events():
            if event == "start":
                self.depth += 1
                if self.depth == 1:
                    self.root = element
            else:
                self.depth -= 1
                if self.depth == 1:
                    self.root.remove(element)
                    self.elements.append(element)
                elif self.depth == 0:
                    self.ended = True

    def read_some(self, deadline, waiting=True):
        """Reads what comes next; waiting: there is nothing else to do. TimeoutError at the deadline, Closed at the end."""
        if self.eof:
            raise Closed("connection closed%s" % (": %s" % self.reset if self.reset else ""))
        left = max(0, deadline - time.monotonic())
        if waiting:
            self.waits()
        if not select.select([self.socket], [], [], left)[0]:
            raise TimeoutError("nothing came; so far: %r" % self.received[-2000:])
        try:
            data = self.socket.recv(65536)
        except OSError as reason:
            self.reset, data = reason, b""
        if not data:
            self.eof = True
            return
        if self.tls is None:
            self.take(data)
            return
        self.tls.bio_write(data)
        self.read_tls()

    def read_tls(self):
        while True:
            try:
                plain = self.tls.recv(65536)
            except SSL.WantReadError:
                return
            except SSL.ZeroReturnError:
                self.eof = True
                return
            self.take(plain)

    def waits(self):
        """Counts a wait for what the server answers: several in a row are one."""
        self.round_trips += self.unanswered
        self.unanswered = False

    def raw_send(self, data, seconds=None, read=True):
        """Sends bytes on the socket; reads what comes meanwhile, so that neither side blocks. A broken
        connection is noted in self.reset and is no error. Returns how many bytes went."""
        deadline = time.monotonic() + (seconds or self.timeout)
        view, sent = memoryview(data), 0
        self.unanswered |= len(view) > 0
        while sent < len(view) and not self.reset:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the server does not read: %d of %d bytes sent" % (sent, len(view)))
            readers = [self.socket] if read and not self.eof else []
            readable, writable, _ = select.select(readers, [self.socket], [], left)
            if readable:
                self.read_some(deadline, waiting=False)
            if writable:
                try:
                    sent += self.socket.send(view[sent:sent + 65536])
                except BlockingIOError:
                    pass
                except OSError as reason:
                    self.reset = reason
        return sent

    def send(self, data, seconds=None, read=True):
        """Sends text or bytes on the stream."""
        if isinstance(data, str):
            data = data.encode()
        if self.tls is None:
            return self.raw_send(data, seconds, read)
        sent = 0
        while sent < len(data) and not self.reset:
            try:
                sent += self.tls.send(data[sent:sent + 65536])  # takes a record at a time
            except SSL.Error as reason:
                self.reset = reason
                break
            self.flush(seconds, read)
        return sent

    def flush(self, seconds=None, read=True):
        """Sends what TLS has made."""
        while True:
            try:
                data = self.tls.bio_read(1 << 20)
            except SSL.WantReadError:
                return
            self.raw_send(data, seconds, read)

    def close(self):
        """Closes TCP, without a word."""
        self.socket.close()
        self.eof = True

    def abort(self):
        """Closes TCP with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    # -- TLS

    def handshake(self, sni=None, alpn=None, version=None, ciphers=None, session=None):
        """TLS now. version: "1.2" or "1.3", alpn: a list of names, ciphers: OpenSSL's list for TLS 1.2,
        session: that of another client, to be resumed. Raises OpenSSL.SSL.Error or Closed."""
        context = SSL.Context(SSL.TLS_METHOD)
        versions = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION, "1.1": SSL.TLS1_1_VERSION}
        context.set_min_proto_version(versions[version] if version else SSL.TLS1_2_VERSION)
        if version:
            context.set_max_proto_version(versions[version])
            if version == "1.1":
                context.set_cipher_list(b"ALL:@SECLEVEL=0")
        if ciphers:
            context.set_cipher_list(ciphers.encode())
        if alpn:
            context.set_alpn_protos([a.encode() for a in alpn])
        tls = SSL.Connection(context, None)
        tls.set_connect_state()
        if session is not None:
            tls.set_session(session)
        if sni:
            tls.set_tlsext_host_name(sni.encode("idna"))
        deadline = time.monotonic() + self.timeout
        self.tls = tls
        done = False
        while not done:
            try:
                tls.do_handshake()
                done = True
            except SSL.WantReadError:
                pass
            self.flush(read=False)
            if done:
                break
            left = deadline - time.monotonic()
            self.waits()
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

    def starttls_at_once(self, domain="localhost", **options):
        """The same as starttls(), with the header and <starttls/> in one flight."""
        self.header(domain)
        self.send("<starttls xmlns='%s'/>" % NS["tls"])
        assert self.next().tag == q("stream", "features")
        assert self.next().tag == q("tls", "proceed")
        self.handshake(domain, **options)

    def starttls(self, domain="localhost", sni=True, **options):
        """STARTTLS, with a header before it when none was sent. sni: a name, True for the domain, or
        None; options: of handshake()."""
        if self.root is None:
            self.open(domain)
        self.send("<starttls xmlns='%s'/>" % NS["tls"])
        answer = self.next()
        assert answer.tag == q("tls", "proceed"), text(answer)
        self.handshake(domain if sni is True else sni, **options)

    def session(self):
        """The TLS session, to be resumed by another client; with TLS 1.3 once something was read."""
        return self.tls.get_session()

    def resumed(self):
        """Whether TLS went on with another client's session."""
        return openssl.SSL_session_reused(self.tls._ssl) == 1

    def certificate(self):
        """The server's certificate, of cryptography.x509."""
        return self.tls.get_peer_certificate().to_cryptography()

    def channel_binding(self, kind):
        """The data of a channel binding type: RFC 9266, RFC 5929."""
        if kind == "tls-exporter":
            return self.tls.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
        if kind == "tls-unique":
            return self.tls.get_finished()
        if kind == "tls-server-end-point":
            certificate = self.certificate()
            name = certificate.signature_hash_algorithm.name
            name = "sha256" if name in ("md5", "sha1") else name
            return hashlib.new(name, certificate.public_bytes(Encoding.DER)).digest()
        raise ValueError(kind)

    # -- streams

    def header(self, to="localhost", version="1.0", ns="jabber:client", stream=NS["stream"],
               declaration=True, **attributes):
        """Sends a stream header; an argument of None leaves it out."""
        parts = ["<?xml version='1.0'?>" if declaration else "", "<stream:stream"]
        given = {"to": to, "version": version, "xmlns": ns, "xmlns:stream": stream,
                 **{k.replace("_", ":"): v for k, v in attributes.items()}}
        parts += [" %s=%s" % (k, quoteattr(v)) for k, v in given.items() if v is not None] + [">"]
        self.send("".join(parts))

    def await_header(self, seconds=None):
        """Waits for the server's header. Returns its attributes; xml:lang is there as "xml:lang"."""
        deadline = time.monotonic() + (seconds or self.timeout)
        while self.root is None:
            self.read_some(deadline)
        return {k.replace("{http://www.w3.org/XML/1998/namespace}", "xml:"): v
                for k, v in self.root.attrib.items()}

    def open(self, to="localhost", **attributes):
        """Sends a header and waits for the features. Closed with the condition after a stream error."""
        self.header(to, **attributes)
        element = self.next()
        if element.tag != q("stream", "features"):
            raise Closed(condition(element) or text(element))
        self.features = element
        return element

    def next(self, seconds=None):
        """The next top-level element."""
        deadline = time.monotonic() + (seconds or self.timeout)
        while not self.elements:
            if self.ended:
                raise Closed("end of stream")
            self.read_some(deadline)
        return self.elements.popleft()

    def wait(self, wanted, seconds=None):
        """The first element for which wanted(element) is true; others stay in their order."""
        deadline = time.monotonic() + (seconds or self.timeout)
        seen = 0
        while True:
            while seen < len(self.elements):
                if wanted(self.elements[seen]):
                    element = self.elements[seen]
                    del self.elements[seen]
                    return element
                seen += 1
            if self.ended:
                raise Closed("end of stream; waiting: %s" % [text(e) for e in self.elements])
            try:
                self.read_some(deadline)
            except TimeoutError:
                raise TimeoutError("not what was waited for: %s" % [text(e) for e in self.elements]) from None

    def await_end(self, seconds=None):
        """Waits until the server has closed the connection."""
        deadline = time.monotonic() + (seconds or self.timeout)
        while not self.eof:
            self.read_some(deadline)

    def drain(self, seconds=None):
        """Reads to the end of the connection whatever comes, unparsed. Returns it."""
        deadline = time.monotonic() + (seconds or self.timeout)
        found = b""
        while not self.eof:
            left = max(0, deadline - time.monotonic())
            if not select.select([self.socket], [], [], left)[0]:
                raise TimeoutError("the connection stays open; so far: %r" % found[-500:])
            try:
                data = self.socket.recv(65536)
            except OSError as reason:
                self.reset, data = reason, b""
            found += data
            self.eof = not data
        return found

    def stream_error(self, seconds=None):
        """Waits for a stream error and for the end of stream and connection after it. Returns the
        condition; elements before the error are thrown away."""
        error = self.wait(lambda e: e.tag == q("stream", "error"), seconds)
        self.await_end(seconds)
        assert self.ended, "stream error without </stream:stream>: %r" % self.received[-500:]
        self.error = error
        return condition(error)

    def end(self, seconds=None):
        """Closes the stream properly, and waits for the server to do so."""
        self.send("</stream:stream>")
        deadline = time.monotonic() + (seconds or self.timeout)
        while not self.ended:
            self.read_some(deadline)
        self.close()

    # -- SASL

    def auth(self, mechanism, initial=None):
        """Sends <auth/>; initial: bytes or text of the initial response, None for none."""
        content = "" if initial is None else encode64(initial) or "="
        self.send("<auth xmlns='%s' mechanism='%s'>%s</auth>" % (NS["sasl"], mechanism, content))

    def respond(self, data):
        self.send("<response xmlns='%s'>%s</response>" % (NS["sasl"], encode64(data) or "="))

    def sasl(self, seconds=None):
        """The next element, of SASL: (name, decoded data). AuthFailed for a failure."""
        element = self.next(seconds)
        assert element.tag.startswith("{%s}" % NS["sasl"]), text(element)
        if local(element) == "failure":
            raise AuthFailed(condition(element))
        return local(element), decode64(element.text if element.text != "=" else "").decode()

    def authenticate(self, mechanism, user, password, flag=None, binding=None, authzid=None, data=None,
                     seconds=None):
        """A whole SASL exchange. binding: channel binding type for -PLUS (tls-exporter); data: instead
        of the true binding data. Returns the Scram (None with PLAIN). Expects a new stream then."""
        if mechanism == "PLAIN":
            self.auth(mechanism, "%s\0%s\0%s" % (authzid or "", user, password))
            name, rest = self.sasl(seconds)
            assert name == "success", name
            self.restart()
            return None
        if mechanism.endswith("-PLUS"):
            flag = flag or binding or "tls-exporter"
            data = self.channel_binding(flag) if data is None else data
        scram = Scram(mechanism, user, password, flag or "n", data or b"", authzid)
        self.auth(mechanism, scram.first())
        name, challenge = self.sasl(seconds)
        assert name == "challenge", name
        self.respond(scram.final(challenge))
        name, rest = self.sasl(seconds)
        assert name == "success", name
        scram.verify(rest)
        self.restart()
        return scram

    # -- SASL2 (XEP-0388)

    def start2(self, mechanism, initial=None, inline="", agent=None):
        """Sends <authenticate/>; inline: more XML in it, agent: id of the user agent."""
        self.send("<authenticate xmlns='%s' mechanism='%s'>%s%s%s</authenticate>" % (
            NS["sasl2"], mechanism,
            "<initial-response>%s</initial-response>" % encode64(initial) if initial is not None else "",
            "<user-agent id='%s'><software>raw</software><device>bench</device></user-agent>" % agent
            if agent else "", inline))

    def respond2(self, data):
        self.send("<response xmlns='%s'>%s</response>" % (NS["sasl2"], encode64(data)))

    def sasl2(self, seconds=None):
        """The next element, of SASL2. AuthFailed for a failure."""
        element = self.next(seconds)
        assert element.tag.startswith("{%s}" % NS["sasl2"]), text(element)
        if local(element) == "failure":
            raise AuthFailed(condition(element))
        return element

    def authenticate2(self, mechanism, user, password, inline="", agent=None, flag=None, authzid=None,
                      seconds=None):
        """A whole exchange of SASL2. Returns <success/>; self.jid is what it says, self.features is what
        came after it (None when a session was resumed)."""
        if mechanism == "PLAIN":
            self.start2(mechanism, "%s\0%s\0%s" % (authzid or "", user, password), inline, agent)
            success = self.sasl2(seconds)
        else:
            data = b""
            if mechanism.endswith("-PLUS"):
                flag = flag or "tls-exporter"
                data = self.channel_binding(flag)
            scram = Scram(mechanism, user, password, flag or "n", data, authzid)
            self.start2(mechanism, scram.first(), inline, agent)
            challenge = self.sasl2(seconds)
            assert local(challenge) == "challenge", text(challenge)
            self.respond2(scram.final(decode64(challenge.text).decode()))
            success = self.sasl2(seconds)
            scram.verify(decode64(success.findtext(q("sasl2", "additional-data"))).decode())
        assert local(success) == "success", text(success)
        self.jid = success.findtext(q("sasl2", "authorization-identifier"))
        self.domain = self.jid.partition("@")[2].partition("/")[0]
        self.features = None
        if success.find(q("sm", "resumed")) is None:
            self.features = self.next(seconds)
            assert self.features.tag == q("stream", "features"), text(self.features)
        return success

    def start_fast(self, mechanism, user, token, agent, inline="", attributes="", data=None):
        """Sends <authenticate/> with a token (XEP-0484). attributes: of <fast/>; data: instead of the true
        channel binding. Returns what <success/> must prove."""
        types = {"EXPR": "tls-exporter", "UNIQ": "tls-unique", "ENDP": "tls-server-end-point"}
        kind = types.get(mechanism[-4:])
        if data is None:
            data = self.channel_binding(kind) if kind else b""
        proof = hmac.new(token.encode(), b"Initiator" + data, "sha256").digest()
        self.start2(mechanism, user.encode() + b"\0" + proof,
                    "<fast xmlns='%s'%s/>%s" % (NS["fast"], attributes, inline), agent)
        return hmac.new(token.encode(), b"Responder" + data, "sha256").digest()

    def fast(self, mechanism, user, token, agent, inline="", attributes="", data=None, seconds=None):
        """A whole authentication with a token. Returns <success/>; sets what authenticate2() sets."""
        answer = self.start_fast(mechanism, user, token, agent, inline, attributes, data)
        success = self.sasl2(seconds)
        assert decode64(success.findtext(q("sasl2", "additional-data"))) == answer
        self.jid = success.findtext(q("sasl2", "authorization-identifier"))
        self.domain = self.jid.partition("@")[2].partition("/")[0]
        self.features = None
        if success.find(q("sm", "resumed")) is None:
            self.features = self.next(seconds)
        return success

    def bind(self, resource=None):
        """Opens the stream again when need be, and binds. Returns the full JID; AssertionError with
        the answer's error in .args otherwise."""
        if self.root is None:
            self.open(self.domain)
        content = "<resource>%s</resource>" % escape(resource) if resource is not None else ""
        answer = self.iq("set", "<bind xmlns='%s'>%s</bind>" % (NS["bind"], content))
        assert answer.get("type") == "result", text(answer)
        self.jid = answer.findtext("%s/%s" % (q("bind", "bind"), q("bind", "jid")))
        return self.jid

    def login(self, jid, password, resource=None, mechanism="SCRAM-SHA-256", **options):
        """Authenticates and binds, on a stream whose features have come."""
        user, _, self.domain = jid.partition("@")
        self.authenticate(mechanism, user, password, **options)
        return self.bind(resource)

    # -- stanzas

    def new_id(self):
        self.numbers += 1
        return "r%d" % self.numbers

    def iq(self, kind, payload="", to=None, id=None, seconds=None):
        """Sends an iq and waits for its answer, of type result or error."""
        id = id or self.new_id()
        self.send("<iq type='%s' id=%s%s>%s</iq>" % (
            kind, quoteattr(id), " to=%s" % quoteattr(to) if to else "", payload))
        return self.wait(lambda e: e.tag == q("client", "iq") and e.get("id") == id and
                         e.get("type") in ("result", "error"), seconds)

    def sync(self, seconds=None):
        """A round trip: what was sent before has been handled by the server."""
        answer = self.iq("get", "<ping xmlns='%s'/>" % NS["ping"], to=self.jid.partition("@")[2].
                         partition("/")[0], seconds=seconds)
        assert answer.get("type") == "result", text(answer)

    def pending(self, name=None):
        """All that has come, after a round trip; name: only messages, presences or iqs."""
        self.sync()
        found = [e for e in self.elements if name is None or local(e) == name]
        for element in found:
            self.elements.remove(element)
        return found

    def message(self, seconds=None):
        """The next message."""
        return self.wait(lambda e: e.tag == q("client", "message"), seconds)

    def presence(self, seconds=None):
        """The next presence."""
        return self.wait(lambda e: e.tag == q("client", "presence"), seconds)

    def say(self, to, words, kind="chat", id=None):
        """Sends a message with a body. Returns its id."""
        id = id or self.new_id()
        self.send("<message to=%s type='%s' id='%s'><body>%s</body></message>" % (
            quoteattr(to), kind, id, escape(words)))
        return id

    def available(self, priority=0):
        """Sends presence, and waits until it came back to this resource."""
        self.send("<presence><priority>%d</priority></presence>" % priority)
        return self.wait(lambda e: e.tag == q("client", "presence") and e.get("from") == self.jid)

    # -- stream management (XEP-0198); nothing is counted or answered by itself

    def enable(self, resume=True):
        """Enables stream management. Returns <enabled/>."""
        self.send("<enable xmlns='%s'%s/>" % (NS["sm"], " resume='true'" if resume else ""))
        return self.wait(lambda e: e.tag in (q("sm", "enabled"), q("sm", "failed")))

    def ask(self, seconds=None):
        """Asks how many of our stanzas the server has handled: its h."""
        self.send("<r xmlns='%s'/>" % NS["sm"])
        return int(self.wait(lambda e: e.tag == q("sm", "a"), seconds).get("h"))

    def await_handled(self, count, seconds=None):
        """Asks until the server has handled so many stanzas."""
        deadline = time.monotonic() + (seconds or self.timeout)
        handled = self.ask(seconds)
        while handled < count:
            if time.monotonic() > deadline:
                raise TimeoutError("only %d of %d stanzas handled" % (handled, count))
            time.sleep(0.05)
            handled = self.ask(seconds)
        return handled

    def acknowledge(self, h):
        """Tells the server how many of its stanzas we have handled."""
        self.send("<a xmlns='%s' h='%d'/>" % (NS["sm"], h))

    def resume(self, previd, h):
        """Resumes an older stream, on a stream after SASL and its header. Returns <resumed/> or <failed/>."""
        self.send("<resume xmlns='%s' previd=%s h='%d'/>" % (NS["sm"], quoteattr(previd), h))
        return self.wait(lambda e: e.tag in (q("sm", "resumed"), q("sm", "failed")))
