"""suite.py: starts a whole suite in a temporary directory, for tests.

    with Suite(c2s={"login-time": 2}) as suite:
        juliet = suite.account("juliet")           # "juliet@localhost"; its password is suite.password(juliet)
        client = suite.login(juliet, "balcony")    # a raw.Client with a bound resource
        suite.ctl("session", "list")               # what aldisctl --json says, parsed
        suite.kill("router")                       # kill -9, and waits until the next one is ready

Options are given by section, as in aldis.conf(5): top (a dictionary for the top of the file), c2s, s2s, auth,
archive, and domains, components, peers and rooms (name -> dictionary of options of that one). Everything listens on
127.0.0.1, on ports that were free; there is no federation unless s2s says so, and components have their port
(component_port) when there are some. ALDIS_BUILD names the build directory (build, build-asan); ALDIS_KEEP=1 keeps the
temporary directory.

Names of processes are those of "aldisctl status": router, authd, archived, c2sd.0, c2sd.1, ...

stop() stops the suite and raises Broken when a process of it is left, when one was restarted that the
test did not kill, or when the log has a panic, a sanitizer's report or a refused system call.
"""

import asyncio
import atexit
import ctypes
import itertools
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

import raw

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / os.environ.get("ALDIS_BUILD", "build")
SANITIZED = "asan" in BUILD.name
SLOW = 4 if SANITIZED else 1       # what takes a time may take so many times that
START_TIME = 20 * SLOW
WAIT_TIME = 10 * SLOW

# Lines of the log that no test may cause.
ALARMS = re.compile(
    r"panic|Sanitizer|runtime error:|system call (refused|unknown)|sandbox failed|frame refused"
    r"|link malformed|status=127", re.I)

names = itertools.count(1)


class Broken(AssertionError):
    """The suite did what it must never do."""


class CommandFailed(Exception):
    """aldisctl failed: status, and what it said."""

    def __init__(self, status, text):
        super().__init__("aldisctl: %s (status %d)" % (text.strip(), status))
        self.status = status
        self.text = text


# -- small helpers ----------------------------------------------------------------------------------


def wait_until(what, seconds=WAIT_TIME, pause=0.02, message="condition"):
    """Calls what() until it is true, and returns that; AssertionError after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("%s: not within %.1f s" % (message, seconds))
        time.sleep(pause)


def run_async(coroutine, seconds=30):
    """Runs a coroutine to its end, for at most so many seconds; there is no plugin for that."""
    async def bounded():
        return await asyncio.wait_for(coroutine, seconds * SLOW)
    return asyncio.run(bounded())


def free_ports(count):
    """Ports of 127.0.0.1 that nobody uses, from below those that the kernel gives to clients."""
    found = []
    while len(found) < count:
        port = random.randrange(10000, 32000)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def die_with_parent():
    """In a child before exec: SIGTERM when the test process goes."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)


certificates = {}  # (domain, kind) -> (certificate, key), made once in a test process
certificate_directory = None


KEYS = {  # kind of a key -> how openssl makes it
    "ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "p384": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "ed25519": ["-newkey", "ed25519"],
    "rsa": ["-newkey", "rsa:2048"],
    "rsa-pss": ["-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"],
}


def make_certificate(domain, kind="ec"):
    """A self-signed certificate and its key for a domain. kind: of KEYS, with words before it for another of
    that kind."""
    global certificate_directory
    if certificate_directory is None:
        certificate_directory = tempfile.mkdtemp(prefix="aldis-pki-")
        atexit.register(shutil.rmtree, certificate_directory, True)
    if (domain, kind) not in certificates:
        ascii_name = domain.encode("idna").decode()
        certificate = Path(certificate_directory, "%s-%s.pem" % (ascii_name, kind.replace(" ", "-")))
        key = certificate.with_suffix(".key")
        subprocess.run(
            ["openssl", "req", "-x509", *KEYS[kind.split()[-1]], "-nodes", "-days", "30", "-subj", "/CN=" + ascii_name,
             "-addext", "subjectAltName=DNS:" + ascii_name, "-keyout", str(key), "-out", str(certificate)],
            check=True, capture_output=True, timeout=60)
        certificates[domain, kind] = str(certificate), str(key)
    return certificates[domain, kind]


# -- the suite --------------------------------------------------------------------------------------

# Failed logins of one test must not slow another's: those that test that set their own limits.
DEFAULTS = {
    "top": {"log-level": "info", "user-prefix": ""},
    "c2s": {"workers": 2},
    "s2s": {"federation": False},
    "auth": {"iterations": 4096, "failures-address": 1000000, "failures-account": 1000000},
    "archive": {"size": "1G"},
}
DOMAINS = {"localhost": {}, "example.test": {"registration": "yes", "kind": "rsa"}}


