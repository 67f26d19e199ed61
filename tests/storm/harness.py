"""harness.py: a storm: a suite, its clients, and who kills its processes.

    with Storm() as storm:              # a suite with clients that are logged in
        storm.chat(1000)                # messages a second
        storm.kill_at_random(10)        # seconds
        storm.end()                     # waits until all is quiet, stops, checks, prints the figures

Environment: STORM_LONG=1 for the long forms; STORM_SECONDS, STORM_CLIENTS, STORM_RATE and STORM_SEED
override what a scenario says.
"""

import os
import random
import re
import select
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import oracle
from suite import BUILD, ROOT, Broken, Suite, wait_until

LONG = bool(os.environ.get("STORM_LONG"))
SEED = int(os.environ.get("STORM_SEED") or random.SystemRandom().randrange(1_000_000_000))
TEST_TIME = 1800 if LONG else 120
TOOLS = ROOT / "build" / "tests" / "storm"
PASSWORD = "secret"
QUIET_TIME = 60         # seconds until all that was sent is acknowledged
WATCH_EVERY = 0.15      # seconds between looks at who has which connection
ORDINARY = re.compile("non-properly terminated|pull function|Connection re|Broken pipe")


def form(short, long, name=None):
    """What a scenario uses: by its form, or as the environment says."""
    if name and os.environ.get("STORM_" + name):
        return int(os.environ["STORM_" + name])
    return long if LONG else short


def settings_text():
    return "%s form, STORM_SEED=%d" % ("long" if LONG else "short", SEED)


def children(pid):
    """Live children of a process: name -> pid, as their title says."""
    found = {}
    try:
        pids = Path("/proc/%d/task/%d/children" % (pid, pid)).read_text().split()
    except OSError:
        return found
    for child in map(int, pids):
        try:
            title = Path("/proc/%d/cmdline" % child).read_bytes().partition(b"\0")[0].decode()
            state = Path("/proc/%d/stat" % child).read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if title.startswith("aldis-") and state not in "ZX":
            found[title.removeprefix("aldis-")] = child
    return found


def is_c2sd(name):
    """Whether a process is one, of whichever suite."""
    return name.rpartition(" ")[2].startswith("c2sd")


def memory(pid):
    """Resident bytes of a process that are its own: what is mapped from files can be taken away."""
    text = Path("/proc/%d/status" % pid).read_text()
    return int(re.search(r"^RssAnon:\s+(\d+) kB", text, re.M).group(1)) * 1024


class Owners:
    """Which process had which connection: port of the client -> [(time, pid)]. Only root can see that."""

    def __init__(self, ports):
        self.ports = ports      # of the suites
        self.seen = {}
        self.lock = threading.Lock()

    def connections(self):
        """inode -> the client's port, of the connections that the suites have."""
        found = {}
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].partition(":")[2], 16) in self.ports and fields[3] == "01":
                found[fields[9]] = int(fields[2].partition(":")[2], 16)
        return found

    def look(self, pid):
        """Notes what a process has now."""
        connections = self.connections()
        now = time.monotonic_ns()
        directory = "/proc/%d/fd" % pid
        with self.lock:
            for fd in os.listdir(directory):
                try:
                    inode = os.readlink("%s/%s" % (directory, fd))[8:-1]
                except OSError:
                    continue
                if inode in connections:
                    entries = self.seen.setdefault(connections[inode], [])
                    if not entries or entries[-1][1] != pid:
                        entries.append((now, pid))
                    else:
                        entries[-1] = (now, pid)


