"""oracle.py: decides whether a storm has harmed anything. No input or output but the reading of the journal.

    verdict = check(records(path), archives, owners, deaths)
    verdict.problems()      # what must not be: a list of texts, empty when all is well

What is checked, for messages that each have a sender, a receiver and a number:

- what was acknowledged to its sender is in the archive once, with a copy for each side, and its receiver has
  got it; what is in the archive, acknowledged or not, is there once and its receiver has got it;
- for each sender and receiver they were stored in the order of their numbers, and came first in that order;
  one to the full address may only come before those to the account in a session that has not sent presence
  for so long that the server does not wait for it any more;
- a message came twice only when the session in which it came first was lost with its c2sd;
- a connection was lost, and a session not resumed, only when its c2sd was killed, or the one that it was
  about to go to;
- every request was answered, unless its session was lost; no message was answered with an error;
- nothing is left on the spool.

There may be two servers, with an archive each. Client N is at server N modulo their number. A message from one to
the other is in both archives once, with the copy of the side that is there; all else is the same: that s2sd, the
router or archived was killed on either side is no reason for a message to come twice.
"""

import re
import struct
from collections import Counter, defaultdict
from dataclasses import dataclass, field

# As journal.c writes them and storm.h numbers them.
RECORD = struct.Struct("<QBBHIQ")
SENT, ACKED, GIVEN_UP, GOT, BOUNCED, UP, DOWN, REFUSED, ASKED, ANSWERED, SHOWN = range(1, 12)
NEW, RESUMED = range(2)
LOST, BROKEN, LEFT, FAILED, STUCK = range(5)

SECOND = 1_000_000_000
DEATH_TIME = 1 * SECOND     # a client may take to notice that its c2sd is gone
SEEN_TIME = 5 * SECOND      # the server waits for the first presence before a message to the full address
                            # may overtake those to the account
MARK = re.compile(r"storm ([0-9a-f]{8}) ([0-9a-f]{8}) ([0-9a-f]{8})")
EXAMPLES = 5                # shown of each problem


def records(path):
    """The records of a journal: (time, kind, how, client, peer, number)."""
    with open(path, "rb") as journal:
        data = journal.read()
    return RECORD.iter_unpack(data[:len(data) - len(data) % RECORD.size])


@dataclass
class Archive:
    """What archived had when it was stopped."""
    messages: list = field(default_factory=list)    # (id, sender, receiver, number), in the order of ids
    copies: Counter = field(default_factory=Counter)  # (client, id) -> how many
    spool: list = field(default_factory=list)       # (client, id)


def client_number(jid):
    """A client's number, or the address of what is none: the spool of another server."""
    local, _, domain = jid.partition("@")
    return int(local.removeprefix("storm")) if domain else jid


def read_dump(text):
    """The archive, from what the program dump has printed."""
    archive = Archive()
    lines = text.splitlines()
    if not lines or lines[-1] != "end":
        raise ValueError("the archive was not read to its end")
    for line in lines[:-1]:
        what, first, second = line.split(" ", 3)[:3]
        if what == "message":
            mark = MARK.search(line)
            sender, receiver, number = (int(n, 16) for n in mark.groups())
            archive.messages.append((first, sender, receiver, number))
        elif what == "copy":
            archive.copies[client_number(first), second] += 1
        else:
            archive.spool.append((client_number(first), second))
    return archive


@dataclass
class Session:
    """What is known of a client."""
    generation: int = 0
    port: int = 0
    ports: list = field(default_factory=list)   # (port, when it began) of its last connections
    tried: list = field(default_factory=list)   # the same, of those by which it was not resumed
    waiting: dict = field(default_factory=dict)  # requests
    began: int = 0      # when it was about to be bound
    shown: bool = False  # its first presence is acknowledged

    def begin_anew(self, time):
        self.generation += 1
        self.began = time
        self.shown = False
        self.waiting.clear()


