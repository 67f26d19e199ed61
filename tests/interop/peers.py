"""peers.py: other servers as Debian has them, on loopback, for our suites to exchange stanzas with.

    with Prosody(nameserver, secure="cert.example") as peer:   # it serves prosody.example
        romeo = peer.login(peer.account(), "orchard", available=0)   # a raw.Client
        peer.kill()                                     # SIGKILL for all of it
        peer.start()                                    # again, with what is on disk

Nothing is installed here: `unavailable()` says what is not there. How a server is started, left to its own user and
stopped is as in tests/bench/servers.py.
"""

import importlib.util
import itertools
import os
import shutil
import signal
import sys
import tempfile
import xml.etree.ElementTree as tree
from pathlib import Path

import raw
import suite as suites
from lookup import HOST
from raw import NS
from servers import authority, issue
from suite import wait_until

HERE = Path(__file__).resolve().parent
BENCH = HERE.parent / "bench"
JABBERD2 = Path("/etc/jabberd2")
PROGRAMS = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
PASSWORD = "secret of a peer"

names = itertools.count(1)


def load_bench():
    """tests/bench/servers.py, whose name is that of a file of tests/e2e too."""
    sys.path.append(str(BENCH))
    spec = importlib.util.spec_from_file_location("bench_servers", BENCH / "servers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bench = load_bench()


class Peer(bench.Server):
    """A server of another make, that serves the domain NAME.example; port is that for clients, server_port and
    direct_port are those for servers."""

    archives = ("off",)
    system_user = None  # whom it runs as, when we are root
    needs = ()          # files that must be there
    package = None

    def __init__(self, nameserver, secure, certificate=None, hosts=None, dialback=True, rooms=False):
        """secure: the domain that has to have a good certificate. certificate: another one of its own; hosts: more
        domains, each with its certificate (paths). dialback: whether that is enough. rooms: whether it has them."""
        super().__init__(tempfile.mkdtemp(prefix="aldis-peer-"))
        self.domain = self.name + ".example"
        self.nameserver = nameserver
        self.secure = secure
        self.hosts = hosts or {}
        self.dialback = dialback
        self.rooms = "conference." + self.domain if rooms else None
        self.port, self.server_port, self.direct_port, self.other_port = suites.free_ports(4)
        self.clients = []
        for name in filter(None, (self.domain, self.rooms)):
            nameserver.serves(name, self.server_port)
        certificate, key = map(Path, certificate or issue(self.domain, also=[self.rooms] if self.rooms else ()))
        for name, paths in self.hosts.items():
            for kind, path in zip(("crt", "key"), paths):
                shutil.copy(path, self.directory / ("%s.%s" % (name, kind)))
        for name, data in (("cert.pem", certificate.read_bytes()), ("key.pem", key.read_bytes()),
                           ("both.pem", certificate.read_bytes() + key.read_bytes()),
                           ("ca.pem", Path(authority.path).read_bytes())):
            (self.directory / name).write_bytes(data)
        if self.system_user:
            self.become(self.system_user)
        self.prepare()

    @classmethod
    def unavailable(cls):
        """Why there can be none; None when there can."""
        missing = [str(path) for path in cls.needs
                   if not (shutil.which(str(path), path=PROGRAMS) or os.access(path, os.R_OK))]
        return "cannot use %s (package %s)" % (", ".join(missing), cls.package) if missing else None

    def fill(self, name, **words):
        """Writes a configuration file from its template."""
        text = (HERE / (name + ".in")).read_text()
        words = {"DIR": self.directory, "PORT": self.port, "SERVER_PORT": self.server_port, "DOMAIN": self.domain,
                 "DIRECT_PORT": self.direct_port, "DNS": self.nameserver.port, "SECURE": self.secure, **words}
        for key, value in words.items():
            text = text.replace("@%s@" % key, str(value))
        (self.directory / name).write_text(text)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_):
        for client in self.clients:
            client.close()
        self.stop()
        self.remove()

    def remove(self):
        if not os.environ.get("ALDIS_KEEP"):
            shutil.rmtree(self.directory, ignore_errors=True)

    def spawn(self, **more):
        super().spawn(preexec_fn=suites.die_with_parent, **more)

    def kill(self):
        """SIGKILL for all of its processes."""
        found = suites.session_processes(self.process.pid)
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        wait_until(lambda: not suites.session_processes(self.process.pid))
        self.process = None

    def log_text(self, since=0):
        return "".join(path.read_text(errors="replace") for path in sorted(self.directory.glob("*.log")))[since:]

    # -- accounts and clients

    def connect(self, domain=None):
        client = raw.Client("127.0.0.1", self.port, timeout=raw.TIMEOUT * 2)
        self.clients.append(client)
        domain = domain or self.domain
        client.open(domain)
        client.starttls(domain)
        client.open(domain)
        return client

    def account(self, domain=None):
        """Registers an account (XEP-0077); returns its bare JID. Now and then jabberd2 ends such a stream with
        internal-server-error."""
        for _ in range(3):
            try:
                return self.register(domain)
            except raw.Closed as closed:
                if "internal-server-error" not in str(closed):
                    raise
        return self.register(domain)

    def register(self, domain):
        name = "%s%d" % (self.name, next(names))
        client = self.connect(domain)
        answer = client.iq("set", "<query xmlns='%s'><username>%s</username><password>%s</password></query>" % (
            NS["register"], name, PASSWORD))
        assert answer.get("type") == "result", raw.text(answer)
        client.close()
        return "%s@%s" % (name, domain or self.domain)

    def login(self, jid, resource, available=None):
        client = self.connect(jid.partition("@")[2])
        client.login(jid, PASSWORD, resource, "PLAIN")
        if client.features.find(raw.q("session", "session")) is not None:
            client.iq("set", "<session xmlns='%s'/>" % NS["session"])
        if available is not None:
            client.iq("get", "<query xmlns='%s'/>" % NS["roster"])  # so that it hears of subscriptions
            client.send("<presence><priority>%d</priority></presence>" % available)
            client.sync()
        return client


