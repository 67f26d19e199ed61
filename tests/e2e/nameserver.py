"""nameserver.py: a name server (knotd) on a free port of 127.0.0.1, with the zones of a test.

    with Dns({"plain.test": "host A 192.0.2.1", "signed.test": "..."}, signed=["signed.test"], forged=["forged.test"]) as dns:
        Suite(s2s={"nameserver": dns.address, "trust-anchor": dns.anchors, "dnssec": True})

forged: zones that are not signed, though the anchors say that they are. The records are those below SOA and NS.
"""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from suite import SLOW, die_with_parent, wait_until

HEAD = "$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n"
CONFIGURATION = """
server:
    rundir: %(directory)s
    listen: 127.0.0.1@%(port)d
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stdout
    any: info
database:
    storage: %(directory)s
policy:
  - id: one
    single-type-signing: on
    algorithm: ECDSAP256SHA256
template:
  - id: default
    storage: %(directory)s
    file: "%%s.zone"
    zonefile-sync: -1
    journal-content: none
zone:
"""


def free_port():
    """A port of UDP and TCP on which nobody listens."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", 0))
            try:
                tcp.bind(udp.getsockname())
            except OSError:
                continue
            return udp.getsockname()[1]


class Dns:
    def __init__(self, zones, signed=(), forged=()):
        self.zones, self.signed, self.forged = zones, signed, forged
        self.directory = Path(tempfile.mkdtemp(prefix="aldis-dns-"))
        self.port = free_port()
        self.address = "127.0.0.1@%d" % self.port
        self.anchors = str(self.directory / "anchors")
        self.environment = {**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

    def run(self, *words, **options):
        return subprocess.run(words, capture_output=True, text=True, env=self.environment, timeout=20, **options)

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return all(self.keys(name) for name in self.signed)

    def keys(self, zone):
        said = self.run("keymgr", "-c", str(self.configuration), zone, "ds").stdout
        return [line for line in said.splitlines() if " DS " in line]

    def __enter__(self):
        text = CONFIGURATION % {"directory": self.directory, "port": self.port}
        for name, records in self.zones.items():
            (self.directory / (name + ".zone")).write_text(HEAD + "".join(line.strip() + "\n" for line in records.splitlines()))
            text += "  - domain: %s\n" % name
            text += "    dnssec-signing: on\n    dnssec-policy: one\n" if name in self.signed else ""
        self.configuration = self.directory / "knot.conf"
        self.configuration.write_text(text)
        log = open(self.directory / "log", "wb")
        self.process = subprocess.Popen(["knotd", "-c", str(self.configuration)], stdout=log, stderr=log,
                                        stdin=subprocess.DEVNULL, env=self.environment, preexec_fn=die_with_parent)
        log.close()
        try:
            wait_until(self.answers, 15 * SLOW, 0.1, "knotd answers")
        except AssertionError as reason:
            said = (self.directory / "log").read_text()
            self.__exit__()
            raise AssertionError("%s: %s" % (reason, said)) from None
        lines = [line for zone in self.signed for line in self.keys(zone)]
        lines += [zone + ". " + line.partition(" ")[2] for zone in self.forged for line in lines[:1]]
        Path(self.anchors).write_text("\n".join(line.replace(" DS ", " IN DS ") for line in lines) + "\n")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)
