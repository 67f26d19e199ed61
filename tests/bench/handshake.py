#!/usr/bin/python3
"""handshake.py: what a TLS handshake costs with the private key in authd, and with it in the process that
terminates TLS. "make bench-handshake" builds what it needs and runs it.

usage: tests/bench/handshake.py [--seconds N] [--version 1.3] [--kinds rsa,ec,ed25519] [--out FILE]

Both sides are the same suite and the same aldis-c2sd. For "in c2sd" a library is preloaded into it that gives
GnuTLS the key from a file (handshake/local_key.c); there is no such mode in the suite. Full handshakes over
direct TLS, with a connection each; one at a time for the latency, eight at a time for CPU and rate. The two
sides take turns, and medians are told.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = ROOT / "build/tests/bench"
sys.path.insert(0, str(ROOT / "tests/e2e"))

import suite as e2e  # noqa: E402

NAMES = {"rsa": "RSA-2048", "ec": "ECDSA P-256", "p384": "ECDSA P-384", "ed25519": "Ed25519"}
ROUNDS = 5


def cpu_us(pid):
    """CPU time of all threads of a process, in microseconds; /proc/PID/stat counts in hundredths only."""
    total = 0
    for task in Path("/proc/%d/task" % pid).iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1000


def local_build(directory):
    """A copy of the programs with an aldis-c2sd that has the key in its own process."""
    shutil.copytree(ROOT / "build/bin", directory / "bin")
    real = directory / "c2sd-itself"
    (directory / "bin/aldis-c2sd").rename(real)
    script = directory / "bin/aldis-c2sd"
    script.write_text("#!/bin/sh\nLD_PRELOAD=%s exec %s\n" % (TOOLS / "local_key.so", real))
    script.chmod(0o755)
    return directory


class Measured(e2e.Suite):
    """A suite whose daemons' CPU time is measured."""

    def pids(self):
        found = {"c2sd": [], "authd": []}
        for name, process in self.status().items():
            if name.partition(".")[0] in found:
                found[name.partition(".")[0]].append(process["pid"])
        return found

    def run(self, domain, version, threads, seconds):
        """Handshakes for so long. Returns the client's figures with CPU time for each added."""
        pids = self.pids()
        before = {role: sum(map(cpu_us, of)) for role, of in pids.items()}
        done = subprocess.run(
            [TOOLS / "handshake-client", str(self.tls_port), domain, version, str(threads), str(seconds)],
            capture_output=True, text=True, timeout=seconds + 30)
        if done.returncode != 0:
            raise SystemExit("handshake.py: %s%s" % (done.stdout, done.stderr))
        figures = json.loads(done.stdout)
        for role, of in pids.items():
            figures[role] = (sum(map(cpu_us, of)) - before[role]) / figures["handshakes"]
        figures["rate"] = figures["handshakes"] / figures["seconds"]
        return figures


def median(runs):
    return {key: sorted(run[key] for run in runs)[len(runs) // 2] for key in runs[0]}


def measure(kind, builds, arguments):
    """One kind of key with each build: {where: {threads: figures}}."""
    domain = kind + ".test"
    os.environ["ALDIS_BENCH_KEY"] = e2e.make_certificate(domain, kind)[1]
    options = {"workers": arguments.workers, "connections-per-address": 100000}
    suites, runs = {}, {}
    with contextlib.ExitStack() as stack:
        for where, build in builds.items():
            e2e.BUILD = build
            suites[where] = stack.enter_context(
                Measured(top={"log-level": "warn"}, c2s=options, domains={domain: {"kind": kind}}))
            suites[where].run(domain, arguments.version, 4, 1)  # warms up
        for threads in (1, 8) * ROUNDS:
            for where, suite in suites.items():
                runs.setdefault((where, threads), []).append(
                    suite.run(domain, arguments.version, threads, arguments.seconds))
        for where, suite in suites.items():
            if (suite.counter("authd", "signatures") != 0) != (where == "in authd"):
                raise SystemExit("handshake.py: the key was used in the wrong process")
    return {where: {threads: median(runs[where, threads]) for threads in (1, 8)} for where in suites}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=2, help="of one run")
    parser.add_argument("--version", default="1.3", help="of TLS")
    parser.add_argument("--kinds", default="rsa,ec,ed25519")
    parser.add_argument("--workers", type=int, default=2, help="c2sd processes")
    parser.add_argument("--out", help="file for all figures, JSON")
    arguments = parser.parse_args()
    results = {}
    print("| key, TLS %s | where | CPU a handshake, us | of it c2sd | authd | p50 alone, us | p99 alone | "
          "handshakes/s, 8 at a time | p50 of these |" % arguments.version)
    print("|---|---|--:|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory(prefix="aldis-bench-") as directory:
        local = local_build(Path(directory) / "build")
        builds = {"in authd": ROOT / "build", "in c2sd": local}
        for kind in arguments.kinds.split(","):
            results[kind] = measure(kind, builds, arguments)
            for where, found in results[kind].items():
                one, eight = found[1], found[8]
                print("| %s | %s | %.0f | %.0f | %.0f | %d | %d | %.0f | %d |" % (
                    NAMES[kind], where, eight["c2sd"] + eight["authd"], eight["c2sd"], eight["authd"],
                    one["p50"], one["p99"], eight["rate"], eight["p50"]), flush=True)
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
