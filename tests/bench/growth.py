#!/usr/bin/python3
"""growth.py - how costs grow: with idle connections, with the size of a room, of a roster, of the archive.

The Aldis developers

`make bench-growth` runs it. Each part starts the suite anew, drives it with xmppload at a constant rate, and writes
each point to results/growth.json as soon as it is measured; growth_report.py makes the table and the plots. See
README.md.
"""

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import growth_report
import proc
import servers
from drive import LOAD, Held, LoadFailed, drive, logins, presence, talk
from results import DIRECTORY, Results

FILL = servers.ROOT / "build" / "tests" / "bench" / "fill"
A_HOLDER = 15000        # idle connections of one load generator
ACCOUNTS = 4000         # that idle connections share: up to 25 sessions of each
SPARE = 500             # descriptors of a process that are not connections
SOURCES = 20            # addresses to connect from
SHOWN = ("cpu_us", "p50_ms", "p99_ms", "flat_us", "change_us", "login_us", "kb", "idle_percent")


def median(runs):
    """The median of each number of several runs, with what they were."""
    merged = {key: statistics.median(run[key] for run in runs) for key, value in runs[0].items()
              if isinstance(value, (int, float))}
    return {**merged, "runs": runs}


class Suite:
    """The suite in a directory of its own, for as long as a part lasts."""

    def __init__(self, options, users, **settings):
        self.directory = Path(tempfile.mkdtemp(prefix="growth-"))
        self.keep = options.keep
        self.server = servers.Aldis(self.directory, **settings)
        try:
            self.server.prepare()
            self.server.start()
            print(f"  {users} accounts", flush=True)
            self.server.add_users(users)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self):
        return self.server

    def __exit__(self, *_):
        self.server.stop()
        if not self.keep:
            shutil.rmtree(self.directory, ignore_errors=True)


def point(results, part, at, options, call):
    """Measures one point, unless it is there; a failure costs the point and not the part."""
    if options.missing and results.has(part, str(at)):
        print(f"  {part} {at}: it is there", flush=True)
        return
    began = time.monotonic()
    try:
        figures = call()
    except (LoadFailed, OSError, ValueError, subprocess.SubprocessError) as error:
        print(f"  {part} {at}: failed: {error}", flush=True)
        return
    figures["took"] = round(time.monotonic() - began)
    results.put(part, str(at), figures)
    shown = [f"{key} {figures[key]:.4g}" for key in SHOWN if key in figures]
    print(f"  {part} {at}: {', '.join(shown)} ({figures['took']} s)", flush=True)


def repeat(options, server, words):
    return median([talk(server, words) for _ in range(options.runs)])


def paced_and_flat(options, server, connections, rate):
    """Some connections talk at a constant rate, and then as fast as they can."""
    words = ["-n", connections, "-t", options.seconds, "chat"]
    paced = repeat(options, server, ["-r", rate, *words])
    flat = repeat(options, server, words)
    return {**paced, "flat_us": flat["cpu_us"], "flat_per_second": flat["messages_per_second"],
            "flat_runs": flat["runs"]}


# -- idle connections -----------------------------------------------------------------------------

