"""room_oracle.py: decides whether a storm has harmed what was said in rooms. As oracle.py, which it builds on.

What is checked, for messages that each have a speaker, a room and a number:

- what was acknowledged is in the archive of its room once; what is in an archive is there once, and those of a
  speaker are in the order of their numbers;
- what a client heard from when it entered its room until its session was lost is a piece of the archive without
  gaps, in its order, each message once: first the history that it asked for, then what was said since; and
  clients that are there in the end have heard the last message. So all have heard the same in the same order;
- nobody entered a room twice in one session, or was put out of it;
- what oracle.py checks of connections and sessions.
"""

import re
from collections import Counter, defaultdict

import oracle
from oracle import Oracle

SPOKEN, HEARD, ENTERED, EXCLUDED, SEEN = range(12, 17)
HISTORY = 10    # as room.c asks for
MARK = re.compile(r"clamour ([0-9a-f]{8}) ([0-9a-f]{8}) ([0-9a-f]{8})")

WRONG = ("lost", "not in the archive", "doubled in the archive", "disordered in the archive", "copies missing",
         "invented", "bounced", "heard twice or out of order", "not heard", "history too short", "entered again",
         "put out of the room", "unexpected disconnects", "logins stuck", "sessions lost for no reason")


def read_dump(text):
    """What archived has of rooms: room -> [(id, speaker, number)] in the order of ids, and copies by id."""
    said = defaultdict(list)
    copies = Counter()
    lines = text.splitlines()
    if not lines or lines[-1] != "end":
        raise ValueError("the archive was not read to its end")
    for line in lines[:-1]:
        what, first, second = line.split(" ", 3)[:3]
        if what == "message":
            speaker, room, number = (int(n, 16) for n in MARK.search(line).groups())
            said[room].append((first, speaker, number))
        elif what == "copy":
            copies[second] += 1
    return said, copies


class RoomOracle(Oracle):
    """Reads the journal from its begin to its end."""

    def __init__(self, owners, deaths):
        super().__init__(owners, deaths)
        self.spoken = {}                # (client, number) -> (time, room)
        self.inside = {}                # client -> generation of its session in which it entered
        self.runs = defaultdict(list)   # client -> [[(whether of the past, speaker, number)]]
        self.room_of = {}
        self.latency = []

    def on_spoken(self, time, how, client, room, number):
        self.spoken[client, number] = (time, room)
        self.verdict.count["spoken"] += 1

    def on_acked(self, time, how, client, peer, number):
        self.acked.add((client, number))
        self.verdict.count["acked"] += 1
        self.verdict.longest_ack = max(self.verdict.longest_ack, time - self.spoken[client, number][0])

    def on_entered(self, time, how, client, room, number):
        generation = self.sessions[client].generation
        if self.inside.get(client) == generation:
            self.verdict.add("entered again", client, room, time / oracle.SECOND)
        self.inside[client] = generation
        self.room_of[client] = room
        self.runs[client].append([])
        self.verdict.count["entered"] += 1

    def on_excluded(self, time, how, client, room, number):
        self.verdict.add("put out of the room", client, room, time / oracle.SECOND)

    def on_seen(self, time, how, client, room, number):
        self.verdict.count["seen to leave" if how else "seen to come"] += 1

    def on_heard(self, time, how, client, speaker, number):
        if (speaker, number) not in self.spoken or not self.runs[client]:
            self.verdict.add("invented", speaker, client, number)
            return
        self.runs[client][-1].append((how, speaker, number))
        self.verdict.count["heard"] += 1
        if not how:
            took = time - self.spoken[speaker, number][0]
            self.latency.append(took)
            self.verdict.longest_delivery = max(self.verdict.longest_delivery, took)

    # -- the end

    def check_rooms(self, said, copies):
        position = {}
        for room, messages in said.items():
            last = {}
            for id, speaker, number in messages:
                self.verdict.count["stored"] += 1
                if self.spoken.get((speaker, number), (0, None))[1] != room:
                    self.verdict.add("invented", speaker, room, number, id)
                if (speaker, number) in position:
                    self.verdict.add("doubled in the archive", speaker, room, number, id)
                    continue
                if number < last.get(speaker, 0):
                    self.verdict.add("disordered in the archive", speaker, room, number, id)
                if copies[id] != 1:
                    self.verdict.add("copies missing", room, id, copies[id])
                last[speaker] = number
                position[speaker, number] = len(position)
            for index, message in enumerate(dict.fromkeys(m[1:] for m in messages)):
                position[message] = index
        for message in sorted(self.acked - position.keys()):
            self.verdict.add("not in the archive", *message)
        for client, runs in self.runs.items():
            for run in runs:
                self.check_run(client, run, position)
            self.check_end(client, runs[-1], said, position)

    def check_run(self, client, run, position):
        """What a client heard in one stay."""
        past = [m for m in run if m[0]]
        before = None
        for index, (how, speaker, number) in enumerate(run):
            at = position.get((speaker, number))
            if at is None:
                self.verdict.add("invented", speaker, client, number)
                continue
            if before is None and index == len(past) and at > 0:
                self.verdict.add("history too short", client, at, 0)
            elif index == len(past) and not how and len(past) < min(at, HISTORY):
                self.verdict.add("history too short", client, at, len(past))
            if before is not None and at <= before:
                self.verdict.add("heard twice or out of order", client, speaker, number, at, before)
            elif before is not None and at > before + 1:
                self.verdict.add("not heard", client, at - before - 1, speaker, number)
            before = at if before is None else max(at, before)

    def check_end(self, client, run, said, position):
        """The last thing that was said has reached those who are there."""
        if self.inside.get(client) != self.sessions[client].generation:
            self.verdict.add("put out of the room", client, self.room_of[client])
            return
        messages = said.get(self.room_of[client], [])
        if messages and (not run or position.get(run[-1][1:]) != position[messages[-1][1:]]):
            self.verdict.add("lost", client, run[-1:], messages[-1])

    def figures(self):
        c = self.verdict.count
        took = sorted(self.latency) or [0]
        lines = [("messages spoken", c["spoken"]), ("acknowledged", c["acked"]), ("stored", c["stored"]),
                 ("heard", c["heard"]), ("entered", c["entered"]), ("seen to come", c["seen to come"]),
                 ("seen to leave", c["seen to leave"]), ("sessions resumed", c["resumed"]),
                 ("connections lost with their c2sd", c["lost with c2sd"])]
        lines += [(what, len(self.verdict.wrong[what])) for what in WRONG]
        lines += [("heard after, median, ms", "%.2f" % (took[len(took) // 2] / 1e6)),
                  ("heard after, 99 of 100, ms", "%.2f" % (took[len(took) * 99 // 100] / 1e6)),
                  ("longest wait for an acknowledgement, s", "%.3f" % (self.verdict.longest_ack / oracle.SECOND)),
                  ("longest until it was heard, s", "%.3f" % (self.verdict.longest_delivery / oracle.SECOND))]
        return lines


HANDLERS = {**oracle.HANDLERS, SPOKEN: RoomOracle.on_spoken, HEARD: RoomOracle.on_heard,
            ENTERED: RoomOracle.on_entered, EXCLUDED: RoomOracle.on_excluded, SEEN: RoomOracle.on_seen,
            oracle.ACKED: RoomOracle.on_acked}


def check(journal, said, copies, owners, deaths):
    """The oracle after it has read everything; its verdict tells what was wrong."""
    judge = RoomOracle(owners, deaths)
    for time, kind, how, client, peer, number in journal:
        HANDLERS[kind](judge, time, how, client, peer, number)
    judge.check_rooms(said, copies)
    return judge
