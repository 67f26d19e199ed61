"""servers.py - how each server is installed, set up, started, given accounts and stopped.

The Aldis developers

compare.py calls it. Every server lives in a temporary directory, listens on loopback only, and
leads a session of its own, so that whatever it starts can be counted and ended by pid.
"""

import base64
import collections
import hashlib
import hmac
import os
import pwd
import shutil
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import proc

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PASSWORD = "secret-of-the-bench"


class Unavailable(Exception):
    """This server cannot be measured here; the text says why."""


def user_name(i):
    return f"load{i:05d}"


def free_ports(count):
    """Two or more free ports in a row."""
    for _ in range(200):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            base = s.getsockname()[1]
        taken = []
        try:
            for port in range(base, base + count):
                s = socket.socket()
                taken.append(s)
                s.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
        finally:
            for s in taken:
                s.close()
    raise Unavailable("no free ports")


def make_certificate(directory):
    """key.pem, cert.pem and both.pem: ECDSA P-256, self-signed."""
    key, cert = directory / "key.pem", directory / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj",
                    "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                    "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    (directory / "both.pem").write_bytes(cert.read_bytes() + key.read_bytes())


def output_of(*words, **more):
    """Runs a command to its end; the caller looks at what came of it."""
    return subprocess.run(words, capture_output=True, text=True, check=False, **more)


def package_version(package):
    return output_of("dpkg-query", "-W", "-f", "${Version}", package).stdout.strip() or "?"