def carried(options):
    """(how many idle connections this machine carries, c2sd processes for them)."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE
    with open("/proc/meminfo", encoding="ascii") as f:
        free = next(int(line.split()[1]) for line in f if line.startswith("MemAvailable"))
    most = min(options.most, free * 3 // 4 // options.kb)
    cores = int(subprocess.run(["nproc"], capture_output=True, text=True, check=True).stdout)
    # Which of its processes takes a connection is chance: none may be filled up.
    return most, max(cores, -(-most * 5 // 4 // limit))


def steps(sizes, most):
    return [size for size in sizes if size <= most] + ([most] if most not in sizes and most < max(sizes) else [])


def idle(options, results):
    most, workers = carried(options)
    few = options.few
    held, up = [], 0

    def grow(to):
        nonlocal up
        while up < to:
            count = min(to - up, A_HOLDER)
            held.append(Held(server, ["-n", count, "-c", 50, "--first", few, "-u", min(count, ACCOUNTS),
                                      "--sources", SOURCES, "--resource", f"idle{len(held)}-"], timeout=900))
            up += count

    def measure(size):
        had, had_kb = up, proc.memory_kb(server.pids())[0]
        grow(size)
        time.sleep(options.settle)
        memory = proc.memory_kb(server.pids())[0]
        grown = {"kb": (memory - had_kb) / (up - had)} if up > had else {}
        before, begin = proc.activity(server.pids()), time.monotonic()
        time.sleep(options.calm)
        asleep = proc.asleep(before, proc.activity(server.pids()), time.monotonic() - begin)
        figures = paced_and_flat(options, server, few, options.rate)
        return {**figures, **grown, "memory_kb": memory, "workers": workers,
                "idle_percent": asleep["cpu_percent"], "idle_wakes": asleep["wakes"]}

    with Suite(options, few + min(most, ACCOUNTS), workers=workers, idle_time=86400) as server:
        drive(server, ["-n", few, "-M", few * 50, "chat"])
        sizes = [0] + steps(options.connections, most)
        for size in sizes:
            point(results, "idle", size, options, lambda s=size: measure(s))
        lost = 0
        for holder in held:
            result = holder.release()
            lost += result["dropped"] + result["failed"]
        print(f"  of {up} idle connections {lost} were dropped", flush=True)


# -- rooms ----------------------------------------------------------------------------------------

def rooms(options, results):
    with Suite(options, max(options.occupants)) as server:
        drive(server, ["-n", 10, "-M", 1000, "chat"])
        for size in options.occupants:
            rate = max(1, options.deliveries // size)
            words = ["-n", size, "-S", min(10, size), "-r", rate, "-t", options.long, "-c", 50, "rooms"]
            point(results, "rooms", size, options, lambda w=words: talk(server, w, timeout=300))


# -- rosters --------------------------------------------------------------------------------------

def roster(options, server, size):
    rate = max(1, options.deliveries // size)
    figures = presence(server, size, options.long, "-c", 50, "-r", rate)
    words = ["-c", 1, "-u", 1, "--roster"]
    away = logins(server, options.logins, *words)
    holder = Held(server, ["-n", size, "-u", size, "--first", 1, "-c", 50], timeout=300)
    try:
        online = logins(server, options.logins, *words)
    finally:
        holder.release()
    return {**figures, "login_us": away["cpu_us"], "login_p99_ms": away["p99_ms"], "login_online_us": online["cpu_us"],
            "login_online_p99_ms": online["p99_ms"], "logins": [away, online]}


def rosters(options, results):
    with Suite(options, max(options.contacts) + 1) as server:
        drive(server, ["-n", 10, "-M", 1000, "chat"])
        for size in options.contacts:
            point(results, "rosters", size, options, lambda s=size: roster(options, server, s))


# -- the archive ----------------------------------------------------------------------------------

def fill(server, messages, options):
    """Puts messages into the archive of a suite that does not run."""
    store = server.directory / "state" / "archived"
    words = [FILL, *(["-i"] if options.index else []), store, messages, options.chat, 2000]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, timeout=3600)
    if done.returncode != 0:
        raise LoadFailed("fill: " + done.stderr[-300:])
    print("    " + done.stdout.strip(), flush=True)


def archive(options, results):
    filled = 0

    def measure(size):
        nonlocal filled
        server.stop()
        began = time.monotonic()
        if size > filled:
            fill(server, size - filled, options)
        took, filled = time.monotonic() - began, max(filled, size)
        began = time.monotonic()
        server.start()
        started = time.monotonic() - began
        drive(server, ["-n", options.chat, "-M", options.chat * 50, "chat"])
        figures = paced_and_flat(options, server, options.chat, options.high_rate)
        return {**figures, "fill_seconds": round(took, 1), "start_seconds": round(started, 1),
                "disk_mb": round(proc.disk_bytes(server.directory / "state" / "archived") / 1e6)}

    with Suite(options, options.chat) as server:
        for size in options.messages:
            point(results, "archive", size, options, lambda s=size: measure(s))


PARTS = {"idle": idle, "rooms": rooms, "rosters": rosters, "archive": archive}


def numbers(text):
    return [int(float(word)) for word in text.split(",")]


def parse(arguments):
    parser = argparse.ArgumentParser(description="How what a message costs grows.")
    parser.add_argument("--parts", default=",".join(PARTS), help="which, with commas (%(default)s)")
    for name, value, text in (
            ("connections", "100,1000,10000,100000", "idle connections"),
            ("occupants", "10,30,100,300,1000,2000", "of a room"),
            ("contacts", "10,30,100,300,1000,2000", "of an account"),
            ("messages", "0,1e6,1e7", "in the archive")):
        parser.add_argument(f"--{name}", type=numbers, default=numbers(value), help=f"{text} ({value})")
    for name, value, text in (
            ("most", 100000, "idle connections, less if the machine does not carry them"),
            ("kb", 90, "KB that a connection may take at most, of server, generator and kernel together"),
            ("few", 20, "connections that talk beside the idle ones"), ("rate", 1000, "messages a second of these"),
            ("chat", 200, "connections that talk beside the archive"),
            ("high-rate", 2000, "messages a second of these"),
            ("deliveries", 10000, "a second to occupants, and to contacts"), ("logins", 50, "with a roster"),
            ("seconds", 5, "of each run"), ("runs", 3, "runs; the table has the median"),
            ("long", 15, "seconds of a run in a room, or with contacts, of which there is one: entering takes longest"),
            ("settle", 4, "seconds before memory is read"), ("calm", 10, "seconds without messages")):
        parser.add_argument(f"--{name}", type=int, default=value, help=f"{text} (%(default)s)")
    for name, text in (("quick", "small and short: shows that it works, not how fast"),
                       ("missing", "measure only the points that the file of results does not have"),
                       ("index", "index the words of the archive that is made up too: ten minutes for ten million"),
                       ("keep", "keep the suite's directories"),
                       ("report", "measure nothing, make table and plots again")):
        parser.add_argument(f"--{name}", action="store_true", help=text)
    parser.add_argument("--out", type=Path, help="file of raw results (results/growth.json)")
    options = parser.parse_args(arguments)
    if options.quick:
        options.connections, options.occupants, options.contacts = [100, 1000], [10, 50], [10, 50]
        options.messages, options.most = [0, 20000], 1000
        options.chat, options.logins, options.seconds, options.runs, options.settle, options.calm = 20, 10, 2, 1, 1, 2
        options.long = 2
    options.out = options.out or DIRECTORY / ("quick-growth.json" if options.quick else "growth.json")
    return options


def main(arguments):
    options = parse(arguments)
    if not options.report and not (LOAD.exists() and FILL.exists()):
        sys.exit(f"{LOAD} or {FILL} is missing: make bench-tools")
    if not shutil.which("gnuplot"):
        try:
            servers.install("gnuplot-nox")
        except servers.Unavailable as error:
            print(f"no plots: {error}", flush=True)
    results = Results(options.out)
    for part in [] if options.report else options.parts.split(","):
        if part not in PARTS:
            sys.exit(f"no part {part}; there are: " + ", ".join(PARTS))
        print(part, flush=True)
        if not options.missing:
            results.groups.pop(part, None)
        results.about.setdefault("settings", {})[part] = {
            key: value for key, value in vars(options).items()
            if key not in ("out", "missing", "keep", "report", "parts")}
        results.about.setdefault("version", {})[part] = servers.Aldis.version(None)
        began = time.monotonic()
        try:
            PARTS[part](options, results)
        except (servers.Unavailable, LoadFailed) as error:
            print(f"  {part} ended: {error}", flush=True)
        print(f"  {part}: {time.monotonic() - began:.0f} s", flush=True)
    if not results.groups:
        return 1
    results.write()
    print("\n" + growth_report.report(results))
    print(f"raw results, table and plots: {options.out.parent}")
    return 0


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.exit(main(sys.argv[1:]))