def value_text(value):
    """A value as aldis.conf has it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return "{%s}" % ", ".join('"%s"' % v for v in value)
    return '"%s"' % value


class Suite:
    """One suite: its processes, files and accounts."""

    def __init__(self, top=None, c2s=None, s2s=None, auth=None, archive=None, domains=None, components=None,
                 peers=None, environment=None, user=None, push=None, rooms=None):
        """environment: more variables. user: a uid that runs it, for root."""
        self.options = {
            "top": {**DEFAULTS["top"], **(top or {})},
            "c2s": {**DEFAULTS["c2s"], **(c2s or {})},
            "s2s": {**DEFAULTS["s2s"], **(s2s or {})},
            "auth": {**DEFAULTS["auth"], **(auth or {})},
            "archive": {**DEFAULTS["archive"], **(archive or {})},
            "push": push or {},
        }
        self.domains = domains or DOMAINS
        self.components = components or {}
        self.peers = peers or {}
        self.rooms = rooms or {}
        self.variables = environment or {}
        self.user = user
        self.programs = BUILD / "bin"
        self.directory = Path(tempfile.mkdtemp(prefix="aldis-"))
        self.log = self.directory / "log"
        self.log_seen = 0
        self.port, self.tls_port, self.server_port, self.component_port = free_ports(4)
        self.process = None
        self.passwords = {}
        self.killed = {}        # process -> how often the test has killed it
        self.clients = []
        self.socket = self.directory / "control"
        self.ca = self.directory / "ca.pem"
        self.write_config()
        if user is not None:
            self.give_away()

    # -- files

    def give_away(self):
        """Makes all of it, and copies of the programs and keys, readable for the user and writable."""
        self.programs = self.directory / "bin"
        shutil.copytree(BUILD / "bin", self.programs)
        text = self.config.read_text()
        for name, key in re.findall(r'^\t(certificate|key) = "(.*)"$', text, re.M):
            shutil.copy(key, self.directory)
            text = text.replace('"%s"' % key, '"%s"' % (self.directory / Path(key).name))
        self.config.write_text(text)
        for path in [self.directory, *self.directory.rglob("*")]:
            os.chown(path, self.user, self.user)

    def write_config(self):
        """Writes aldis.conf from self.options; after a change reload() makes the suite use it."""
        lines = []
        top = {"state-directory": self.directory / "state", "control-socket": self.socket,
               "pid-file": self.directory / "pid", "log": self.log, **self.options["top"]}
        (self.directory / "state").mkdir(exist_ok=True)
        self.log.touch()
        lines += ["%s = %s" % (k, value_text(v)) for k, v in top.items()]
        roots = ""
        for name, options in self.domains.items():
            options = dict(options)
            certificate, key = make_certificate(name, options.pop("kind", "ec"))
            roots += Path(certificate).read_text()
            options = {"certificate": certificate, "key": key, **options}
            lines += ['domain "%s" {' % name]
            lines += ["\t%s = %s" % (k, value_text(v)) for k, v in options.items()] + ["}"]
        c2s = {"listen": ["127.0.0.1:%d" % self.port], "listen-tls": ["127.0.0.1:%d" % self.tls_port]}
        s2s = {"listen": ["127.0.0.1:%d" % self.server_port] if self.options["s2s"]["federation"] else [],
               "listen-component": ["127.0.0.1:%d" % self.component_port] if self.components else []}
        sections = [("c2s", {**c2s, **self.options["c2s"]}), ("s2s", {**s2s, **self.options["s2s"]}),
                    ("auth", self.options["auth"]), ("archive", self.options["archive"]), ("push", self.options["push"])]
        sections += [('component "%s"' % name, options) for name, options in self.components.items()]
        sections += [('peer "%s"' % name, options) for name, options in self.peers.items()]
        sections += [('rooms "%s"' % name, options) for name, options in self.rooms.items()]
        for section, options in sections:
            lines += [section + " {"]
            lines += ["\t%s = %s" % (k, value_text(v)) for k, v in options.items()] + ["}"]
        self.ca.write_text(roots)
        self.config = self.directory / "aldis.conf"
        self.config.write_text("\n".join(lines) + "\n")

    def log_text(self, since=0):
        with open(self.log, "rb") as f:
            f.seek(since)
            return f.read().decode(errors="replace")

    # -- life

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.end_processes()
            self.remove()
            raise

    def __exit__(self, kind, value, trace):
        try:
            self.stop()
        finally:
            self.remove()

    def remove(self):
        if not os.environ.get("ALDIS_KEEP"):
            shutil.rmtree(self.directory, ignore_errors=True)

    def environment(self):
        asan = "abort_on_error=0:detect_leaks=0:handle_abort=0"
        return {**os.environ, "ALDIS_SECCOMP": "log",
                "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", asan),
                "UBSAN_OPTIONS": os.environ.get("UBSAN_OPTIONS", "print_stacktrace=1"), **self.variables}

    def before_start(self):
        """In the child, before it becomes aldisd."""
        if self.user is not None:
            os.setgroups([])
            os.setresgid(self.user, self.user, self.user)
            os.setresuid(self.user, self.user, self.user)
        die_with_parent()

    def start(self):
        """Starts the suite and waits until it is ready."""
        errors = open(self.directory / "aldisd.err", "ab")
        self.process = subprocess.Popen(
            [str(self.programs / "aldisd"), "-f", "-c", str(self.config)], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=errors, start_new_session=True, env=self.environment(),
            preexec_fn=self.before_start, cwd=self.directory)
        errors.close()
        self.killed = {}
        end = time.monotonic() + START_TIME
        said = b""
        while b"\n" not in said.partition(b"ready: ")[2]:
            left = end - time.monotonic()
            readable = left > 0 and select.select([self.process.stdout], [], [], left)[0]
            more = os.read(self.process.stdout.fileno(), 4096) if readable else b""
            if not more:
                raise Broken("aldisd is not ready (%s): %r\n%s\n%s" % (
                    "it ended" if readable else "no answer in time", said,
                    (self.directory / "aldisd.err").read_text(errors="replace"), self.log_text()[-6000:]))
            said += more
        self.said = said.decode()
        return self

    def stop(self):
        """Stops the suite as SIGTERM does; raises Broken when it was not as it must be."""
        for client in self.clients:
            client.close()
        self.clients.clear()
        problems = []
        if self.process is not None and self.process.poll() is None:
            problems += self.restart_problems()
        elif self.process is not None:
            problems.append("aldisd had ended, status %s" % self.process.returncode)
        problems += self.end_processes()
        problems += self.log_problems()
        if problems:
            raise Broken("; ".join(problems))

    def end_processes(self):
        """Stops everything, at last by force. Returns what was wrong."""
        problems = []
        if self.process is None:
            return problems
        session = self.process.pid
        if self.process.poll() is None:
            self.process.terminate()
            try:
                if self.process.wait(WAIT_TIME) != 0:
                    problems.append("aldisd ended with status %d" % self.process.returncode)
            except subprocess.TimeoutExpired:
                problems.append("aldisd does not stop")
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        self.process = None
        try:
            wait_until(lambda: not session_processes(session), 5 * SLOW)
        except AssertionError:
            left = session_processes(session)
            problems.append("processes are left: %s" % left)
            for pid in left:
                os.kill(pid, signal.SIGKILL)
        return problems

    def restart(self):
        """Stops all and starts again with the same state."""
        self.stop()
        self.start()

    # -- what must not be

    def restart_problems(self):
        try:
            processes = self.status()
        except (CommandFailed, subprocess.TimeoutExpired) as reason:
            return ["no status: %s" % reason]
        return ["%s was restarted %d times instead of %d" % (n, p["restarts"], self.killed.get(n, 0))
                for n, p in processes.items() if p["restarts"] != self.killed.get(n, 0)]

    def log_problems(self):
        """Lines since the last call that must not be in the log."""
        text = self.log_text(self.log_seen)
        self.log_seen += len(text.encode(errors="replace"))
        errors = self.directory / "aldisd.err"
        if errors.exists():
            text += "".join(line + "\n" for line in errors.read_text(errors="replace").splitlines()
                            if ALARMS.search(line))
        return ["log: " + line for line in text.splitlines() if ALARMS.search(line)][:20]

    def check(self):
        """Raises Broken when something went wrong so far. Called after each test."""
        problems = self.log_problems()
        if self.process is not None and self.process.poll() is not None:
            problems.append("aldisd has ended, status %s" % self.process.returncode)
        elif self.process is not None:
            problems += self.restart_problems()
        if problems:
            raise Broken("; ".join(problems))

    # -- aldisctl

    def ctl(self, *words, input=None, json_output=True, seconds=WAIT_TIME):
        """Has aldisctl do a command. Returns what its JSON says; CommandFailed when it fails."""
        command = [str(BUILD / "bin/aldisctl"), "-s", str(self.socket)]
        if json_output:
            command.append("--json")
        done = subprocess.run(command + list(words), input=input, capture_output=True, text=True,
                              timeout=seconds, env=self.environment(),
                              stdin=subprocess.DEVNULL if input is None else None)
        if done.returncode != 0:
            raise CommandFailed(done.returncode, done.stderr or done.stdout)
        if not json_output:
            return done.stdout
        return json.loads(done.stdout) if done.stdout.strip() else None

    def status(self):
        """Processes by name: dictionaries with state, pid, restarts, since."""
        return {p["process"]: p for p in self.ctl("status")}

    def counter(self, process, name):
        """What a process has counted; 0 when it does not show it."""
        for c in self.ctl("show", "counters"):
            if c["process"] == process and c["counter"] in (name, name.replace("_", "-")):
                return c["value"]
        return 0

    def sessions(self, jid=None):
        """Sessions by full JID: dictionaries as "session list" has them."""
        return {s["session"]: s for s in self.ctl("session", "list", *([jid] if jid else []))}

    # -- processes

    def pid(self, name):
        return self.status()[name]["pid"]

    def kill(self, name, wait=True):
        """kill -9 for a daemon. Waits until its successor runs, and returns its pid."""
        old = self.pid(name)
        self.killed[name] = self.killed.get(name, 0) + 1
        os.kill(old, signal.SIGKILL)
        return self.await_running(name, old) if wait else old

    def await_running(self, name, old):
        """Waits until a process runs whose pid is not the old one. Returns its pid."""
        def running():
            try:
                process = self.status().get(name)
            except CommandFailed:  # the router itself is away
                return None
            return process and process["state"] == "running" and process["pid"] != old and process["pid"]
        return wait_until(running, message="%s runs again" % name)

    def memory(self, name):
        """Resident bytes of a process."""
        text = Path("/proc/%d/status" % self.pid(name)).read_text()
        return int(re.search(r"^VmRSS:\s+(\d+) kB", text, re.M).group(1)) * 1024

    # -- accounts

    def account(self, name=None, domain="localhost", password=None):
        """Makes an account; without a name one that no other test has. Returns its bare JID."""
        jid = "%s@%s" % (name or "user%d" % next(names), domain)
        password = password or "secret of " + jid
        def add():
            try:
                self.ctl("user", "add", jid, input=password + "\n")
            except CommandFailed as failure:  # an account of that name was deleted just now
                if "try again" not in failure.text:
                    raise
                return False
            return True
        wait_until(add, message="%s can be made" % jid)
        self.passwords[jid] = password
        return jid

    def accounts(self, *wanted, domain="localhost"):
        """Makes several accounts with one call: by number, or by names. Returns bare JIDs."""
        if len(wanted) == 1 and isinstance(wanted[0], int):
            wanted = ["user%d" % next(names) for _ in range(wanted[0])]
        jids = ["%s@%s" % (name, domain) for name in wanted]
        for jid in jids:
            self.passwords[jid] = "secret of " + jid
        self.ctl("user", "import", "-", input="".join("%s %s\n" % (j, self.passwords[j]) for j in jids))
        return jids

    def password(self, jid):
        return self.passwords[jid.partition("/")[0]]

    # -- clients

    def connect(self, direct=False, source=None, **options):
        """A raw.Client that is connected and has sent nothing; direct: to the port for direct TLS (the
        handshake is the test's). source: address of 127.0.0.0/8 to come from."""
        client = raw.Client("127.0.0.1", self.tls_port if direct else self.port, source=source,
                            timeout=raw.TIMEOUT * SLOW, **options)
        self.clients.append(client)
        return client

    def secured(self, domain="localhost", **options):
        """A client after TLS, before the header in it."""
        client = self.connect(**options)
        client.starttls(domain)
        return client

    def stream(self, domain="localhost", **options):
        """A raw.Client after STARTTLS and the second header; client.features says what it may do."""
        client = self.connect(**options)
        client.starttls(domain)
        client.open(domain)
        return client

    def login(self, jid, resource=None, mechanism="SCRAM-SHA-256", password=None, available=None,
              worker=None, **options):
        """A raw.Client that is logged in and has a resource. available: a priority with which to send
        presence. worker: number of the c2sd that it must be at."""
        for _ in range(100):
            client = self.stream(jid.partition("@")[2], **options)
            client.login(jid, password or self.password(jid), resource, mechanism)
            if worker is None or self.sessions(jid)[client.jid]["c2sd"] == worker:
                break
            client.end()
        else:
            raise AssertionError("no connection was taken by c2sd.%d" % worker)
        if available is not None:
            client.available(available)
        return client

    def tls_context(self):
        """An ssl.SSLContext that trusts the domains' certificates."""
        context = ssl.create_default_context(cafile=str(self.ca))
        return context


def session_processes(session):
    """Pids of the processes of a session (setsid) that have not ended."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(entry))
    return found