class Prosody(Peer):
    """Prosody in the foreground. modules: more of them."""

    name = "prosody"
    system_user = "prosody"

    def __init__(self, nameserver, secure, modules=(), **options):
        self.modules = modules
        super().__init__(nameserver, secure, **options)

    @classmethod
    def unavailable(cls):
        if not shutil.which("prosody"):
            return "no prosody (package prosody)"
        if not list(Path("/usr/lib").glob("*/lua/5.4/lunbound.so")):
            return "prosody cannot be told whom to ask about names (package lua-unbound)"
        return None

    def prepare(self):
        (self.directory / "data").mkdir()
        hosts = "".join('VirtualHost "%s"\n\tssl = { key = "%s/%s.key"; certificate = "%s/%s.crt" }\n' % (
            name, self.directory, name, self.directory, name) for name in self.hosts)
        if self.rooms:
            hosts += 'Component "%s" "muc"\n\tname = "Rooms"\n' % self.rooms
        modules = (["dialback"] if self.dialback else []) + list(self.modules)
        self.fill("prosody.cfg.lua", MODULES="".join('"%s"; ' % m for m in modules), HOSTS=hosts,
                  ALL_SECURE="false" if self.dialback else "true")

    def command(self):
        return ["prosody", "-F", "--config", str(self.directory / "prosody.cfg.lua")]


class Ejabberd(Peer):
    """ejabberd, started as in tests/bench, with names from our name server alone."""

    name = "ejabberd"
    package = "ejabberd"
    system_user = "ejabberd"
    needs = ("erl", "ejabberdctl")

    _erl = bench.Ejabberd._erl
    command = bench.Ejabberd.command
    environment = bench.Ejabberd.environment

    def prepare(self):
        (self.directory / "spool").mkdir()
        self.cookie = os.urandom(16).hex()
        self.dist_port = self.other_port
        for name in self.hosts:
            (self.directory / (name + ".pem")).write_bytes(b"".join(
                (self.directory / ("%s.%s" % (name, kind))).read_bytes() for kind in ("crt", "key")))
        self.fill("ejabberd.yml", HOSTS="".join('\n  - "%s"' % name for name in self.hosts),
                  FILES="".join('\n  - "%s/%s.pem"' % (self.directory, name) for name in self.hosts),
                  DIALBACK="  mod_s2s_dialback: {}" if self.dialback else "",
                  ROOMS='  mod_muc:\n    host: "%s"\n    default_room_options:\n      persistent: true' % self.rooms
                  if self.rooms else "")
        (self.directory / "inetrc").write_text(
            '{lookup, [file, dns]}.\n{resolv_conf, ""}.\n{hosts_file, ""}.\n{cache_size, 0}.\n'
            "{nameserver, {127,0,0,1}, %d}.\n{host, {127,0,0,1}, [\"%s\"]}.\n" % (
                self.nameserver.port, HOST))


