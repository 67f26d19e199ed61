"""growth_report.py - the tables and plots of how costs grow, out of the raw results.

The Aldis developers

growth.py calls it; `make bench-growth GROWTH_ARGS=--report` does so alone. Plots need gnuplot; without it there are
tables only.
"""

import shutil
import subprocess

from results import machine_text, markdown

P50, P99 = ("p50_ms", "p50, ms", "{:.2f}"), ("p99_ms", "p99, ms", "{:.2f}")
DISK = ("fsync_ms", "the disk alone, p50, ms", "{:.2f}")
FLAT = (("flat_us", "CPU a message flat out, us", "{:.0f}"),
        ("flat_per_second", "messages a second flat out", "{:.0f}"))
# part -> its title, what is counted, (key, head of the column, how to write it); what its plot has against the
# left axis, beside p50 and p99 against the right one.
SERIES = {
    "idle": ("Idle connections", "idle connections", (
        ("cpu_us", "CPU a message, us", "{:.0f}"), P50, P99, DISK, *FLAT,
        ("kb", "KB a connection", "{:.1f}"), ("idle_percent", "CPU without messages, %", "{:.2f}"),
        ("idle_wakes", "wake-ups a minute then", "{:.0f}")), ("cpu_us", "flat_us")),
    "rooms": ("Occupants of a room", "occupants", (
        ("cpu_us", "CPU a delivered message, us", "{:.1f}"), P50, P99, DISK,
        ("rate", "said a second", "{:.0f}")), ("cpu_us",)),
    "rosters": ("Contacts of an account", "contacts, all online", (
        ("cpu_us", "CPU a delivered presence, us", "{:.1f}"), ("change_us", "a change, us", "{:.0f}"), P50, P99,
        ("rate", "changes a second", "{:.0f}"), ("login_us", "CPU a login, contacts away, us", "{:.0f}"),
        ("login_online_us", "contacts online, us", "{:.0f}")), ("cpu_us",)),
    "archive": ("Messages in the archive", "messages", (
        ("cpu_us", "CPU a message, us", "{:.0f}"), P50, P99, DISK, *FLAT,
        ("start_seconds", "start, s", "{:.1f}"), ("disk_mb", "MB on disk", "{:.0f}")),
        ("cpu_us", "flat_us")),
}
ABOUT = {
    "idle": "{few} connections say {rate} messages a second to each other, and then as many as they can, beside idle "
            "ones, all over TLS and logged in, {workers} c2sd; idle connections are of 4,000 accounts.",
    "rooms": "One room; about {deliveries} messages a second are delivered to its occupants, so in a larger room less "
             "is said.",
    "rosters": "One account changes its presence; about {deliveries} presences a second are delivered. A login asks "
               "for the roster; its contacts are away, or all online, which each of them is told of twice.",
    "archive": "{chat} connections say {high_rate} messages a second, and then as many as they can. Half of the "
               "messages that are there already are of the same {chat} accounts, the rest of 2,000 others; all have "
               "two copies{index}.",
}


def points(results, part):
    found = [(int(at), figures) for at, figures in results.groups.get(part, {}).items() if isinstance(figures, dict)]
    return sorted(found)


def faults(part, rows):
    found = []
    for at, figures in rows:
        runs = [*figures.get("runs", [figures]), *figures.get("flat_runs", ())]
        raws = [run["raw"] for run in [*runs, *figures.get("logins", ())]]
        bad = sum(bool(raw["exit"]) for raw in raws)
        if bad:
            found.append(f"{part} {at}: the load generator found faults in {bad} of {len(raws)} runs")
    return found


