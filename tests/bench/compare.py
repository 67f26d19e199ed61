#!/usr/bin/python3
"""compare.py - measures Aldis, Prosody and ejabberd with the same load and prints one table.

The Aldis developers

`make bench` runs it. It installs Debian's packages of the others if they are missing, starts one
server at a time on loopback, drives it with xmppload, reads what it used from /proc, and stops it.
See README.md beside this file.
"""

import argparse
import datetime
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import proc
import servers
import targets
from drive import LOAD, Held, LoadFailed, drive, logins, presence, talk
from results import DIRECTORY, Results

DEFAULT = "aldis,prosody,prosody:off,ejabberd,ejabberd:off"


def chat(server, options, *more):
    return talk(server, ["-n", options.chat, "-W", options.window, "-t", options.seconds, *more, "chat"])


def rooms(server, options, *more):
    """One room in which some speak; what is counted is what occupants get."""
    words = ["-n", options.occupants, "-S", min(options.speakers, options.occupants), "-W", 2, "-t", options.seconds,
             *more, "rooms"]
    return talk(server, words)


def room_paced(server, options):
    """A large room with a message a second, from one after the other."""
    return talk(server, ["-n", options.crowd, "-S", min(10, options.crowd), "-r", options.room_rate,
                         "-t", options.seconds, "rooms"])


def log_in(server, options):
    return logins(server, options.logins, "-c", 20, "-u", min(100, options.logins))


def contacts(server, options):
    """One account changes its presence, and its contacts, all online, get it."""
    return presence(server, options.contacts, options.seconds)


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

    result = drive(server, ["-n", options.connections, "-c", 50, *more, "idle"], at_ready=look, timeout=600)
    up = max(result["logged_in"], 1)
    return {"kb": (after - before) / up, "before_kb": before, "after_kb": after, "how": how,
            "raw": result}


def look(server, options):
    time.sleep(options.calm)
    before, begin = proc.activity(server.pids()), time.monotonic()
    time.sleep(options.minute)
    after = proc.activity(server.pids())
    return proc.asleep(before, after, time.monotonic() - begin)


def quiet(server, options):
    """A server started anew that has nothing to do."""
    server.stop()
    server.start()
    return look(server, options)


def quiet_connected(server, options):
    """The same with idle connections, which have logged in before."""
    server.stop()
    server.start()
    held = Held(server, ["-n", options.quiet_connections, "-c", 50])
    try:
        figures = look(server, options)
    finally:
        raw = held.release()
    return {**figures, "raw": raw}


# name -> what measures it, whether once is enough, and with what it is called.
MEASURES = {
    "chat": (chat, False, ()), "sm": (chat, False, ("--sm",)), "paced": (chat, False, ("-r",)),
    "busy": (chat, False, ("-r",)), "rooms": (rooms, False, ()), "room_paced": (room_paced, True, ()),
    "presence": (contacts, False, ()), "logins": (log_in, False, ()),
    "idle_tls": (idle, True, ()), "idle_plain": (idle, True, ("--plain",)),
    "idle_stream": (idle, True, ("--plain", "-m", "none")),
    "quiet": (quiet, True, ()), "quiet_connected": (quiet_connected, True, ()),
}
# The archive has no part in these.
AT_REST = ("logins", "presence", "idle_tls", "idle_plain", "idle_stream", "quiet", "quiet_connected")
# What the table of targets needs.
FOR_TARGETS = ("chat", "busy", "rooms", "presence", "logins", "idle_tls", "quiet", "quiet_connected")


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


def skip(name, server, options, results, spec):
    """Why a figure is not measured for a server; None when it is."""
    there = results.groups.get(spec, {})
    if name in AT_REST and server.archive == "off" and not options.all:
        return "the archive has no part in it"
    if name == "idle_plain" and not server.plain_logins:
        return "no passwords without TLS"
    if name.startswith("quiet") and server.name != "aldis" and not options.all:
        return "no target"
    if options.missing and there.get(name):
        return "it is there"
    if name == "busy" and there.get("chat") and there["chat"]["messages_per_second"] < 1.2 * options.high_rate:
        return f"it makes {there['chat']['messages_per_second']:.0f} messages a second flat out"
    return None


def accounts(names, options):
    """How many of them these figures need."""
    need = {"rooms": options.occupants, "room_paced": options.crowd, "presence": options.contacts + 1,
            "idle_tls": options.connections, "idle_plain": options.connections, "idle_stream": 0,
            "quiet_connected": options.quiet_connections}
    return max([options.chat, 100, *(need.get(name, 0) for name in names)])


def measure_part(name, server, options):
    call, once, more = MEASURES[name]
    if name in ("paced", "busy"):
        more = (*more, options.rate if name == "paced" else options.high_rate)
    return attempt(name, call, server, options, *more) if once else repeat(name, call, server, options, *more)


def unskipped(names, server, options, results, spec):
    """Those of the figures that are to be measured; tells why the others are not."""
    left = []
    for name in names:
        why = skip(name, server, options, results, spec)
        if why:
            print(f"  {spec} {name}: {why}", flush=True)
        else:
            left.append(name)
    return left