class Jabberd2(Peer):
    """jabberd2: a router, sessions, clients and servers, each of which is a process."""

    name = "jabberd2"
    package = "jabberd2"
    system_user = "jabber"
    needs = ("jabberd2-router", "jabberd2-sm", "jabberd2-c2s", "jabberd2-s2s", JABBERD2 / "sm.xml")
    parts = ("router", "sm", "c2s", "s2s")

    def prepare(self):
        """Debian's configuration, with other places, ports and names."""
        both = str(self.directory / "both.pem")
        for part in self.parts:
            root = tree.parse(JABBERD2 / (part + ".xml")).getroot()

            def put(path, value, **attributes):
                """Sets an element, made when there is none."""
                parent, element = root, root
                for name in path.split("/"):
                    parent, element = element, element.find(name)
                    if element is None:
                        element = tree.SubElement(parent, name)
                element.text = str(value)
                element.attrib.update(attributes)

            root.remove(root.find("pidfile"))
            put("log", "", type="file")
            put("log/file", self.directory / (part + ".log"))
            if part == "router":
                put("local/ip", "127.0.0.1")
                put("local/port", self.other_port)
            else:
                put("router/ip", "127.0.0.1")
                put("router/port", self.other_port)
            if part == "sm":
                put("local/id", self.domain)
                put("storage/driver", "db")
                put("storage/db/path", self.directory / "spool")
            if part == "c2s":
                put("local/id", self.domain, **{"register-enable": "mu", "pemfile": both})
                put("local/ip", "127.0.0.1")
                put("local/port", self.port)
                put("authreg/module", "db")
                put("authreg/db/path", self.directory / "accounts")
            if part == "s2s":
                put("local/ip", "127.0.0.1")
                put("local/port", self.server_port)
                put("local/pemfile", both)
                put("local/cachain", self.directory / "ca.pem")
                put("security/require_tls", "")
            tree.ElementTree(root).write(self.directory / (part + ".xml"))
        for name in ("router-users.xml", "router-filter.xml"):
            shutil.copy(JABBERD2 / name, self.directory)
        for part in self.parts:
            path = self.directory / (part + ".xml")
            path.write_text(path.read_text().replace(str(JABBERD2), str(self.directory)))
        for name in ("spool", "accounts"):
            (self.directory / name).mkdir()

    def environment(self):
        return dict(os.environ, PATH=PROGRAMS, NAMESERVERS="127.0.0.1", LOCALDOMAIN="",
                    RES_OPTIONS="port:%d" % self.nameserver.port)

    def command(self):
        """A shell that leads their session, and ends when one of them does."""
        lines = ["trap 'kill -KILL 0' TERM"]
        for part in self.parts:
            lines += ["jabberd2-%s -c %s.xml >%s.out 2>&1 &" % (part, part, part),
                      "sleep 0.2" if part == "router" else ""]
        return ["bash", "-c", "\n".join(lines + ["wait -n"])]

    def start(self):
        for part in self.parts:
            (self.directory / (part + ".log")).unlink(missing_ok=True)
        super().start()
        # The sessions' part is ready when the router knows its name, before it knows its domains; what clients
        # send until then comes back as internal-server-error.
        wait_until(lambda: self.log_text().count("ready for") == 3 and "[%s] online" % self.domain in self.log_text(),
                   message="all parts of jabberd2 are ready")

    def stop(self):
        """Its parts would wait for each other."""
        if self.process:
            self.kill()


PEERS = (Prosody, Ejabberd, Jabberd2)
