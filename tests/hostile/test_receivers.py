"""test_receivers.py: a hostile router, and a hostile daemon behind an honest one, against authd, archived,
c2sd and s2sd: every receiver validates, also what its own suite sends. Each must live, say a line, and go on to
do its honest work."""

import contextlib
import hashlib
import re
import socket
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cast import handle
from frames import FRAME_MAX, HEAD, ROLES as ALL_ROLES, SENDERS, Frame
from program import COMPONENT, DOMAIN, SECRET, WAIT, Dropped, Program, make_certificate, pair
from test_forms import MALFORMED

import raw

ROLES = ["AUTHD", "ARCHIVED", "C2SD", "S2SD"]
JULIET, ROMEO = "juliet@localhost", "romeo@localhost"
# Frames that the router may send, by who takes them; the rest is refused with a line.
TAKEN = {
    "AUTHD": {"WELCOME", "RESEND", "CONTROL", "ACK", "STANZA", "AUTH_START", "AUTH_STEP", "AUTH_ABORT", "ROSTER_LOAD",
              "ROSTER_PENDING", "ACCOUNT_ASK", "ACCOUNT_LAST", "ROSTER_ASK", "FORGOTTEN", "PUSH"},
    "ARCHIVED": {"WELCOME", "RESEND", "CONTROL", "STANZA", "DELIVERED", "DROP", "FORGET", "DRAIN",
                 "ROSTER_IS", "UNDELIVERABLE", "REMOTE_WAITING", "PUSH", "HISTORY", "ROOM_QUERY", "REDACT"},
    "C2SD": {"WELCOME", "RESEND", "CONTROL", "ACK", "STANZA", "MECHANISMS", "AUTH_CHALLENGE", "AUTH_SUCCESS",
             "AUTH_FAILURE", "SESSION_BOUND", "SESSION_REFUSED", "SESSION_KILL", "SESSION_RESUME",
             "SESSION_MOVE", "CAPS", "HISTORY_END"},
    "S2SD": {"WELCOME", "RESEND", "CONTROL", "ACK", "STANZA", "REMOTE_WAITING", "SESSION_KILL",
             "DOMAINS"},
}


class Receiver(Program):
    """authd, archived, c2sd or s2sd, with us as its router."""

    def __enter__(self):
        super().__enter__()
        self.router = self.link("ROUTER", 0, 1)
        self.prepare()
        self.go()
        self.router.expect("HELLO")
        self.router.send(Frame("WELCOME"))
        while self.router.next().type != "READY":
            pass
        self.hear("READY")
        return self

    def prepare(self):
        """What it is given besides the link to the router."""

    def round_trip(self):
        """A command that is answered behind all that was sent before; other frames stay."""
        self.router.send(Frame("CONTROL", number=4711, text="counters"))
        kept = []
        while True:
            frame = self.router.next()
            if frame.type == "CONTROL_REPLY" and frame.number == 4711:
                break
            kept.append(frame)
        self.router.frames = kept + self.router.frames

    def relink(self):
        """A new router; the old one is gone. Returns what it was told before READY."""
        self.router.close()
        self.router = self.link("ROUTER", 0, 1)
        self.router.expect("HELLO")
        self.router.send(Frame("WELCOME"))
        told = []
        while not told or told[-1].type != "READY":
            told.append(self.router.next())
        return told

    def quiet(self):
        """All was dealt with, and nothing has come of it."""
        self.settle(self.router)
        frames, self.router.frames = self.router.frames, []
        return frames

    def told(self, since, pattern):
        self.settle(self.router)
        said = self.log(since)
        assert re.search(pattern, said), said[-3000:]


class Authd(Receiver):
    def prepare(self):
        self.key = self.link("C2SD", 0, 5)
        self.servers = self.link("S2SD", 0, 4)