def install(package, extra=()):
    """Installs a Debian package without letting it start its daemon."""
    words = ["apt-get", "install", "-y", "--no-install-recommends", package, *extra]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Unavailable(f"{package} is not installed: " + " ".join(words))
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        if output_of(str(policy), package, "start").returncode != 101:
            raise Unavailable(f"{package} is not installed, and {policy} would let it start: "
                              "install it by hand")
        print(f"installing {package}", flush=True)
        done = output_of(*words, env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"))
        if done.returncode != 0:
            raise Unavailable(f"cannot install {package}: {done.stderr.strip()[-300:]}")
    finally:
        if ours:
            policy.unlink()


class Server:
    """A server under test; `archive` says where it keeps every message."""

    name = "?"
    plain_logins = True  # whether it lets a client log in without TLS
    archives = ()        # what `archive` may be, the one to measure first

    def __init__(self, directory, archive=None, **settings):
        self.settings = settings  # what a measurement wants of the configuration
        self.directory = Path(directory)
        self.archive = archive or self.archives[0]
        if self.archive not in self.archives:
            raise Unavailable(f"no archive {self.archive}, only " + ", ".join(self.archives))
        self.process = None
        self.user = None
        self.port = free_ports(2)
        self.direct_port = self.port + 1

    # What a server has to say for itself.
    def version(self):
        raise NotImplementedError

    def prepare(self):
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def add_users(self, count):
        raise NotImplementedError

    def environment(self):
        return dict(os.environ)

    def data(self):
        return self.directory

    def facts(self):
        """What else is worth to be known about the server that runs."""
        return {}

    # What is the same for all.
    def become(self, user):
        """Runs the server as `user` when we are root."""
        if os.geteuid() == 0:
            try:
                self.user = pwd.getpwnam(user)
            except KeyError as error:
                raise Unavailable(f"no user {user}") from error

    def give_away(self):
        """Makes the directory the server's own."""
        if self.user:
            os.chown(self.directory, self.user.pw_uid, self.user.pw_gid)
            for where, folders, files in os.walk(self.directory):
                for entry in folders + files:
                    os.chown(os.path.join(where, entry), self.user.pw_uid, self.user.pw_gid)

    def identity(self):
        if not self.user:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def spawn(self, **more):
        self.process = subprocess.Popen(self.command(), cwd=self.directory, env=self.environment(),
                                        stdin=subprocess.DEVNULL, start_new_session=True,
                                        **self.identity(), **more)

    def start(self):
        self.give_away()
        with open(self.directory / "output.log", "ab") as log:
            self.spawn(stdout=log, stderr=subprocess.STDOUT)
        self.wait_port()

    def wait_port(self, seconds=60):
        """Returns when the server accepts connections."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise Unavailable(f"{self.name} ended: {self.last_words()}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1):
                    return
            except OSError:
                time.sleep(0.1)
        self.stop()
        raise Unavailable(f"{self.name} did not listen within {seconds} s: {self.last_words()}")

    def last_words(self):
        try:
            return (self.directory / "output.log").read_text(errors="replace")[-600:]
        except OSError:
            return ""

    def pids(self):
        return proc.tree(self.process.pid)

    def stop(self):
        if self.process:
            proc.stop(self.process)
            self.process = None

    def template(self, name, words):
        text = (HERE / "peers" / name).read_text()
        own = {"DIR": self.directory, "PORT": self.port, "DIRECT_PORT": self.direct_port}
        for key, value in {**own, **words}.items():
            text = text.replace(f"@{key}@", str(value))
        return text


class Aldis(Server):
    """`make run` serves an instance in a directory; PORT does STARTTLS, PORT + 1 direct TLS."""

    name = "aldis"
    plain_logins = False
    archives = ("on",)  # there is no other way

    def version(self):
        name = output_of("git", "-C", str(ROOT), "describe", "--always").stdout.strip()
        changed = output_of("git", "-C", str(ROOT), "diff", "--quiet", "HEAD", "--", ".",
                            ":(exclude)tests/bench/results")
        return name + ("-dirty" if changed.returncode else "") if name else "tree"

    def prepare(self):
        if not (ROOT / "Makefile").exists():
            raise Unavailable("no Makefile: nothing to run yet")
        self.directory = self.directory / "run"
        self.directory.mkdir(exist_ok=True)
        words = {"WORKERS": self.settings.get("workers", 0), "IDLE_TIME": self.settings.get("idle_time", 300)}
        (self.directory / "aldis.conf").write_text(self.template("aldis.conf.in", words))

    def command(self):
        return ["make", "--no-print-directory", "-C", str(ROOT), "run", f"RUN={self.directory}",
                f"PORT={self.port}"]

    def start(self):
        self.process = None
        ready = threading.Event()
        words = self.words = collections.deque(maxlen=2000)
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        env=self.environment(), start_new_session=True)
        output = self.process.stdout

        def listen():
            for line in output:
                words.append(line)
                if line.startswith("ready: c2s"):
                    self.port = int(line.split()[2])
                    self.direct_port = self.port + 1
                    ready.set()

        threading.Thread(target=listen, daemon=True).start()
        end = time.monotonic() + 600
        while not ready.wait(0.1):
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise Unavailable("`make run` did not get ready: " + self.last_words())

    def facts(self):
        return {"c2sd": sum(proc.name(pid) == "aldis-c2sd" for pid in self.pids())}

    def last_words(self):
        return "".join(list(self.words))[-600:]

    def _daemon(self):
        """The pid of aldisd itself, below make and the shell."""
        tree = proc.tree(self.process.pid)
        return next((pid for pid in tree if proc.name(pid) == "aldisd"), None)

    def pids(self):
        daemon = self._daemon()
        return proc.tree(daemon) if daemon else proc.tree(self.process.pid)

    def stop(self):
        if self.process:
            proc.stop(self.process, first=self._daemon())
            self.process = None

    def environment(self):
        """Without what an outer make would pass on to the inner one."""
        return {key: value for key, value in os.environ.items()
                if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")}

    def add_users(self, count):
        accounts = self.directory.parent / "accounts"
        names = [f"{user_name(i)}@localhost" for i in range(count)]
        accounts.write_text("".join(f"{name} {PASSWORD}\n" for name in names))
        tool = (str(ROOT / "build/bin/aldisctl"), "-s", str(self.directory / "control"), "user")
        done = output_of(*tool, "import", str(accounts), timeout=600)
        if done.returncode == 0:
            return
        print(f"  user import failed, adding one by one: {done.stderr.strip()[-200:]}", flush=True)
        for name in names:
            done = output_of(*tool, "add", name, input=PASSWORD + "\n", timeout=30)
            if done.returncode != 0:
                raise Unavailable(f"cannot add an account: {done.stderr.strip()[-300:]}")


class Prosody(Server):
    """Debian's prosody, run in the foreground as its own user."""

    name = "prosody"
    archives = ("internal", "sqlite", "off")

    def version(self):
        return package_version("prosody")

    def prepare(self):
        if not shutil.which("prosody"):
            install("prosody", ("lua-dbi-sqlite3",))
        self.become("prosody")
        make_certificate(self.directory)
        (self.directory / "data").mkdir()
        module = "" if self.archive == "off" else '"mam";'
        store = "sql" if self.archive == "sqlite" else "internal"
        words = {"ARCHIVE_MODULE": module, "ARCHIVE_STORAGE": store,
                 "ROOM_ARCHIVE_MODULE": module and '"muc_mam"'}
        text = self.template("prosody.cfg.lua.in", words)
        (self.directory / "prosody.cfg.lua").write_text(text)

    def data(self):
        return self.directory / "data"

    def command(self):
        return ["prosody", "-F", "--config", str(self.directory / "prosody.cfg.lua")]

    def add_users(self, count):
        """Writes the files that mod_auth_internal_hashed would, in seconds and not minutes."""
        folder = self.directory / "data" / "localhost" / "accounts"
        folder.mkdir(parents=True, exist_ok=True)
        for path in (folder.parent, folder):
            if self.user:
                os.chown(path, self.user.pw_uid, self.user.pw_gid)

        def write(i):
            salt = base64.b64encode(os.urandom(18)).decode()
            salted = hashlib.pbkdf2_hmac("sha1", PASSWORD.encode(), salt.encode(), 10000)
            client = hashlib.sha1(_hmac(salted, b"Client Key")).hexdigest()
            path = folder / f"{user_name(i)}.dat"
            path.write_text("return {\n" f'\t["stored_key"] = "{client}";\n'
                            f'\t["server_key"] = "{_hmac(salted, b"Server Key").hex()}";\n'
                            f'\t["salt"] = "{salt}";\n' '\t["iteration_count"] = 10000;\n};\n')
            if self.user:
                os.chown(path, self.user.pw_uid, self.user.pw_gid)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(write, range(count)))


