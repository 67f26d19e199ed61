"""cast.py: the router's world: honest daemons that a test plays, sessions to attack, and a hostile one.

    world = World(directory)                # a real router with authd, archived and c2sd.0, all honest
    juliet = world.login("juliet")          # a session at c2sd.0, available
    bad = world.hostile("MUCD")             # a daemon that has registered and will lie
    bad.send(...)
    world.refused("not its address")        # dealt with: the line is in the log, and nobody got anything

Each hostile daemon has an incarnation of its own; the router stays the same, so that a test also sees
what the ones before it have left behind.
"""

import hashlib
import hmac
import itertools
import re
import struct

from frames import Frame
from program import DOMAIN, Dropped, Program, control_listener

KEY = b"a key of thirty-two bytes in all"
HONEST = 10      # the incarnation of the honest c2sd


def handle(incarnation, counter):
    return incarnation << 32 | counter


def token(number, bare, key=KEY):
    """authd's grant for a stream and an account."""
    return hmac.new(key, struct.pack("=Q", number) + bare.encode(), hashlib.sha256).digest()


class Session:
    """A session of a c2sd that we play."""

    def __init__(self, entry, number, jid):
        self.entry, self.handle, self.jid = entry, number, jid
        self.bare = jid.partition("/")[0]

    def stanza(self, kind, subtype, **values):
        """A STANZA of this session, in custody."""
        return Frame("STANZA", kind, subtype, handle=self.handle, origin=self.entry.incarnation,
                     seq=next(self.entry.seqs), **{"payload": b"", "id": "x", **values})

    def chat(self, to, words="hello", **values):
        return self.stanza("MESSAGE", "CHAT", to=to, flags="CONTENT BODY",
                           payload="<body>%s</body>" % words, **values)