def measure_all(server, names, spec, options, results):
    """Starts a server and measures it."""
    server.prepare()
    server.start()
    for name, value in (("version", server.version()), ("archive", server.archive), ("facts", server.facts())):
        results.groups.setdefault(spec, {})[name] = value
    print(f"{server.name} {server.version()}, archive {server.archive}", flush=True)
    server.add_users(accounts(names, options))
    # Fills caches and loads code before anything counts.
    attempt("warm-up", drive, server, ["-n", options.chat, "-M", options.chat * 10, "chat"])
    for name in names:
        if not unskipped([name], server, options, results, spec):
            continue
        began = time.monotonic()
        figures = measure_part(name, server, options)
        if figures:
            figures["took"] = round(time.monotonic() - began)
            print(f"    {figures['took']} s", flush=True)
        results.put(spec, name, figures)


def measure(spec, options, results):
    """All figures of one server; `spec` is NAME or NAME:ARCHIVE."""
    kind, _, archive = spec.partition(":")
    directory = Path(tempfile.mkdtemp(prefix="bench-"))
    directory.chmod(0o755)
    try:
        server = servers.KINDS[kind](directory, archive or None)
        names = [name for name in MEASURES if name in options.figures.split(",")]
        names = unskipped(names, server, options, results, spec)
        try:
            if names:
                measure_all(server, names, spec, options, results)
        finally:
            server.stop()
    finally:
        if options.keep:
            print(f"  kept: {directory}", flush=True)
        else:
            shutil.rmtree(directory, ignore_errors=True)


def parse(arguments):
    parser = argparse.ArgumentParser(description="Compares XMPP servers under the same load.")
    parser.add_argument("--servers",
                        help=f"NAME or NAME:ARCHIVE, with commas ({DEFAULT})")
    for name, value, text in (
            ("connections", 10000, "idle connections"), ("chat", 200, "connections that chat"),
            ("window", 5, "messages under way a connection"),
            ("occupants", 100, "occupants of a room"), ("speakers", 10, "of them speak"),
            ("crowd", 1000, "occupants of the large room"), ("room-rate", 1, "messages a second in it"),
            ("rate", 200, "messages a second of the paced run"),
            ("high-rate", 2000, "and of the busy one, for servers that can"), ("logins", 1000, "logins a run"),
            ("contacts", 500, "contacts that get a presence"),
            ("quiet-connections", 1000, "connections of a suite that has nothing to do"),
            ("calm", 15, "seconds before it is looked at"), ("minute", 60, "seconds for which it is"),
            ("seconds", 10, "of each chat run"), ("settle", 4, "seconds before memory is read"),
            ("runs", 5, "runs; the table has the median")):
        parser.add_argument(f"--{name}", type=int, default=value, help=f"{text} (%(default)s)")
    for name, text in (("quick", "small and short: shows that it works, not how fast"),
                       ("targets", "only what the table of targets needs: those servers and figures"),
                       ("add", "keep what the file of results has and is not measured now"),
                       ("missing", "measure only what the file of results does not have"),
                       ("all", "also what the archive has no part in where it is off, and wake-ups of the others"),
                       ("keep", "keep the servers' directories")):
        parser.add_argument(f"--{name}", action="store_true", help=text)
    parser.add_argument("--figures", help="which, with commas (" + ",".join(MEASURES) + ")")
    parser.add_argument("--out", type=Path, help="file of raw results (results/targets.json)")
    options = parser.parse_args(arguments)
    options.figures = options.figures or ",".join(FOR_TARGETS if options.targets else MEASURES)
    options.servers = options.servers or ("aldis,ejabberd,ejabberd:off" if options.targets else DEFAULT)
    if options.quick:
        options.connections, options.chat, options.logins = 200, 50, 100
        options.seconds, options.runs, options.settle = 3, 1, 2
        options.occupants, options.crowd, options.contacts = 50, 100, 50
        options.quiet_connections, options.calm, options.minute = 50, 3, 10
    options.chat += options.chat % 2
    options.out = options.out or DIRECTORY / ("quick.json" if options.quick else "targets.json")
    return options


def show(results, options, away):
    """Prints all there is, and writes the tables beside the raw results."""
    text = targets.page(results)
    print("\n" + text)
    for spec, why in away.items():
        print(f"{spec}: not measured: {why.splitlines()[0] if why else ''}")
    options.out.with_suffix(".md").write_text(text)
    print(f"raw results: {options.out}")


def main(arguments):
    options = parse(arguments)
    if not LOAD.exists():
        sys.exit(f"{LOAD} is missing: make bench-tools")
    unknown = set(options.figures.split(",")) - set(MEASURES)
    if unknown:
        sys.exit(f"no figure {', '.join(unknown)}; there are: " + ", ".join(MEASURES))
    results, away = Results(options.out), {}
    if not options.missing and not options.add:
        results.groups = {}
    results.about = {"started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                     "settings": {k: v for k, v in vars(options).items() if k not in ("out", "add", "missing", "keep")}}
    for spec in options.servers.split(","):
        if spec.partition(":")[0] not in servers.KINDS:
            sys.exit(f"no server {spec}; there are: " + ", ".join(servers.KINDS))
        try:
            measure(spec, options, results)
        except servers.Unavailable as error:
            away[spec] = str(error)
            print(f"{spec}: not measured: {error}", flush=True)
    if not results.groups:
        return 1
    results.write()
    show(results, options, away)
    return 0


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.exit(main(sys.argv[1:]))