def section(results, part):
    title, counted, columns, _ = SERIES[part]
    rows = points(results, part)
    settings = dict(results.about.get("settings", {}).get(part, {}))
    settings.update(workers=rows[0][1].get("workers", "?"),
                    index="" if settings.get("index") else ", and are not in the index of words")
    lines = [[counted, *(head for _, head, _ in columns)]]
    for at, figures in rows:
        lines.append([f"{at:,}", *(form.format(figures[key]) if key in figures else "-" for key, _, form in columns)])
    runs = "Medians of {runs} runs of {seconds} s" if "runs" in rows[0][1] else "One run of {long} s"
    text = [f"## {title}", "", ABOUT[part].format(**settings) + f" {runs.format(**settings)}; version "
            f"{results.about.get('version', {}).get(part, '?')}.", "",
            markdown(lines), ""]
    if len(rows) > 1:
        first, last = rows[0], rows[-1]
        if first[1]["cpu_us"] and first[1]["p99_ms"]:
            ratios = [f"{head.rpartition(',')[0]} times {last[1][key] / first[1][key]:.2f}" for key, head, _ in columns
                      if key in ("cpu_us", "flat_us", "p99_ms") and key in last[1] and first[1].get(key)]
            text += [f"From {first[0]:,} to {last[0]:,}: {', '.join(ratios)}.", ""]
    return text + [f"- {fault}" for fault in faults(part, rows)]


def plot(results, part, directory, prefix):
    """Writes an SVG: cost on the left, latency on the right, the size logarithmic; returns its name."""
    _, counted, columns, left = SERIES[part]
    heads = {key: head for key, head, _ in columns}
    rows = points(results, part)
    keys = [*left, "p50_ms", "p99_ms"]
    # A logarithmic axis has no zero: it is drawn a step before the first.
    positive = [at for at, _ in rows if at > 0]
    if not positive or len(rows) < 2:
        return None
    zero = positive[0] / 10
    data = "\n".join(" ".join([str(at or zero), *(str(figures.get(key, "NaN")) for key in keys)])
                     for at, figures in rows)
    tics = ", ".join(f'"{at:,}" {at or zero}' for at, _ in rows)
    styles = []
    for number, key in enumerate(keys):
        axis = "x1y1" if number < len(left) else "x1y2"
        styles.append(f"$data using 1:{number + 2} axes {axis} with linespoints lw 2 pt {5 + 2 * (number % 2)} ps 0.6 "
                      f"{'dt 1' if axis == 'x1y1' else 'dt 2'} lc {number + 1} title \"{heads[key]}\"")
    name = f"{prefix}-{part}.svg"
    script = ('set terminal svg size 760,400 dynamic font "sans,12" background "white"\n'
              f'set output "{directory / name}"\n'
              f"$data << END\n{data}\nEND\n"
              f'set xlabel "{counted}"\nset logscale x\nset xtics ({tics})\n'
              f"set xrange [{(rows[0][0] or zero) / 1.5}:{rows[-1][0] * 1.5}]\n"
              'set ylabel "CPU, microseconds"\nset y2label "latency, milliseconds"\n'
              'set yrange [0:*]\nset y2range [0:*]\n'
              'set ytics nomirror\nset y2tics\nset grid ytics lc "gray80"\nset key outside top center horizontal\n'
              "set datafile missing \"NaN\"\nplot " + ", \\\n ".join(styles) + "\n")
    done = subprocess.run(["gnuplot"], input=script, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"gnuplot: {done.stderr.strip()[-300:]}")
        return None
    return name


def report(results):
    """Writes table and plots beside the raw results; returns the text."""
    directory, prefix = results.path.parent, results.path.stem
    text = ["# How costs grow", "", f"{machine_text(results.about['machine'])}. Written by tests/bench/growth.py from "
            f"{results.path.name}; README.md there says how it is measured.", ""]
    drawn = shutil.which("gnuplot")
    for part in SERIES:
        if not points(results, part):
            continue
        text += section(results, part)
        name = plot(results, part, directory, prefix) if drawn else None
        if name:
            text += [f"![{SERIES[part][0]}]({name})", ""]
    whole = "\n".join(text).rstrip() + "\n"
    results.path.with_suffix(".md").write_text(whole)
    return whole