def _hmac(key, text):
    return hmac.new(key, text, "sha1").digest()


class Ejabberd(Server):
    """Debian's ejabberd, started as its ejabberdctl would but without su and without epmd."""

    name = "ejabberd"
    archives = ("sqlite", "mnesia", "off")

    def version(self):
        return package_version("ejabberd")

    def prepare(self):
        if not shutil.which("ejabberdctl") or not shutil.which("erl"):
            install("ejabberd", ("erlang-p1-sqlite3",))
        self.become("ejabberd")
        make_certificate(self.directory)
        (self.directory / "spool").mkdir()
        self.cookie = base64.b16encode(os.urandom(16)).decode()
        self.dist_port = free_ports(1)
        store = "sql" if self.archive == "sqlite" else "mnesia"
        archive = ("  mod_mam:\n    assume_mam_usage: true\n    default: always\n"
                   f"    db_type: {store}")
        words = {"ARCHIVE_MODULE": "" if self.archive == "off" else archive,
                 "ROOM_ARCHIVE": "false" if self.archive == "off" else "true"}
        text = self.template("ejabberd.yml.in", words)
        (self.directory / "ejabberd.yml").write_text(text)
        (self.directory / "inetrc").write_text("{lookup,[\"file\",\"native\"]}.\n")

    def data(self):
        return self.directory / "spool"

    def environment(self):
        libraries = next((str(p.parent) for p in Path("/usr/lib").glob("*/ejabberd-*")), "/usr/lib")
        return dict(os.environ, HOME=str(self.directory), ERL_LIBS=libraries,
                    EJABBERD_CONFIG_PATH=str(self.directory / "ejabberd.yml"),
                    EJABBERD_LOG_PATH=str(self.directory / "ejabberd.log"),
                    EJABBERD_PID_PATH=str(self.directory / "ejabberd.pid"),
                    ERL_INETRC=str(self.directory / "inetrc"),
                    ERL_MAX_PORTS="32000", ERL_MAX_ETS_TABLES="1400", ERL_CRASH_DUMP_BYTES="0")

    def _erl(self, node, *words):
        return ["erl", "-sname", f"{node}@localhost", "-setcookie", self.cookie, "-noinput",
                "-start_epmd", "false", "-erl_epmd_port", str(self.dist_port),
                "-kernel", "inet_dist_use_interface", "{127,0,0,1}", *words]

    def _call(self, script, timeout=600):
        """What Erlang code says that asks the server."""
        words = self._erl("bench", "-hidden", "-dist_listen", "false", "-eval", script)
        return output_of(*words, env=self.environment(), cwd=self.directory, timeout=timeout,
                         stdin=subprocess.DEVNULL, **self.identity())

    def facts(self):
        done = self._call('Info = fun(What) -> rpc:call(ejabberd@localhost, erlang, system_info, [What]) end, '
                          'io:format("~p ~p ~p", [Info(kernel_poll), [proplists:get_value(primary, Set) || '
                          'Set <- Info(check_io), not proplists:get_value(fallback, Set)], '
                          'Info(schedulers_online)]), halt().', 60)
        return {"kernel poll, poll sets, schedulers": done.stdout.strip()}

    def command(self):
        return self._erl("ejabberd", "+K", "true", "+P", "250000", "-mnesia", "dir",
                         f'"{self.directory / "spool"}"', "-s", "ejabberd")

    def add_users(self, count):
        """ejabberdctl takes a second an account, and deriving keys ten milliseconds. So one is registered by the
        function that it calls, and the others get that one's row of passwords: they all have the same."""
        script = ('Name = fun(I) -> iolist_to_binary(io_lib:format("load~5..0b", [I])) end, '
                  'Ask = fun(M, F, A) -> rpc:call(ejabberd@localhost, M, F, A) end, '
                  f'ok = Ask(ejabberd_auth, try_register, [Name(0), <<"localhost">>, <<"{PASSWORD}">>]), '
                  '[Row] = Ask(mnesia, dirty_read, [passwd, {Name(0), <<"localhost">>}]), '
                  '[ok = Ask(mnesia, dirty_write, [setelement(2, Row, {Name(I), <<"localhost">>})]) || '
                  f'I <- lists:seq(1, {count - 1})], '
                  'io:format("~p~n", [Ask(mnesia, table_info, [passwd, size])]), halt().')
        done = self._call(script)
        if done.stdout.strip() != str(count):
            raise Unavailable("cannot register: " + (done.stdout + done.stderr)[-400:])


KINDS = {kind.name: kind for kind in (Aldis, Prosody, Ejabberd)}