class Verdict:
    """The figures of a storm, and what was wrong with it."""

    def __init__(self):
        self.count = Counter()
        self.wrong = defaultdict(list)   # what -> examples
        self.longest_ack = self.longest_delivery = 0
        self.again = 0                   # came twice, as they may

    def add(self, what, *example):
        self.wrong[what].append(example)

    def problems(self):
        return ["%s: %d, such as %s" % (what, len(examples), ", ".join(map(str, examples[:EXAMPLES])))
                for what, examples in sorted(self.wrong.items())]

    def figures(self):
        """Lines to print."""
        number = {what: len(self.wrong[what]) for what in WRONG}
        c = self.count
        lines = [("messages sent", c["sent"]), ("acknowledged", c["acked"]),
                 ("of unknown fate, their session being lost", c["given up"]), ("stored", c["stored"]),
                 ("delivered", c["delivered"]), ("connections made", c["up"]), ("sessions resumed", c["resumed"]),
                 ("connections lost with their c2sd", c["lost with c2sd"]),
                 ("logins that failed and were tried again", c["failed"]), ("requests", c["asked"]),
                 ("answered again by another router", c["answered again"]),
                 ("overtaken while presence was awaited for 5 s", c["overtaken"])]
        lines += [(what, number[what]) for what in WRONG]
        lines += [("delivered again after their c2sd was killed", self.again),
                  ("longest wait for an acknowledgement, s", "%.3f" % (self.longest_ack / SECOND)),
                  ("longest wait for a delivery, s", "%.3f" % (self.longest_delivery / SECOND))]
        return lines


# Everything that must be 0.
WRONG = ("lost", "not in the archive", "doubled", "doubled in the archive", "disordered",
         "disordered in the archive", "invented", "bounced", "unexpected disconnects", "logins stuck",
         "sessions lost for no reason", "requests unanswered", "left on the spool", "copies missing")