class Storm:
    """A suite and the clients that chat; or two that federate, of which each has every other client."""

    def __init__(self, clients=None, rate=None, body=60, suites=None, **options):
        """suites: domain -> Suite, else one is made with the options."""
        self.clients = form(clients or 60, clients or 200, "CLIENTS")
        self.body = body
        self.random = random.Random(SEED)
        self.suites = suites or {"localhost": Suite(**options)}
        self.suite = next(iter(self.suites.values()))
        self.kills = Counter()
        self.deaths = {}                # pid of a c2sd -> monotonic nanoseconds
        self.killed_at = []             # (name, monotonic nanoseconds)
        self.owners = Owners([s.tls_port for s in self.suites.values()]) if os.geteuid() == 0 else None
        self.quiet_time = QUIET_TIME
        self.process = None
        self.watching = False
        self.allowed = set()            # of oracle.WRONG, what this scenario may show
        self.rooms = 0                  # in which the clients are as well

    # -- life

    def __enter__(self):
        try:
            for suite in self.suites.values():
                suite.start()
            self.start_clients()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print("seed: STORM_SEED=%d" % SEED)
            for domain, suite in self.suites.items():
                lines = [line for line in suite.log_text().splitlines() if " info: session " not in line]
                print("\n".join([domain + ":", *lines[-40:]]))
        self.close()

    def close(self):
        self.watching = False
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for suite in self.suites.values():
            suite.end_processes()
            suite.remove()

    def start_clients(self):
        for i, (domain, suite) in enumerate(self.suites.items()):
            names = "".join("storm%05d@%s %s\n" % (n, domain, PASSWORD)
                            for n in range(i, self.clients, len(self.suites)))
            suite.ctl("user", "import", "-", input=names, seconds=60)
        self.journal = self.suite.directory / "journal"
        self.errors = self.suite.directory / "clients.err"
        servers = ",".join("%s:%d" % (domain, suite.tls_port) for domain, suite in self.suites.items())
        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(
                [TOOLS / "chatters", servers, str(self.clients), PASSWORD, str(self.body),
                 str(SEED), self.journal, str(self.rooms)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        self.expect("up", 30)
        if self.owners is not None:
            self.watching = True
            threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        while self.watching:
            for name, pid in self.processes().items():
                if is_c2sd(name):
                    try:
                        self.owners.look(pid)
                    except OSError:
                        pass            # it has died
            time.sleep(WATCH_EVERY)

    # -- the clients

    def tell(self, *words):
        """Gives chatters a command."""
        self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        self.process.stdin.flush()

    def expect(self, word, seconds):
        """Waits until chatters says a word."""
        end = time.monotonic() + seconds
        said = b""
        while not said.endswith(b"\n"):
            left = max(0, end - time.monotonic())
            if not select.select([self.process.stdout], [], [], left)[0]:
                raise Broken("clients are not %s within %d s\n%s" % (word, seconds, self.client_errors()))
            more = os.read(self.process.stdout.fileno(), 64)
            if not more:
                raise Broken("chatters has ended: %s\n%s" % (self.process.wait(), self.client_errors()))
            said += more
        if said.decode().strip() != word:
            raise Broken("chatters said %r instead of %s" % (said, word))

    def client_errors(self):
        """What was odd, but for the connections that ended with a c2sd."""
        lines = [line for line in self.errors.read_text(errors="replace").splitlines()
                 if not ORDINARY.search(line)]
        return "\n".join(lines[-30:])

    def timeline(self):
        """The last kills, as a failure shows them."""
        return "killed: " + ", ".join("%.3f %s" % (t / oracle.SECOND, name) for name, t in self.killed_at[-40:])

    def chat(self, rate, breaks=60):
        """Messages a second, and connections that are cut a minute."""
        self.tell("rate", form(rate, rate, "RATE"))
        self.tell("breaks", breaks)

    def records(self):
        """What the clients have seen so far."""
        self.tell("flush")
        self.expect("flushed", 10)
        return list(oracle.records(self.journal))

    def acknowledged(self):
        """How many messages are."""
        return sum(record[1] == oracle.ACKED for record in self.records())

    def note(self, what, value):
        """One more figure."""
        print("  %-48s %s" % (what, value), flush=True)

    # -- the processes

    def processes(self):
        """Processes but aldisd: name -> pid; log is the log role. Of two suites: with the domain, "a.test s2sd"."""
        found = {}
        for domain, suite in self.suites.items():
            if suite.process is not None:
                prefix = domain + " " if len(self.suites) > 1 else ""
                found.update((prefix + name, pid) for name, pid in children(suite.process.pid).items())
        return found

    def kill(self, name):
        """kill -9. Returns the pid and when, or None when there is no such process now."""
        pid = self.processes().get(name)
        if pid is None:
            return None
        if is_c2sd(name) and self.owners is not None:
            os.kill(pid, signal.SIGSTOP)    # so that it takes no more between the look and its death
            self.owners.look(pid)
        now = time.monotonic_ns()
        os.kill(pid, signal.SIGKILL)
        if is_c2sd(name):
            self.deaths[pid] = now
        domain, _, role = name.rpartition(" ")
        killed = self.suites.get(domain, self.suite).killed
        if role != "log":
            killed[role] = killed.get(role, 0) + 1
        self.kills[name] += 1
        self.killed_at.append((name, now))
        return pid, now

    def kill_at_random(self, seconds, pause=(0.1, 0.6), roles=None):
        """Kills a process again and again; roles: one of these, such as "s2sd"."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(self.random.uniform(*pause))
            names = sorted(n for n in self.processes() if roles is None or n.rpartition(" ")[2] in roles)
            if names:
                self.kill(self.random.choice(names))
            self.alive()

    def alive(self):
        for suite in self.suites.values():
            if suite.process.poll() is not None:
                raise Broken("aldisd has ended: %s" % suite.process.returncode)
        if self.process.poll() is not None:
            raise Broken("chatters has ended: %s" % self.process.returncode)

    def power_cut(self):
        """kill -9 of everything at once, and a new start with the same state."""
        supervisor = self.suite.process.pid
        os.kill(supervisor, signal.SIGSTOP)     # it starts nothing anew
        pids = self.processes()
        for name, pid in pids.items():
            if is_c2sd(name) and self.owners is not None:
                os.kill(pid, signal.SIGSTOP)
                self.owners.look(pid)
        now = time.monotonic_ns()
        for pid in [*pids.values(), supervisor]:
            os.kill(pid, signal.SIGKILL)
        self.suite.process.wait()
        self.deaths.update({pid: now for name, pid in pids.items() if is_c2sd(name)})
        self.kills["everything"] += 1
        self.suite.process.stdout.close()
        wait_until(lambda: not any(Path("/proc/%d" % p).exists() for p in pids.values()),
                   message="everything has ended")
        self.suite.start()

    # -- the end

    def settle(self):
        """Waits until all is up and acknowledged, and nothing waits for a receiver."""
        self.tell("rate", 0)
        self.tell("breaks", 0)
        self.tell("quiet")
        self.expect("quiet", self.quiet_time)
        for domain, suite in self.suites.items():
            wait_until(lambda: suite.counter("archived", "spool") == 0, self.quiet_time,
                       message="the spool of %s is empty" % domain)

    def dump(self, suite):
        directory = suite.directory / "state" / "archived"
        done = subprocess.run([TOOLS / "dump", directory], capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise Broken("the archive cannot be read: " + done.stderr)
        return oracle.read_dump(done.stdout)

    def end(self, title):
        """Waits, stops all, checks, prints the figures. Broken when something must not be."""
        problems = []
        try:
            self.settle()
        except AssertionError as problem:
            problems.append(str(problem))
            self.tell("who")
        self.tell("quit")
        if self.process.wait(20) != 0:
            problems.append("chatters ended with %s" % self.process.returncode)
        self.watching = False
        for suite in self.suites.values():
            try:
                suite.stop()
            except Broken as problem:
                problems.append(str(problem))
        verdict = oracle.check(oracle.records(self.journal), [self.dump(s) for s in self.suites.values()],
                               self.owners and self.owners.seen, self.deaths)
        problems += [p for p in verdict.problems() if p.partition(":")[0] not in self.allowed]
        self.print(title, verdict)
        if problems:
            raise Broken("\n".join(problems + [settings_text(), self.timeline(), self.client_errors()]))
        return verdict

    def print(self, title, verdict):
        kills = ", ".join("%s %d" % k for k in sorted(self.kills.items())) or "none"
        print("\n%s (%s)" % (title, settings_text()))
        for what, value in [("clients", self.clients), ("kills", sum(self.kills.values())), *verdict.figures()]:
            self.note(what, value)
        print("  killed: " + kills, flush=True)
