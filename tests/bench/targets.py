#!/usr/bin/python3
"""targets.py - tables of the raw results of compare.py: the servers side by side, and what Aldis is to reach.

The Aldis developers

compare.py calls it at its end. Alone it makes the tables of a file of results again: targets.py [FILE].
"""

import sys
from pathlib import Path

from results import DIRECTORY, Results, machine_text, markdown

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
    ("busy.rate", "at a high rate, messages a second", "{:.0f}"),
    ("busy.cpu_us", "  CPU, us a message", "{:.0f}"),
    ("busy.p50_ms", "  latency, p50 ms", "{:.2f}"),
    ("busy.p99_ms", "  latency, p99 ms", "{:.2f}"),
    ("busy.fsync_ms", "  what the disk takes for fdatasync alone before it, p50 ms", "{:.2f}"),
    ("rooms.cpu_us", "CPU, us a delivered room message, flat out", "{:.1f}"),
    ("rooms.messages_per_second", "delivered room messages a second", "{:.0f}"),
    ("room_paced.rate", "in a large room, messages a second", "{:.0f}"),
    ("room_paced.p50_ms", "  until an occupant has it, p50 ms", "{:.2f}"),
    ("room_paced.p99_ms", "  until an occupant has it, p99 ms", "{:.2f}"),
    ("presence.change_us", "CPU, us a change of presence to all contacts (--contacts)", "{:.0f}"),
    ("presence.cpu_us", "  us a delivered presence", "{:.1f}"),
    ("presence.p99_ms", "  until a contact has it, p99 ms", "{:.1f}"),
    ("logins.cpu_us", "CPU, us a login", "{:.0f}"),
    ("logins.logins_per_second", "logins a second", "{:.0f}"),
    ("idle_tls.kb", "KB an idle connection, TLS, logged in", "{:.1f}"),
    ("idle_plain.kb", "KB an idle connection, no TLS, logged in", "{:.1f}"),
    ("idle_stream.kb", "KB an idle connection, no TLS, stream open", "{:.1f}"),
    ("idle_tls.before_kb", "KB with nobody connected", "{:.0f}"),
    ("quiet.wakes", "wake-ups a minute, nobody connected", "{:.0f}"),
    ("quiet.cpu_percent", "  CPU, percent", "{:.2f}"),
    ("quiet_connected.wakes", "wake-ups a minute, idle connections", "{:.0f}"),
    ("quiet_connected.cpu_percent", "  CPU, percent", "{:.2f}"),
)

