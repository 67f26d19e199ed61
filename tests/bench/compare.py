#!/usr/bin/python3
"""compare.py - measures Aldis, Prosody and ejabberd with the same load and prints one table.

The Aldis developers

`make bench` runs it. It installs Debian's packages of the others if they are missing, starts one
server at a time on loopback, drives it with xmppload, reads what it used from /proc, and stops it.
See README.md beside this file.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import proc
import servers

HERE = Path(__file__).resolve().parent
LOAD = servers.ROOT / "build" / "tests" / "bench" / "xmppload"
DEFAULT = "aldis,prosody,prosody:off,ejabberd,ejabberd:off"

# (key, what the table says, how to write it)
ROWS = (
    ("archive", "archive", "{}"),
    ("chat.cpu_us", "CPU, us a message, flat out", "{:.0f}"),
    ("chat.messages_per_second", "messages a second, flat out", "{:.0f}"),
    ("chat.p50_ms", "  latency then, p50 ms", "{:.1f}"),
    ("chat.p99_ms", "  latency then, p99 ms", "{:.1f}"),
    ("chat.disk_bytes", "  bytes on disk a message", "{:.0f}"),
    ("sm.cpu_us", "CPU, us a message, with XEP-0198", "{:.0f}"),
    ("sm.messages_per_second", "messages a second, with XEP-0198", "{:.0f}"),
    ("paced.rate", "at a fixed rate, messages a second", "{:.0f}"),
    ("paced.cpu_us", "  CPU, us a message", "{:.0f}"),
    ("paced.p50_ms", "  latency, p50 ms", "{:.2f}"),
    ("paced.p99_ms", "  latency, p99 ms", "{:.2f}"),
    ("rooms.cpu_us", "CPU, us a delivered room message, flat out", "{:.1f}"),
    ("rooms.messages_per_second", "delivered room messages a second", "{:.0f}"),
    ("room_paced.rate", "in a large room, messages a second", "{:.0f}"),
    ("room_paced.p50_ms", "  until an occupant has it, p50 ms", "{:.2f}"),
    ("room_paced.p99_ms", "  until an occupant has it, p99 ms", "{:.2f}"),
    ("logins.cpu_us", "CPU, us a login", "{:.0f}"),
    ("logins.logins_per_second", "logins a second", "{:.0f}"),
    ("idle_tls.kb", "KB an idle connection, TLS, logged in", "{:.1f}"),
    ("idle_plain.kb", "KB an idle connection, no TLS, logged in", "{:.1f}"),
    ("idle_stream.kb", "KB an idle connection, no TLS, stream open", "{:.1f}"),
    ("base_kb", "KB with nobody connected", "{:.0f}"),
)


class LoadFailed(Exception):
    """The load generator found an error; the text says which."""


def drive(server, words, at_ready=None):
    """Runs xmppload; returns its result with what the server used between "ready" and "done"."""
    command = [str(LOAD), "--sync", "-T", "120", "-p", str(server.port), "-w", servers.PASSWORD]
    child = subprocess.Popen(command + [str(word) for word in words], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    timer = threading.Timer(300, child.kill)
    timer.start()
    said, used, disk = [], {}, 0
    before, disk_before = {}, 0
    try:
        for line in child.stderr:
            if line == "ready\n":
                if at_ready:
                    at_ready()
                disk_before = proc.disk_bytes(server.data())
                before = proc.cpu_by_name(server.pids())
            elif line == "done\n":
                after = proc.cpu_by_name(server.pids())
                used = {name: round(after[name] - before.get(name, 0.0), 2) for name in after}
                disk = proc.disk_bytes(server.data()) - disk_before
            else:
                said.append(line.strip())
                continue
            child.stdin.write("\n")
            child.stdin.flush()
        text = child.stdout.read()
        child.wait(30)
    finally:
        timer.cancel()
        if child.poll() is None:
            child.kill()
            child.wait()
    if not text.startswith("{"):
        raise LoadFailed(f"xmppload ended with {child.returncode}: " + "; ".join(said[-3:]))
    result = json.loads(text)
    result["server_cpu_seconds"] = round(sum(used.values()), 2)
    result["server_cpu_by_process"] = used
    result["disk_bytes"] = disk
    result["errors"] = said
    result["exit"] = child.returncode
    if child.returncode != 0:
        print(f"    xmppload found faults: {'; '.join(said[-2:])} {text.strip()[:400]}", flush=True)
    return result


def chat(server, options, *more):
    return talk(server, ["-n", options.chat, "-W", options.window, "-t", options.seconds, *more, "chat"])


def talk(server, words):
    result = drive(server, words)
    count = max(result["received"], 1)
    return {"cpu_us": result["server_cpu_seconds"] * 1e6 / count,
            "messages_per_second": result["messages_per_second"],
            "p50_ms": result["latency_us"]["p50"] / 1e3,
            "p99_ms": result["latency_us"]["p99"] / 1e3,
            "disk_bytes": result["disk_bytes"] / count, "rate": result["rate"], "raw": result}


def rooms(server, options, *more):
    """One room in which some speak; what is counted is what occupants get."""
    words = ["-n", options.occupants, "-S", min(options.speakers, options.occupants), "-W", 2, "-t", options.seconds,
             *more, "rooms"]
    return talk(server, words)


def room_paced(server, options):
    """A large room with a message a second, from one after the other."""
    return talk(server, ["-n", options.crowd, "-S", min(10, options.crowd), "-r", options.room_rate,
                         "-t", options.seconds, "rooms"])


def logins(server, options):
    users = min(100, options.logins)
    result = drive(server, ["-n", options.logins, "-c", 20, "-u", users, "logins"])
    return {"cpu_us": result["server_cpu_seconds"] * 1e6 / max(result["logged_in"], 1),
            "logins_per_second": result["logins_per_second"], "raw": result}


def idle(server, options, *more):
    """Memory of N idle connections, on a server started anew and warmed up with a few logins."""
    server.stop()
    server.start()
    drive(server, ["-n", 20, "-c", 5, *more, "idle"])
    time.sleep(options.settle)
    before, how = proc.memory_kb(server.pids())
    after = 0

    def look():
        nonlocal after
        time.sleep(options.settle)
        after = proc.memory_kb(server.pids())[0]

    result = drive(server, ["-n", options.connections, "-c", 50, *more, "idle"], at_ready=look)
    up = max(result["logged_in"], 1)
    return {"kb": (after - before) / up, "before_kb": before, "after_kb": after, "how": how,
            "raw": result}


# name -> what measures it, whether once is enough, and with what it is called.
MEASURES = {
    "chat": (chat, False, ()), "sm": (chat, False, ("--sm",)), "paced": (chat, False, ("-r",)),
    "rooms": (rooms, False, ()), "room_paced": (room_paced, True, ()), "logins": (logins, False, ()),
    "idle_tls": (idle, True, ()), "idle_plain": (idle, True, ("--plain",)),
    "idle_stream": (idle, True, ("--plain", "-m", "none")),
}
# The archive has no part in these.
AT_REST = ("logins", "idle_tls", "idle_plain", "idle_stream")


def merge(runs):
    """The median of each number over the runs; raw results are kept side by side."""
    runs = [run for run in runs if run]
    if not runs:
        return None
    merged = {key: statistics.median(run[key] for run in runs)
              for key, value in runs[0].items() if isinstance(value, (int, float))}
    merged["runs"] = runs
    return merged


def attempt(what, call, *words):
    """One measurement; a failure costs its cell and not the table."""
    print(f"  {what}", flush=True)
    try:
        return call(*words)
    except (LoadFailed, OSError, subprocess.SubprocessError, ValueError) as error:
        print(f"    failed: {error}", flush=True)
        return None


def repeat(what, call, server, options, *more):
    return merge([attempt(what, call, server, options, *more) for _ in range(options.runs)])


def measure(spec, options):
    """All figures of one server; `spec` is NAME or NAME:ARCHIVE."""
    kind, _, archive = spec.partition(":")
    directory = Path(tempfile.mkdtemp(prefix="bench-"))
    directory.chmod(0o755)
    server = servers.KINDS[kind](directory, archive or None)
    try:
        server.prepare()
        server.start()
        figures = {"version": server.version(), "archive": server.archive}
        print(f"{server.name} {figures['version']}, archive {server.archive}", flush=True)
        server.add_users(max(options.chat, options.connections, options.occupants, options.crowd, 100))
        # Fills caches and loads code before anything counts.
        attempt("warm-up", drive, server, ["-n", options.chat, "-M", options.chat * 10, "chat"])
        for name, (call, once, more) in MEASURES.items():
            if name not in options.figures.split(",") or (name in AT_REST and server.archive == "off" and not options.all):
                continue
            if name == "idle_plain" and not server.plain_logins:
                continue
            if name == "paced":
                more = (*more, options.rate)
            figures[name] = attempt(name, call, server, options, *more) if once else \
                repeat(name, call, server, options, *more)
        figures["base_kb"] = (figures.get("idle_tls") or {}).get("before_kb")
        return figures
    finally:
        server.stop()
        if options.keep:
            print(f"  kept: {directory}", flush=True)
        else:
            shutil.rmtree(directory, ignore_errors=True)


def cell(figures, key, form):
    value = figures
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "-" if value is None else form.format(value)


def table(results):
    """One Markdown table, servers side by side."""
    names = [f"{spec.partition(':')[0]} {figures['version']}" for spec, figures in results.items()]
    lines = [["", *names]]
    lines += [[title, *(cell(f, key, form) for f in results.values())] for key, title, form in ROWS]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = []
    for number, line in enumerate(lines):
        text.append("| " + " | ".join(w.ljust(n) if i == 0 else w.rjust(n)
                                      for i, (w, n) in enumerate(zip(line, widths))) + " |")
        if number == 0:
            rules = ("-" * (n + 1) + (":" if i else "-") for i, n in enumerate(widths))
            text.append("|" + "|".join(rules) + "|")
    return "\n".join(text)


def parse(arguments):
    parser = argparse.ArgumentParser(description="Compares XMPP servers under the same load.")
    parser.add_argument("--servers", default=DEFAULT,
                        help=f"NAME or NAME:ARCHIVE, with commas ({DEFAULT})")
    for name, value, text in (
            ("connections", 2000, "idle connections"), ("chat", 200, "connections that chat"),
            ("window", 5, "messages under way a connection"),
            ("occupants", 100, "occupants of a room"), ("speakers", 10, "of them speak"),
            ("crowd", 1000, "occupants of the large room"), ("room-rate", 1, "messages a second in it"),
            ("rate", 200, "messages a second of the paced run"), ("logins", 1000, "logins a run"),
            ("seconds", 10, "of each chat run"), ("settle", 4, "seconds before memory is read"),
            ("runs", 3, "runs; the table has the median")):
        parser.add_argument(f"--{name}", type=int, default=value, help=f"{text} (%(default)s)")
    for name, text in (("quick", "small and short: shows that it works, not how fast"),
                       ("all", "logins and memory also where the archive is off"),
                       ("keep", "keep the servers' directories")):
        parser.add_argument(f"--{name}", action="store_true", help=text)
    parser.add_argument("--figures", default=",".join(MEASURES),
                        help="which, with commas (%(default)s)")
    parser.add_argument("--out", type=Path, help="file of raw results (results/DATE.json)")
    options = parser.parse_args(arguments)
    if options.quick:
        options.connections, options.chat, options.logins = 200, 50, 100
        options.seconds, options.runs, options.settle = 3, 1, 2
        options.occupants, options.crowd = 50, 100
    options.chat += options.chat % 2
    return options


def main(arguments):
    options = parse(arguments)
    if not LOAD.exists():
        sys.exit(f"{LOAD} is missing: make bench-tools")
    started = datetime.datetime.now(datetime.timezone.utc)
    results, away = {}, {}
    for spec in options.servers.split(","):
        if spec.partition(":")[0] not in servers.KINDS:
            sys.exit(f"no server {spec}; there are: " + ", ".join(servers.KINDS))
        try:
            results[spec] = measure(spec, options)
        except servers.Unavailable as error:
            away[spec] = str(error)
            print(f"{spec}: not measured: {error}", flush=True)
    settings = {k: v for k, v in vars(options).items() if k != "out"}
    machine = {"cpus": os.cpu_count(), "kernel": platform.release(),
               "load_average": os.getloadavg()}
    out = options.out or HERE / "results" / started.strftime("%Y-%m-%dT%H%M%SZ.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    everything = {"started": started.isoformat(), "settings": settings, "machine": machine,
                  "results": results, "not_measured": away}
    out.write_text(json.dumps(everything, indent=1) + "\n")
    if results:
        print("\n" + table(results) + "\n")
    for spec, why in away.items():
        print(f"{spec}: not measured: {why.splitlines()[0] if why else ''}")
    print(f"{os.cpu_count()} CPUs shared with the load generator, median of {options.runs}; "
          f"raw results: {out}")
    return 0 if results else 1


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.exit(main(sys.argv[1:]))