class Oracle:
    """Reads the journal from its begin to its end."""

    def __init__(self, owners, deaths):
        self.owners = owners    # port -> [(time, pid)], None: not known
        self.deaths = deaths    # pid of a c2sd -> when it was killed
        self.verdict = Verdict()
        self.sessions = defaultdict(Session)
        self.sent = {}          # (sender, number) -> (time, receiver, whether to its full address)
        self.acked = set()
        self.got = {}           # (sender, number) -> generation of the receiver's session
        self.last = {}          # (sender, receiver) -> highest number that came, whether that was early
        self.lost_at = {}       # client -> generation up to which sessions were lost with their c2sd

    # -- who was killed

    def died(self, connection, since, until):
        """Whether the c2sd that had a connection was killed in a time."""
        port, began = connection
        if self.owners is None:
            return any(since <= t <= until for t in self.deaths.values())
        pids = {pid for t, pid in self.owners.get(port, ()) if t >= began}
        return any(since <= self.deaths[pid] <= until for pid in pids if pid in self.deaths)

    # -- records

    def on_sent(self, time, how, client, peer, number):
        self.sent[client, number] = (time, peer, bool(how))
        self.verdict.count["sent"] += 1

    def on_acked(self, time, how, client, peer, number):
        self.acked.add((client, number))
        self.verdict.count["acked"] += 1
        self.verdict.longest_ack = max(self.verdict.longest_ack, time - self.sent[client, number][0])

    def on_given_up(self, time, how, client, peer, number):
        self.verdict.count["given up"] += 1

    def on_got(self, time, how, client, peer, number):
        message = (peer, number)
        sent = self.sent.get(message)
        if sent is None or sent[1] != client or how:
            self.verdict.add("invented", peer, client, number)
            return
        generation = self.sessions[client].generation
        if message in self.got:
            if self.got[message] < generation and self.lost_at.get(client, -1) >= self.got[message]:
                self.verdict.again += 1
            else:
                self.verdict.add("doubled", peer, client, number)
            return
        self.got[message] = generation
        self.verdict.count["delivered"] += 1
        self.verdict.longest_delivery = max(self.verdict.longest_delivery, time - sent[0])
        self.check_order(time, (peer, client), number, sent[2])

    def check_order(self, time, pair, number, full):
        """A message came for the first time."""
        last, early = self.last.get(pair, (0, False))
        session = self.sessions[pair[1]]
        if number > last:
            early = full and not session.shown and time > session.began + SEEN_TIME
            self.last[pair] = number, early
        elif early and not full:
            self.verdict.count["overtaken"] += 1
        else:
            self.verdict.add("disordered", *pair, number, last)

    def on_shown(self, time, how, client, peer, number):
        self.sessions[client].shown = True

    def on_bounced(self, time, how, client, peer, number):
        self.verdict.add("bounced", client, peer, number)

    def on_up(self, time, how, client, port, began):
        session = self.sessions[client]
        if how == NEW:
            session.ports = []
        else:
            self.verdict.count["resumed"] += 1
        session.ports = session.ports[-2:] + [(port, began)]
        session.tried = []
        self.verdict.count["up"] += 1

    def on_down(self, time, how, client, port, began):
        session = self.sessions[client]
        if how == LOST:
            if self.died(session.ports[-1], time - DEATH_TIME, time):
                self.verdict.count["lost with c2sd"] += 1
            else:
                self.verdict.add("unexpected disconnects", client, port, time / SECOND)
        elif how == LEFT:
            session.begin_anew(time)
        elif how == FAILED:
            self.verdict.count["failed"] += 1
            session.tried.append((port, began))
        elif how == STUCK:
            self.verdict.add("logins stuck", client, port, time / SECOND)

    def on_refused(self, time, how, client, port, number):
        session = self.sessions[client]
        self.verdict.count["refused"] += 1
        if any(self.died(c, c[1], time) for c in session.ports + session.tried):
            self.lost_at[client] = session.generation
        else:
            self.verdict.add("sessions lost for no reason", client, session.ports, time / SECOND)
        session.begin_anew(time)

    def on_asked(self, time, how, client, peer, number):
        self.sessions[client].waiting[number] = (how, time)
        self.verdict.count["asked"] += 1

    def on_answered(self, time, how, client, peer, number):
        if self.sessions[client].waiting.pop(number, None) is None:
            self.verdict.count["answered again"] += 1

    # -- the end

    def check_archive(self, archive, index, servers):
        """One server's. Returns its messages: {(sender, number)}."""
        verdict = self.verdict
        verdict.count["stored"] += len(archive.messages)
        stored = Counter()
        last = {}
        for id, sender, receiver, number in archive.messages:
            here = {client for client in (sender, receiver) if client % servers == index}
            stored[sender, number] += 1
            if self.sent.get((sender, number), (0, None))[1] != receiver or not here:
                verdict.add("invented", sender, receiver, number, id)
            if stored[sender, number] > 1:
                verdict.add("doubled in the archive", sender, receiver, number, id)
            elif number < last.get((sender, receiver), 0):
                verdict.add("disordered in the archive", sender, receiver, number, id)
            last[sender, receiver] = max(number, last.get((sender, receiver), 0))
            if any(archive.copies[client, id] != (client in here) for client in (sender, receiver)):
                verdict.add("copies missing", sender, receiver, number, id)
        for place in archive.spool:
            verdict.add("left on the spool", *place)
        return stored.keys()

    def check_archives(self, archives):
        """All of them: a message that one has is in those of both sides."""
        stored = [self.check_archive(archive, i, len(archives)) for i, archive in enumerate(archives)]
        known = self.acked.union(*stored)
        for sender, number in sorted(known):
            receiver = self.sent.get((sender, number), (0, sender))[1]
            if any((sender, number) not in stored[client % len(archives)] for client in {sender, receiver}):
                self.verdict.add("not in the archive", sender, receiver, number)
        for message in sorted(known - self.got.keys()):
            self.verdict.add("lost", message[0], self.sent.get(message, (0, None))[1], message[1])

    def check_requests(self):
        for client, session in self.sessions.items():
            for number, (how, time) in session.waiting.items():
                self.verdict.add("requests unanswered", client, number, ("router", "authd")[how], time / SECOND)


HANDLERS = {SENT: Oracle.on_sent, ACKED: Oracle.on_acked, GIVEN_UP: Oracle.on_given_up, GOT: Oracle.on_got,
            BOUNCED: Oracle.on_bounced, UP: Oracle.on_up, DOWN: Oracle.on_down, REFUSED: Oracle.on_refused,
            ASKED: Oracle.on_asked, ANSWERED: Oracle.on_answered,
            SHOWN: Oracle.on_shown}


def check(journal, archives, owners, deaths):
    """The verdict about a storm. archives: of each server; owners: port -> [(time, pid)] of connections, or None; deaths: pid -> time."""
    oracle = Oracle(owners, deaths)
    for time, kind, how, client, peer, number in journal:
        HANDLERS[kind](oracle, time, how, client, peer, number)
    oracle.check_archives(archives)
    oracle.check_requests()
    return oracle.verdict