# What the target says; the figure; the figure it is divided by, if any; how it is compared, and with what; unit.
TARGETS = (
    ("CPU a 1:1 message, to ejabberd's with its archive off",
     "aldis/chat.cpu_us", "ejabberd:off/chat.cpu_us", "<=", 0.5, "us"),
    ("CPU a 1:1 message, to ejabberd's, both archives on disk",
     "aldis/chat.cpu_us", "ejabberd/chat.cpu_us", "<=", 0.25, "us"),
    ("1:1 messages a second, to ejabberd's with its archive off",
     "aldis/chat.messages_per_second", "ejabberd:off/chat.messages_per_second", ">=", 1.5, "/s"),
    ("1:1 messages a second, to ejabberd's, both archives on disk",
     "aldis/chat.messages_per_second", "ejabberd/chat.messages_per_second", ">=", 1.5, "/s"),
    ("p50 at {high_rate} messages a second, archive on", "aldis/busy.p50_ms", None, "<", 1.5, "ms"),
    ("p99 at {high_rate} messages a second, archive on", "aldis/busy.p99_ms", None, "<", 5, "ms"),
    ("CPU a delivered room message, to ejabberd's with its archive off",
     "aldis/rooms.cpu_us", "ejabberd:off/rooms.cpu_us", "<=", 0.5, "us"),
    ("CPU a delivered room message, to ejabberd's, both archives on disk",
     "aldis/rooms.cpu_us", "ejabberd/rooms.cpu_us", "<=", 0.5, "us"),
    ("memory an idle TLS connection, of {connections}", "aldis/idle_tls.kb", None, "<=", 20, "KB"),
    ("  aimed at", "aldis/idle_tls.kb", None, "<=", 12, "KB"),
    ("CPU a TLS login with SCRAM, to ejabberd's",
     "aldis/logins.cpu_us", "ejabberd/logins.cpu_us", "<", 1, "us"),
    ("CPU of presence to {contacts} contacts, to ejabberd's",
     "aldis/presence.change_us", "ejabberd/presence.change_us", "<=", 0.5, "us"),
    ("idle suite: wake-ups a minute but the watchdog's",
     "aldis/quiet.unexplained", None, "<=", 0, ""),
    ("idle suite: CPU, percent", "aldis/quiet.cpu_percent", None, "<", 0.05, "%"),
    ("{quiet_connections} idle connections: wake-ups a minute but the watchdog's",
     "aldis/quiet_connected.unexplained", None, "<=", 0, ""),
    ("{quiet_connections} idle connections: CPU, percent",
     "aldis/quiet_connected.cpu_percent", None, "<", 0.05, "%"),
)
MEETS = {"<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">=": lambda a, b: a >= b}
WORDS = {"<": "below", "<=": "at most", ">=": "at least"}


def cell(figures, key, form):
    value = figures
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "-" if value is None else form.format(value)


def servers(groups):
    """One Markdown table, servers side by side."""
    names = [f"{spec.partition(':')[0]} {figures['version']}" for spec, figures in groups.items()]
    lines = [["", *names]]
    lines += [[title, *(cell(f, key, form) for f in groups.values())] for key, title, form in ROWS]
    return markdown([line for line in lines if len(lines) == 1 or set(line[1:]) != {"-"}])


def figure(groups, path):
    """(value, least, most) of a figure; None when it was not measured."""
    spec, _, key = path.partition("/")
    part, _, name = key.partition(".")
    found = groups.get(spec, {}).get(part)
    if not isinstance(found, dict) or name not in found:
        return None
    runs = [run[name] for run in found.get("runs", ()) if name in run] or [found[name]]
    return found[name], min(runs), max(runs)


def number(value, unit=""):
    text = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{text} {unit}".strip()


def faults(groups):
    """Measurements in which the load generator found something wrong: they prove nothing."""
    found = []
    for spec, parts in groups.items():
        for name, part in parts.items():
            if isinstance(part, dict):
                raws = [run.get("raw") for run in part.get("runs", (part,)) if isinstance(run, dict)]
                bad = sum(bool(raw and raw.get("exit")) for raw in raws)
                if bad:
                    found.append(f"{spec} {name}: the load generator found faults in {bad} of {len(raws)} runs")
    return found


def row(groups, settings, target):
    text, path, to, how, limit, unit = target
    text = text.format(**settings)
    wanted = f"{WORDS[how]} {number(limit)}" + (" times" if to else f" {unit}".rstrip())
    own, other = figure(groups, path), figure(groups, to) if to else None
    if own is None or (to and other is None):
        return [text, wanted, "not measured", "", "?"]
    if to and not other[0]:
        return [text, wanted, "the other has none", "", "?"]
    value = own[0] / other[0] if to else own[0]
    said = number(value) if to else number(value, unit)
    detail = f"{number(own[0])} / {number(other[0], unit)}" if to else ""
    if path.startswith("aldis/busy.p"):
        detail = f"the disk alone takes {number(figure(groups, 'aldis/busy.fsync_ms')[0], 'ms')}"
    if own[1] != own[2]:
        detail += f" ({number(own[1])} to {number(own[2])}"
        detail += f" / {number(other[1])} to {number(other[2])})" if to and other[1] != other[2] else ")"
    return [text, wanted, said, detail.strip(), "yes" if MEETS[how](value, limit) else "NO"]


def table(results):
    lines = [["figure", "target", "value", "of which medians (least to most)", "met?"]]
    settings = {"high_rate": 2000, "connections": 10000, "contacts": 500, "quiet_connections": 1000,
                **results.about.get("settings", {})}
    return markdown(lines + [row(results.groups, settings, target) for target in TARGETS])


def page(results):
    """All tables of a file of results."""
    about = results.about
    runs = about.get("settings", {}).get("runs", "?")
    text = ["# Figures, and targets", "",
            f"Begun {about.get('started', '?')}; medians of {runs} runs. {machine_text(about['machine'])}.",
            "Written by tests/bench/targets.py; README.md there says how it is measured.", "",
            servers(results.groups), "", table(results), ""]
    text += [f"- {fault}" for fault in faults(results.groups)]
    return "\n".join(text).rstrip() + "\n"


def main(arguments):
    path = Path(arguments[0]) if arguments else DIRECTORY / "targets.json"
    if not path.exists():
        sys.exit(f"{path} is missing: make bench")
    results = Results(path)
    text = page(results)
    path.with_suffix(".md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.exit(main(sys.argv[1:]))