class Entry(Receiver):
    """c2sd or s2sd, and an authd that has its keys."""

    listener = None

    def prepare(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.port = self.socket.getsockname()[1]
        self.listen(self.listener, self.socket)
        self.signer = Authd("AUTHD", self.directory / "authd", incarnation=2)
        self.signer.__enter__()
        ours, theirs = pair()
        self.tell("LINK", "AUTHD", 0, 2, fd=ours.fileno())
        self.signer.tell("LINK", self.role, 1, self.incarnation, fd=theirs.fileno())
        ours.close()
        theirs.close()

    def __exit__(self, *failure):
        super().__exit__(*failure)
        self.signer.__exit__(*failure)


class Clients(Entry):
    """c2sd."""

    listener = "c2s"

    def __enter__(self):
        super().__enter__()
        self.router.send(Frame("MECHANISMS", text="localhost PLAIN\n"), Frame("RESEND"))
        self.router.expect("RESEND")
        return self

    def login(self):
        """A real client with a session. The router grants it whatever it asks for."""
        found = {}

        def run():
            client = raw.Client("127.0.0.1", self.port)
            client.starttls(DOMAIN)
            client.open(DOMAIN)
            client.login(JULIET, "secret", "balcony", "PLAIN")
            found["client"] = client

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        number = self.router.expect("AUTH_START").handle
        self.router.send(Frame("AUTH_SUCCESS", handle=number, jid=JULIET, token=b"t" * 32))
        self.router.expect("SESSION_BIND")
        self.router.send(Frame("SESSION_BOUND", handle=number, jid=JULIET + "/balcony"))
        thread.join(20)
        return found["client"], number


class Component(raw.Client):
    """An external component (XEP-0114)."""

    def __init__(self, port, domain=COMPONENT):
        super().__init__("127.0.0.1", port)
        self.timeout = WAIT
        self.domain = domain

    def connect(self, secret=SECRET):
        self.header(self.domain, version=None, ns="jabber:component:accept")
        identity = self.await_header()["id"]
        self.send("<handshake>%s</handshake>" % hashlib.sha1((identity + secret).encode()).hexdigest())
        return self.next().tag.partition("}")[2]


class Servers(Entry):
    """s2sd, which a component uses, and other servers."""

    listener = "component"

    def prepare(self):
        super().prepare()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.setblocking(False)
        self.listen("s2s", self.server)

    def __enter__(self):
        self.opened = []
        super().__enter__()
        self.router.send(Frame("RESEND"))
        self.router.expect("RESEND")
        return self

    def component(self):
        """A component that is connected, and the handle of its domain."""
        client = Component(self.port)
        assert client.connect() == "handshake"
        self.opened += self.quiet()
        opened = [f for f in self.opened if f.type == "REMOTE_OPEN" and f.text("domain") == COMPONENT.encode()]
        return client, opened[-1].handle

    def relink(self):
        self.opened = super().relink()


MAKERS = {"AUTHD": Authd, "ARCHIVED": Receiver, "C2SD": Clients, "S2SD": Servers}


@pytest.fixture(params=ROLES)
def receiver(request, tmp_path):
    with MAKERS[request.param](request.param, tmp_path, incarnation=6) as program:
        yield program
        program.check()
        honest[request.param](program)


@pytest.fixture
def authd(tmp_path):
    with Authd("AUTHD", tmp_path, incarnation=6) as program:
        yield program
        program.check()
        authd_works(program)


@pytest.fixture
def archived(tmp_path):
    with Receiver("ARCHIVED", tmp_path, incarnation=6) as program:
        yield program
        program.check()
        archived_works(program)


@pytest.fixture
def s2sd(tmp_path):
    with Servers("S2SD", tmp_path, incarnation=6) as program:
        yield program
        program.check()
        s2sd_works(program)


@pytest.fixture
def c2sd(tmp_path):
    with Clients("C2SD", tmp_path, incarnation=6) as program:
        yield program
        program.check()


# -- honest work ----------------------------------------------------------------------------------------------


def authd_works(program):
    program.quiet()
    program.router.send(Frame("ACCOUNT_ASK", jid="nobody@localhost"))
    answer = program.router.expect("ACCOUNT_IS")
    assert answer.text("jid") == b"nobody@localhost" and answer.flags == 0


def message(seq, **values):
    return Frame("STANZA", "MESSAGE", "CHAT", origin=77, seq=seq, id="x", stamp=1,
                 **{"flags": "CONTENT BODY STORE FROM_LOCAL TO_LOCAL", "payload": "<body>x</body>",
                    "from": JULIET + "/r", "to": ROMEO, **values})


def archived_works(program):
    program.quiet()
    program.router.send(message(2**40))
    stored = program.router.expect("STORED")
    assert stored.origin == 77 and stored.numbers[0] == 2**40 and 0 < stored.numbers[1] < 2**64 - 1


def c2sd_works(program):
    program.relink()
    program.router.send(Frame("MECHANISMS", text="localhost PLAIN\n"), Frame("RESEND"))
    program.router.expect("RESEND")
    client, number = program.login()
    program.router.send(Frame("STANZA", "MESSAGE", "CHAT", handle=number, payload="<body>hello</body>",
                              **{"from": ROMEO}))
    assert client.message().findtext("{jabber:client}body") == "hello"
    client.close()


def s2sd_works(program):
    program.relink()
    program.router.send(Frame("RESEND"))
    while program.router.next().type != "RESEND":
        pass
    client, number = program.component()
    program.router.send(Frame("STANZA", "MESSAGE", "CHAT", handle=number, payload="<body>hello</body>",
                              to="x@" + COMPONENT, **{"from": ROMEO}))
    assert client.next().findtext("{jabber:component:accept}body") == "hello"
    client.send("<message from='x@%s' to='%s'><body>back</body></message>" % (COMPONENT, ROMEO))
    sent = program.router.expect("STANZA")
    assert sent.handle == number and sent.text("from") == b"x@" + COMPONENT.encode()
    client.close()


honest = {"AUTHD": authd_works, "ARCHIVED": archived_works, "C2SD": c2sd_works, "S2SD": s2sd_works}


# -- all of them ------------------------------------------------------------------------------------------------


def loaded(kind):
    return Frame(kind, "MESSAGE", "CHAT", handle=handle(6, 1), origin=6, seq=1, number=1, archive_id=1,
                 numbers=[1, 1], jid=JULIET, to=JULIET, text="x", payload="<body>x</body>", token=b"t" * 32,
                 condition="conflict", data=b"x", **{"from": ROMEO})


def test_types(receiver):
    """What the router may not send, and what it may send to others only."""
    refused = [k for k in SENDERS if k not in TAKEN[receiver.role] and k != "NONE"]
    assert refused
    since = receiver.log_size()
    for kind in refused:
        receiver.router.send(loaded(kind))
    assert receiver.quiet() == []
    first = refused[0]
    receiver.told(since, r"frame refused peer=router .*type=%s reason=" % first)
    count = [int(n) for n in re.findall(r"frame refused peer=router .*refused=(\d+)", receiver.log(since))]
    assert count[-1] == max(p for p in (1, 2, 4, 8, 16, 32) if p <= len(refused))


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed(receiver, what):
    since = receiver.log_size()
    receiver.router.send_bytes(MALFORMED[what])
    receiver.told(since, "frame refused peer=router .*reason=\"malformed\"")


@pytest.mark.parametrize("length", [0, HEAD.size - 1, FRAME_MAX + 1])
def test_length_that_lies(receiver, length):
    """The link is given up, and the next router is served."""
    since = receiver.log_size()
    receiver.router.send_bytes(Frame("STANZA").head(length) + b"x" * 1000)
    receiver.router.await_closed()
    assert "link malformed peer=router" in receiver.log(since)
    receiver.relink()


def test_empty_frames(receiver):
    """Every type that is taken, with nothing in it, and with numbers that mean nothing."""
    for kind in sorted(TAKEN[receiver.role] - {"WELCOME", "RESEND", "CONTROL"}):
        receiver.router.send(Frame(kind), Frame(kind, numbers=[1]), Frame(kind, handle=2**64 - 1, seq=2**64 - 1,
                             origin=2**32 - 1, archive_id=2**64 - 1, number=2**64 - 1, stamp=2**64 - 1,
                             numbers=[2**64 - 1] * 3))
    receiver.quiet()


@pytest.mark.parametrize("text", [None, b"", b"\n" * 100, b"\xff\0", b"x\n" * 1000, b"counters\nx"],
                         ids=["none", "empty", "line ends", "no text", "many words", "too many words"])
def test_commands(receiver, text):
    """A command that is none is answered as such."""
    receiver.router.send(Frame("CONTROL", number=5, text=text))
    reply = receiver.router.expect("CONTROL_REPLY")
    assert reply.number == 5 and reply.text("condition") is not None


# -- authd ----------------------------------------------------------------------------------------------------

NO_ACCOUNTS = ["", "ROMEO@localhost", "romeo@localhost/x", b"\xff@localhost", b"romeo\0@localhost", None]


@pytest.mark.parametrize("jid", NO_ACCOUNTS)
def test_authd_accounts(authd, jid):
    since = authd.log_size()
    for kind in ("ROSTER_LOAD", "ROSTER_PENDING", "ACCOUNT_ASK", "ACCOUNT_LAST", "ROSTER_ASK"):
        authd.router.send(Frame(kind, jid=jid, to=ROMEO, handle=handle(5, 1)))
    assert authd.quiet() == []
    authd.told(since, "frame refused peer=router .*type=ROSTER_LOAD reason=\"not an account\"")


@pytest.mark.parametrize("to", NO_ACCOUNTS)
def test_authd_contacts(authd, to):
    """What is no bare address is in no roster, and is not looked up."""
    since = authd.log_size()
    authd.router.send(Frame("ROSTER_ASK", jid=JULIET, to=to))
    assert authd.quiet() == []
    authd.told(since, "frame refused peer=router .*type=ROSTER_ASK reason=\"not a contact\"")


def test_authd_asked_for_a_contact(authd):
    authd.router.send(Frame("ROSTER_ASK", jid=JULIET, to="nobody@localhost", archive_id=5, number=6),
                      Frame("ROSTER_ASK", jid="nobody@localhost", to=JULIET, archive_id=7, number=8))
    assert [(f.type, f.archive_id, f.number, f.flags) for f in authd.quiet()] == [
        ("ROSTER_IS", 5, 6, 0), ("ROSTER_IS", 7, 8, 0)]


PAYLOADS = [None, b"", b"<query", b"<query xmlns='jabber:iq:roster'>", b"<!DOCTYPE x><query/>", b"\0", b"\xff",
            b"<query xmlns='jabber:iq:roster'/><query xmlns='jabber:iq:roster'/>",
            b"<query xmlns=\"jabber:iq:roster\"/>", b"<a>" * 1000, b"<query xmlns='jabber:iq:roster'>&x;</query>"]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_authd_payloads(authd, payload):
    """A request whose payload is not canonical is answered with an error."""
    authd.router.send(Frame("STANZA", "IQ", "SET", handle=handle(5, 1), origin=77, seq=1, id="x",
                            ns="jabber:iq:roster", name="query", payload=payload, **{"from": JULIET + "/r"}))
    answers = {f.type: f for f in authd.quiet()}
    assert answers["STANZA"].subtype == "ERROR" and answers["ACK"].numbers == [1, 1]


TOKENS = [None, b"", b"0x", b"\0", b"\xff" * 40, b"ffffffffffffffffx" + b"a" * 26, b"0x" + b"a" * 100000]


@pytest.mark.parametrize("token", TOKENS)
def test_authd_tokens(authd, token):
    """A token of which c2sd says that its stream has shown it: one that is none changes nothing where
    registration is open."""
    payload = "<query xmlns='jabber:iq:register'><username>mallory</username><password>x</password></query>"
    authd.router.send(Frame("STANZA", "IQ", "SET", handle=handle(5, 1), id="x", ns="jabber:iq:register", name="query",
                            to=DOMAIN, token=token, address="192.0.2.1", payload=payload))
    answer, = [f for f in authd.quiet() if f.type == "STANZA"]
    assert answer.subtype == "RESULT", answer
    payload = b"<preauth xmlns='urn:xmpp:pars:0' token='%s'/>" % (token or b"")
    authd.router.send(Frame("STANZA", "IQ", "SET", handle=handle(5, 1), id="y", ns="urn:xmpp:pars:0", name="preauth",
                            to=DOMAIN, address="192.0.2.1", payload=payload))
    answer, = [f for f in authd.quiet() if f.type == "STANZA"]
    assert answer.subtype == "ERROR", answer


def test_authd_addresses(authd):
    """Addresses that are not canonical: no subscription, no request, a line."""
    since = authd.log_size()
    for name, to in ((b"\xff@localhost", ROMEO), (JULIET, b"\xff"), ("JULIET@localhost", ROMEO), (None, ROMEO),
                     (JULIET, None)):
        authd.router.send(Frame("STANZA", "PRESENCE", "SUBSCRIBE", to=to, **{"from": name}))
    assert authd.quiet() == []
    authd.told(since, "subscription stanza refused")
    authd.router.send(Frame("STANZA", "IQ", "GET", ns="jabber:iq:roster", name="query", id="x",
                            payload="<query xmlns='jabber:iq:roster'/>", **{"from": b"\xff@localhost"}))
    authd.told(since, "request refused")


def test_authd_sasl(authd):
    """SASL messages that are none end in a failure of that stream alone."""
    starts = [{}, {"name": "PLAIN"}, {"name": "PLAIN", "domain": DOMAIN, "data": b"\0" * 5},
              {"name": b"\xff", "domain": DOMAIN}, {"name": "SCRAM-SHA-256", "domain": DOMAIN, "data": b"n,,n=\xff"},
              {"name": "SCRAM-SHA-1-PLUS", "domain": DOMAIN, "data": b"p=tls-exporter,,n=x,r=y"},
              {"name": "PLAIN", "domain": "elsewhere.example", "data": b"\0a\0b"},
              {"name": "PLAIN", "domain": DOMAIN, "data": b"x" * 100000, "flags": "TLS"},
              {"name": "SCRAM-SHA-256", "domain": b"\0", "data": b"n,,n=x,r=y", "address": b"\xff\0"}]
    for number, values in enumerate(starts, 1):
        authd.router.send(Frame("AUTH_START", handle=handle(5, number), **values),
                          Frame("AUTH_STEP", handle=handle(5, number), data=b"\xff" * 10),
                          Frame("AUTH_STEP", handle=handle(5, 1000 + number), data=b"x"))
    answers = authd.quiet()
    assert not any(f.type == "AUTH_SUCCESS" for f in answers)
    assert {f.handle & 0xffff for f in answers if f.type == "AUTH_FAILURE"} >= set(range(1, 10))


def key_name():
    """What c2sd calls the key of our domain: the SHA-256 of its public half."""
    pem = Path(make_certificate(DOMAIN)[0]).read_bytes()
    public = x509.load_pem_x509_certificate(pem).public_key()
    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def test_authd_key_link(authd):
    """c2sd may ask for signatures on its link, and for nothing else."""
    since = authd.log_size()
    for kind in SENDERS:
        if kind != "KEY_USE":
            authd.key.send(loaded(kind))
    key = {"domain": DOMAIN, "token": key_name()}
    uses = [{}, {"domain": DOMAIN, "name": "sign", "data": b"x"}, {**key, "token": b"x" * 32},
            {**key, "domain": b"\xff", "name": "sign", "data": b"x"}, key, {**key, "name": "sign"},
            {**key, "name": "export", "data": b"x"}, {**key, "name": b"sign\0", "data": b"x"},
            {**key, "name": "sign", "data": b"x", "archive_id": 2**64 - 1},
            {**key, "name": "sign-hash", "data": b"x", "archive_id": 1}, {**key, "name": "decrypt", "data": b""},
            {**key, "name": "sign", "data": b"x" * 70000, "archive_id": 1}]
    for number, values in enumerate(uses):
        authd.key.send(Frame("KEY_USE", number=number, **values))
    answers = [authd.key.expect("KEY_RESULT") for _ in uses]
    assert sorted(f.number for f in answers) == list(range(len(uses)))
    assert not any(f.text("data") for f in answers), answers
    authd.told(since, "frame refused peer=c2sd .*type=HELLO reason=\"not for this link\"")
    authd.told(since, "key use refused")
    assert authd.quiet() == []
    authd.key.send_bytes(Frame("KEY_USE").head(5) + b"x" * 100)
    authd.key.await_closed()
    assert authd.hear("LOST") == ("C2SD", 0, 5)


DIGEST = hashlib.sha1(b"id" + SECRET.encode()).hexdigest()
SECRETS = [({"name": "component", "domain": COMPONENT, "data": b"id", "text": DIGEST}, "y"),
           ({"name": "component", "domain": COMPONENT, "data": b"id"}, None),
           ({"name": "component", "domain": COMPONENT, "data": b"id", "text": b"\xff" * 40}, None),
           ({"name": "component", "domain": COMPONENT, "data": b"id", "text": "x" * 70000}, None),
           ({"name": "component", "domain": COMPONENT, "text": DIGEST}, None),
           ({"name": "component", "domain": "other.localhost", "data": b"id"}, None),
           ({"name": "component", "domain": DOMAIN, "data": b"id"}, None),
           ({"name": "component", "domain": b"\xff", "data": b"id"}, None),
           ({"name": "component", "data": b"id"}, None), ({"name": "secret", "domain": COMPONENT}, None), ({}, None),
           ({"name": "dialback", "data": b"x" * 70000}, None)]


def test_authd_secrets(authd):
    """s2sd gets a yes to a component's proof, and what proves the secret of dialback, and never a secret or what
    proves that of a component; c2sd gets nothing of it."""
    since = authd.log_size()
    for number, (values, _) in enumerate(SECRETS):
        authd.servers.send(Frame("KEY_USE", number=number, archive_id=2**64 - 1, **values))
        authd.key.send(Frame("KEY_USE", number=number, archive_id=2**64 - 1, **values))
    for number, (_, expected) in enumerate(SECRETS):
        answer = authd.servers.expect("KEY_RESULT")
        assert answer.number == number and (answer.text("data") or b"") == (expected or "").encode()
        assert not authd.key.expect("KEY_RESULT").text("data")
    authd.servers.send(Frame("KEY_USE", number=9, archive_id=2**64 - 1, name="dialback", data=b"a b c"))
    key = authd.servers.expect("KEY_RESULT").text("data")
    assert re.fullmatch(rb"[0-9a-f]{64}", key)
    authd.told(since, "secret not used domain=\"?other.localhost\"? operation=\"?component")
    for kind in SENDERS:
        if kind != "KEY_USE":
            authd.servers.send(loaded(kind))
    authd.told(since, "frame refused peer=s2sd .*type=HELLO reason=\"not for this link\"")


# -- archived -------------------------------------------------------------------------------------------------

NO_MESSAGES = [{"flags": "CONTENT"}, {"flags": "CONTENT STORE"}, {"from": None}, {"to": None}, {"to": ""},
               {"from": b"\xff@localhost"}, {"to": "ROMEO@localhost"}, {"to": b"romeo\0@localhost"},
               {"to": "x" * 100000 + "@localhost"}]


@pytest.mark.parametrize("values", NO_MESSAGES)
def test_archived_no_message(archived, values):
    """What is no message to be stored is refused for good, and said to be."""
    since = archived.log_size()
    archived.router.send(message(5, **values))
    stored = archived.router.expect("STORED")
    assert stored.numbers == [5, 2**64 - 1, 0]
    archived.told(since, "frame refused peer=router .*type=STANZA reason=\"not a message to be stored\"")


@pytest.mark.parametrize("jid", NO_ACCOUNTS)
def test_archived_no_account(archived, jid):
    since = archived.log_size()
    for kind in ("DRAIN", "DROP", "FORGET"):
        archived.router.send(Frame(kind, jid=jid, handle=handle(5, 1), archive_id=1, flags="BOUNCE"))
    assert archived.quiet() == []
    archived.told(since, "frame refused peer=router .*type=DRAIN reason=\"no account\"")


def test_archived_numbers(archived):
    """Reports and questions about what there is not."""
    archived.router.send(message(1))
    archived.router.expect("STORED")
    archived.router.send(Frame("DELIVERED", origin=78, seq=1, numbers=[1]),
                         Frame("DELIVERED", origin=78, seq=2, numbers=[2**64 - 1, 2**64 - 1, 0, 0, 5]),
                         Frame("DELIVERED", origin=78, seq=2**64 - 1, numbers=[9, 9] * 10000),
                         Frame("DROP", jid="nobody@localhost", archive_id=2**64 - 1, flags="BOUNCE"),
                         Frame("DRAIN", jid=ROMEO, archive_id=2**64 - 1, number=2**64 - 1, handle=1),
                         Frame("DRAIN", jid="nobody@localhost", handle=2))
    answers = archived.quiet()
    assert [f.type for f in answers if f.type != "ACK"] == ["DRAINED", "DRAINED"]
    archived.router.send(Frame("DRAIN", jid=ROMEO, handle=3))
    assert archived.router.expect("STANZA").text("to") == ROMEO.encode()  # still there
    archived.router.expect("DRAINED")


def elsewhere(seq, **values):
    return message(seq, **{"flags": "CONTENT BODY STORE FROM_LOCAL TO_REMOTE", "to": "nurse@capulet.example",
                           **values})


def test_archived_undeliverable(archived):
    """Pairs that are none, of what there is not; words that are no text; one error, and no second one."""
    archived.router.send(elsewhere(1))
    _, number, spool = archived.router.expect("STORED").numbers
    archived.router.send(Frame("UNDELIVERABLE", origin=78, seq=1, numbers=[1]),
                         Frame("UNDELIVERABLE", origin=78, seq=2, numbers=[2**64 - 1, 2**64 - 1, 0, 0, spool]),
                         Frame("UNDELIVERABLE", origin=78, seq=3, numbers=[spool, number + 1] * 1000),
                         Frame("UNDELIVERABLE", origin=78, seq=4, numbers=[spool, number] * 100,
                               condition=b"\xff'/>", text=b"</text>\x01\xff"),
                         Frame("UNDELIVERABLE", origin=78, seq=5, numbers=[spool, number], text="again"))
    answers = [f for f in archived.quiet() if f.type != "ACK"]
    assert [f.type for f in answers] == ["SPOOLED"] and answers[0].text("to").startswith(JULIET.encode())
    archived.router.send(Frame("DRAIN", jid=JULIET, handle=3, stamp=2**64 - 1))
    error = archived.router.expect("STANZA")
    assert error.subtype == "ERROR" and b"<remote-server-not-found " in error.text("payload")
    assert b"<text" not in error.text("payload")
    archived.router.expect("DRAINED")
    archived.router.send(Frame("REMOTE_WAITING", text="x\n", jid=b"\xff"))
    assert archived.quiet() == []


# -- archived and rooms ---------------------------------------------------------------------------------------

ROOM, TOKEN = "coven@rooms.localhost", b"0123456789abcdef"
QUERY = "<query xmlns='urn:xmpp:mam:2'/>"


def said(seq, **values):
    """A message of a room."""
    return Frame("STANZA", origin=77, seq=seq, id="x", stamp=1,
                 **{"kind": "MESSAGE", "subtype": "GROUPCHAT", "flags": "CONTENT BODY STORE FROM_LOCAL ROOM",
                    "payload": "<body>x</body>", "to": ROOM, "from": ROOM + "/hag", "jid": JULIET, "token": TOKEN,
                    **values})


def history(seq, **values):
    return Frame("HISTORY", origin=77, seq=seq, jid=ROOM, **{"handle": 9, "number": 3,
                                                             "numbers": [20, 2**64 - 1], **values})


def room_works(archived, seq):
    """A message is stored, once, and in a history, without what nobody may see."""
    archived.quiet()
    archived.router.send(said(seq, token=b"works" * 3 + b"1"), history(seq + 1, numbers=[1, 2**64 - 1]))
    stored = archived.router.expect("STORED")
    given = archived.router.expect("STANZA")
    assert archived.router.expect("HISTORY_END").seq == seq + 1
    assert (given.archive_id, given.number, given.text("from")) == (stored.numbers[1], 3, (ROOM + "/hag").encode())
    assert given.text("jid") is None and given.text("token") is None


NO_ROOM_MESSAGES = [{"token": None}, {"token": TOKEN + b"0"}, {"to": JULIET}, {"to": None}, {"from": None},
                    {"from": ROOM.encode() + b"/\xff"}, {"to": ROOM + "/hag"}, {"jid": JULIET + "/r"}, {"jid": b"\xff@localhost"},
                    {"from": "rooms.localhost/x", "to": "rooms.localhost"}, {"subtype": "CHAT"}, {"subtype": "ERROR"},
                    {"kind": "IQ", "subtype": "GET"}, {"kind": "PRESENCE", "subtype": "AVAILABLE"},
                    {"flags": "CONTENT ROOM STORE"}, {"flags": "CONTENT ROOM FROM_LOCAL"},
                    {"flags": "CONTENT ROOM STORE FROM_LOCAL TO_LOCAL"},
                    {"flags": "CONTENT ROOM STORE FROM_LOCAL TO_REMOTE"}]


@pytest.mark.parametrize("values", NO_ROOM_MESSAGES)
def test_archived_no_room_message(archived, values):
    since = archived.log_size()
    archived.router.send(said(5, **values))
    assert archived.router.expect("STORED").numbers == [5, 2**64 - 1, 0]
    archived.told(since, "frame refused peer=router .*type=STANZA reason=\"not a message of a room\"")
    room_works(archived, 6)


HISTORIES = [{"numbers": [1]}, {"numbers": None}, {"numbers": [1, 2, 3]}, {"numbers": [0, 0]}, {"handle": 0},
             {"handle": 0, "to": b"\xff"}, {"from": "@"}, {"stamp": 2**64 - 1},
             {"numbers": [2**64 - 1, 1]}, {"jid": "nowhere@rooms.localhost"}]


@pytest.mark.parametrize("values", HISTORIES)
def test_archived_no_history(archived, values):
    """What asks for nothing has an end at once."""
    archived.router.send(said(1), *[Frame("HISTORY", origin=77, seq=seq, **{"jid": ROOM, "handle": 9, "number": 3,
                                                                            "numbers": [20, 2**64 - 1], **values})
                                    for seq in (2, 3)])
    assert [f.type for f in archived.quiet()] == ["STORED", "HISTORY_END", "HISTORY_END"]
    room_works(archived, 4)


@pytest.mark.parametrize("jid", NO_ACCOUNTS)
def test_archived_no_room(archived, jid):
    since = archived.log_size()
    for kind in ("HISTORY", "ROOM_QUERY", "REDACT", "FORGET"):
        archived.router.send(Frame(kind, origin=77, seq=1, jid=jid, handle=9, archive_id=1, number=1, subtype="SET",
                                   payload=QUERY, numbers=[20, 2**64 - 1], token=TOKEN, **{"from": JULIET + "/r"}))
    assert archived.quiet() == []
    archived.told(since, "frame refused peer=router .*type=HISTORY reason=\"no account\"")
    room_works(archived, 2)


def query(seq, **values):
    return Frame("ROOM_QUERY", origin=77 if seq else 0, seq=seq, id="q", **{"jid": ROOM, "handle": 9, "subtype": "SET",
                                                              "payload": QUERY, "from": JULIET + "/r", **values})


def test_archived_room_queries(archived):
    """Requests that are none are acknowledged; others are answered in the room's name, whatever is in them."""
    archived.router.send(said(1))
    archived.router.expect("STORED")
    archived.router.send(query(2, **{"from": b"\xff"}), query(3, **{"from": None}), query(4, subtype="RESULT"),
                         query(5, subtype="NORMAL", kind="MESSAGE"))
    assert {f.type for f in archived.quiet()} == {"ACK"}
    for payload in ("", "<", "<query/>", QUERY + QUERY, "<prefs xmlns='urn:xmpp:mam:2'/>", b"\xff\0", "x" * 100000):
        archived.router.send(query(0, payload=payload, name="query", ns="urn:xmpp:mam:2"))
        answer = archived.router.expect("STANZA")
        assert (answer.text("from"), answer.text("to")) == (ROOM.encode(), (JULIET + "/r").encode())
        assert b"<error" in answer.text("payload")
    archived.router.send(query(0, flags="AVAILABLE", handle=0))
    assert b"<item jid='" + JULIET.encode() in archived.router.expect("STANZA").text("payload")
    archived.router.send(query(0))
    archived.router.expect("STANZA")  # the answer of the one before
    assert JULIET.encode() not in archived.router.expect("STANZA").text("payload")
    room_works(archived, 9)


def test_archived_redactions(archived):
    """What cannot be put in the place of a message, or not by this one, leaves it there; each is acknowledged."""
    archived.router.send(said(1), message(2))
    ids = archived.router.expect("STORED").numbers[1::3]
    bad = [{"payload": "<a>"}, {"payload": b"\xff"}, {"archive_id": 0}, {"archive_id": 2**64 - 1},
           {"archive_id": ids[1]}, {"archive_id": ids[1], "jid": JULIET}, {"from": ROMEO}, {"from": b"\xff"},
           {"from": JULIET + "/r"}, {"jid": "nowhere@rooms.localhost"}]
    for seq, values in enumerate(bad, 3):
        archived.router.send(Frame("REDACT", origin=77, seq=seq,
                                   **{"jid": ROOM, "archive_id": ids[0], "payload": "<gone xmlns='x:y'/>", **values}))
    assert {f.type for f in archived.quiet()} == {"ACK"}
    archived.router.send(history(50))
    assert archived.router.expect("STANZA").text("payload") == b"<body>x</body>"
    archived.router.expect("HISTORY_END")
    archived.router.send(Frame("REDACT", origin=77, seq=51, jid=ROOM, archive_id=ids[0], payload="x" * 100000), history(52))
    assert archived.router.expect("STANZA").text("payload") == b"x" * 100000
    room_works(archived, 60)


def test_archived_forgets_once(archived):
    """A room that is made again under a name keeps what it says when the deletion of the old one comes again."""
    forget = {"jid": ROOM, "token": b"0123456789abcdeg"}
    archived.router.send(said(1), Frame("FORGET", origin=77, seq=2, **forget), said(3, token=b"0123456789abcdeh"),
                         Frame("FORGET", origin=78, seq=1, **forget), history(4))
    stored = [n for f in archived.quiet() if f.type == "STANZA" for n in (f.archive_id, f.text("payload"))]
    assert len(stored) == 2


# -- s2sd -----------------------------------------------------------------------------------------------------


def test_s2sd_stanzas(s2sd):
    """A stanza that is not canonical does not become part of a component's stream."""
    client, number = s2sd.component()
    good = {"handle": number, "id": "x", "payload": "<body>evil</body>", "from": ROMEO, "to": "x@" + COMPONENT}
    since = s2sd.log_size()
    lies = {name: lie for name, lie in LIES.items() if name != "to"}
    for kind, subtype in (("MESSAGE", "CHAT"), ("PRESENCE", "AVAILABLE"), ("IQ", "SET")):
        for lie in [*lies.values(), {"to": b"x@echo.localhost/\0"}, {"to": None}, {"from": None}, {"to": "@"},
                    {"to": ROMEO}]:
            s2sd.router.send(Frame("STANZA", kind, subtype, **{**good, **lie}))
    assert s2sd.quiet() == []
    s2sd.told(since, "frame refused peer=router .*type=STANZA reason=\"malformed stanza, or to ourselves\"")
    s2sd.router.send(Frame("STANZA", "MESSAGE", "CHAT", **{**good, "payload": "<body>good</body>"}))
    assert client.next().findtext("{jabber:component:accept}body") == "good"
    assert not client.elements
    client.close()


def test_s2sd_stored_lie(s2sd):
    """A stored message that may not be written is given up, so that the spool does not keep it for ever."""
    client, number = s2sd.component()
    s2sd.router.send(Frame("STANZA", "MESSAGE", "CHAT", handle=number, archive_id=9, payload="<body>",
                           to=COMPONENT, **{"from": ROMEO}))
    assert s2sd.router.expect("UNDELIVERABLE").numbers == [number, 9]
    client.close()


def test_s2sd_handles(s2sd):
    """Handles that name nothing, another domain or another daemon's: the address decides; a domain of ours, and
    names that are none, are not connected to."""
    client, number = s2sd.component()
    for other in (number + 1, handle(5, 1), 1, 2**64 - 1):
        s2sd.router.send(Frame("STANZA", "MESSAGE", "CHAT", handle=other, payload="<body>x</body>",
                               to=COMPONENT, **{"from": ROMEO}),
                         Frame("SESSION_KILL", handle=other, condition=b"\xff\n"))
        assert client.next().findtext("{jabber:component:accept}body") == "x"
    since = s2sd.log_size()
    s2sd.router.send(Frame("REMOTE_WAITING", text=b"localhost\n\xff\n@\nUP.example\n\0\n\n" + b"x" * 3000),
                     Frame("REMOTE_WAITING"))
    assert s2sd.quiet() == []
    s2sd.told(since, "messages wait in vain")
    client.close()


class Caller(raw.Client):
    """Another server that calls: a header, and what is said to that."""

    def __init__(self, port, to):
        super().__init__("127.0.0.1", port)
        self.timeout = WAIT
        self.header(to, ns="jabber:server", xmlns_db="jabber:server:dialback", **{"from": "verona.example"})

    def answer(self):
        element = self.next()
        return element[0].tag.partition("}")[2] if element.tag.endswith("features") else "error"


def test_s2sd_domains(s2sd):
    """The domains of another daemon are taken for streams of other servers while the router names them; what is no
    domain, a component's, one of accounts, or of no other daemon, is not."""
    mucd = ALL_ROLES.index("MUCD")
    port = s2sd.server.getsockname()[1]
    assert Caller(port, "rooms.localhost").answer() == "error"
    since = s2sd.log_size()
    s2sd.router.send(Frame("DOMAINS", number=mucd, text=b"rooms.localhost\n\xff\nUP.example\n\n%s\nlocalhost\n" %
                           COMPONENT.encode() + b"x" * 3000))
    assert s2sd.quiet() == []
    s2sd.told(since, "domain refused name=.*daemon=mucd")
    assert s2sd.log(since).count("domain refused") == 6
    caller = Caller(port, "rooms.localhost")
    assert caller.answer() == "starttls"
    s2sd.router.send(Frame("DOMAINS", number=ALL_ROLES.index("FORMSD"), text="items.localhost\n"))
    s2sd.quiet()
    assert Caller(port, "items.localhost").answer() == Caller(port, "rooms.localhost").answer() == "starttls"
    since = s2sd.log_size()
    for number in (0, ALL_ROLES.index("AUTHD"), ALL_ROLES.index("S2SD"), len(ALL_ROLES), 2**64 - 1):
        s2sd.router.send(Frame("DOMAINS", number=number, text="evil.example\n"))
    s2sd.quiet()
    s2sd.told(since, "frame refused peer=router .*type=DOMAINS reason=\"no other daemon\"")
    assert Caller(port, "evil.example").answer() == "error"
    s2sd.router.send(Frame("DOMAINS", number=mucd))
    assert caller.stream_error() == "host-gone"
    assert Caller(port, "rooms.localhost").answer() == "error"
    assert Caller(port, "items.localhost").answer() == "starttls"


def test_s2sd_killed(s2sd):
    """The router does not want the domain: its stream ends, and it may come again."""
    client, number = s2sd.component()
    s2sd.router.send(Frame("SESSION_KILL", handle=number, condition="conflict"))
    assert client.next().tag.endswith("}error")
    client.close()


def test_s2sd_acknowledgements(s2sd):
    """Ranges that are none, of another origin, of what was never sent."""
    client, number = s2sd.component()
    client.send("<message from='%s' to='%s'><body>x</body></message>" % (COMPONENT, ROMEO))
    sent = s2sd.router.expect("STANZA")
    for numbers in ([sent.seq + 1, 2**64 - 1], [2**64 - 1, 0], [sent.seq], []):
        s2sd.router.send(Frame("ACK", origin=6, numbers=numbers))
    s2sd.router.send(Frame("ACK", origin=5, numbers=[1, 2**64 - 1]), Frame("ACK", origin=6, numbers=[1, 2**64 - 1]))
    s2sd.quiet()
    client.close()


def test_s2sd_key_link(s2sd):
    """What an authd makes up as a proof lets nobody in; with the right one it goes on."""
    lies = s2sd.link("AUTHD", 0, 3)
    for answer in ({}, {"data": b"x" * 40}, {"data": b""}, {"data": b"x" * 1000000}):
        found = []

        def run():
            client = Component(s2sd.port)
            found.append(client.connect())
            client.close()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        use = lies.expect("KEY_USE")
        assert use.text("name") == b"component" and use.text("domain") == COMPONENT.encode()
        with contextlib.suppress(Dropped):
            lies.send(loaded("STANZA"), Frame("KEY_RESULT", number=use.number + 1, data=b"not yours"))
            lies.send(Frame("KEY_RESULT", number=use.number, **answer))
        thread.join(20)
        assert found == ["error"]
    ours, theirs = pair()
    s2sd.tell("LINK", "AUTHD", 0, 2, fd=ours.fileno())
    s2sd.signer.tell("LINK", "S2SD", 1, s2sd.incarnation, fd=theirs.fileno())
    ours.close()
    theirs.close()


# -- c2sd -----------------------------------------------------------------------------------------------------

LIES = {
    "payload not closed": {"payload": "<body>x"},
    "payload closes our stream": {"payload": "</message></stream:stream><message>"},
    "payload closes its stanza": {"payload": "</message><presence from='nurse@localhost'/><message>"},
    "declaration": {"payload": "<?xml version='1.0'?><body>x</body>"},
    "entity": {"payload": "<body>&lol;</body>"},
    "control character": {"payload": b"<body>\x01</body>"},
    "no utf-8": {"payload": b"<body>\xff</body>"},
    "id": {"id": b"\x01"},
    "id, no utf-8": {"id": b"\xc3"},
    "lang": {"lang": b"\xff"},
    "lang, NUL": {"lang": b"e\0n"},
    "from": {"from": b"romeo\xff@localhost"},
    "from with a control character": {"from": b"romeo\x01@localhost"},
    "from not canonical": {"from": "ROMEO@localhost"},
    "to": {"to": b"juliet@localhost/\x00"},
}


def test_c2sd_stanzas(c2sd):
    """A stanza that is not canonical does not become part of a client's stream."""
    client, number = c2sd.login()
    good = {"handle": number, "id": "x", "payload": "<body>evil</body>", "from": ROMEO}
    since = c2sd.log_size()
    for kind, subtype in (("MESSAGE", "CHAT"), ("PRESENCE", "AVAILABLE"), ("IQ", "SET")):
        for lie in LIES.values():
            frame = Frame("STANZA", kind, subtype, **{**good, **lie})
            c2sd.router.send(frame)
            frame.handle, frame.fields["numbers"] = 0, number.to_bytes(8, "little") * 3
            c2sd.router.send(frame)
    assert c2sd.quiet() == []
    c2sd.told(since, "frame refused peer=router .*type=STANZA reason=\"not canonical\"")
    c2sd.router.send(Frame("STANZA", "MESSAGE", "CHAT", **{**good, "payload": "<body>good</body>"}))
    assert client.message().findtext("{jabber:client}body") == "good"
    assert not client.elements
    client.close()


def test_c2sd_stored_lie(c2sd):
    """A stored message that may not be written is reported, so that the spool does not keep it for ever."""
    client, number = c2sd.login()
    c2sd.router.send(Frame("STANZA", "MESSAGE", "CHAT", handle=number, archive_id=9, payload="<body>",
                           **{"from": ROMEO}))
    assert c2sd.router.expect("DELIVERED").numbers == [number, 9]
    client.close()


def test_c2sd_handles(c2sd):
    """Streams that are not there, or another daemon's: nothing happens to those that are."""
    client, number = c2sd.login()
    since = c2sd.log_size()
    for other in (number + 1, handle(5, 1), handle(99, 2), 1, 2**64 - 1):
        for kind in ("STANZA", "AUTH_CHALLENGE", "AUTH_FAILURE", "SESSION_BOUND", "SESSION_REFUSED",
                     "SESSION_MOVE", "SESSION_RESUME"):
            c2sd.router.send(Frame(kind, "MESSAGE", "CHAT", handle=other, number=other, archive_id=other,
                                   payload="<body>x</body>", jid=ROMEO + "/x", text="x", data=b"x",
                                   condition="not-authorized", flags="MORE", **{"from": ROMEO}))
    c2sd.router.send(Frame("STANZA", "MESSAGE", "CHAT", numbers=[handle(6, i) for i in range(1000, 200000)],
                           payload="<body>x</body>", **{"from": ROMEO}))
    c2sd.quiet()
    c2sd.told(since, "frame refused peer=router .*type=STANZA reason=\"stream of another daemon\"")
    # Answers that this stream does not wait for.
    for kind in ("AUTH_CHALLENGE", "AUTH_SUCCESS", "AUTH_FAILURE", "SESSION_BOUND", "SESSION_REFUSED",
                 "SESSION_MOVE"):
        c2sd.router.send(Frame(kind, handle=number, number=number, jid=ROMEO + "/x", token=b"t" * 32,
                               condition="conflict", text="sm-id x\n", flags="MORE", data=b"x"))
    c2sd.quiet()
    client.say(ROMEO, "still there")
    sent = c2sd.router.expect("STANZA")
    assert sent.handle == number and "from" not in sent.fields
    client.close()


@pytest.mark.parametrize("condition, told", [
    (b"conflict", "conflict"), (b"-conflict", "undefined-condition"), (b"con-flict", "undefined-condition"),
    (b"x/><y", "undefined-condition"), (b"\xff\n", "undefined-condition"), (b"", "undefined-condition")])
def test_c2sd_killed(c2sd, condition, told):
    """Only a condition of RFC 6120 becomes the name of an element."""
    client, number = c2sd.login()
    c2sd.router.send(Frame("SESSION_KILL", handle=number, condition=condition, text=b"bye <&>"))
    assert client.stream_error() == told
    assert client.error.findtext("{urn:ietf:params:xml:ns:xmpp-streams}text") == "bye <&>"
    client.close()


def test_c2sd_acknowledgements(c2sd):
    """Ranges that are none, of another origin, of what was never sent: the client's count does not move."""
    client, number = c2sd.login()
    client.enable()
    client.say(ROMEO, "one")
    sent = c2sd.router.expect("STANZA")
    for numbers in ([sent.seq + 1, 2**64 - 1], [2**64 - 1, 0], [sent.seq, 1] if sent.seq > 1 else [2, 1],
                    [sent.seq], []):
        c2sd.router.send(Frame("ACK", origin=6, numbers=numbers))
    c2sd.router.send(Frame("ACK", origin=5, numbers=[1, 2**64 - 1]))
    c2sd.quiet()
    client.send("<r xmlns='urn:xmpp:sm:3'/>")
    c2sd.router.send(Frame("ACK", origin=6, numbers=[sent.seq, sent.seq]))
    assert client.await_handled(1, 10) == 1
    client.close()


@pytest.mark.parametrize("grant", [{"jid": None}, {"jid": "JULIET@localhost"}, {"jid": b"\xff"},
                                   {"jid": JULIET + "/x"}, {"token": b"short"}, {"token": None},
                                   {"jid": "juliet@elsewhere.example"}])
def test_c2sd_grants(c2sd, grant):
    """A grant that is none is a failure for the client."""
    since = c2sd.log_size()
    failed = []

    def run():
        client = raw.Client("127.0.0.1", c2sd.port)
        client.starttls(DOMAIN)
        client.open(DOMAIN)
        try:
            client.authenticate("PLAIN", "juliet", "secret")
        except raw.AuthFailed as reason:
            failed.append(str(reason))
        client.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    number = c2sd.router.expect("AUTH_START").handle
    c2sd.router.send(Frame("AUTH_SUCCESS", handle=number, **{"jid": JULIET, "token": b"t" * 32, **grant}))
    thread.join(20)
    assert failed, c2sd.log(since)


def test_c2sd_key_link(c2sd):
    """What an authd makes up as a signature is no signature: the handshake fails, c2sd goes on."""
    lies = c2sd.link("AUTHD", 0, 3)
    failed = []

    def run():
        try:
            client = raw.Client("127.0.0.1", c2sd.port, timeout=10)
            client.starttls(DOMAIN)
            client.close()
        except Exception as reason:  # whatever OpenSSL makes of it
            failed.append(reason)

    for answer in ({}, {"data": b"x" * 64}, {"data": b"x" * 1000000}):
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        use = lies.expect("KEY_USE")
        with contextlib.suppress(Dropped):
            lies.send(loaded("STANZA"), Frame("KEY_RESULT", number=use.number + 1, data=b"not yours"))
            lies.send_bytes(MALFORMED["unknown field"])
            lies.send(Frame("KEY_RESULT", number=use.number, **answer))
        thread.join(30)
    assert len(failed) == 3
    ours, theirs = pair()
    c2sd.tell("LINK", "AUTHD", 0, 2, fd=ours.fileno())
    c2sd.signer.tell("LINK", "C2SD", 1, c2sd.incarnation, fd=theirs.fileno())
    ours.close()
    theirs.close()
    client, _ = c2sd.login()
    client.close()