class World:
    """A router, honest daemons, and whoever else a test adds."""

    def __init__(self, directory):
        self.router = Program("ROUTER", directory)
        self.incarnations = itertools.count(HONEST)
        self.counters = itertools.count(1)
        self.indices = itertools.count(1)
        self.archive_ids = itertools.count(1000)
        self.cursor = 0
        self.entries = []

    def __enter__(self):
        self.router.__enter__()
        self.router.listen("control", control_listener(self.router.directory))
        self.authd = self.router.link("AUTHD", 0, 2)
        self.archived = self.router.link("ARCHIVED", 0, 3)
        self.router.go()
        self.router.hear("READY")
        self.register(self.authd, "account-ns jabber:iq:roster\nserver-ns jabber:iq:register\n"
                      "command user add\tJID\tmake an account\n",
                      Frame("MECHANISMS", token=KEY, text="localhost PLAIN"))
        self.register(self.archived)
        self.c2sd = self.entry(0)
        self.mark()
        return self

    def __exit__(self, *failure):
        self.router.__exit__(*failure)

    # -- daemons

    def register(self, link, serves="", *replay):
        """A daemon registers; what was said to it is thrown away."""
        link.send(Frame("HELLO", text=serves))
        link.expect("WELCOME")
        link.send(*replay, Frame("READY"))
        self.calm()

    def entry(self, index, register=True):
        """Another c2sd, up to the echo of its RESEND."""
        link = self.router.link("C2SD", index, next(self.incarnations))
        link.seqs = itertools.count(1)
        if register:
            link.send(Frame("HELLO"))
            link.expect("WELCOME")
            link.expect("MECHANISMS")
            link.send(Frame("READY"))
            while (frame := link.next()).type == "CAPS":
                pass
            assert frame.type == "RESEND", frame
            link.send(Frame("RESEND"))
        self.entries.append(link)
        return link

    def hostile(self, role, serves="", ready=True):
        """A daemon that was taken over, registered as if nothing were; its index is not that of the
        honest one. ready: with READY, else after its WELCOME."""
        if role == "C2SD":
            link = self.entry(next(self.indices), register=ready)
        else:
            link = self.router.link(role, next(self.indices), next(self.incarnations))
            link.seqs = itertools.count(1)
            if ready:
                link.send(Frame("HELLO", text=serves))
                link.expect("WELCOME")
                link.send(Frame("READY"))
            if ready and role == "S2SD":
                while (frame := link.next()).type == "DOMAINS":
                    pass
                assert frame.type == "RESEND", frame
                link.send(frame)
            if ready and role == "MUCD":
                link.send(link.expect("RESEND"))
        self.calm()
        self.mark()
        return link

    def calm(self):
        """Answers what registrations cause: honest daemons return RESEND, and have nothing to send."""
        self.router.settle()
        for link in [self.authd, self.archived] + self.entries:
            if link.closed:
                continue
            link.pump()
            for frame in link.frames:
                if frame.type == "RESEND":
                    link.send(frame)
                elif frame.type == "DRAIN":
                    link.send(Frame("DRAINED", handle=frame.handle))
                elif frame.type == "ROSTER_LOAD":
                    self.roster(frame.text("jid").decode())
            link.frames.clear()
        self.router.settle(*[link for link in self.entries if not link.closed])
        for link in [self.authd, self.archived] + self.entries:
            link.pump()
            link.frames.clear()

    # -- sessions

    def roster(self, bare, exists=True):
        self.authd.send(Frame("ROSTER", jid=bare, payload=b"", flags="EXISTS" if exists else 0))

    def grant(self, entry, bare, number=None):
        """Authenticates a stream of a c2sd. Returns its handle."""
        number = number or handle(entry.incarnation, next(self.counters))
        entry.send(Frame("AUTH_START", handle=number, name="PLAIN", domain=DOMAIN, data=b"x"))
        self.authd.expect("AUTH_START")
        self.authd.send(Frame("AUTH_SUCCESS", handle=number, jid=bare, token=token(number, bare)))
        assert entry.expect("AUTH_SUCCESS").handle == number
        return number

    def login(self, user, entry=None, available=True):
        """A session of an account at a c2sd, the honest one unless told otherwise."""
        entry = entry or self.c2sd
        bare = "%s@%s" % (user, DOMAIN)
        number = self.grant(entry, bare)
        entry.send(Frame("SESSION_BIND", handle=number, resource="r%d" % number))
        self.router.settle(entry)
        self.authd.pump()
        if self.authd.frames:
            self.authd.expect("ROSTER_LOAD")
            self.roster(bare)
        session = Session(entry, number, entry.expect("SESSION_BOUND").text("jid").decode())
        if available:
            entry.send(session.stanza("PRESENCE", "AVAILABLE", number=128))
            self.archived.expect("DRAIN")
            self.archived.send(Frame("DRAINED", handle=number))
            self.router.settle(entry, self.archived)
        self.calm()
        self.mark()
        return session

    def exchange(self, sender, receiver):
        """An honest chat message: stored, delivered to the right stream with the right sender, and
        acknowledged."""
        words = "m%d" % next(self.counters)
        sent = sender.chat(receiver.bare, words)
        sender.entry.send(sent)
        stored = self.archived.expect("STANZA")
        assert stored.text("from") == sender.jid.encode() and stored.seq == sent.seq
        number = next(self.archive_ids)
        self.archived.send(Frame("STORED", origin=sender.entry.incarnation, numbers=[sent.seq, number, 7]))
        got = receiver.entry.expect("STANZA")
        assert got.receivers() == [receiver.handle] and got.archive_id == number, got
        assert got.text("from") == sender.jid.encode()
        assert got.text("payload") == b"<body>%s</body>" % words.encode()
        acked = sender.entry.expect("ACK")
        assert acked.origin == sender.entry.incarnation and acked.numbers == [sent.seq, sent.seq]

    # -- what came of it

    def mark(self):
        """What the router says from now on belongs to the next attack."""
        self.cursor = self.router.log_size()

    def said(self):
        return self.router.log(self.cursor)

    def silent(self, *but):
        """No honest daemon has got anything, but for what a good line of a registration has changed."""
        self.router.settle(*[link for link in self.router.links if not link.closed])
        for link in (self.authd, self.archived, self.c2sd):
            link.pump()
            assert not link.closed
            for frame in [frame for frame in link.frames if frame.type == "CAPS"]:
                link.frames.remove(frame)
            assert link in but or not link.frames, "%s got %s" % (link.role, link.frames)

    def refused(self, *patterns, silent=True):
        """The attack was dealt with, logged with such lines, and honest daemons got nothing of it."""
        if silent:
            self.silent()
        else:
            self.router.settle(*[link for link in self.router.links if not link.closed])
        said = self.said()
        for pattern in patterns:
            assert re.search(pattern, said), "no line with %r in:\n%s" % (pattern, said[-3000:])
        self.mark()

    def dropped(self, link, pattern):
        """The router has closed this link, has said why, and has told the supervisor."""
        try:
            link.await_closed()
        except Dropped:
            pass
        assert self.router.hear("LOST") == (link.role, link.index, link.incarnation)
        self.refused(pattern)
