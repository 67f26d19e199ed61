"""Storms in rooms: processes are killed while the occupants talk. README.md says what is checked."""

import subprocess
import time

import oracle
import room_oracle
from harness import Broken, Storm, TOOLS, form, settings_text
from suite import wait_until

DOMAIN = "rooms.localhost"


class RoomStorm(Storm):
    """Clients that are each in one of some rooms."""

    def __init__(self, rooms, **options):
        super().__init__(rooms={DOMAIN: {"message-rate": "0"}}, **options)
        self.rooms = rooms

    def start_clients(self):
        for room in range(self.rooms):
            name = "room%02d@%s" % (room, DOMAIN)
            self.suite.ctl("room", "create", name, "keeper@localhost")
            self.suite.ctl("room", "configure", name, "persistentroom=1")
        super().start_clients()

    def clamour(self, rate, breaks=30):
        """Messages a second in all rooms together."""
        self.tell("clamour", form(rate, rate, "RATE"))
        self.tell("breaks", breaks)

    def settle(self):
        self.tell("clamour", 0)
        super().settle()
        self.suite.ctl("room", "list")      # mucd answers

    def end(self, title):
        """As Storm.end(); returns the oracle."""
        problems = []
        try:
            self.settle()
            wait_until(lambda: self.suite.counter("mucd", "outbox-waiting") == 0, 20, message="all has been taken")
            time.sleep(1)                   # what was taken reaches the clients
        except AssertionError as problem:
            problems.append(str(problem))
            self.tell("who")
        self.tell("quit")
        if self.process.wait(20) != 0:
            problems.append("chatters ended with %s" % self.process.returncode)
        self.watching = False
        try:
            self.suite.stop()
        except Broken as problem:
            problems.append(str(problem))
        done = subprocess.run([TOOLS / "dump", self.suite.directory / "state" / "archived"], capture_output=True,
                              text=True, timeout=120, check=True)
        judge = room_oracle.check(oracle.records(self.journal), *room_oracle.read_dump(done.stdout),
                                  self.owners and self.owners.seen, self.deaths)
        problems += judge.verdict.problems()
        judge.verdict.figures = judge.figures
        self.print(title, judge.verdict)
        if problems:
            raise Broken("\n".join(problems + [settings_text(), self.timeline(), self.client_errors()]))
        return judge


def test_rooms_in_turn():
    """mucd, router and archived are killed in turn while 200 occupants talk in 20 rooms: all stay in, nobody enters
    twice, and all hear everything once in the same order."""
    with RoomStorm(20, clients=200) as storm:
        storm.clamour(60)
        end = time.monotonic() + form(10, 180, "SECONDS")
        turn = 0
        while time.monotonic() < end:
            storm.kill(("mucd", "router", "archived")[turn % 3])
            turn += 1
            time.sleep(storm.random.uniform(0.3, 1.2))
            storm.alive()
        judge = storm.end("rooms, mucd, router and archived in turn")
        count = judge.verdict.count
        assert count["acked"] > 300 and count["entered"] == storm.clients, count
        assert count["seen to leave"] == 0, count


def test_rooms_at_random():
    """Any process but aldisd is killed: those whose session is lost come again and miss nothing that was said while
    they were there."""
    with RoomStorm(6, clients=60) as storm:
        storm.clamour(60)
        storm.kill_at_random(form(8, 180, "SECONDS"), pause=(0.2, 0.8))
        judge = storm.end("rooms, random kills")
        assert judge.verdict.count["acked"] > 100


def test_rooms_power_cut():
    """Everything is killed at once."""
    with RoomStorm(6, clients=60) as storm:
        storm.clamour(60)
        for _ in range(form(2, 10)):
            time.sleep(storm.random.uniform(0.6, 1.4))
            storm.power_cut()
        time.sleep(0.5)
        judge = storm.end("rooms, power cuts")
        assert judge.verdict.count["entered"] >= 2 * storm.clients
